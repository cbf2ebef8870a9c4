#!/usr/bin/env bash
# Time of a clip from the file to the batch, part by part, compared with the reference implementation, on synthetic
# videos like those of Kinetics and Something-Something and on the same videos after `adamae prepare`: prints
# docs/benchmarks/loader.md. Takes about three minutes on one core; needs decord.
#
#   bash scripts/benchmarks/loader.sh > docs/benchmarks/loader.md
#   bash scripts/benchmarks/loader.sh --videos 4 --rounds 1
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1
exec "$here/.venv/bin/python" "$here/scripts/benchmarks/loader.py" "$@"

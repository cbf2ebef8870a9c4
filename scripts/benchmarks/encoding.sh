#!/usr/bin/env bash
# Decoding time of clips and size of videos by encoding: makes two videos, encodes them with all settings and prints the
# tables of docs/benchmarks/encoding.md. Takes two to three minutes on one core.
#
#   bash scripts/benchmarks/encoding.sh
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
export OMP_NUM_THREADS=1
exec "$here/.venv/bin/python" "$here/scripts/benchmarks/encoding.py" "$@"

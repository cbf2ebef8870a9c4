#!/usr/bin/env bash
# Mask types, mask ratios and other settings of pre-training, compared on the built-in motion data: the tables of
# docs/TABLE1.md. Finished pieces are skipped when it is run again.
#
#   bash scripts/benchmarks/table1.sh --output_dir runs/table1
#   bash scripts/benchmarks/table1.sh --output_dir runs/table1 --groups main --minutes 30
#   bash scripts/benchmarks/table1.sh --output_dir runs/table1 --only_report --write
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
exec "$here/.venv/bin/python" "$here/scripts/benchmarks/table1.py" "$@"

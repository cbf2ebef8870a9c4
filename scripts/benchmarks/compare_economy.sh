#!/usr/bin/env bash
# Pre-training with --economy, in the full mode and with random masks, for equally many steps and for equally long, on the
# built-in motion data: the table of docs/benchmarks/economy.md. Finished pieces are skipped when it is run again.
#
#   bash scripts/benchmarks/compare_economy.sh --output_dir runs/economy --pretraining "--mask_ratio 0.75"
#   bash scripts/benchmarks/compare_economy.sh --output_dir runs/economy --pretraining "--mask_ratio 0.75" --minutes 30
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
exec "$here/.venv/bin/python" "$here/scripts/benchmarks/compare_economy.py" "$@"

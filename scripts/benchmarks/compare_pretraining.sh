#!/usr/bin/env bash
# Adaptive, random and tube masks and random weights, each fine-tuned in the same way on the built-in motion data: the
# table of FINETUNE.md. Finished pieces are skipped when it is run again.
#
#   bash scripts/benchmarks/compare_pretraining.sh --output_dir runs/comparison --pretraining "--mask_ratio 0.75"
#   bash scripts/benchmarks/compare_pretraining.sh --output_dir runs/comparison --pretraining "--mask_ratio 0.75" --minutes 30
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
exec "$here/.venv/bin/python" "$here/scripts/benchmarks/compare_pretraining.py" "$@"

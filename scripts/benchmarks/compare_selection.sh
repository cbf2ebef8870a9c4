#!/usr/bin/env bash
# Fine-tuning on a fraction of the tokens, selected by motion, by the learned sampler and at random, on the built-in
# motion data: the second table of FINETUNE.md. Finished pieces are skipped when it is run again.
#
#   bash scripts/benchmarks/compare_selection.sh --output_dir runs/selection --pretraining "--mask_ratio 0.75"
#   bash scripts/benchmarks/compare_selection.sh --output_dir runs/selection --pretraining "--mask_ratio 0.75" --minutes 30
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
exec "$here/.venv/bin/python" "$here/scripts/benchmarks/compare_selection.py" "$@"

#!/usr/bin/env bash
# The published fine-tuning on Something-Something: ViT-B, 50 epochs, 512 videos to a step, 2 x 3 test views.
#
#   bash scripts/ssv2/finetune.sh --finetune checkpoint-799.pth --data_path ssv2 --output_dir runs/ssv2-finetune
#
# Every argument goes to adamae finetune and wins over the recipe.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# Several nodes: add here  --num_nodes 4 --hostfile hosts.txt  (one line "name slots=8" for each node).
launch=(--num_gpus "${GPUS:-8}")

exec .venv/bin/deepspeed "${launch[@]}" --module adamae finetune --config adamae_ssv2_base "$@"

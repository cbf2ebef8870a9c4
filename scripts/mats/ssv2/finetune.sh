#!/usr/bin/env bash
# Fine-tuning with motion-aware token selection on Something-Something: ViT-B, 50 epochs, 512 videos to a step, 2 x 3 test views; the recipe's file says what was published.
#
#   bash scripts/mats/ssv2/finetune.sh --finetune runs/mats-ssv2 --data_path ssv2 --output_dir runs/mats-ssv2-finetune
#
# Every argument goes to adamae finetune and wins over the recipe.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."

# Several nodes: add here  --num_nodes 4 --hostfile hosts.txt  (one line "name slots=8" for each node).
launch=(--num_gpus "${GPUS:-8}")

exec .venv/bin/deepspeed "${launch[@]}" --module adamae finetune --config mats_ssv2_base "$@"

#!/usr/bin/env bash
# Fine-tuning with motion-aware token selection on HMDB51: ViT-B, 50 epochs, 128 videos to a step, 10 x 3 test views; as published.
#
#   bash scripts/mats/hmdb51/finetune.sh --finetune runs/mats-hmdb51 --data_path hmdb51 --output_dir runs/mats-hmdb51-finetune
#
# Every argument goes to adamae finetune and wins over the recipe.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."

# Several nodes: add here  --num_nodes 4 --hostfile hosts.txt  (one line "name slots=8" for each node).
launch=(--num_gpus "${GPUS:-8}")

exec .venv/bin/deepspeed "${launch[@]}" --module adamae finetune --config mats_hmdb51_base "$@"

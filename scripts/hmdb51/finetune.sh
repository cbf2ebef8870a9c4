#!/usr/bin/env bash
# Fine-tuning on HMDB51 after VideoMAE: ViT-B, 50 epochs, 128 videos to a step, 10 x 3 test views.
#
#   bash scripts/hmdb51/finetune.sh --finetune checkpoint-799.pth --data_path hmdb51 --output_dir runs/hmdb51-finetune
#
# Every argument goes to adamae finetune and wins over the recipe.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# Several nodes: add here  --num_nodes 4 --hostfile hosts.txt  (one line "name slots=8" for each node).
launch=(--num_gpus "${GPUS:-8}")

exec .venv/bin/deepspeed "${launch[@]}" --module adamae finetune --config videomae_hmdb51_base "$@"

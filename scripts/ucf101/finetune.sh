#!/usr/bin/env bash
# VideoMAE's fine-tuning on UCF101: ViT-B, 100 epochs, 128 videos to a step, 5 x 3 test views.
#
#   bash scripts/ucf101/finetune.sh --finetune checkpoint-799.pth --data_path ucf101 --output_dir runs/ucf101-finetune
#
# Every argument goes to adamae finetune and wins over the recipe.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# Several nodes: add here  --num_nodes 4 --hostfile hosts.txt  (one line "name slots=8" for each node).
launch=(--num_gpus "${GPUS:-8}")

exec .venv/bin/deepspeed "${launch[@]}" --module adamae finetune --config videomae_ucf101_base "$@"

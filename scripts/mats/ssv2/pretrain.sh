#!/usr/bin/env bash
# Pre-training with motion-aware token selection on Something-Something: ViT-B, 200 epochs, 256 clips to a step; the recipe's file says what was published.
#
#   bash scripts/mats/ssv2/pretrain.sh --data_path ssv2/train.csv --output_dir runs/mats-ssv2
#
# Every argument goes to adamae pretrain and wins over the recipe.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."

# Several nodes: add here  --num_nodes 4 --hostfile hosts.txt  (one line "name slots=8" for each node).
launch=(--num_gpus "${GPUS:-8}")

exec .venv/bin/deepspeed "${launch[@]}" --module adamae pretrain --config mats_ssv2_base "$@"

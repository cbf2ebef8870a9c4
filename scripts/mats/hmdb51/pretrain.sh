#!/usr/bin/env bash
# Pre-training with motion-aware token selection on HMDB51: ViT-B, 4800 epochs, 192 clips to a step; as published.
#
#   bash scripts/mats/hmdb51/pretrain.sh --data_path hmdb51/train.csv --output_dir runs/mats-hmdb51
#
# Every argument goes to adamae pretrain and wins over the recipe.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../../.."

# Several nodes: add here  --num_nodes 4 --hostfile hosts.txt  (one line "name slots=8" for each node).
launch=(--num_gpus "${GPUS:-8}")

exec .venv/bin/deepspeed "${launch[@]}" --module adamae pretrain --config mats_hmdb51_base "$@"

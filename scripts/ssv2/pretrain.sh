#!/usr/bin/env bash
# The paper's pre-training on Something-Something: ViT-B, 800 epochs, 256 clips to a step.
#
#   bash scripts/ssv2/pretrain.sh --data_path ssv2/train.csv --output_dir runs/ssv2
#
# Every argument goes to adamae pretrain and wins over the recipe.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."

# Several nodes: add here  --num_nodes 4 --hostfile hosts.txt  (one line "name slots=8" for each node).
launch=(--num_gpus "${GPUS:-8}")

exec .venv/bin/deepspeed "${launch[@]}" --module adamae pretrain --config adamae_ssv2_base "$@"

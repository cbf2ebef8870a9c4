#!/usr/bin/env bash
# Pre-training by a recipe of configs/pretrain on the GPUs of this machine:
#
#   bash scripts/pretrain.sh adamae_ssv2_base --data_path ssv2/train.csv --output_dir runs/ssv2
#   GPUS=2 bash scripts/pretrain.sh mats_ucf101_base --data_path ucf101/train.csv --output_dir runs/mats-ucf101
#
# The first argument names the recipe, whose file says what was published; all others go to adamae pretrain and win over it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

case ${1:--} in -*)
    echo "pretrain.sh: error: the recipe is missing: expected one of $(cd configs/pretrain && echo *.yaml | sed 's/\.yaml//g')" >&2
    exit 2 ;;
esac
# Several nodes: add here  --num_nodes 4 --hostfile hosts.txt  (one line "name slots=8" for each node).
launch=(--num_gpus "${GPUS:-8}")

exec .venv/bin/deepspeed "${launch[@]}" --module adamae pretrain --config "$@"

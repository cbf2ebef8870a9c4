#!/usr/bin/env bash
# Fine-tuning and multi-view test by a recipe of configs/finetune on the GPUs of this machine:
#
#   bash scripts/finetune.sh adamae_ssv2_base --finetune checkpoint-799.pth --data_path ssv2 --output_dir runs/tuned
#   GPUS=2 bash scripts/finetune.sh videomae_ucf101_base --finetune checkpoint-799.pth --data_path ucf101
#
# The first argument names the recipe, whose file says what was published; all others go to adamae finetune and win over it.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

case ${1:--} in -*)
    echo "finetune.sh: error: the recipe is missing: expected one of $(cd configs/finetune && echo *.yaml | sed 's/\.yaml//g')" >&2
    exit 2 ;;
esac
# Several nodes: add here  --num_nodes 4 --hostfile hosts.txt  (one line "name slots=8" for each node).
launch=(--num_gpus "${GPUS:-8}")

exec .venv/bin/deepspeed "${launch[@]}" --module adamae finetune --config "$@"

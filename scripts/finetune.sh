#!/usr/bin/env bash
# Fine-tuning and multi-view test by a recipe of configs/finetune on the GPUs of this machine, or of all machines of a
# hostfile:
#
#   bash scripts/finetune.sh adamae_ssv2_base --finetune checkpoint-799.pth --data_path ssv2 --output_dir runs/tuned
#   GPUS=2 bash scripts/finetune.sh videomae_ucf101_base --finetune checkpoint-799.pth --data_path ucf101 --output_dir runs/ucf101
#   HOSTFILE=hosts.txt bash scripts/finetune.sh adamae_k400_base --finetune runs/mine --data_path k400 --output_dir runs/k400
#
# The first argument is the recipe, whose file documents the published settings; all others are passed to adamae
# finetune and override it. Relative paths are relative to the current folder. GPUS is the number of GPUs of a machine
# (default: 8). A hostfile has a line "name slots=8" for each machine (PRETRAIN.md).
exec bash "$(dirname "${BASH_SOURCE[0]}")/launch.sh" finetune "$@"

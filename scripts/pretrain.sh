#!/usr/bin/env bash
# Pre-training by a recipe of configs/pretrain on the GPUs of this machine, or of all machines of a hostfile:
#
#   bash scripts/pretrain.sh adamae_ssv2_base --data_path ssv2/train.csv --output_dir runs/ssv2
#   GPUS=2 bash scripts/pretrain.sh mats_ucf101_base --data_path ucf101/train.csv --output_dir runs/mats-ucf101
#   HOSTFILE=hosts.txt bash scripts/pretrain.sh adamae_k400_base --data_path k400/train.csv --output_dir runs/k400
#
# The first argument names the recipe, whose file says what was published; all others go to adamae pretrain and override it.
# Relative paths start in the current folder. GPUS is 8 by default, those of a machine. A hostfile has a line "name slots=8"
# for each machine (PRETRAIN.md).
exec bash "$(dirname "${BASH_SOURCE[0]}")/launch.sh" pretrain "$@"

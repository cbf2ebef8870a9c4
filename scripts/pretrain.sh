#!/usr/bin/env bash
# Pre-training by a recipe of configs/pretrain on the GPUs of this machine, or of all machines of a hostfile:
#
#   bash scripts/pretrain.sh adamae_ssv2_base --data_path ssv2/train.csv --output_dir runs/ssv2
#   GPUS=2 bash scripts/pretrain.sh mats_ucf101_base --data_path ucf101/train.csv --output_dir runs/mats-ucf101
#   HOSTFILE=hosts.txt bash scripts/pretrain.sh adamae_k400_base --data_path k400/train.csv --output_dir runs/k400
#
# The first argument is the recipe, whose file documents the published settings; all others are passed to adamae
# pretrain and override it. Relative paths are relative to the current folder. GPUS is the number of GPUs of a machine
# (default: 8). A hostfile has a line "name slots=8" for each machine (PRETRAIN.md).
exec bash "$(dirname "${BASH_SOURCE[0]}")/launch.sh" pretrain "$@"

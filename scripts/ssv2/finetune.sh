#!/usr/bin/env bash
exec bash "$(dirname "${BASH_SOURCE[0]}")/../finetune.sh" adamae_ssv2_base "$@"

#!/usr/bin/env bash
exec bash "$(dirname "${BASH_SOURCE[0]}")/../pretrain.sh" adamae_ssv2_base "$@"

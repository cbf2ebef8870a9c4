#!/usr/bin/env bash
# Pre-training, fine-tuning, multi-view test and probes on twenty real gesture clips, each cut in time into training and
# test parts: a table of FINETUNE.md. Finished pieces are skipped when it is run again.
#
#   bash scripts/benchmarks/gestures.sh /my/clips --output_dir runs/gestures
#   bash scripts/benchmarks/gestures.sh /my/clips --output_dir runs/gestures --minutes 30
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
exec "$here/.venv/bin/python" "$here/scripts/benchmarks/gestures.py" "$@"

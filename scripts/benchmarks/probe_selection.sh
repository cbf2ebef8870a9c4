#!/usr/bin/env bash
# Probes of frozen networks that table1.sh has pre-trained, on selected tokens: a table of docs/TABLE1.md. Finished
# pieces are skipped when it is run again.
#
#   bash scripts/benchmarks/probe_selection.sh --output_dir runs/table1 --seeds 12 13 14 15 --write
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
exec "$here/.venv/bin/python" "$here/scripts/benchmarks/probe_selection.py" "$@"

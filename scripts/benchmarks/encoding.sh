#!/usr/bin/env bash
# What a clip costs to decode, and what a video costs to store, by how it was encoded: makes two videos, encodes them in
# every way and prints the tables of docs/benchmarks/encoding.md. Two to three minutes of one core.
#
#   bash scripts/benchmarks/encoding.sh
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
export OMP_NUM_THREADS=1
exec "$here/.venv/bin/python" "$here/scripts/benchmarks/encoding.py" "$@"

#!/usr/bin/env bash
# Check formatting, lint and types without changing files.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

.venv/bin/ruff format --check --quiet . || { echo "lint: make format would change the files above" >&2; exit 1; }
.venv/bin/ruff check --quiet .
.venv/bin/mypy --no-error-summary

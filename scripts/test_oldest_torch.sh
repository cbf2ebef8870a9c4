#!/usr/bin/env bash
# The core's tests on the oldest torch that pyproject.toml allows, in a separate environment.
#
#   bash scripts/test_oldest_torch.sh                  models, samplers, losses, layers, training, export and benchmarks
#   bash scripts/test_oldest_torch.sh tests/cli -x     other tests; arguments are passed to pytest
#
# OLDEST_VENV is the environment's folder (default: build/oldest_torch), PYTHON the interpreter that creates it (3.11 to
# 3.13, which torch 2.6 supports). On a machine without a GPU the CPU build saves gigabytes:
#   PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu bash scripts/test_oldest_torch.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

venv=${OLDEST_VENV:-build/oldest_torch}
floor() { sed -n "s/^    \"$1>=\([0-9.]*\)\",\$/\1/p" pyproject.toml; }
wanted=("torch==$(floor torch).*" "torchvision==$(floor torchvision).*")
"$venv/bin/python" -m pip --version > /dev/null 2>&1 || "${PYTHON:-python3}" -m venv "$venv"
echo "test_oldest_torch: ${wanted[*]} in $venv"
"$venv/bin/python" -m pip --disable-pip-version-check -qq install "${wanted[@]}" \
    -r <(grep -v '^torchvision\|^decord\|^torchcodec' requirements/run.txt) -r <(grep '^pytest' requirements/test.txt)

tests=("$@")
[ $# -gt 0 ] || tests=(tests/models tests/samplers tests/losses tests/layers tests/training tests/export tests/benchmark)
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} PYTHONPATH=$PWD
exec "$venv/bin/python" -m pytest -p no:cacheprovider "${tests[@]}"

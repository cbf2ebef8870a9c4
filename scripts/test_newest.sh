#!/usr/bin/env bash
# The core's tests on the newest torch, timm and other libraries that pip finds, in a separate environment.
#
#   bash scripts/test_newest.sh                  without the tests marked slow
#   bash scripts/test_newest.sh tests/cli -x     other tests; arguments are passed to pytest
#
# NEWEST_VENV is the environment's folder (default: build/newest), PYTHON the interpreter that creates it, NEWEST_TORCH
# the requirements of torch (default: "torch torchvision"). On a machine without a GPU the CPU build saves gigabytes:
#   PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu bash scripts/test_newest.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

venv=${NEWEST_VENV:-build/newest}
read -ra torch <<< "${NEWEST_TORCH:-torch torchvision}"
"$venv/bin/python" -m pip --version > /dev/null 2>&1 || "${PYTHON:-python3}" -m venv "$venv"
pip() { "$venv/bin/python" -m pip --disable-pip-version-check -qq "$@"; }
pip install --upgrade "${torch[@]}" '.[onnx,parquet,shards,torchcodec]' hypothesis ninja setuptools transformers wheel \
    -r <(grep '^pytest' requirements/test.txt)
# As in install.sh: built against the torch that is there. It runs on Linux only.
[ "$(uname)" != Linux ] || pip install --upgrade --no-build-isolation '.[deepspeed]'
pip uninstall --yes adamae
"$venv/bin/python" -c 'import sys
from importlib.metadata import version
print("test_newest:", *(f"{name} {version(name)}" for name in sys.argv[1:]))' torch torchvision timm av transformers

tests=("$@")
[ $# -gt 0 ] || tests=(
    -m "not slow" tests/layers tests/losses tests/samplers tests/models tests/training tests/checkpoints tests/export
    tests/evaluation tests/benchmark tests/test_pretrain.py tests/test_finetune.py
)
export OMP_NUM_THREADS=${OMP_NUM_THREADS:-1} PYTHONPATH=$PWD
exec "$venv/bin/python" -m pytest -p no:cacheprovider -n 2 --dist loadgroup "${tests[@]}"

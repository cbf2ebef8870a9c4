#!/usr/bin/env bash
# Create .venv with the pinned versions and this package. A second call has nothing to do and returns at once.
#
#   bash scripts/install.sh
#
# PYTHON names another interpreter. On a machine without a GPU the CPU build of torch saves gigabytes:
#   PIP_EXTRA_INDEX_URL=https://download.pytorch.org/whl/cpu bash scripts/install.sh
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

python=${PYTHON:-python3}
stamp=.venv/installed
wanted="$("$python" -VV | cksum) $(cat requirements/*.txt pyproject.toml setup.py | cksum) $PWD"
[ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && exit 0

fail() { echo "install: error: $1" >&2; exit 2; }
"$python" -c 'import sys; sys.exit(sys.version_info < (3, 11))' ||
    fail "$("$python" -V 2>&1) found, the pinned versions need 3.11 or newer (PYTHON=... names another)"
command -v c++ >/dev/null || command -v g++ >/dev/null ||
    echo "install: no C++ compiler found: DeepSpeed and --compile will not run without one (Debian: apt install g++)" >&2

# The stamp is removed first, so that an installation that is interrupted is completed by the next call.
rm -f "$stamp"
[ -x .venv/bin/python ] && .venv/bin/python -c '' 2>/dev/null || "$python" -m venv --clear .venv ||
    fail "cannot make .venv (Debian: apt install python3-venv)"
pip() { .venv/bin/python -m pip --disable-pip-version-check -qq "$@"; }

echo "install: torch"
pip install -r requirements/torch.txt
echo "install: libraries"
pip install -r requirements/torch.txt -r requirements/run.txt -r requirements/test.txt -c requirements/constraints.txt
echo "install: DeepSpeed"
pip install --no-build-isolation -r requirements/deepspeed.txt -c requirements/constraints.txt
echo "install: adamae"
pip install --no-build-isolation --no-deps --editable .
pip check
echo "$wanted" > "$stamp"

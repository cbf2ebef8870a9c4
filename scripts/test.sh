#!/usr/bin/env bash
# Everything that must pass before a change is merged: install, lint, types, tests.
#
#   bash scripts/test.sh          all tests
#   bash scripts/test.sh --fast   without tests marked slow
#
# Other arguments are passed to pytest.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/.."

bash scripts/install.sh
bash scripts/lint.sh
command -v chromedriver >/dev/null ||
    echo "test: no Chromium found: the pages' tests are skipped (Debian: apt install chromium chromium-driver)" >&2
selection=()
if [ "${1:-}" = --fast ]; then
    selection=(-m "not slow")
    shift
fi
# Screenshots of the pages are kept here for inspection.
export ADAMAE_ARTEFACTS=${ADAMAE_ARTEFACTS:-$PWD/build/artefacts}
# Workers of one thread each. Three for two cores, because many tests wait for processes that they have started.
export OMP_NUM_THREADS=1
.venv/bin/python -m pytest -n 3 --dist loadgroup --durations 5 "${selection[@]}" "$@"

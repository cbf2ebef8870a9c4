#!/usr/bin/env bash
# Collect the packages that gpu.sh needs on a machine without a network, as wheels for its Python, on a machine with one:
#
#   bash scripts/benchmarks/gpu_wheels.sh
#   PACKAGES="av braceexpand timm" FOR_PYTHON=3.11 bash scripts/benchmarks/gpu_wheels.sh
#
# They are put into WHEELS (build/wheels), which then travels with the checkout; gpu.sh installs what lies there. Versions are those
# of requirements/. FOR_PYTHON is the version of Python there (3.12), PACKAGES what it lacks (those that NVIDIA's and similar
# images lack, or have too old: PyAV, braceexpand, DeepSpeed and its needs), each by name without its own needs. Linux on x86-64 only.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
python=${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)}
wheels=${WHEELS:-build/wheels}
read -ra packages <<< "${PACKAGES:-av braceexpand deepspeed hjson pydantic pydantic_core annotated-types typing-inspection typing_extensions}"
fail() { echo "gpu_wheels.sh: error: $1" >&2; exit 2; }

pinned=()
for package in "${packages[@]}"; do
    pin=$(grep -ih "^$package==" requirements/*.txt | head -n 1) ||
        fail "PACKAGES: $package: expected a package of requirements/"
    pinned+=("${pin%%;*}")
done
# pip takes the oldest system that it is told literally.
platforms=(--platform manylinux2014_x86_64 --platform manylinux1_x86_64)
for version in 5 12 17 24 27 28 31 34 35; do platforms+=(--platform "manylinux_2_${version}_x86_64"); done

rm -rf "$wheels"
mkdir -p "$wheels"
for pin in "${pinned[@]}"; do
    case $pin in
        # Published as source alone; without its compiled parts, which it builds where they are used.
        deepspeed==*) "$python" -m pip wheel -q --no-deps --no-build-isolation -w "$wheels" "$pin" ;;
        *) "$python" -m pip download -q --no-deps --only-binary=:all: --implementation cp \
            --python-version "${FOR_PYTHON:-3.12}" "${platforms[@]}" -d "$wheels" "$pin" ;;
    esac || fail "$pin: no wheel for Python ${FOR_PYTHON:-3.12} on Linux"
done
du -ch "$wheels"/*.whl

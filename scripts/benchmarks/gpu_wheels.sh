#!/usr/bin/env bash
# Collect wheels of the packages that gpu.sh needs on a machine without a network. Run it on a machine with a network:
#
#   bash scripts/benchmarks/gpu_wheels.sh
#   PACKAGES="av braceexpand timm" FOR_PYTHON=3.11 bash scripts/benchmarks/gpu_wheels.sh
#
# The wheels are written to WHEELS (build/wheels), to be copied with the checkout; gpu.sh installs all wheels in that
# folder. Versions are those of requirements/. FOR_PYTHON is the version of Python on the GPU machine (3.12). PACKAGES
# are the packages to collect, by name and without their dependencies (default: those that NVIDIA's and similar images
# do not have, or only in too old versions: PyAV, braceexpand, DeepSpeed and its dependencies). Linux on x86-64 only.
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
# pip accepts only wheels for exactly the listed platforms, so older ones must be listed as well.
platforms=(--platform manylinux2014_x86_64 --platform manylinux1_x86_64)
for version in 5 12 17 24 27 28 31 34 35; do platforms+=(--platform "manylinux_2_${version}_x86_64"); done

rm -rf "$wheels"
mkdir -p "$wheels"
for pin in "${pinned[@]}"; do
    case $pin in
        # DeepSpeed is published only as source. It is packed without compiled ops, which it builds when they are used.
        deepspeed==*) "$python" -m pip wheel -q --no-deps --no-build-isolation -w "$wheels" "$pin" ;;
        *) "$python" -m pip download -q --no-deps --only-binary=:all: --implementation cp \
            --python-version "${FOR_PYTHON:-3.12}" "${platforms[@]}" -d "$wheels" "$pin" ;;
    esac || fail "$pin: no wheel for Python ${FOR_PYTHON:-3.12} on Linux"
done
du -ch "$wheels"/*.whl

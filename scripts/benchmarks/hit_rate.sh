#!/usr/bin/env bash
# Hit rate of the sampler on moving tokens, relative to uniform sampling: makes videos, trains by a recipe and prints
# the row of PRETRAIN.md's table. Existing videos are kept, and an unfinished run resumes.
#
#   bash scripts/benchmarks/hit_rate.sh quickstart      as scripts/quickstart.sh, about five minutes on one core
#   bash scripts/benchmarks/hit_rate.sh motion          about a quarter of an hour on one core
#
# OUT is the output folder (default: runs/hit_rate).
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")/../.." && pwd)"
recipe=${1:-quickstart}
out=${OUT:-runs/hit_rate}/$recipe

if [ "$recipe" = motion ]; then
    "$here/.venv/bin/adamae" synthesize "$out/videos" --contrast 0 --videos_per_class 60 --test_per_class 16
else
    "$here/.venv/bin/adamae" synthesize "$out/videos" --object_size 0.25 --videos_per_class 64 --test_per_class 20
fi
"$here/.venv/bin/adamae" pretrain --config "$recipe" --data_path "$out/videos" --output_dir "$out/$recipe"
echo "| recipe | hit rate [95 % interval] | reconstruction | trivial | entropy | top tenth | videos |"
echo "|---|---|---|---|---|---|---|"
"$here/.venv/bin/python" "$here/scripts/benchmarks/hit_rate.py" "$out/$recipe" "$out/videos/test.csv"

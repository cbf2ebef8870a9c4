#!/usr/bin/env bash
# From a fresh clone to a first pre-trained model and pictures of what it sees, in one command.
#
#   bash scripts/quickstart.sh              on videos that it makes itself
#   bash scripts/quickstart.sh /my/videos   on yours: a folder of videos, or a list file
#
# OUT names another folder than runs/quickstart. Other arguments go to adamae pretrain.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"
out=${OUT:-runs/quickstart}

bash "$here/scripts/install.sh"
adamae="$here/.venv/bin/adamae"

if [ $# -gt 0 ] && [ "${1#-}" = "$1" ]; then
    videos=$1
    shift
else
    videos="$out/videos"
    "$adamae" synthesize "$videos"
fi
"$adamae" pretrain --config quickstart --data_path "$videos" --output_dir "$out/pretrain" --log_images_every 100 "$@"

# A video that the model has not seen where there is one, else the first of its own.
if [ -d "$videos" ]; then
    places=("$videos")
    [ -d "$videos/val" ] && places=("$videos/val")
    shown=$(find -L "${places[@]}" -type f | grep -iE '\.(mp4|mkv|webm|avi|mov)$' | LC_ALL=C sort | sed -n 1p)
else
    shown=$(sed -n '1{s/[ ,\t].*//;p}' "$videos")
    [ -f "$shown" ] || shown="$(dirname "$videos")/$shown"
fi
"$adamae" visualize "$out/pretrain" "$shown" --out "$out/pictures" --html
"$adamae" report "$out/pretrain" --out "$out/report.html"

cat <<END

Made in $out/pretrain:
  checkpoints/    weights as safetensors, and what the run needs to go on
  log.jsonl       every number of the run, one line for each logging step
  tensorboard/    the same for TensorBoard
  options.yaml    all options; a preset that repeats the run
Made in $out:
  pictures/       what the model draws, predicts and errs on: open the page, the film or the contact sheet
  report.html     the run's curves

Three commands to try next (after: source .venv/bin/activate):
  tensorboard --logdir $out/pretrain/tensorboard
  adamae pretrain --config $out/pretrain/options.yaml --mask_type random --output_dir $out/random
  adamae bench loader --data_path $videos --num_frames 16 --sampling_rate 1 --input_size 64
END

#!/usr/bin/env bash
# From a fresh clone to a first pre-trained model, figures of its tokens, and its test accuracy after fine-tuning, in
# one command.
#
#   bash scripts/quickstart.sh              on synthetic videos
#   bash scripts/quickstart.sh /my/videos   on your videos: a folder of videos, or a list file
#
# OUT is the output folder (default: runs/quickstart, or runs/quickstart-my-videos for your videos). Other arguments are
# passed to adamae pretrain.
set -euo pipefail
here="$(cd "$(dirname "${BASH_SOURCE[0]}")/.." && pwd)"

bash "$here/scripts/install.sh"
adamae="$here/.venv/bin/adamae"

if [ $# -gt 0 ] && [ "${1#-}" = "$1" ]; then
    videos=$1
    labelled=""
    # One output folder for each source: in a folder of other videos the finished run would be resumed, without a step.
    [ "${videos#/}" = "$videos" ] && source="$PWD/${videos%/}" || source=${videos%/}
    out=${OUT:-runs/quickstart${source//\//-}}
    shift
else
    out=${OUT:-runs/quickstart}
    videos="$out/videos"
    labelled=yes
    "$adamae" synthesize "$videos" --object_size 0.25 --videos_per_class 64 --test_per_class 20
fi
if [ -n "$labelled" ]; then
    # A square that moves across the frame.
    shown="$videos/val/right/00061.mp4"
else
    # Number of videos, and the video to visualize: the first of val.csv if there is one, since the model is not trained
    # on it, otherwise the first of all, and none for shards. Errors in the data are left to adamae pretrain to report.
    { read -r count && IFS= read -r shown; } < <("$here/.venv/bin/python" - "$videos" <<'PYTHON'
import os, sys
from pathlib import Path
from adamae.data.annotations import load_annotations
from adamae.errors import UserError

count, shown = 0, b""
try:
    found = load_annotations(sys.argv[1])
    count = len(found)
    if Path(sys.argv[1], "val.csv").is_file():
        found = load_annotations(sys.argv[1], split="val")
    shown = b"" if found.members is not None else os.fsencode(found.path(0))
except UserError:
    pass
sys.stdout.buffer.write(b"%d\n%s\n" % (count, shown))
PYTHON
    )
    # 480 steps of 16 clips for any number of videos: twenty epochs would be too few steps for thirty videos, and take
    # hours for thousands. Four clips of each video, since real videos take long to decode.
    each=$((count < 4 ? (count > 0 ? count : 1) : 4))
    epochs=$(((480 * each + count - 1) / (count > 0 ? count : 1)))
    set -- --batch_size "$each" --num_sample $((16 / each)) --epochs "$epochs" --warmup_epochs $(((epochs + 9) / 10)) \
        --max_steps 480 --save_ckpt_freq $(((epochs + 3) / 4)) "$@"
fi
"$adamae" pretrain --config quickstart --data_path "$videos" --output_dir "$out/pretrain" --log_images_every 100 "$@"

[ -z "$shown" ] || "$adamae" visualize "$out/pretrain" "$shown" --out "$out/pictures" --html
"$adamae" report "$out/pretrain" --out "$out/report.html"

# Only the synthetic videos have known classes.
if [ -n "$labelled" ]; then
    "$adamae" finetune --config quickstart --finetune "$out/pretrain" --data_path "$videos" --output_dir "$out/finetune"
    "$adamae" finetune --config quickstart --data_path "$videos" --output_dir "$out/scratch"
    "$here/.venv/bin/python" - "$out" <<'PYTHON'
import json, sys

print("\nTest accuracy on twelve motion classes after the same fine-tuning, one view of each video:")
for name, start in ("finetune", "from adaptive pre-training"), ("scratch", "from random weights"):
    with open(f"{sys.argv[1]}/{name}/test/scores.json") as file:
        scores = json.load(file)
    low, high = scores["top1_interval"]
    print(f"  {start:27} {scores['top1']:5.1f} %   (95 % interval {low:.1f} to {high:.1f}, {scores['scored']} videos)")
print(f"  {'chance':27} {100 / scores['classes']:5.1f} %")
PYTHON
fi

cat <<END

Made in $out/pretrain:
  checkpoints/    weights as safetensors, and the training state for resuming
  log.jsonl       every number of the run, one line for each logging step
  tensorboard/    the same for TensorBoard
  options.yaml    all options; a recipe that repeats the run
Made in $out:
  pictures/       sampled tokens, predictions and errors: a page, a film and a contact sheet
  report.html     the run's curves${labelled:+
  finetune/       a classifier from the pre-trained weights, its scores in test/; scratch/ is the same without them}

Three commands to try next (after: source .venv/bin/activate):
  tensorboard --logdir $out/pretrain/tensorboard
  adamae pretrain --config $out/pretrain/options.yaml --mask_type random --output_dir $out/random
  adamae bench loader --data_path $videos --num_frames 16 --sampling_rate 1 --input_size 64
END

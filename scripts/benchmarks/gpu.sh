#!/usr/bin/env bash
# On a machine with a CUDA device: first whether the numbers are right, then how fast and how large a step is.
#
#   bash scripts/benchmarks/gpu.sh
#
# PYTHON names the interpreter (it needs torch; without PyAV the trial run is left out, without transformers the peer),
# OUT the folder for the JSON reports.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
python=${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)}
out=${OUT:-runs/gpu}
mkdir -p "$out"
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
has() { "$python" -c "import $1" 2>/dev/null; }

"$python" -c 'import torch; print(torch.__version__, torch.cuda.get_device_name())'

echo "== are the numbers right? =="
if has pytest; then
    "$python" -m pytest -q -m gpu -p no:cacheprovider tests/models tests/training
else
    echo "no pytest here: parity is not checked"
fi
if has av; then
    "$python" -m adamae synthesize "$out/videos" --videos_per_class 8 --val_per_class 1 --test_per_class 1
    run=(pretrain --config quickstart --data_path "$out/videos" --device cuda --log_every 1 --save_ckpt_steps 2)
    rm -rf "$out/whole" "$out/resumed"
    "$python" -m adamae "${run[@]}" --output_dir "$out/whole" --max_steps 4
    "$python" -m adamae "${run[@]}" --output_dir "$out/resumed" --max_steps 2
    "$python" -m adamae "${run[@]}" --output_dir "$out/resumed" --max_steps 4
    "$python" - "$out" <<'END'
import json, pathlib, sys

whole, resumed = (
    [json.loads(line)["loss"] for line in pathlib.Path(sys.argv[1], run, "log.jsonl").read_text().splitlines()]
    for run in ("whole", "resumed")
)
worst = max(abs(a - b) / abs(a) for a, b in zip(whole, resumed, strict=True))
print(f"resumed against never stopped: losses differ by {worst:.1e} at most")
sys.exit(worst > 1e-3)
END
else
    echo "no PyAV here: no trial run"
fi

echo "== how fast, how large? =="
peer=()
has transformers && peer=(peer)
measure() {
    "$python" -m adamae bench step --rounds 10 --device cuda --json "$@"
}
step() { # NAME OPTION...
    local name=$1
    shift
    has matplotlib && set -- --plot "$out/$name.png" "$@"
    measure "$@" > "$out/$name.json" || return 1
    "$python" - "$out/$name.json" <<'END'
import json, sys

report = json.load(open(sys.argv[1]))
print("{}: {:.1f} clips/s, {:.2f} GiB at the peak, {:.0%} of the matrix peak, {:.0f} MiB for a further clip".format(
    sys.argv[1], report["clips_per_second"], report["peak_memory"] / 2**30, report["share_of_peak"],
    report["kept_per_clip"] / 2**20,
))
for name, other in report["compared"].items():
    print("  {:<20} {:.2f} of our clips/s, {:.2f} GiB at the peak".format(
        name, other["over_ours"], other["peak_memory"] / 2**30
    ))
END
}
others=(published_style compile economy checkpoint_decoder checkpoint_all decoder_budget sampler_half no_sampler_dropout tube "${peer[@]}")
step base-bf16 --model adamae_base --batch_size 16 --precision bf16 --compare "${others[@]}"
step base-fp32 --model adamae_base --batch_size 16 --precision fp32 --compare compile "${peer[@]}"
# Batches that fill the card: the share of the matrix peak is asked for there. A batch too large ends the search.
for batch in 64 128 256 512; do
    step "base-bf16-$batch" --model adamae_base --batch_size "$batch" --precision bf16 --compile || break
done

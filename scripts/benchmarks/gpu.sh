#!/usr/bin/env bash
# On a machine with a CUDA device: first check that the numbers are correct, then measure time and memory of steps, and
# compare them with the predictions of `adamae bench step --predict`.
#
#   bash scripts/benchmarks/gpu.sh
#
# It takes at most LIMIT seconds (570) and works in stages. Finished stages are recorded in WORK (runs/gpu), and the
# next call skips them, as long as neither the settings below nor the code have changed. Exit codes: 0, all stages are
# finished; 1, a stage failed; 3, time is up, run the script again.
#
# PYTHON is the interpreter. It needs torch and einops; a stage that needs another package which is not installed is
# skipped with a line that names the package, and the stages after a failed one still run. Without a network, packages
# come from gpu_wheels.sh: the wheels in WHEELS (build/wheels) are installed into WORK, for this script only.
# The JSON reports and the table, docs/benchmarks's columns for GPUs, are written to WORK. If OUT is set, table.md and
# all small results as results.tar.gz are written there after each stage. If they are unpacked in WORK on another
# machine, the script continues there.
# PREDICT is the card of adamae/gpu_specs.py for which steps are predicted (default: the device's own; empty: none).
# Predictions need no device: if its time is limited, set PREDICT= there, unpack the results elsewhere and run the
# script again.
# DEVICE, MODEL (a name and options), BATCH, BATCHES, ROUNDS and STEPS are for trying the script without a GPU.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit
python=${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)}
work=${WORK:-runs/gpu}
wheels=${WHEELS:-build/wheels}
limit=${LIMIT:-570}
device=${DEVICE:-cuda}
read -ra model <<< "${MODEL:-adamae_base}"
batch=${BATCH:-16}
# Batches that fill the card, for the fraction of the matrix peak. The first batch that does not fit ends the search.
batches=${BATCHES-64 128 256 512}
rounds=${ROUNDS:-10}
steps=${STEPS:-200}
mkdir -p "$work/done" || exit
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
failed=()
left=()

# Results of other settings or of other code are deleted, so that they are not mixed with new ones.
settings="$device ${model[*]} $batch $rounds $steps $(find adamae scripts/benchmarks -name '*.py' | sort | xargs cat | cksum)"
if [ "$(cat "$work/done/settings" 2>/dev/null)" != "$settings" ]; then
    rm -rf "$work"/{done,whole,resumed,fp32,bf16,zero1} "$work"/*.{json,md,png,txt}
    mkdir -p "$work/done" && echo "$settings" > "$work/done/settings" || exit
fi
if compgen -G "$wheels/*.whl" > /dev/null; then
    "$python" -m pip install -q --no-index --no-deps --no-compile --no-cache-dir --upgrade --target "$work/site" \
        "$wheels"/*.whl || exit
    PYTHONPATH=$PYTHONPATH:$(realpath "$work")/site
fi

needs() { # STAGE PACKAGE...: whether all packages are installed
    local stage=$1 missing
    shift
    missing=$("$python" -c 'import sys; from importlib.util import find_spec
print(*[name for name in sys.argv[1:] if find_spec(name) is None])' "$@")
    [ -z "$missing" ] || { echo "gpu.sh: $stage left out, not installed: $missing"; return 1; }
}
run() { # ARGUMENT...: run the interpreter, and end it when time is up
    timeout --foreground -k 10 "$((limit > SECONDS ? limit - SECONDS : 1))" "$python" "$@"
}
stage() { # STAGE COMMAND...: run it unless it is finished; the next stage runs in any case
    local stage=$1 code
    shift
    [ ! -e "$work/done/$stage" ] || { echo "gpu.sh: $stage was finished before"; return 0; }
    if [ "$SECONDS" -ge "$limit" ] || { [ -n "$away" ] && [[ $stage != predicted-* ]]; }; then
        left+=("$stage")
        return 1
    fi
    "$@"
    code=$?
    if [ $code = 0 ]; then
        echo "$SECONDS" > "$work/done/$stage"
    elif [ "$SECONDS" -ge "$limit" ]; then
        echo "gpu.sh: $stage: time is up"
        left+=("$stage")
    else
        echo "gpu.sh: $stage failed"
        failed+=("$stage")
    fi
    deliver
    return $code
}
deliver() { # copy all small results so far to OUT
    [ -n "${OUT:-}" ] || return 0
    tar -czf "$OUT/results.tar.gz" --exclude='./videos' --exclude='./site' --exclude='*.safetensors' --exclude='*.pt' \
        -C "$work" .
    [ ! -e "$work/table.md" ] || cp "$work/table.md" "$OUT"
}
report() { "$python" scripts/benchmarks/gpu_report.py "$@"; }

describe() {
    "$python" -c 'import sys, torch
print(torch.__version__, torch.cuda.get_device_name() if sys.argv[1] == "cuda" else sys.argv[1])' "$device"
}
away=
if found=$(describe 2>/dev/null); then
    echo "$found" | tee "$work/done/device"
elif found=$(cat "$work/done/device" 2>/dev/null); then
    away=1
    echo "gpu.sh: no such device here, only predictions and the table are made: $found"
else
    describe
    exit 1
fi
card_of() { # TEXT: the known card whose name it contains
    local card
    for card in h100 h200 a100 v100; do [[ ${1,,} != *"$card"* ]] || { echo "$card"; return; }; done
}
card=${PREDICT-$(card_of "$found")}

echo "== are the numbers right? =="
parity() {
    run -m pytest -q -m gpu -p no:cacheprovider \
        tests/models/test_gpu.py tests/training/test_torch_engine.py tests/training/test_device_prefetch.py
}
train() { # NAME OPTION...
    local name=$1
    shift
    set -- --config quickstart --data_path "$work/videos" --device "$device" --log_every 1 --epochs 50 "$@"
    run -m adamae pretrain --output_dir "$work/$name" "$@"
}
videos() {
    run -m adamae synthesize "$work/videos" --videos_per_class 8 --val_per_class 1 --test_per_class 1
}
examine() {
    run -m adamae doctor --device "$device" --output_dir "$work"
}
# Problems that doctor finds, such as a full disk, are part of the results and stop nothing, so the stage does not fail.
doctor() {
    local code
    examine > "$work/doctor.txt"
    code=$?
    cat "$work/doctor.txt"
    # An exception also exits with 1.
    [ $code = 0 ] || { [ $code = 1 ] && grep -q '^Must be changed:' "$work/doctor.txt"; }
}
resuming() {
    rm -rf "$work"/{whole,resumed}
    train whole --save_ckpt_steps 2 --max_steps 4 &&
        train resumed --save_ckpt_steps 2 --max_steps 2 &&
        train resumed --save_ckpt_steps 2 --max_steps 4 &&
        report same "$work/whole" "$work/resumed"
}
half_precision() {
    rm -rf "$work"/{fp32,bf16}
    train fp32 --precision fp32 --max_steps "$steps" &&
        train bf16 --precision bf16 --max_steps "$steps" &&
        report curves "$work/fp32" "$work/bf16"
}
zero1() {
    rm -rf "$work/zero1"
    train zero1 --precision fp32 --max_steps "$steps" --engine deepspeed && report curves "$work/fp32" "$work/zero1"
}
# The videos are not among the results that are copied to another machine.
[ -d "$work/videos" ] || [ -n "$away" ] || rm -f "$work/done/videos"
needs parity pytest && stage parity parity
if needs "trial runs" av braceexpand rich safetensors tensorboard yaml && stage videos videos; then
    stage doctor doctor
    stage resuming resuming
    if stage half_precision half_precision && needs zero1 deepspeed; then
        stage zero1 zero1
    fi
fi

echo "== how fast, how large? =="
plots=()
needs pictures matplotlib && plots=(--plot)
step() { # NAME OPTION...
    local name=$1
    shift
    [ ${#plots[@]} = 0 ] || set -- --plot "$work/$name.png" "$@"
    run scripts/benchmarks/step.py --json --model "${model[@]}" --rounds "$rounds" --device "$device" "$@" \
        > "$work/$name.part" && mv "$work/$name.part" "$work/$name.json"
}
# Compiling takes a minute each time, so it is a stage of its own that fits the limit.
others=(reference economy checkpoint_decoder checkpoint_all decoder_budget sampler_half no_sampler_dropout tube)
declare -A asked
names=()
timed() { # NAME OPTION...: a stage that times steps; its options are stored for the prediction
    local name=$1
    shift
    names+=("$name")
    asked[$name]=$*
    stage "$name" "${timer:-step}" "$name" "$@"
}
timed bf16 --batch_size "$batch" --precision bf16 --compare "${others[@]}"
timed bf16-compile --batch_size "$batch" --precision bf16 --compare compile
timed fp32 --batch_size "$batch" --precision fp32 --compare compile
if needs "Transformers' step" transformers; then
    timed bf16-transformers --batch_size "$batch" --precision bf16 --compare transformers
    timed fp32-transformers --batch_size "$batch" --precision fp32 --compare transformers
fi
largest() { # NAME OPTION...: time a batch if it fits in memory; a batch that does not fit is not a failure
    step "$@" && return
    [ "$SECONDS" -lt "$limit" ] || return
    echo "gpu.sh: no step of ${1#bf16-} clips, larger ones are left out"
    touch "$work/done/too-large"
}
for size in $batches; do
    [ -e "$work/done/too-large" ] || timer=largest timed "bf16-$size" --batch_size "$size" --precision bf16 --compile
done

echo "== and by prediction? =="
predict() { # NAME: predict the steps of a stage for the card; nothing runs on it
    local options
    read -ra options <<< "${asked[$1]}"
    run scripts/benchmarks/step.py --json --model "${model[@]}" --predict "$card" "${options[@]}" \
        > "$work/predicted-$1.part" && mv "$work/predicted-$1.part" "$work/predicted-$1.json"
}
[ -n "$card" ] || echo "gpu.sh: predictions left out, the limits of this device are not known"
for name in "${names[@]}"; do
    [ -z "$card" ] || [ ! -e "$work/$name.json" ] || stage "predicted-$name" predict "$name"
done
table() { report table "$@" | tee "$work/table.md"; }
reports=()
for name in "${names[@]}"; do
    [ ! -e "$work/$name.json" ] || reports+=("$work/$name.json")
done
[ ${#reports[@]} = 0 ] || table "${reports[@]}" || failed+=(table)
deliver
said() { (IFS=,; echo "$*"); }
[ ${#failed[@]} = 0 ] || { echo "gpu.sh: failed: $(said "${failed[@]}")"; exit 1; }
[ ${#left[@]} = 0 ] ||
    { echo "gpu.sh: ${away:+no device here, or }time is up, call again for: $(said "${left[@]}")"; exit 3; }

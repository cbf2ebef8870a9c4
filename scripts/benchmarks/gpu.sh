#!/usr/bin/env bash
# On a machine with a CUDA device: first whether the numbers are right, then how fast and how large a step is.
#
#   bash scripts/benchmarks/gpu.sh
#
# PYTHON names the interpreter. It needs torch and einops; a stage that needs another package which is missing is left out with a
# line that names it, and a stage that fails does not keep the next ones from running. The exit code is 1 if one failed.
# OUT is the folder for the JSON reports and the table, docs/benchmarks's columns for GPUs.
# DEVICE, MODEL (a name and options), BATCH, BATCHES, ROUNDS and STEPS are for trying the script where there is no GPU.
set -uo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.." || exit
python=${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)}
out=${OUT:-runs/gpu}
device=${DEVICE:-cuda}
read -ra model <<< "${MODEL:-adamae_base}"
batch=${BATCH:-16}
# Batches that fill the card: the share of the matrix peak is asked for there. A batch too large ends the search.
batches=${BATCHES-64 128 256 512}
rounds=${ROUNDS:-10}
steps=${STEPS:-200}
mkdir -p "$out" || exit
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
failed=()

needs() { # STAGE PACKAGE...: whether all packages are there
    local stage=$1 missing
    shift
    missing=$("$python" -c 'import sys; from importlib.util import find_spec
print(*[name for name in sys.argv[1:] if find_spec(name) is None])' "$@")
    [ -z "$missing" ] || { echo "gpu.sh: $stage left out, not installed: $missing"; return 1; }
}
stage() { # STAGE COMMAND...: run it; the next stage runs in any case
    local stage=$1
    shift
    "$@" || { echo "gpu.sh: $stage failed"; failed+=("$stage"); return 1; }
}
report() { "$python" scripts/benchmarks/gpu_report.py "$@"; }

"$python" -c 'import sys, torch
print(torch.__version__, torch.cuda.get_device_name() if sys.argv[1] == "cuda" else sys.argv[1])' "$device" || exit

echo "== are the numbers right? =="
parity() {
    "$python" -m pytest -q -m gpu -p no:cacheprovider \
        tests/models/test_gpu.py tests/training/test_torch_engine.py tests/training/test_device_prefetch.py
}
train() { # NAME OPTION...
    local name=$1
    shift
    set -- --config quickstart --data_path "$out/videos" --device "$device" --log_every 1 --epochs 50 "$@"
    "$python" -m adamae pretrain --output_dir "$out/$name" "$@"
}
videos() {
    "$python" -m adamae synthesize "$out/videos" --videos_per_class 8 --val_per_class 1 --test_per_class 1
}
resuming() {
    train whole --save_ckpt_steps 2 --max_steps 4 &&
        train resumed --save_ckpt_steps 2 --max_steps 2 &&
        train resumed --save_ckpt_steps 2 --max_steps 4 &&
        report same "$out/whole" "$out/resumed"
}
half_precision() {
    train fp32 --precision fp32 --max_steps "$steps" &&
        train bf16 --precision bf16 --max_steps "$steps" &&
        report curves "$out/fp32" "$out/bf16"
}
needs parity pytest && stage parity parity
if needs "trial runs" av braceexpand rich safetensors tensorboard yaml && stage videos videos; then
    rm -rf "$out"/{whole,resumed,fp32,bf16}
    stage resuming resuming
    stage "half precision" half_precision
fi

echo "== how fast, how large? =="
reports=()
plots=()
needs pictures matplotlib && plots=(--plot)
measure() {
    "$python" scripts/benchmarks/step.py --json "$@"
}
step() { # NAME OPTION...
    local name=$1
    shift
    [ ${#plots[@]} = 0 ] || set -- --plot "$out/$name.png" "$@"
    measure --model "${model[@]}" --rounds "$rounds" --device "$device" "$@" > "$out/$name.json" || return 1
    reports+=("$out/$name.json")
}
others=(reference compile economy checkpoint_decoder checkpoint_all decoder_budget sampler_half no_sampler_dropout tube)
stage bf16 step bf16 --batch_size "$batch" --precision bf16 --compare "${others[@]}"
stage fp32 step fp32 --batch_size "$batch" --precision fp32 --compare compile
if needs "Transformers' step" transformers; then
    stage bf16-transformers step bf16-transformers --batch_size "$batch" --precision bf16 --compare transformers
    stage fp32-transformers step fp32-transformers --batch_size "$batch" --precision fp32 --compare transformers
fi
for size in $batches; do
    step "bf16-$size" --batch_size "$size" --precision bf16 --compile ||
        { echo "gpu.sh: no step of $size clips, larger ones are left out"; break; }
done
table() { report table "${reports[@]}" | tee "$out/table.md"; }
[ ${#reports[@]} = 0 ] || stage table table
[ ${#failed[@]} = 0 ] || { printf 'gpu.sh: failed: %s\n' "$(IFS=,; echo "${failed[*]}")"; exit 1; }

#!/usr/bin/env bash
# On a machine with a CUDA device: first whether the numbers are right, then how fast and how large a step is.
#
#   bash scripts/benchmarks/gpu.sh
#
# PYTHON names the interpreter (it needs torch; without PyAV the trial runs are left out, without transformers the
# peer), OUT the folder for the JSON reports and the table, docs/benchmarks's columns for GPUs.
# DEVICE, MODEL (a name and options), BATCH, BATCHES, ROUNDS and STEPS are for trying the script where there is no GPU.
set -euo pipefail
cd "$(dirname "${BASH_SOURCE[0]}")/../.."
python=${PYTHON:-$([ -x .venv/bin/python ] && echo .venv/bin/python || echo python3)}
out=${OUT:-runs/gpu}
device=${DEVICE:-cuda}
read -ra model <<< "${MODEL:-adamae_base}"
batch=${BATCH:-16}
# Batches that fill the card: the share of the matrix peak is asked for there. A batch too large ends the search.
batches=${BATCHES-64 128 256 512}
rounds=${ROUNDS:-10}
steps=${STEPS:-200}
mkdir -p "$out"
export PYTHONPATH="$PWD${PYTHONPATH:+:$PYTHONPATH}"
has() { "$python" -c "import importlib.util, sys; sys.exit(importlib.util.find_spec('$1') is None)"; }
report() { "$python" scripts/benchmarks/gpu_report.py "$@"; }

"$python" -c 'import sys, torch
print(torch.__version__, torch.cuda.get_device_name() if sys.argv[1] == "cuda" else sys.argv[1])' "$device"

echo "== are the numbers right? =="
if has pytest; then
    "$python" -m pytest -q -m gpu -p no:cacheprovider tests/models tests/training
else
    echo "no pytest here: parity is not checked"
fi
if has av; then
    "$python" -m adamae synthesize "$out/videos" --videos_per_class 8 --val_per_class 1 --test_per_class 1
    train() { # NAME OPTION...
        local name=$1
        shift
        set -- --config quickstart --data_path "$out/videos" --device "$device" --log_every 1 --epochs 50 "$@"
        "$python" -m adamae pretrain --output_dir "$out/$name" "$@"
    }
    rm -rf "$out"/{whole,resumed,fp32,bf16}
    train whole --save_ckpt_steps 2 --max_steps 4
    train resumed --save_ckpt_steps 2 --max_steps 2
    train resumed --save_ckpt_steps 2 --max_steps 4
    report same "$out/whole" "$out/resumed"
    train fp32 --precision fp32 --max_steps "$steps"
    train bf16 --precision bf16 --max_steps "$steps"
    report curves "$out/fp32" "$out/bf16"
else
    echo "no PyAV here: no trial runs"
fi

echo "== how fast, how large? =="
reports=()
measure() {
    "$python" -m adamae bench step --json "$@"
}
step() { # NAME OPTION...
    local name=$1
    shift
    has matplotlib && set -- --plot "$out/$name.png" "$@"
    measure --model "${model[@]}" --rounds "$rounds" --device "$device" "$@" > "$out/$name.json" || return 1
    reports+=("$out/$name.json")
}
peer=()
has transformers && peer=(peer)
others=(published_style compile economy checkpoint_decoder checkpoint_all decoder_budget sampler_half no_sampler_dropout tube)
step bf16 --batch_size "$batch" --precision bf16 --compare "${others[@]}" "${peer[@]}"
step fp32 --batch_size "$batch" --precision fp32 --compare compile "${peer[@]}"
for size in $batches; do
    step "bf16-$size" --batch_size "$size" --precision bf16 --compile || break
done
report table "${reports[@]}" | tee "$out/table.md"

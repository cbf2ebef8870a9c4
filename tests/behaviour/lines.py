"""The command lines, by name.

Each runs in a folder of its own with its name, so ``../NAME/`` is the output of another one, which runs first also if
only a part of the lines is selected. ``../given/`` contains the inputs of :mod:`tests.behaviour.inputs`. Several lines
of one name run one after the other in one folder. ``[2]`` before a line: in two processes, started as a launcher would;
``[torchrun]``: in two processes that torchrun starts.
"""

from __future__ import annotations

import re

COMMANDS = (
    "pretrain finetune prepare scan pack synthesize evaluate predict extract visualize saliency timeline report probe "
    "inspect convert estimate bench doctor"
).split()
SUBJECTS = "step memory loader eval".split()

_CLIP = "--input_size 32 --num_frames 4 --sampling_rate 1"
_SIZES = """--model adamae_tiny --encoder_embed_dim 16 --encoder_num_heads 2 --encoder_depth 1 --decoder_embed_dim 16
    --decoder_num_heads 2 --decoder_depth 1 --patch_size 8"""
_LOOP = "--batch_size 4 --num_workers 0 --log_every 1 --device cpu"
_PRETRAIN_SIZES = f"{_CLIP} {_SIZES} --mask_ratio 0.75"
_PRETRAIN = f"pretrain --output_dir run {_PRETRAIN_SIZES} {_LOOP} --epochs 2 --lr 0.05"
_ON_LIST = f"{_PRETRAIN} --data_path ../synthesize/set/train.csv"
_VIT = "--model vit_tiny_patch16_224 --encoder_embed_dim 16 --encoder_num_heads 2 --encoder_depth 2 --patch_size 8"
_FINETUNE = f"""finetune --data_path ../synthesize/set --output_dir run {_CLIP} {_LOOP} --epochs 2 --lr 0.1
    --test_num_segment 2"""
_SCRATCH = f"{_FINETUNE} {_VIT} --aa none"
_LOOK = "--device cpu --seconds 0.6"
_VIDEO = "../given/videos/a/1.mp4"
_VIEWS = "--num_workers 0 --device cpu"

# Lines that write checkpoints for many other lines.
_NETWORKS = {
    "synthesize": "synthesize set --videos_per_class 6 --val_per_class 2 --test_per_class 2 --classes left,right,up "
    "--size 32 --frames 8 --workers 0",
    "pretrain": f"{_ON_LIST} --encoder_depth 2",
    "finetune": f"{_FINETUNE} --finetune ../pretrain/run",
    "convert-reference": "convert ../pretrain/run -o checkpoint-0.pth --to reference",
}

_PRETRAINING = {
    "pretrain-random": f"{_ON_LIST} --mask_type random --max_steps 3",
    "pretrain-tube": f"{_ON_LIST} --mask_type tube --max_steps 3",
    "pretrain-frame": f"{_ON_LIST} --mask_type frame --max_steps 3 --mask_ratio 0.5",
    "pretrain-motion": f"{_ON_LIST} --mask_type motion --max_steps 3 --keep_ratio 0.5",
    "pretrain-economy": f"{_ON_LIST} --economy --max_steps 3",
    "pretrain-motion-frames": f"{_ON_LIST} --frame_selection motion --frame_oversample 1.5 --max_steps 3",
    "pretrain-segment": f"{_ON_LIST} --frame_sampling segment --flip --max_steps 3 --decoder decord",
    "pretrain-folder": f"{_PRETRAIN} --data_path ../synthesize/set/val --max_steps 1",
    "pretrain-shards": f"{_PRETRAIN} --data_path ../pack/shards/train --max_steps 3 --shard_window 2",
    "pretrain-damaged": f"{_PRETRAIN} --data_path ../given/videos/test.csv --max_steps 3 --max_bad_fraction 0.5 "
    "--batch_size 3",
    "pretrain-too-damaged": f"{_PRETRAIN} --data_path ../given/videos/test.csv --batch_size 3",
    "pretrain-recompute": f"""{_ON_LIST} --checkpoint_activations decoder --max_steps 2 --output_dir decoder
        {_ON_LIST} --checkpoint_activations all --max_steps 2 --output_dir all""",
    "pretrain-deepspeed": f"{_ON_LIST} --engine deepspeed --max_steps 3",
    "pretrain-resume": f"""{_ON_LIST} --max_steps 3
        {_ON_LIST} --clip_grad 1
        {_ON_LIST} --clip_grad 1
        pretrain --config run/options.yaml --output_dir again""",
    "pretrain-resume-workers": f"""{_ON_LIST} --save_ckpt_steps 2 --keep_last 3 --num_workers 1 --max_steps 4
        {_ON_LIST} --resume run/checkpoints/step-00000002 --output_dir other""",
    "pretrain-other-network": f"""{_ON_LIST} --max_steps 1
        {_ON_LIST} --encoder_embed_dim 32""",
    "pretrain-two-processes": f"[2] {_ON_LIST} --engine plain --batch_size 2 --max_steps 3",
    "pretrain-torchrun": f"[torchrun] {_ON_LIST} --batch_size 2 --max_steps 2",
    "pretrain-pictures": f"{_ON_LIST} --log_images_every 2 --max_steps 3 --log_dir events",
    "pretrain-repeated": f"{_ON_LIST} --num_sample 3 --batch_size 2 --max_steps 3",
    "pretrain-total-batch": f"{_ON_LIST} --total_batch_size 8 --max_steps 2",
    "pretrain-losses": f"""{_ON_LIST} --no_normlize_target --reconstruction_loss l1 --sampling_reduction sum
        --sampling_entropy_weight 0.01 --no_detach_sampler_input --sampler_network mlp
        --drop_path 0.1 --init_values 0.1 --weight_decay_end 0.1 --max_steps 3 --seed 7""",
    "pretrain-half-precision": f"{_ON_LIST} --precision bf16 --max_steps 2",
    "pretrain-presets": f"""pretrain --config quickstart --data_path ../synthesize/set/train.csv --output_dir quick
        --max_steps 1 --device cpu --num_workers 0 {_PRETRAIN_SIZES} --batch_size 4
        pretrain --config adamae_ssv2_base --data_path ../synthesize/set/train.csv --output_dir published --max_steps 1
        --device cpu --num_workers 0 {_PRETRAIN_SIZES} --batch_size 2 --total_batch_size 4 --warmup_epochs 1""",
    "pretrain-published-flags": f"""{_ON_LIST} --max_steps 1 --warmup_lr 1e-6 --softmax_temp 1 --color_jitter 0.4
        --train_interpolation bicubic --opt adamw --momentum 0.9 --local_rank 0 --mask_type learnable""",
    "pretrain-old-run": f"""pretrain --data_path ../synthesize-two/set/train.csv --output_dir ../given/old_runs/pretrain
        {_CLIP} {_LOOP} --encoder_embed_dim 8 --encoder_num_heads 2 --encoder_depth 1 --patch_size 8 --model adamae_tiny
        --decoder_embed_dim 8 --decoder_num_heads 2 --decoder_depth 1 --mask_ratio 0.75 --epochs 2""",
}

_FINETUNING = {
    "finetune-scratch": f"{_SCRATCH} --epochs 1",
    "finetune-augmented": f"{_FINETUNE} {_VIT} --num_sample 2 --mixup_mode elem --drop_path 0.2 --drop 0.1 "
    "--fc_drop_rate 0.1 --reprob 0.5 --epochs 1",
    "finetune-average": f"{_SCRATCH} --model_ema --model_ema_decay 0.8 --drop_path 0.3",
    "finetune-motion": f"{_SCRATCH} --token_selection motion --keep_ratio 0.5 --frame_selection motion --epochs 1",
    "finetune-adaptive": f"{_FINETUNE} --finetune ../pretrain/run --token_selection adaptive --aa none --epochs 1",
    "finetune-random": f"{_SCRATCH} --token_selection random --epochs 1 --mixup 0 --cutmix 0 --smoothing 0",
    "finetune-published-checkpoint": f"{_FINETUNE} --finetune ../convert-reference/checkpoint-0.pth --max_steps 1",
    "finetune-again": f"{_FINETUNE} --finetune ../finetune/run/best --max_steps 1 --aa none --mixup_mode pair",
    "finetune-resume": f"""{_SCRATCH} --num_sample 2 --model_ema --model_ema_decay 0.8 --max_steps 3
        {_SCRATCH} --num_sample 2 --model_ema --model_ema_decay 0.8 --num_workers 1
        {_SCRATCH} --num_sample 2 --model_ema --model_ema_decay 0.8 --eval""",
    "finetune-eval": f"""{_FINETUNE} --eval --finetune ../finetune/run --output_dir other
        {_FINETUNE} --eval --finetune ../finetune/run --output_dir more --eval_data_path ../synthesize/set/val.csv
        --test_num_crop 1""",
    "finetune-unvalidated": f"{_SCRATCH} --disable_eval_during_finetuning --epochs 1 --recount 2 --layer_decay 1",
    "finetune-folder": f"""finetune --data_path ../given/classes --output_dir run {_CLIP} {_LOOP} {_VIT} --aa none
        --epochs 1 --batch_size 2 --data_set SSV2 --no_use_mean_pooling""",
    "finetune-two-processes": f"[2] {_SCRATCH} --engine plain --batch_size 2 --epochs 1",
    "finetune-deepspeed": f"{_SCRATCH} --engine deepspeed --deepspeed_config zero0 --max_steps 2",
    "finetune-preset": f"""finetune --config quickstart --data_path ../synthesize/set --output_dir run --max_steps 1
        --device cpu --num_workers 0 {_CLIP} {_VIT} --batch_size 4 --color_jitter 0.4 --crop_pct 0.9""",
    "finetune-old-run": f"""finetune --data_path ../synthesize-two/set --output_dir ../given/old_runs/finetune {_CLIP}
        {_LOOP} --encoder_embed_dim 8 --encoder_num_heads 2 --encoder_depth 1 --patch_size 8
        --model vit_tiny_patch16_224 --lr 0.1 --test_num_segment 1 --model_ema --model_ema_decay 0.8 --aa none
        --epochs 3""",
}

_DATA = {
    # Data of the old runs.
    "synthesize-two": "synthesize set --videos_per_class 6 --val_per_class 1 --test_per_class 0 --classes left,right "
    "--size 32 --frames 8 --workers 0",
    "synthesize-hard": """synthesize out --classes clockwise,growing --videos_per_class 1 --val_per_class 0
        --test_per_class 1 --size 48 --frames 6 --background textured --camera_noise 0.02 --objects 2 --contrast 0
        --seed 5 --workers 1
        synthesize out --classes clockwise,growing --videos_per_class 1 --val_per_class 0 --test_per_class 1
        --size 32""",
    "prepare-folder": "prepare folder ../given/classes -o out --workers 1 --short_side 24 --crf 30",
    "prepare-lists": "prepare folder ../given/listed -o out --no_transcode --paths absolute",
    "prepare-ssv2": """prepare ssv2 ../given/ssv2 --annotations ../given/ssv2/labels -o out --workers 1 --part 1/2
        prepare ssv2 ../given/ssv2 --annotations ../given/ssv2/labels -o out --workers 1 --part 2/2
        prepare ssv2 ../given/ssv2 --annotations ../given/ssv2/labels -o out --workers 1 --retry
        prepare ssv2 ../given/ssv2 --annotations ../given/ssv2/labels -o out --workers 1 --crf 30""",
    "prepare-k400": "prepare k400 ../given/k400 -o out --annotations ../given/k400/labels --workers 1 --gop 2",
    "prepare-ucf101": "prepare ucf101 ../given/ucf101 -o out --workers 1 --split 1",
    "prepare-hmdb51": "prepare hmdb51 ../given/hmdb51 -o out --no_transcode --split 1",
    "scan": "scan ../given/videos/test.csv -o out --workers 1",
    "scan-full": """scan ../given/videos/test.csv -o out --workers 1 --full --json
        scan ../given/videos -o other --workers 1 --decoder decord --json""",
    "pack": "pack ../synthesize/set -o shards --videos_per_shard 6 --workers 1",
    "pack-list": """pack ../synthesize/set/train.csv -o shards --no_shuffle --shard_size 20KB --workers 2
        pack ../synthesize/set/train.csv -o shards --no_shuffle --shard_size 20KB --workers 2
        pack ../given/videos/test.csv -o more --max_bad_fraction 0""",
}

_READING = {
    "evaluate": f"evaluate ../finetune/run --data_path ../synthesize/set/test.csv --output_dir out {_VIEWS} --json",
    "evaluate-views": f"""evaluate ../finetune/run/best --data_path ../synthesize/set/test.csv {_VIEWS} --softmax
        --test_num_segment 1 --test_num_crop 1 --short_side_size 40 --frame_sampling segment --output_dir out
        evaluate ../finetune/run --data_path ../synthesize/set {_VIEWS} --token_selection random --keep_ratio 0.5
        --frame_selection motion --output_dir random""",
    "evaluate-two-processes": f"[2] evaluate ../finetune/run --data_path ../pack/shards/test --output_dir out {_VIEWS}",
    "evaluate-damaged": f"""evaluate ../finetune/run --data_path ../given/videos/three.csv --output_dir out {_VIEWS}
        --decoder decord""",
    "predict": f"predict ../finetune/run {_VIDEO} ../given/videos/b --top 2 {_VIEWS}",
    "predict-damaged": f"predict ../finetune/run ../given/videos ../given/no.mp4 {_VIEWS} --token_selection motion",
    "extract": "extract ../pretrain/run ../synthesize/set/test.csv -o features.npz --device cpu --num_workers 0",
    "extract-levels": f"""extract ../pretrain/run ../given/videos -o time.npz --level time --window_step 2 {_VIEWS}
        extract ../convert-reference/checkpoint-0.pth {_VIDEO} -o tubelet.npz --level tubelet {_VIEWS} --sampling_rate 1
        extract ../finetune/run {_VIDEO} -o window.npz --token_selection adaptive --keep_ratio 0.5 {_VIEWS}""",
    "visualize": f"visualize ../pretrain/run {_VIDEO} -o out {_LOOK}",
    "visualize-mask-types": f"""visualize ../pretrain/run {_VIDEO} -o out {_LOOK} --draws 2
        --seed 5 --mask_type learnable random tube frame motion --mask_ratio 0.75 --own_statistics --columns 2""",
    "visualize-html": f"visualize ../pretrain/run {_VIDEO} -o out {_LOOK} --html --mask_ratio 0.5 0.75",
    "visualize-economy": f"visualize ../pretrain-economy/run {_VIDEO} -o out {_LOOK} --start 0.2",
    "saliency": f"""saliency ../pretrain/run {_VIDEO} -o out {_LOOK}
        saliency ../pretrain-random/run {_VIDEO} -o random {_LOOK}""",
    "timeline": f"timeline ../pretrain/run {_VIDEO} -o out {_LOOK} --top 2",
    # Recorded runs, whose clips per second do not change.
    "report": "report ../given/runs/pretrain ../given/runs/finetune ../given/runs/other -o page.html",
    "probe": f"probe ../pretrain/run --data_path ../synthesize/set {_VIEWS} --k 3",
    "probe-json": f"""probe ../finetune/run --data_path ../synthesize/set {_VIEWS} --json --probe_tokens 4
        probe ../pretrain/run --data_path ../synthesize/set {_VIEWS} --json --random_weights --probe_tokens 0""",
    "inspect": """inspect ../pretrain/run
        inspect ../convert-reference/checkpoint-0.pth
        inspect ../finetune/run --json
        inspect ../pretrain-deepspeed/run --json
        inspect ../given/unknown.pth""",
    "convert": """convert ../pretrain/run -o plain.safetensors
        convert ../convert-reference/checkpoint-0.pth -o again.safetensors --to safetensors
        convert ../finetune/run -o finetuned.pth --to reference
        convert ../finetune/run -o finetuned --to transformers
        convert ../pretrain-random/run -o pretrained --to transformers
        convert ../pretrain/run -o adaptive --to transformers
        inspect finetuned
        inspect finetuned.pth --json""",
}

_MEASURING = {
    "estimate": f"""estimate --data_path ../synthesize/set/train.csv {_PRETRAIN_SIZES} {_LOOP} --passes 1
        --loader_videos 4 --json
        estimate {_PRETRAIN_SIZES} {_LOOP} --passes 1 --num_videos 4000 --loader_rate 0.001 --clips_per_pass 1 --gpus 2
        estimate {_PRETRAIN_SIZES} {_LOOP} --passes 1 --num_videos 36 --loader_rate 0.01 --hours_per_epoch""",
    "bench-step": f"""bench step {_PRETRAIN_SIZES} --rounds 1 --device cpu --json
        bench step {_PRETRAIN_SIZES} --rounds 1 --device cpu --compare tube --plot step.png""",
    "bench-memory": f"bench memory {_PRETRAIN_SIZES}",
    "bench-loader": f"""bench loader ../synthesize/set/train.csv {_CLIP} --num_videos 4 --batch_size 2 --num_workers 0
        bench loader ../synthesize/set/train.csv {_CLIP} --num_videos 4 --batch_size 2 --num_workers 0 --gpu_rate 50
        --json""",
    "bench-eval": f"""bench eval ../synthesize/set/test.csv {_CLIP} --num_videos 2
        bench eval ../given/videos {_CLIP} --num_videos 2 --test_num_segment 1 --json""",
}

# Each must exit with 2 and one line of error, and write no file.
_MISTAKES = {
    "mistakes-pretrain": """--data_path ../given/nowhere; --data_path ../given/empty; --output_dir ../given/file/run
        --output_dir ''; --input_size 33; --num_frames 5; --encoder_num_heads 3; --mask_ratio 0; --mask_ratio 0.99
        --model vit_base_patch16_224; --model adamae_bse; --device gpu; --warmup_epochs 3; --total_batch_size 6
        --batch_size 40; --deepspeed_config zero9; --resume nowhere; --config nowhere; --mask_typ tube
        --mask_type grid; --layer_decay 0.5; --opt sgd; --log_images_every 2 --log_images_path nowhere; --epochs x""",
    "mistakes-finetune": """--nb_classes 2; --finetune nowhere.pth; --finetune ../pretrain/run --encoder_embed_dim 24
        --model adamae_tiny; --model vit_giant; --aa randaug; --crop_scale 1 0.08; --batch_size 40
        --cutmix_minmax 0.5 0.1; --frame_sampling segment --test_num_segment 5; --short_side_size 16; --eval
        --eval --finetune ../pretrain/run; --mask_ratio 0.9; --data_path ../given/empty
        --token_selection adaptive""",
    "mistakes-others": """pertrain; --vesion; prepare ssv3 ../given/ssv2 -o out; prepare ssv2 ../given/k400 -o out
        scan ../given/empty; pack ../given/nowhere -o out; synthesize out --classes left,sideways
        synthesize ../given; evaluate ../pretrain/run --data_path ../synthesize/set/test.csv
        evaluate ../finetune/run; predict ../finetune/run; predict ../pretrain/run ../given/videos
        extract ../pretrain/run ../given/videos -o features.h5; visualize ../finetune/run ../given/videos -o out
        visualize ../pretrain/run ../given/videos -o out --mask_type grid; saliency ../pretrain/run nowhere -o out
        timeline ../pretrain/run ../given/videos; report ../given/empty; probe ../pretrain/run; inspect nowhere
        inspect ../given/file; convert ../pretrain/run -o x.pth --to keras; estimate --hours_per_epoch; bench stap
        doctor --device tpu; bench loader; bench step --lr 1; bench eval ../given/empty
        bench step --compare nothing""",
}


def _each(text: str) -> list[str]:
    return [part.strip() for part in re.split(r";|\n", text)]


def _whole(text: str) -> list[str]:
    """Return the command lines of a text; a line that begins with an option continues the previous one."""
    lines: list[str] = []
    for line in map(str.strip, text.splitlines()):
        if line.startswith("--"):
            lines[-1] += f" {line}"
        else:
            lines.append(line)
    return lines


def _all_lines() -> dict[str, list[str]]:
    groups = (_NETWORKS, _DATA, _PRETRAINING, _FINETUNING, _READING, _MEASURING)
    lines = {name: _whole(text) for group in groups for name, text in group.items()}
    before = {"mistakes-pretrain": f"{_ON_LIST} ", "mistakes-finetune": f"{_SCRATCH} ", "mistakes-others": ""}
    for name, text in _MISTAKES.items():
        lines[name] = [" ".join((before[name] + part).split()) for part in _each(text)]
    lines["help"] = ["", "--help", "--version", "bench", *(f"{name} --help" for name in COMMANDS)]
    lines["help"] += [f"bench {subject} --help" for subject in SUBJECTS]
    return lines


LINES = _all_lines()

"""The whole protocol on twenty real gestures, each clip cut in time: one table, with intervals.

    .venv/bin/python scripts/benchmarks/gestures.py /my/clips --output_dir runs/gestures

For every seed: pre-train on the training parts without labels, fine-tune from that and from random weights in the same
way and for equally many steps, test both with several views of each test part, and probe frozen features with the
nearest neighbour: of the pre-trained network, of the network with which pre-training began, and of random weights as
``adamae probe`` draws them. When the command is run again, finished pieces are skipped and an interrupted one resumes
from its last checkpoint.
"""

from __future__ import annotations

import argparse
import contextlib
import io
import json
import math
import shlex
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from typing import Any

import torch
from compare_pretraining import Comparison, OutOfTimeError, interval, run_adamae
from gesture_parts import FAR, GESTURES, PRETRAINING, REPEATS, SIGNERS, write_parts
from torch import Tensor

from adamae.cli.main import run_command
from adamae.data.splits import load_splits
from adamae.data.views import VideoViews, plan_test
from adamae.errors import UserError
from adamae.evaluation.probes import knn_probe

FRAMES, SIZE = 8, 64
NETWORK = "--encoder_embed_dim 96 --encoder_depth 4 --encoder_num_heads 4 --patch_size 16"
NETWORK += f" --num_frames {FRAMES} --sampling_rate 1 --input_size {SIZE} --num_workers 0"
# The quickstart's widths and depths. Patches of 16 pixels give a quarter of its tokens, so more steps in the same time;
# three quarters of these few tokens are masked. Targets are not normalised because of the flat wall in the background:
# its normalised patches would be only sensor noise (PRETRAIN.md, section on the sampler).
PRETRAIN = f"""--model adamae_tiny {NETWORK} --decoder_embed_dim 64 --decoder_depth 2 --decoder_num_heads 4
    --mask_type learnable --mask_ratio 0.75 --no_normlize_target --batch_size 16 --lr 0.032 --min_lr 0.0032
    --warmup_epochs 1 --save_ckpt_freq 4 --log_every 20"""
# One step with these learning rates leaves the initial weights unchanged.
NO_LEARNING = ("--lr", "1e-20", "--min_lr", "1e-20")
# The last weights are tested, so that no checkpoint is selected on the test parts. No flip: a mirrored gesture is
# another gesture.
FINETUNE = f"""--model vit_tiny_patch16_224 {NETWORK} --drop_path 0 --aa none --num_sample 1 --crop_scale 0.5 1.0
    --reprob 0 --mixup 0 --cutmix 0 --no_flip --batch_size 20 --lr 0.01 --min_lr 0.0001 --warmup_epochs 5
    --disable_eval_during_finetuning --test_num_segment 1 --test_num_crop 1 --save_ckpt_freq 20 --log_every 20"""
VIEWS = "--test_num_segment 3 --test_num_crop 3 --num_workers 0"
# One neighbour, as two training parts of a class cannot outvote the nearest one.
PROBE = "--k 1 --probe_tokens 0 --num_workers 0 --json"
# Features without a network, computed from clips (T, S, S, 3) with frames of S x S pixels.
PIXEL_SIZE = 16
PLAIN: dict[str, Callable[[Tensor], Tensor]] = {
    f"pixels at {PIXEL_SIZE} x {PIXEL_SIZE}": torch.flatten,
    "mean colour": lambda clip: clip.mean(dim=(0, 1, 2)),
}

PRETRAINED, BEGINNING, RANDOM = "pretrain", "beginning", "random"
NAMES = {
    PRETRAINED: "pre-trained",
    BEGINNING: "random, as pre-training begins",
    RANDOM: "random, as `--random_weights` draws them",
}
# Name of a score -> kind of the pieces that contain it; the columns of the table.
_SCORES = {"all": "probe", "person": "probe", "far": "probe", "top1": "finetune"}


@dataclass
class Gestures(Comparison):
    """Runs the missing pieces.

    Attributes:
        clips: Folder of the clips.
        parts: Number of parts of each clip.
        gap: Unused frames between parts.
    """

    clips: Path = Path()
    parts: int = 4
    gap: int = 3

    def compare_weights(self, seeds: Sequence[int]) -> None:
        """Run everything that is missing, seed by seed, so that an early stop leaves complete seeds."""
        self.check_same()
        self.piece("videos", self._cut)
        for name, describe in PLAIN.items():
            piece = f"probe-{name.replace(' ', '-')}"
            self.results[name] = self.piece(piece, partial(self._probe_plainly, describe))
        for seed in seeds:
            unlabelled = ["--data_path", f"{self.videos}/{PRETRAINING}", "--seed", str(seed), *self.pretraining]
            for weights, more in ((PRETRAINED, []), (BEGINNING, ["--max_steps", "1", *NO_LEARNING])):
                output = self.folder / f"{weights}-{seed}"
                words = [*unlabelled, "--output_dir", str(output), *more]
                self.piece(output.name, partial(self._call, "pretrain", *words))
            for weights in NAMES:
                self.results[f"probe-{weights}-{seed}"] = self.piece(
                    f"probe-{weights}-{seed}", partial(self._probe_all, weights, seed)
                )
            for weights in (PRETRAINED, RANDOM):
                self.results[f"finetune-{weights}-{seed}"] = self.piece(
                    f"finetune-{weights}-{seed}", partial(self._tune, weights, seed)
                )

    def _cut(self) -> dict[str, Any]:
        # Larger than the network's input, so that small crops are not enlarged.
        sizes = {"short_side": SIZE * 3 // 2, "least": FRAMES}
        write_parts(self.clips, Path(self.videos), parts=self.parts, gap=self.gap, **sizes)
        return {"clips": len(GESTURES), "parts": self.parts, "gap": self.gap, **sizes}

    def _probe_all(self, weights: str, seed: int) -> dict[str, Any]:
        """Compute the top-1 accuracy of the nearest neighbour, see :func:`shares`."""
        source = self.folder / f"{BEGINNING if weights == BEGINNING else PRETRAINED}-{seed}"
        words = ["probe", str(source), "--seed", str(seed), *shlex.split(PROBE)]
        words += ["--random_weights"] if weights == RANDOM else []

        def right(folder: str) -> tuple[int, int]:
            found = json.loads(run_here([*words, "--data_path", folder]))["probes"]["knn"]
            return found["top1_correct"], found["scored"]

        return shares(right, self.videos) | {"command": shlex.join(["adamae", *words])}

    def _probe_plainly(self, describe: Callable[[Tensor], Tensor]) -> dict[str, Any]:
        """Compute the same scores on the same clips without a network."""
        plan = plan_test(num_frames=FRAMES, sampling_rate=1, size=PIXEL_SIZE, num_clips=1, num_crops=1)

        def right(folder: str) -> tuple[int, int]:
            splits = load_splits(folder)
            train, test = (
                torch.stack([describe(views[row]["views"][0].float()) for row in range(len(views))])
                for views in (VideoViews(videos, plan) for videos in (splits.train, splits.test))
            )
            known, wanted = (torch.from_numpy(videos.labels) for videos in (splits.train, splits.test))
            votes = knn_probe(train, known, test, splits.num_classes, k=1)
            return int((votes.argmax(dim=1) == wanted).sum()), len(wanted)

        return shares(right, self.videos)

    def _tune(self, weights: str, seed: int) -> dict[str, Any]:
        output = self.folder / f"finetune-{weights}-{seed}"
        words = ["--data_path", self.videos, "--output_dir", str(output), "--seed", str(seed), *self.finetuning]
        start = ["--finetune", str(self.folder / f"{PRETRAINED}-{seed}")] if weights == PRETRAINED else []
        done = self._call("finetune", *words, *start)
        scored = ["--data_path", self.videos, "--output_dir", str(output / "views"), *shlex.split(VIEWS)]
        self._call("evaluate", str(output), *scored)
        return done | json.loads((output / "views" / "scores.json").read_text())

    def weights_table(self, seeds: Sequence[int]) -> str:
        """Return a Markdown table: means with intervals over the seeds that are finished, gains, and baselines."""
        lines = [
            "| weights | k-NN of all gestures, % | seed by seed | k-NN of one person's, % | seed by seed "
            "| k-NN, first part to last, % | seed by seed | fine-tuned, % | seed by seed |",
            "|---|---|---|---|---|---|---|---|---|",
        ]
        scores = {
            (weights, score): [
                self.results[name][score] for seed in seeds if (name := f"{piece}-{weights}-{seed}") in self.results
            ]
            for weights in NAMES
            for score, piece in _SCORES.items()
        }
        for weights, name in NAMES.items():
            # The network with which pre-training begins is not fine-tuned.
            cells = [scores[weights, score] for score in _SCORES if (weights, score) != (BEGINNING, "top1")]
            lines.append(_row(name, cells))
        for other in (BEGINNING, RANDOM):
            gains = [
                [mine - its for mine, its in zip(scores[PRETRAINED, score], scores[other, score], strict=False)]
                for score in _SCORES
                if (other, score) != (BEGINNING, "top1")
            ]
            lines.append(_row(f"pre-trained minus {NAMES[other]}", gains))
        for name in PLAIN:
            found = self.results.get(name)
            cells = [] if found is None else [[found[score]] for score, piece in _SCORES.items() if piece == "probe"]
            lines.append(_row(f"no network: {name}", cells))
        among = 100 * len(SIGNERS) / len(GESTURES)
        chance = 100 / len(GESTURES)
        lines.append(_row("chance", [[chance], [among], [chance], [chance]]))
        return "\n".join(lines)


def run_here(words: Sequence[str]) -> str:
    """Run ``adamae`` in this process, as dozens of small probes would spend most of their time on startup."""
    told = io.StringIO()
    with contextlib.redirect_stdout(told):
        code = run_command(words[0], words[1:])
    if code:
        raise SystemExit(code)
    return told.getvalue()


def shares(right: Callable[[str], tuple[int, int]], videos: str) -> dict[str, float]:
    """Compute the percentage of test parts that are classified correctly.

    Args:
        right: Function from the folder of a data set to the number of correct test parts and the number of test parts.
        videos: Folder of the data set from :func:`write_parts`.

    Returns:
        "all": among all gestures; "person": among the gestures of the same person; "far": among all gestures, the last
        part of each clip classified by the first parts alone.
    """
    found = {"all": [""], "person": list(SIGNERS), "far": [FAR]}
    counts = {score: [right(str(Path(videos) / folder)) for folder in folders] for score, folders in found.items()}
    return {
        score: 100 * sum(some for some, _ in pairs) / sum(count for _, count in pairs)
        for score, pairs in counts.items()
    }


def _row(name: str, columns: Sequence[Sequence[float]]) -> str:
    several = (", ".join(f"{value:.1f}" for value in values) if len(values) > 1 else "" for values in columns)
    cells = [cell for values, each in zip(columns, several, strict=True) for cell in (interval(values), each)]
    # Columns without numbers stay empty.
    cells += [""] * (2 * len(_SCORES) - len(cells))
    return f"| {' | '.join([name, *cells])} |"


def main() -> int:
    """Run what is missing and print the table; return 3 if something is still missing."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("clips", type=Path, help="folder with asl_GESTURE.mkv")
    parser.add_argument("--output_dir", type=Path, required=True, help="folder for everything")
    parser.add_argument("--seeds", type=int, nargs="+", default=[0, 1, 2])
    parser.add_argument("--parts", type=int, default=4, help="of each clip, for training and test in turns")
    parser.add_argument("--gap", type=int, default=3, help="frames between parts that are not used")
    parser.add_argument("--pretrain_epochs", type=int, default=25, help=f"each sees every part {REPEATS} times")
    parser.add_argument("--finetune_epochs", type=int, default=60)
    parser.add_argument("--minutes", type=float, default=math.inf, help="begin no piece of work after so long")
    parser.add_argument("--pretraining", default="", help="more options of adamae pretrain")
    parser.add_argument("--finetuning", default="", help="more options of adamae finetune")
    given = parser.parse_args()
    comparison = Gestures(
        given.output_dir,
        [*shlex.split(PRETRAIN), "--epochs", str(given.pretrain_epochs), *shlex.split(given.pretraining)],
        [*shlex.split(FINETUNE), "--epochs", str(given.finetune_epochs), *shlex.split(given.finetuning)],
        ["--parts", str(given.parts), "--gap", str(given.gap)],
        run_adamae,
        time.monotonic() + 60 * given.minutes,
        clips=given.clips,
        parts=given.parts,
        gap=given.gap,
    )
    code = 0
    try:
        comparison.compare_weights(given.seeds)
    except OutOfTimeError as piece:
        print(f"out of time before {piece}; run the same command to resume", file=sys.stderr)
        code = 3
    except UserError as error:
        print(error, file=sys.stderr)
        return 2
    print(comparison.weights_table(given.seeds))
    print(
        f"\n{given.pretrain_epochs} epochs of pre-training, {given.finetune_epochs} of fine-tuning, {given.parts} "
        f"parts of each of {len(GESTURES)} clips with gaps of {given.gap} frames; mean and 95 % interval (Student's t) "
        "over seeds of weights and training, not over videos."
    )
    return code


if __name__ == "__main__":
    sys.exit(main())

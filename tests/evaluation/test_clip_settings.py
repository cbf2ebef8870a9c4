"""What a checkpoint tells of its clips."""

from __future__ import annotations

from pathlib import Path

import torch

from adamae.checkpoints.formats import open_checkpoint
from adamae.evaluation.clip_settings import training_clip
from tests.checkpoints.networks import classifier


def test_what_a_checkpoint_tells_of_its_clips(tmp_path: Path, finetuned: Path) -> None:
    clip = training_clip(open_checkpoint(finetuned))
    assert (clip.num_frames, clip.size, clip.sampling_rate, clip.frame_sampling) == (4, 16, 4, "dense")
    assert clip.guessed == ("frame_sampling", "sampling_rate")
    torch.save({"model": classifier().state_dict(), "args": {"data_set": "SSV2", "num_frames": 4}}, tmp_path / "s.pth")
    clip = training_clip(open_checkpoint(tmp_path / "s.pth"))
    assert (clip.frame_sampling, clip.guessed) == ("segment", ("size",))

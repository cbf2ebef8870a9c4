"""What a checkpoint tells of its clips."""

from __future__ import annotations

from pathlib import Path

import torch

from adamae.checkpoints.formats import open_checkpoint
from adamae.evaluation.clip_facts import clip_facts
from tests.checkpoints.networks import classifier


def test_what_a_checkpoint_tells_of_its_clips(tmp_path: Path, finetuned: Path) -> None:
    facts = clip_facts(open_checkpoint(finetuned))
    assert (facts.num_frames, facts.size, facts.sampling_rate, facts.frame_sampling) == (4, 16, 4, "dense")
    assert facts.guessed == ("frame_sampling", "sampling_rate")
    torch.save({"model": classifier().state_dict(), "args": {"data_set": "SSV2", "num_frames": 4}}, tmp_path / "s.pth")
    facts = clip_facts(open_checkpoint(tmp_path / "s.pth"))
    assert (facts.frame_sampling, facts.guessed) == ("segment", ("size",))

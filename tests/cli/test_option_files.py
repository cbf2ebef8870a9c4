"""Through how many files the options of a run go: who follows one by finger does not get lost."""

from __future__ import annotations

import sys
from pathlib import Path
from types import FrameType

import adamae
from adamae.cli import pretrain
from adamae.flags import OptionGroup
from adamae.options.training import TrainingOptions

ROOT = f"{Path(adamae.__file__).parent}/"
# Where the run is made; all else that sees its options lies in options/.
OUTSIDE = {
    "cli/pretrain.py",
    "models/economy.py",
    "pretrain.py",
    "training/engines.py",
    "training/run.py",
    "training/schedules.py",
}


def test_the_options_of_a_pretraining_run_go_through_ten_files(videos: Path, tmp_path: Path) -> None:
    """Files with a function that gets the options, or a group of them, from the command line to the end of the run."""
    words = f"""--data_path {videos} --output_dir {tmp_path / "run"} --model adamae_tiny --encoder_depth 1 --device cpu
        --decoder_depth 1 --input_size 32 --num_frames 2 --mask_ratio 0.5 --sampling_rate 1 --batch_size 1 --epochs 1
        --max_steps 1 --num_workers 0"""
    seen = {"cli/pretrain.py"}

    def look(frame: FrameType, event: str, _: object) -> None:
        code = frame.f_code
        # A dataclass's own methods have no file.
        if event == "call" and code.co_filename.startswith(ROOT) and code.co_name != "__post_init__":
            given = code.co_varnames[: code.co_argcount + code.co_kwonlyargcount]
            if any(isinstance(frame.f_locals.get(name), (OptionGroup, TrainingOptions)) for name in given):
                seen.add(code.co_filename.removeprefix(ROOT))

    before = sys.getprofile()
    sys.setprofile(look)
    try:
        assert pretrain.run(words.split()) == 0
    finally:
        sys.setprofile(before)
    assert {path for path in seen if not path.startswith("options/")} == OUTSIDE
    assert len(seen) <= 10

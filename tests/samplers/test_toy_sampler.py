"""A sampler that is registered here alone: every command knows it, and no other file has to."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn

from adamae import samplers
from adamae.checkpoints.formats import open_checkpoint
from adamae.checkpoints.loading import load_weights
from adamae.checkpoints.network_config import describe_network
from adamae.checkpoints.networks import build_pretrainer
from adamae.checkpoints.tensor_files import write_tensors
from adamae.cli.main import main
from adamae.errors import UserError
from adamae.flags import OptionGroup, flag
from adamae.grid import TokenGrid
from adamae.models import create_model, vit_pretrainer
from adamae.models.economy import apply_economy
from adamae.options import SamplerOptions
from adamae.options.pretrain import PretrainOptions
from adamae.randomness import SampleNoise
from adamae.samplers.adaptive import AdaptiveSampler
from adamae.samplers.sampler import Sampler
from tests.checkpoints.networks import CLASSIFIER, PRETRAIN, pretrainer
from tests.cli.conftest import videos  # noqa: F401
from tests.cli.test_pretrain import pretrain


@dataclass(frozen=True)
class TopOptions(OptionGroup):
    """Where the top is."""

    first_row: int = flag(0, "top: the row to begin at", least=0)


class TopSampler(Sampler):
    """The tokens of each frame's upper rows."""

    exact_tokens = True
    score_name = "height"

    def __init__(self, mask_ratio: float, first_row: int = 0) -> None:
        super().__init__(mask_ratio)
        self.first_row = first_row

    def num_visible(self, grid: TokenGrid) -> int:
        return max(1, round(grid.h * (1 - self.mask_ratio))) * grid.t * grid.w

    def draw(self, tokens: Tensor, log_probs: Tensor | None, grid: TokenGrid, noise: SampleNoise) -> Tensor:
        return self._heights(tokens, grid).topk(self.num_visible(grid), dim=1).indices

    def preference(self, tokens: Tensor, log_probs: Tensor | None, grid: TokenGrid) -> Tensor:
        return self._heights(tokens, grid).log_softmax(dim=1)

    def _heights(self, tokens: Tensor, grid: TokenGrid) -> Tensor:
        rows = torch.arange(grid.num_tokens, device=tokens.device) // grid.w % grid.h
        return -((rows - self.first_row) % grid.h).float().expand(len(tokens), -1)


class WeightedSampler(TopSampler):
    """Learns one number for each token."""

    learns = True

    def __init__(self, mask_ratio: float, num_tokens: int) -> None:
        super().__init__(mask_ratio)
        self.weight = nn.Parameter(torch.zeros(1, num_tokens))

    @classmethod
    def build(cls, mask_ratio: float, grid: TokenGrid, embed_dim: int) -> WeightedSampler:  # type: ignore[override]
        return cls(mask_ratio, grid.num_tokens)

    def log_probs(self, tokens: Tensor, noise: SampleNoise) -> Tensor:
        return self.weight.expand(len(tokens), -1).log_softmax(dim=1)


@pytest.fixture(autouse=True)
def registered() -> Iterator[None]:
    before = dict(samplers.SAMPLERS)
    samplers.register(samplers.Declaration("top", TopSampler, "the upper rows", TopOptions, label="upper rows"))
    samplers.register(samplers.Declaration("weighted", WeightedSampler, "by learned weights"))
    yield
    samplers.SAMPLERS.clear()
    samplers.SAMPLERS.update(before)


@pytest.mark.slow
def test_every_command_knows_it(
    videos: Path,  # noqa: F811
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run, words = tmp_path / "run", ("--mask_type", "top", "--first_row", "1", "--mask_ratio", "0.5")
    assert pretrain(videos, run, *words, "--max_steps", "1") == 0
    told = capsys.readouterr().err
    assert "masks: upper rows, no learned sampler" in told
    assert "16 of 32 tokens visible" in told
    assert "first_row: 1" in (run / "options.yaml").read_text()
    assert pretrain(videos, run, *words, "--max_steps", "2") == 0

    assert main(["inspect", str(run)]) == 0
    assert "masked autoencoder with upper rows masks" in capsys.readouterr().out

    video = str(min((videos / "val").rglob("*.mp4")))
    shown = [
        "visualize",
        str(run),
        video,
        "-o",
        str(tmp_path),
        "--device",
        "cpu",
        "--html",
        "--mask_type",
        "top",
        "tube",
    ]
    assert main(shown) == 0
    arrays = np.load(next(tmp_path.glob("*.npz")))
    assert arrays["mask_type"].tolist() == ["top", "tube"]
    # Rows 1 and 2 of 4, as the run was told.
    assert arrays["visible"][0, 0].reshape(2, 4, 4)[:, 1:3].all() and arrays["visible"][0, 0].sum() == 16
    page = next(tmp_path.glob("*.html")).read_text()
    assert "upper rows, 50 % masked" in page and "Heights are relative to the mean of the clip" in page

    capsys.readouterr()
    timed = """--model adamae_tiny --encoder_depth 1 --decoder_depth 1 --input_size 32 --patch_size 8 --num_frames 4
        --mask_ratio 0.5 --rounds 1 --device cpu --json --mask_type top --first_row 2 --compare top weighted"""
    assert main(["bench", "step", *timed.split()]) == 0
    assert json.loads(capsys.readouterr().out)["compared"].keys() == {"top", "weighted"}


@pytest.mark.parametrize("command", ["pretrain", "estimate", "bench step"])
def test_help_lists_it(command: str, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit):
        main([*command.split(), "--help"])
    told = " ".join(capsys.readouterr().out.split())
    assert re.search(r"--mask_type \{learnable,[a-z,_]*,top,weighted\}", told)
    assert "top: the upper rows" in told and "--first_row N top: the row to begin at (default: 0)" in told


def test_help_imports_no_torch() -> None:
    code = """import sys
from adamae.cli.main import main
try:
    main(["pretrain", "--help"])
except SystemExit:
    pass
assert "torch" not in sys.modules, "torch was imported"
"""
    subprocess.run([sys.executable, "-c", code], check=True, stdout=subprocess.DEVNULL)


def test_its_options_are_checked() -> None:
    options = SamplerOptions(mask_type="top", first_row=2)
    assert vars(options)["first_row"] == 2
    with pytest.raises(UserError, match="first_row: got -1, expected an integer at least 0"):
        SamplerOptions(first_row=-1)
    with pytest.raises(UserError, match=r"^last_row: not an option of adamae_tiny; did you mean first_row\?$"):
        create_model("adamae_tiny", last_row=1)
    for name in ("last_row", "grid", "embed_dim"):
        with pytest.raises(
            UserError, match=rf"^{name}: not an option of this model, .* samplers are detach_sampler_input, f"
        ):
            vit_pretrainer(**{name: 1})


def test_learned_weights_are_saved_and_loaded(tmp_path: Path) -> None:
    model = pretrainer(mask_type="weighted")
    path = tmp_path / "weighted.safetensors"
    write_tensors(path, model.state_dict(), {"model": describe_network(model, {**PRETRAIN, "mask_type": "weighted"})})
    file = open_checkpoint(path)
    again, _ = build_pretrainer(file)
    assert torch.equal(again.sampler.weight, model.sampler.weight) and again.learns_to_sample
    # Others take what they have a use for, and say what not.
    ignored = load_weights(pretrainer(mask_type="tube"), file).ignored
    assert ignored == {"sampler.weight": "the sampler of the model has no parameters"}
    classifier = create_model("vit_tiny_patch16_224", **CLASSIFIER)
    assert load_weights(classifier, file).ignored["sampler.weight"] == "a classifier has no sampler"
    # Where it is not registered, the file still tells what it is.
    del samplers.SAMPLERS["weighted"]
    assert open_checkpoint(path).method == "masked autoencoder with weighted masks"
    with pytest.raises(UserError, match="mask_type = 'weighted': expected one of learnable"):
        build_pretrainer(file)


def test_the_example_of_the_guide(root: Path) -> None:
    text = (root / "PRETRAIN.md").read_text(encoding="utf-8")
    code = text.split("### A sampler of your own")[1].split("```python\n")[1].split("```")[0]
    exec(code, {"__name__": "guide"})
    sampler, grid = samplers.build_sampler("checkerboard", 0.5, TokenGrid.of(4, 16, 16, 2, 8), 4), pretrainer().grid
    selection = sampler(torch.zeros(9, grid.num_tokens, 4), grid, SampleNoise(torch.arange(9)))
    steps = selection.visible.diff(dim=1)
    assert (steps == 2).all() and set(selection.visible[:, 0].tolist()) == {0, 1}
    assert create_model("adamae_tiny", **{**PRETRAIN, "mask_type": "checkerboard"}).sampler.num_visible(grid) == 4


def test_names_are_given_once() -> None:
    with pytest.raises(ValueError, match="'top' is registered already"):
        samplers.register(samplers.Declaration("top", TopSampler, ""))

    @dataclass(frozen=True)
    class Other(OptionGroup):
        """Of another sampler."""

        keep_ratio: float = flag(0.5, "mine")

    with pytest.raises(ValueError, match="'motion' has an option keep_ratio already"):
        samplers.register(samplers.Declaration("other", TopSampler, "", Other))


class OtherDefaults(AdaptiveSampler):
    """An adaptive sampler whose defaults are its own."""

    @classmethod
    def build(  # type: ignore[override]
        cls, mask_ratio: float, grid: TokenGrid, embed_dim: int, *, sampler_drop_rate: float = 0.5, sampler_dim: int = 8
    ) -> OtherDefaults:
        return cls(mask_ratio, grid.num_tokens, embed_dim, drop_rate=sampler_drop_rate, dim=sampler_dim)


def test_its_defaults_are_its_own() -> None:
    samplers.register(samplers.Declaration("others", OtherDefaults, "other defaults"))
    for name, drop_rate, dim in (("learnable", 0.1, None), ("adaptive_uniform", 0.1, None), ("others", 0.5, 8)):
        found = apply_economy(PretrainOptions.of("quickstart", mask_type=name)).sampler
        assert (vars(found)["sampler_drop_rate"], vars(found)["sampler_dim"]) == (drop_rate, dim), name


class KeepsMore(TopSampler):
    """With a keyword that the motion-aware sampler has as an option."""

    def __init__(self, mask_ratio: float, keep_ratio: float = 0.8) -> None:
        super().__init__(mask_ratio)
        self.keep_ratio = keep_ratio


def test_no_option_replaces_the_default_of_a_keyword() -> None:
    message = "its keyword keep_ratio = 0.8 is an option of 'motion': expected that option's default, 0.3, or another"
    with pytest.raises(ValueError, match=message):
        samplers.register(samplers.Declaration("more", KeepsMore, ""))
    # The class is not imported before it is needed.
    samplers.register(samplers.Declaration("more", f"{__name__}:KeepsMore", ""))
    with pytest.raises(ValueError, match=message):
        samplers.build_sampler("more", 0.5, TokenGrid.of(4, 16, 16, 2, 8), 4)

"""Presets are command lines in files: checked by the same parser, overruled by what is typed."""

from __future__ import annotations

from pathlib import Path

import pytest

from adamae.errors import UserError
from adamae.options.finetune import finetune_parser
from adamae.options.parser import Parsed
from adamae.options.presets import configs_folder
from adamae.options.pretrain import PretrainOptions, method_variant, pretrain_parser, recipe_lines

PRESETS = sorted((configs_folder() / "pretrain").glob("*.yaml"))
PUBLISHED = [path for path in PRESETS if "_ssv2_" in path.name or "_k400_" in path.name]


def parse(*words: str) -> Parsed[PretrainOptions]:
    return pretrain_parser().parse(words)


def write(folder: Path, text: str, name: str = "mine.yaml") -> str:
    path = folder / name
    path.write_text(text)
    return str(path)


@pytest.mark.parametrize("path", PRESETS, ids=lambda path: path.stem)
def test_every_committed_preset_parses_by_name_and_by_path(path: Path) -> None:
    assert parse("--config", path.stem).options == parse("--config", str(path)).options != PretrainOptions()
    # None has a value without effect.
    assert parse("--config", path.stem).notes == ()


def test_what_is_typed_wins_wherever_it_stands(tmp_path: Path) -> None:
    path = write(tmp_path, "mask_ratio: 0.8\nflip: true\nopt_betas: [0.8, 0.9]\nclip_grad: null\nlr: 1e-3\n")
    for words in (["--mask_ratio", "0.7", "--config", path], ["--config", path, "--mask_ratio=0.7"]):
        parsed = parse(*words, "--no_flip")
        assert parsed.options.sampler.mask_ratio == 0.7
        assert parsed.options.clip.flip is False
        assert parsed.options.optimizer.opt_betas == (0.8, 0.9)
        assert parsed.options.optimizer.lr == 1e-3
        assert parsed.recipe is not None
        assert parsed.recipe.sampler.mask_ratio == 0.8


def test_later_presets_win_and_presets_build_on_others(tmp_path: Path) -> None:
    write(tmp_path, "mask_ratio: 0.5\nseed: 3\n", "base.yaml")
    built = write(tmp_path, "config: base.yaml\nseed: 4\n", "built.yaml")
    options = parse("--config", "quickstart", "--config", built).options
    assert (options.sampler.mask_ratio, options.run.seed, options.clip.input_size) == (0.5, 4, 64)
    # A recipe is found from any folder.
    mine = write(tmp_path, "config: quickstart\nseed: 5\n", "mine.yaml")
    options = parse("--config", mine).options
    assert (options.run.seed, options.clip.input_size) == (5, 64)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("mask_ration: 0.9\n", "unknown option mask_ration; did you mean mask_ratio?"),
        ("mask_ratio: 2\n", "mask_ratio: got 2.0, expected a number above 0 and below 1"),
        ("mask_ratio: [0.1, 0.2]\n", "unexpected argument '0.2'"),
        ("batch_size: many\n", "batch_size: got 'many', expected an integer at least 1"),
        ("nb_classes: 174\n", "nb_classes: belongs to fine-tuning; pre-training has no classes; remove it"),
        ("just a text\n", "expected lines of the form 'option: value'"),
        ("a: b: c\n", "is not YAML: mapping values are not allowed here"),
        pytest.param("{" * 3000, "is not YAML of options: it is nested too deeply", id="3000 braces"),
        ("seed: 2026-13-45\n", "is not YAML: month must be in 1..12"),
        ("seed: !!timestamp x\n", "is not YAML: "),
        (
            "".join(f"x{n + 1}: &x{n + 1} [{', '.join([f'*x{n}'] * 10) if n else '0'}]\n" for n in range(12)),
            "x2: expected a value or a list of values, got a nested list",
        ),
        ("seed: {a: 1}\n", "seed: expected a value or a list of values, got a nested dict"),
        ("config: mine.yaml\n", "config = 'mine.yaml' is circular"),
        ("no_flip: true\n", "no_flip takes no value, got 'true'; use flip=true or flip=false"),
        ("resume: no\n", "resume: YAML reads the value as False; expected a text, in quotes"),
        ("output_dir: 2024_11_27\n", "output_dir: YAML reads the value as 20241127; expected a text, in quotes"),
        ("output-dir: no\n", "output-dir: YAML reads the value as False; expected a text, in quotes"),
        ("zzzz: 3\n", "unknown option zzzz; adamae pretrain --help lists them"),
        ("data_path: [a, 1.10]\n", "data_path: YAML reads the value as 1.1; expected a text, in quotes"),
    ],
)
def test_mistakes_in_a_preset_name_the_file(tmp_path: Path, text: str, message: str) -> None:
    path = write(tmp_path, text)
    with pytest.raises(UserError) as caught:
        parse("--config", path)
    assert str(caught.value).startswith(f"{path}: {message}")
    assert "\n" not in str(caught.value)


def test_a_mistake_in_a_preset_names_other_options_as_they_are_typed(tmp_path: Path) -> None:
    path = write(tmp_path, "mask_ratio: 0.9\n")
    with pytest.raises(UserError) as caught:
        finetune_parser().parse(["--config", path])
    answer = "belongs to pre-training; remove it: the checkpoint of --finetune contains it"
    assert str(caught.value) == f"{path}: mask_ratio: {answer}"


def test_a_preset_that_does_not_exist() -> None:
    with pytest.raises(UserError, match=r"--config quickstrat: no such file and no recipe.*did you mean quickstart\?"):
        parse("--config", "quickstrat")
    with pytest.raises(UserError, match=r"--config nowhere\.yaml: no such file$"):
        parse("--config", "nowhere.yaml")


@pytest.mark.parametrize("path", PUBLISHED, ids=lambda path: path.stem)
def test_recipes_of_published_tables_use_the_variant_of_the_official_code_and_print_it(path: Path) -> None:
    parsed = parse("--config", path.stem)
    assert parsed.options.loss.sampling_reduction == "mean"
    assert parsed.options.clip.flip is False
    assert parsed.options.optimizer.total_batch_size == 256
    first, second = recipe_lines(parsed, world_size=8)
    assert path.stem in first
    assert second == "follows its recipe"
    if parsed.options.sampler.mask_type == "learnable":
        assert parsed.options.loss.detach_sampler_input is False
        assert "as in the official code: " in first


def test_a_run_tells_how_it_differs_from_its_recipe() -> None:
    parsed = parse("--config", "adamae_ssv2_base", "--epochs", "200", "--batch_size", "8", "--num_workers", "3")
    assert recipe_lines(parsed, world_size=1)[1] == "differs from its recipe in epochs: 800 -> 200"
    parsed = parse("--config", "adamae_ssv2_base", "--detach_sampler_input", "--total_batch_size", "128")
    lines = recipe_lines(parsed, world_size=1)
    assert "official code: " not in lines[0]
    assert "detach_sampler_input: false -> true" in lines[1]
    assert "total_batch_size: 256 -> 128" in lines[1]


def test_the_default_variant_is_mean_and_detached() -> None:
    assert method_variant(PretrainOptions()) == (
        "sampling loss averaged over the target tokens (as in the official code), "
        "its gradient does not reach the tokenizer (as in the paper)"
    )

"""The rows of table 1: every one parses, groups name rows, and equal cost is equal."""

from __future__ import annotations

import importlib
import json
import re
import shlex
from pathlib import Path
from types import ModuleType

import pytest

from adamae.options.finetune import finetune_parser
from adamae.options.pretrain import PretrainOptions, model_arguments, pretrain_parser
from adamae.options.synthesize import synthesize_parser


@pytest.fixture
def script() -> ModuleType:
    return importlib.import_module("table1_rows")


def test_every_row_of_every_scale_parses(script: ModuleType) -> None:
    for scale in script.SCALES.values():
        finetune_parser().parse(shlex.split(scale.finetune))
        for more in script.DATA_SETS.values():
            synthesize_parser().parse(["out", *shlex.split(scale.videos), *shlex.split(more)])
        for row in script.ROWS.values():
            if row.options is not None and row.available:
                options = pretrain_parser().parse(row.words(scale)).options
                assert options.optimizer.epochs == round(row.length * scale.epochs), row.name


def test_a_row_s_options_win_over_the_scale_s(script: ModuleType) -> None:
    scale = script.SCALES["cpu"]
    assert pretrain_parser().parse(script.ROWS["mse-normalised"].words(scale)).options.loss.normlize_target
    assert not pretrain_parser().parse(script.ROWS["l1"].words(scale)).options.loss.normlize_target


def test_groups_name_rows(script: ModuleType) -> None:
    for group in script.GROUPS.values():
        assert {
            *group.rows,
            *group.primary,
            *group.confirmed,
            *(c.one for c in group.claims),
            *(c.other for c in group.claims),
        } <= {*script.ROWS}, group.title
        # What is compared saw the same videos.
        assert len({script.ROWS[name].videos for name in group.rows}) == 1, group.title


def test_the_plan_goes_seed_by_seed_and_does_nothing_twice(script: ModuleType) -> None:
    todo = [(row.name, seed) for row, seed in script.plan(["main", "sampler"], None)]
    assert todo[:7] == [*((name, 0) for name in script.GROUPS["main"].rows), ("adaptive-95", 1)]
    assert todo[36:] == [("sampler-mlp", seed) for seed in range(3)]
    assert len(todo) == len(set(todo))
    assert max(seed for _, seed in script.plan(["main"], 8)) == 7
    some = script.plan(["main"], 2, ["tube-90", "adaptive-95"])
    assert [(row.name, seed) for row, seed in some] == [
        *(("adaptive-95", 0), ("tube-90", 0)),
        *(("adaptive-95", 1), ("tube-90", 1)),
    ]


def test_rows_of_unknown_masks_are_left_out(script: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(script, "mask_types", lambda: ("learnable", "random"))
    assert {row.name for row, _ in script.plan(["main"], 1)} == {"adaptive-95", "random-95", "random-90"}


def test_rows_of_removed_options_are_left_out(script: ModuleType) -> None:
    left_out = {name for name, row in script.ROWS.items() if not row.available}
    assert left_out == {
        f"{videos}-{name}"
        for videos in ("beyond", "noisy")
        for name in ("advantage", "temperature", "neighbours", "half-uniform")
    }
    assert not left_out & {row.name for row, _ in script.plan([*script.GROUPS], 1)}


@pytest.mark.slow
def test_equal_cost_is_the_arithmetic_of_tube_masks_at_vit_b(script: ModuleType) -> None:
    tube = multiply_adds("--mask_type tube --mask_ratio 0.9")
    epochs = script.SCALES["cpu"].epochs
    for name in script.GROUPS["cost"].rows:
        row = script.ROWS[name]
        cost = multiply_adds(row.options) * round(row.length * epochs) / (tube * epochs)
        assert cost == pytest.approx(1, abs=0.012), f"{name}: to the nearest epoch"


def multiply_adds(words: str) -> int:
    """Of a clip's forward pass in training at ViT-B, as the official code computes it."""
    import torch

    from adamae.models import Pretrainer, create_model
    from adamae.models.economy import apply_economy
    from tests.golden.mats import published_multiply_adds

    options: PretrainOptions = apply_economy(pretrain_parser().parse(shlex.split(words)).options)
    arguments = model_arguments(options.clip, options.model, options.sampler, options.loss)
    with torch.device("meta"):
        network = create_model("adamae_base", **arguments).train()
    assert isinstance(network, Pretrainer)
    return published_multiply_adds(network)


def test_the_trials_behind_the_amendment_are_those_of_the_document(root: Path) -> None:
    text = (root / "docs" / "TABLE1.md").read_text()
    amendment = text[text.index("## Amendment") : text.index("## Second amendment")]
    trials = json.loads((root / "docs" / "benchmarks" / "table1_fine_tuning_seeds.json").read_text())
    told = [f"{trial['area']:.1f}" for trial in trials]
    first = [
        json.loads((root / "docs" / "benchmarks" / "table1" / f"{name}.json").read_text())["area"]
        for name in (
            *("finetune-adaptive-95-1", "finetune-random-95-3", "finetune-random-90-2", "finetune-random-90-3"),
            "tuned-random-90-0",
        )
    ]
    in_text = re.findall(r"\b\d\d\.\d\b", amendment)
    assert sorted(in_text) == sorted([*told, *(f"{area:.1f}" for area in first)])


@pytest.mark.parametrize(
    ("amendment", "next_section", "row"),
    [
        ("## Third amendment", "## Fourth amendment", "scratch"),
        ("## Fourth amendment", "## Plan of the further rows", "beyond-temperature"),
        ("## Fourth amendment", "## Plan of the further rows", "beyond-progress"),
    ],
)
def test_amendments_say_what_the_three_planned_seeds_said(
    root: Path, amendment: str, next_section: str, row: str
) -> None:
    text = (root / "docs" / "TABLE1.md").read_text()

    def areas(row: str) -> dict[int, float]:
        pieces = {seed: root / "docs" / "benchmarks" / "table1" / f"tuned-{row}-{seed}.json" for seed in range(3)}
        return {seed: json.loads(path.read_text())["area"] for seed, path in pieces.items()}

    difference = importlib.import_module("paired").paired_difference(areas("adaptive-95"), areas(row))
    assert difference.render() in text[text.index(amendment) : text.index(next_section)]


def test_intervals_of_the_findings_stand_in_the_tables(root: Path) -> None:
    text = (root / "docs" / "TABLE1.md").read_text()
    findings, tables = text[text.index("## Findings") :].split("## Results on two cores")
    quoted = re.findall(r"[+-]\d+\.\d\s\[[^]]+\]", findings)
    assert quoted and [each for each in quoted if each not in tables] == []


def test_the_repeated_fine_tuning_is_the_one_of_the_table(root: Path) -> None:
    folder = root / "docs" / "benchmarks"
    table = json.loads((folder / "table1" / "tuned-scratch-0.json").read_text())
    again = json.loads((folder / "table1_repeated.json").read_text())
    assert again["commit"] != table["commit"]
    assert (again["curve"], again["test"]) == (table["curve"], table["test"])
    assert [word for word in again["command"] if "/" not in word] == [
        word for word in table["command"] if "/" not in word
    ]


def test_the_findings_count_the_expectations_as_the_tables_answer_them(root: Path) -> None:
    findings, tables = (
        (root / "docs" / "TABLE1.md").read_text().split("## Findings")[1].split("## Results on two cores")
    )
    groups = re.findall(r"\| expected here \|.*?\n\n", tables, re.DOTALL)
    answers = [line.split(" | ")[-1].strip(" |") for group in groups for line in group.strip().splitlines()[2:]]
    number = dict(enumerate("zero one two three four five six seven".split()))
    told = " ".join(findings.split())
    assert f"Of the {number[len(answers)]}, {number[answers.count('came true')]} came true" in told
    assert f"{number[answers.count('not decided')]} are not decided" in told
    assert f"{number[answers.count('did not come true (the opposite)')]} is refuted" in told

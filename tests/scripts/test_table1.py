"""The command behind docs/TABLE1.md: what it runs, what it reads off, and how the tables are put together."""

from __future__ import annotations

import importlib
import json
import re
import shlex
from collections.abc import Callable, Sequence
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest

from adamae.errors import UserError
from adamae.options.finetune import finetune_parser
from adamae.options.parser import OptionParser
from adamae.options.pretrain import pretrain_parser
from adamae.options.synthesize import synthesize_parser

ORIGIN = {"date": "2026-01-02", "commit": "abc", "machine": "a machine", "cpu_seconds": 1800.0, "command": []}


@pytest.fixture
def script() -> ModuleType:
    return importlib.import_module("table1")


@pytest.fixture
def tables() -> ModuleType:
    return importlib.import_module("table1_report")


def test_the_area_and_the_steps_to_half(script: ModuleType) -> None:
    curve = [{"step": 48, "val_top1": 10.0}, {"step": 96, "val_top1": 40.0}, {"step": 144, "val_top1": 60.0}]
    figures = script.curve_figures(curve)
    assert figures["area"] == pytest.approx(110 / 3)
    assert figures["steps_to_50"] == pytest.approx(96 + 24)
    assert figures["curve"] == [10.0, 40.0, 60.0]
    assert script.curve_figures(curve[:2])["steps_to_50"] is None
    assert script.curve_figures([{"step": 48, "val_top1": 100.0}])["steps_to_50"] == pytest.approx(24)


class FakePieces:
    """Remembers what is asked for, and gives every piece something to read."""

    def __init__(self, folder: Path, failing: Sequence[str] = (), stopped: Sequence[str] = ()) -> None:
        self.folder = folder
        self.commands: dict[str, list[str]] = {}
        self.failing, self.stopped = failing, stopped
        self.forgotten: list[str] = []

    def forget(self, name: str) -> None:
        self.forgotten.append(name)

    def make(self, name: str, words: Sequence[str], read: Callable[[str], dict[str, Any]]) -> None:
        pieces = importlib.import_module("pieces")
        if name in self.failing:
            raise pieces.PieceError(name)
        if name in self.stopped:
            raise pieces.StoppedError(name)
        self.commands[name] = list(words)
        if words[:2] == ["adamae", "finetune"]:
            output = Path(words[words.index("--output_dir") + 1])
            (output / "test").mkdir(parents=True)
            (output / "test" / "scores.json").write_text(json.dumps({"top1": 70.0}))
            (output / "log.jsonl").write_text('{"kind": "step"}\n{"kind": "epoch", "step": 48, "val_top1": 60.0}\n')
            assert read("")["area"] == 60.0
            assert read("")["test"] == 70.0
        elif words[1] == "probe":
            assert read('{"probes": {"knn": {"top1": 1.0}, "attentive": {"top1": 2.0}}}') == {"knn": 1, "attentive": 2}


def rows(*names: str) -> list[Any]:
    table = importlib.import_module("table1_rows")
    return [(table.ROWS[name], 0) for name in names]


def test_all_pieces_of_a_row(script: ModuleType, tmp_path: Path) -> None:
    pieces = FakePieces(tmp_path)
    table = script.Table1(script.SCALES["cpu"], pieces, tmp_path)
    assert script.make_all(table, rows("random-95", "scratch", "scratch-no-decay", "noisy-random-95"), workers=2) == 0
    assert set(pieces.commands) == {
        *("videos", "videos-noisy", "tuned-scratch-0", "tuned-scratch-no-decay-0"),
        *(f"{kind}-random-95-0" for kind in ("pretrain", "tuned", "probe", "reconstruction")),
        *(f"{kind}-noisy-random-95-0" for kind in ("pretrain", "tuned", "probe", "reconstruction")),
    }
    tuned, scratch = pieces.commands["tuned-random-95-0"], pieces.commands["tuned-scratch-0"]
    # The same but for the start.
    place = tuned.index("--output_dir") + 1
    assert [*tuned[:place], scratch[place], *tuned[place + 1 : -2]] == scratch
    assert tuned[-2:] == ["--finetune", str(tmp_path / "pretrain-random-95-0")]
    assert pieces.commands["tuned-scratch-no-decay-0"][-2:] == ["--layer_decay", "1"]
    assert str(tmp_path / "videos-noisy" / "test.csv") in pieces.commands["reconstruction-noisy-random-95-0"]
    assert "--camera_noise" in pieces.commands["videos-noisy"]


def test_videos_are_made_where_only_their_piece_is_there(script: ModuleType, tmp_path: Path) -> None:
    pieces = FakePieces(tmp_path)
    table = script.Table1(script.SCALES["cpu"], pieces, tmp_path)
    (tmp_path / "videos").mkdir()
    for name in ("videos", "clips"):
        table.prepare(name)
    assert pieces.forgotten == ["clips"] and [*pieces.commands] == ["videos", "clips"]


def test_real_clips_are_cut_and_not_fine_tuned_on(script: ModuleType, tables: ModuleType, tmp_path: Path) -> None:
    pieces = FakePieces(tmp_path)
    table = script.Table1(script.SCALES["cpu"], pieces, Path("given"))
    assert script.make_all(table, rows("real-random-95"), workers=1) == 0
    assert [*pieces.commands] == [
        "clips",
        *(f"{kind}-real-random-95-0" for kind in ("pretrain", "probe", "reconstruction")),
    ]
    assert pieces.commands["clips"] == ["real_clips.py", "given", str(tmp_path / "clips"), "--short_side", "64"]
    assert str(tmp_path / "clips" / "pretrain.csv") in pieces.commands["pretrain-real-random-95-0"]
    text = tables.report({("probe", "real-random-95", 0): {"attentive": 61.0, "linear": 2.0, **ORIGIN}}, ["real"])
    assert "| random 95 % | 61.0 | 61.0 | 2.0 |" in text
    assert "validation accuracy" not in text


def test_a_smoke_test_runs_every_kind_of_piece_on_two_videos(script: ModuleType) -> None:
    for scale in script.SCALES.values():
        small = scale.smoke_test()
        for row in script.ROWS.values():
            if row.options is not None and row.available:
                options = pretrain_parser().parse(row.words(small)).options
                assert (options.optimizer.epochs, options.data.batch_size) == (max(1, round(row.length)), 2)
        videos = synthesize_parser().parse(["out", *shlex.split(small.videos)]).options.videos
        assert (videos.classes, videos.videos_per_class) == ("left,right", 1)
        assert finetune_parser().parse(shlex.split(small.finetune)).options.optimizer.epochs == 1


def test_a_failure_leaves_the_other_rows_and_is_told(
    script: ModuleType, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    pieces = FakePieces(tmp_path, failing=["pretrain-random-95-0"])
    table = script.Table1(script.SCALES["cpu"], pieces, tmp_path)
    assert script.make_all(table, rows("random-95", "tube-90"), workers=1) == 1
    assert "reconstruction-tube-90-0" in pieces.commands
    assert "tuned-random-95-0" not in pieces.commands
    assert "pretrain-random-95-0" in capsys.readouterr().err


def test_a_stop_is_no_failure(script: ModuleType, tmp_path: Path) -> None:
    for name in ("videos", "probe-random-95-0"):
        table = script.Table1(script.SCALES["cpu"], FakePieces(tmp_path / name, stopped=[name]), tmp_path)
        assert script.make_all(table, rows("random-95"), workers=1) == 3


def test_every_command_parses(script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from adamae.cli.main import run_command

    pieces = FakePieces(tmp_path)
    script.make_all(script.Table1(script.SCALES["cpu"], pieces, tmp_path), rows("random-95"), workers=1)
    parse, understood = OptionParser.parse, []

    class UnderstoodError(Exception):
        pass

    def stop(self: OptionParser[object], words: Sequence[str]) -> None:
        parse(self, words)
        raise UnderstoodError

    monkeypatch.setattr(OptionParser, "parse", stop)
    for program, *words in pieces.commands.values():
        if program == "adamae":
            with pytest.raises(UnderstoodError):
                run_command(words[0], words[1:])
            understood.append(words[0])
    assert understood == ["synthesize", "pretrain", "finetune", "probe"]


def tuned(areas: dict[str, list[float]], kind: str = "tuned") -> dict[tuple[str, str, int], dict[str, Any]]:
    values = {"test": 80.0, "steps_to_50": 100.0, **ORIGIN}
    return {
        (kind, row, seed): {"area": area, **values} for row, each in areas.items() for seed, area in enumerate(each)
    }


def test_the_tables_of_the_main_rows(tables: ModuleType) -> None:
    results = tuned({"adaptive-95": [51.0, 62.0, 73.0], "random-95": [50.0, 60.0, 70.0], "tube-90": [60.0]})
    results["reconstruction", "random-95", 0] = {"moving_0.9": 0.0123, "hit_rate": 1.0, **ORIGIN}
    text = tables.report(results, ["main"])
    lines = text.splitlines()
    adaptive, random_95 = (
        next(line for line in lines if line.startswith(f"| {m} 95 %")) for m in ("adaptive", "random")
    )
    assert adaptive.startswith("| adaptive 95 % | 62.0 ± 27.3 | 51.0, 62.0, 73.0 | 80.0 ± 0.0 | 100.0 ± 0.0 |")
    assert "| 12.3 | 1.0 |" in random_95
    assert "| random 95 % | 3 | +2.0 [-0.5, +4.5] | not decided |" in text
    assert "| tube 90 % | 1 | -9.0 | not yet |" in text
    assert "| frame 87.5 % | 0 | | not yet |" in text.replace("|  |", "| |")
    assert "| adaptive 95 % above tube 90 % | -9.0 | not yet |" in text
    assert "random 95 %: ± 2.5, random 90 %: ± inf, tube 90 %: ± inf: one more seed is due." in text
    assert lines[-1] == "8 pieces, 4.0 processor hours, 2026-01-02; commit abc; a machine."


def test_claims_follow_their_rules(tables: ModuleType) -> None:
    areas = {"mse-normalised": [60.0, 61.0], "adaptive-95": [50.0, 51.01], "sampler-mlp": [30.2, 30.4]}
    text = tables.report(tuned({**areas, "random-95": [30.1, 30.1]}), ["sampler", "loss"])
    assert "| normalised MSE above MSE | +10.0 [+9.9, +10.1] | reproduced |" in text
    assert "| MLP sampler near random 95 % | +0.2 [-1.1, +1.5] | reproduced |" in text


def test_what_was_expected_is_answered_in_its_own_words(tables: ModuleType) -> None:
    areas = {"adaptive-95": [50.0, 51.0], "adaptive-98": [60.0, 61.01], "adaptive-90": [60.0, 61.01]}
    text = tables.report(tuned(areas), ["ratio"])
    assert "| 98 % above 95 % | +10.0 [+9.9, +10.1] | came true |" in text
    assert "| 95 % above 90 % | -10.0 [-10.1, -9.9] | did not come true (the opposite) |" in text
    assert "| 95 % above 85 % |  | not yet |" in text
    assert "in the paper" not in text


def test_pairs_that_no_plan_named_are_marked(tables: ModuleType) -> None:
    areas = {"cost-economy-95": [60.0, 61.0], "tube-90": [50.0, 51.01], "cost-motion-90": [70.0, 71.01]}
    text = tables.report(tuned(areas), ["cost"])
    assert "| in no plan | difference here, points | answer |" in text
    assert "| `--economy` minus tube 90 % | +10.0 [+9.9, +10.1] | better |" in text
    assert "| `--economy` minus motion 90 % | -10.0 [-10.1, -9.9] | worse |" in text


def test_chosen_options_are_judged_by_their_further_seeds_alone(tables: ModuleType) -> None:
    areas = {"adaptive-95": [50.0] * 5, "beyond-temperature": [90.0] * 3 + [60.0, 61.0]}
    text = tables.report(tuned({**areas, "beyond-progress": [90.0] * 3}), ["beyond"])
    assert "| temperature 0.5 | 5 | -28.2 [" in text
    assert "| by the seeds from 3 on alone | difference here, points | answer |" in text
    assert "| temperature 0.5 above adaptive 95 % | +10.5 [+4.1, +16.9] | helps |" in text
    assert "| reward by learning progress above adaptive 95 % |  | not yet |" in text


def test_the_fine_tuning_of_the_first_plan_stands_beside(tables: ModuleType) -> None:
    areas = {"adaptive-95": [30.0, 31.0], "tube-90": [20.0, 21.0]}
    results = tuned({"adaptive-95": [50.0]}) | tuned(areas, "finetune")
    text = tables.report(results, ["main"])
    assert "| adaptive 95 % | 50.0 | 50.0 |" in text
    assert "By the fine-tuning of the first plan: tube 90 %: +10.0 [+10.0, +10.0] (2 seeds, better).\n" in text
    assert text.splitlines()[-1].startswith("5 pieces")
    assert "first plan" not in tables.report(tuned(areas), ["main"])


def test_seeds_beyond_the_plan_stand_beside_those_of_the_plan(tables: ModuleType) -> None:
    planned = {"adaptive-95": [52.0] * 10, "random-95": [50.0] * 10}
    assert "By the plan's" not in tables.report(tuned(planned), ["main"])
    further = {"adaptive-95": [52.0] * 11, "random-95": [50.0] * 10 + [63.0]}
    text = tables.report(tuned(further), ["main"])
    assert "| random 95 % | 11 | +0.8 [" in text
    assert "By the plan's 10 seeds: random 95 %: +2.0 [+2.0, +2.0] (10 seeds, better).\n" in text


def test_enough_seeds_when_all_primary_intervals_are_narrow(tables: ModuleType) -> None:
    names = ("adaptive-95", "random-95", "random-90", "tube-90")
    results = tuned({name: [50.0, 50.1, 50.2] for name in names})
    assert ": enough seeds." in tables.report(results, ["main"])


def test_steps_that_are_not_reached_are_told_and_not_averaged(tables: ModuleType) -> None:
    results = tuned({"adaptive-95": [50.0, 50.0]})
    results["tuned", "adaptive-95", 1]["steps_to_50"] = None
    assert "| 100.0 (1 of 2 seeds) |" in tables.report(results, ["main"])
    beside = tables.report(results | tuned({"tube-90": [50.0, 50.0]}), ["main"])
    assert "| tube 90 % | 2 | +0.0 [+0.0, +0.0] | not decided | +0.0 [+0.0, +0.0] | +0.0 (1 seed) |" in beside
    results["tuned", "adaptive-95", 0]["steps_to_50"] = None

    assert "| not reached in 2 seeds |" in tables.report(results, ["main"])


def test_errors_in_other_units_are_left_out(tables: ModuleType) -> None:
    results = tuned({"adaptive-95": [50.0], "mse-normalised": [50.0]})
    for name in ("adaptive-95", "mse-normalised"):
        results["reconstruction", name, 0] = {"moving_0.9": 0.5, "hit_rate": 2.0, **ORIGIN}
    text = tables.report(results, ["loss"])
    assert sum("500.0" in line for line in text.splitlines()) == 1


def test_the_document_is_written_between_its_markers(tables: ModuleType, tmp_path: Path) -> None:
    path = tmp_path / "T.md"
    path.write_text("# Title\n<!-- measured: table1 cpu -->\nold\n<!-- end of measured -->\nrest\n")
    tables.renew_document(path, "cpu", "new\\1")
    tables.renew_document(path, "cpu", "new\\1")
    assert path.read_text() == "# Title\n<!-- measured: table1 cpu -->\nnew\\1\n<!-- end of measured -->\nrest\n"
    with pytest.raises(UserError, match="0 places"):
        tables.renew_document(path, "gpu", "new")


# As far as the plan's amendment lets the number of seeds go.
NUMBERS = dict(
    enumerate("ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen twenty".split(), 10)
)


def test_the_readme_says_what_the_main_table_says(root: Path) -> None:
    document = (root / "docs" / "TABLE1.md").read_text(encoding="utf-8")
    table = document[document.index("| adaptive 95 % minus |") :].split("\n\n")[0]
    head, _, *lines = ([cell.strip() for cell in line.strip("|").split("|")] for line in table.splitlines())
    found: dict[str, list[str]] = {"better": [], "worse": [], "not decided": []}
    for line in lines:
        found[line[head.index("by that figure")]].append(line[0])
        _, highest = re.findall(r"[-+][\d.]+(?=[],])", line[head.index("linear probe, %")])
        assert float(highest) < 0, line
    better, worse, undecided = (" and ".join(names) for names in found.values())
    told = " ".join((root / "README.md").read_text(encoding="utf-8").split())
    seeds = sorted({int(line[head.index("seeds")]) for line in lines})
    assert f"In {NUMBERS[seeds[0]]} to {NUMBERS[seeds[-1]]} paired seeds of small models" in told
    assert f"are better than {better} and worse than {worse}; against {undecided} nothing is decided." in told
    cost = document[document.index("### Equal cost") :]
    cost_worse = re.findall(
        r"^\| ([a-z]+ [\d.]+ %) \| 3 \| [^|]+ \| worse \|", cost[: cost.index("in no plan")], re.MULTILINE
    )
    worse_at_cost = " and ".join(cost_worse)
    assert (
        f"At equal cost they are worse than {worse_at_cost}; with `--economy` nothing is decided against tube" in told
    )
    assert re.search(r"^\| `--economy` minus tube 90 % \| \S+ \S+ \S+ \| not decided \|", cost, re.MULTILINE)
    (gain,) = re.findall(r"^\| random weights \| \d+ \| (\S+ \[\S+ \S+\]) \|", document, flags=re.MULTILINE)
    assert f"Over random weights they gain {gain} points." in told


def test_the_picture_shows_every_seed(script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    rows_of = importlib.import_module("table1_rows")
    picture = importlib.import_module("table1_picture")
    results = tuned({"adaptive-95": [51.0, 62.0, 73.0], "random-95": [50.0, 60.0, 70.0], "tube-90": [60.0]})
    for number, result in enumerate(results.values()):
        result["curve"] = [10.0 * number, 20.0 * number]
    left, right = picture.group_picture(results, rows_of.GROUPS["main"]).axes
    legend = [text.get_text() for text in left.get_legend().get_texts()]
    assert legend == ["adaptive 95 % (3 seeds)", "random 95 % (3 seeds)", "tube 90 % (1 seed)"]
    drawn = [list(line.get_ydata()) for line in left.get_lines()]
    assert drawn[:4] == [[0, 0], [10, 20], [20, 40], [10, 20]] and len(drawn) == 4 + 4 + 2
    dots = {line.get_ydata()[0]: sorted(line.get_xdata()) for line in right.get_lines() if line.get_marker() == "o"}
    assert dots == {0: [1.0, 2.0, 3.0], 2: [-9.0]}
    assert [label.get_text() for label in right.get_yticklabels()][:3] == ["random 95 %", "random 90 %", "tube 90 %"]

    monkeypatch.setattr(script, "DOCUMENT", tmp_path / "T.md")
    assert script.draw({}, "cpu") == ""
    assert script.draw(results, "cpu").endswith("(table1_cpu.png)\n\n")
    assert (tmp_path / "table1_cpu.png").read_bytes().startswith(b"\x89PNG")

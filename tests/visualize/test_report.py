"""The page of runs, and its curves."""

from __future__ import annotations

import json
import re
from pathlib import Path

import pytest

from adamae.cli.main import main
from adamae.errors import UserError
from adamae.visualize.line_chart import Curve, line_chart, ticks
from adamae.visualize.report import read_run, report_page


def write_run(folder: Path, losses: list[float | None], **options: object) -> Path:
    folder.mkdir()
    lines = [{"kind": "step", "step": 10 * n, "loss": loss, "trivial": 1.0} for n, loss in enumerate(losses, start=1)]
    text = "".join(json.dumps(line) + "\n" for line in [*lines, {"kind": "epoch", "step": 30, "loss": 0.25}])
    (folder / "log.jsonl").write_text(text + '{"kind": "step", "st')
    (folder / "options.yaml").write_text("".join(f"{name}: {value}\n" for name, value in options.items()))
    return folder


def test_runs_side_by_side(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    one = write_run(tmp_path / "one<", [1.0, None, 0.5], seed=0, mask_type="learnable", output_dir="a")
    two = write_run(tmp_path / "two", [1.0, 0.8], seed=0, mask_type="random", output_dir="b")
    (two / "test").mkdir()
    (two / "test" / "scores.json").write_text('{"top1": 51.25, "videos": 80}')
    out = tmp_path / "pages" / "r.html"
    assert main(["report", str(one), str(two), "-o", str(out)]) == 0
    assert capsys.readouterr().out == f"{out}\n"
    page = out.read_text()
    assert "one<" not in page
    assert "one&lt;" in page
    assert not re.search(r"https?://|<script", page)
    assert "<td>--mask_type</td><td>learnable</td><td>random</td>" in page
    assert "--seed" not in page
    assert "--output_dir" not in page
    assert "<td>loss</td><td>0.25</td><td>0.25</td>" in page
    assert "<td>test: top1</td><td>–</td><td>51.25</td>" in page
    # The loss that was not finite is left out of its curve.
    assert page.count("<polyline") == 4
    assert "last 0.5</title>" in page


def test_a_single_run_shows_all_its_options(tmp_path: Path) -> None:
    page = report_page([read_run(write_run(tmp_path / "one", [1.0], seed=3))])
    assert "<td>--seed</td><td>3</td>" in page
    assert "<circle" in page


@pytest.mark.parametrize(("content", "message"), [(None, "has no log.jsonl"), ("nothing\n", "not one whole line")])
def test_what_is_no_run_is_one_line(content: str | None, message: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "log.jsonl").write_text(content)
    with pytest.raises(UserError, match=message):
        read_run(tmp_path)


def test_where_a_curve_lies() -> None:
    svg = line_chart([Curve("x", "red", [(0, 0), (10, 1)])])
    # From the lower left corner of the axes to the upper right.
    assert 'points="56.0,234.0 460.0,10.0"' in svg
    # Over two decades the geometric mean is half-way.
    assert "258.0,122.0" in line_chart([Curve("x", "red", [(0, 0.01), (5, 0.1), (10, 1)])])


@pytest.mark.parametrize(
    ("low", "high", "wanted"),
    [
        (0, 1, [0, 0.25, 0.5, 0.75, 1]),
        (0.3, 0.9, [0.2, 0.4, 0.6, 0.8, 1.0]),
        (5, 5, [2, 4, 6, 8]),
        (0, 0, [-1, -0.5, 0, 0.5, 1]),
    ],
)
def test_ticks_are_round(low: float, high: float, wanted: list[float]) -> None:
    assert ticks(low, high) == wanted

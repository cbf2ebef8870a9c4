"""The page of runs, and its curves."""

from __future__ import annotations

import json
import os
import re
from pathlib import Path

import pytest

from adamae.cli.main import main
from adamae.errors import UserError
from adamae.visualize.line_chart import Curve, line_chart
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
    assert page.count("<title>") == 1 + 4
    assert "last 0.5</title>" in page


def test_the_table_shows_the_last_whole_epoch(tmp_path: Path) -> None:
    folder = write_run(tmp_path / "run", [1.0], seed=0)
    lines = [{"kind": "epoch", "step": 30, "loss": 0.25, "val_top1": 51.5}, {"kind": "step", "step": 40, "loss": 9.5}]
    (folder / "log.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    page = report_page([read_run(folder)])
    assert "<td>loss</td><td>0.25</td>" in page
    assert "<td>val_top1</td><td>51.5</td>" in page


def test_a_single_run_shows_all_its_options(tmp_path: Path) -> None:
    page = report_page([read_run(write_run(tmp_path / "one", [1.0], seed=3))])
    assert "<td>--seed</td><td>3</td>" in page
    assert "last 1</title>" in page


def test_names_that_are_not_utf8_are_escaped(tmp_path: Path) -> None:
    folder = write_run(tmp_path / os.fsdecode(b"\xff"), [1.0], data_path=r'"d\uDCFE"')
    page = report_page([read_run(folder)]).encode().decode()
    assert r"<td>d\xfe</td>" in page and rf"<th>{tmp_path}/\xff</th>" in page


@pytest.mark.parametrize(
    ("content", "message"), [(None, "has no log.jsonl"), ("nothing\n", "contains no complete line")]
)
def test_what_is_no_run_is_one_line(content: str | None, message: str, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "log.jsonl").write_text(content)
    with pytest.raises(UserError, match=message):
        read_run(tmp_path)


def points_of(svg: str) -> list[tuple[float, float]]:
    """Corners of the only curve, in the units of the picture."""
    (path,) = re.findall(r'</title>\s*<path d="([^"]*)"', svg)
    return [(float(x), float(y)) for x, y in re.findall(r"[ML] (\S+) (\S+)", path)]


def labels_of(svg: str) -> list[str]:
    return re.findall(r">([^<>\n]+)</text>", svg)


def test_scores_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = write_run(tmp_path / "run", [1.0], seed=0)
    (folder / "scores.json").mkdir()
    (folder / "test").mkdir()
    scores = folder / "test" / "scores.json"
    scores.write_text('{"top1": 51.25}')
    assert read_run(folder).scores == {"test": {"top1": 51.25}}

    # Permissions do not stop the superuser.
    def read_text(path: Path, *words: object, **options: object) -> str:
        if path == scores:
            raise PermissionError(13, "Permission denied")
        return whole(path, *words, **options)  # type: ignore[arg-type]

    whole = Path.read_text
    monkeypatch.setattr(Path, "read_text", read_text)
    with pytest.raises(UserError, match=r"scores\.json: cannot be read: Permission denied"):
        read_run(folder)


def test_where_a_curve_lies() -> None:
    svg = line_chart([Curve("x", "red", [(0, 0), (5, 0.5), (10, 1)])])
    (left, bottom), *_, (right, top) = points_of(svg)
    assert left < right and top < bottom
    assert labels_of(svg)[:2] == ["0", "2"] and labels_of(svg)[-1] == "1"
    # Over two decades the geometric mean is half-way.
    svg = line_chart([Curve("x", "red", [(0, 0.01), (5, 0.1), (10, 1)])])
    low, middle, high = (y for _, y in points_of(svg))
    assert middle == pytest.approx((low + high) / 2, abs=0.01)
    assert labels_of(svg)[-3:] == ["0.01", "0.1", "1"]


def test_a_single_point_is_seen() -> None:
    svg = line_chart([Curve("<x>", "#0072b2", [(3, 5.0)])])
    assert "<title>&lt;x&gt;, last 5</title>" in svg
    assert re.search(r"<use [^>]*fill: #0072b2", svg)


def test_a_chart_takes_the_colours_of_its_page_and_shares_no_names_with_others() -> None:
    curves = [Curve("a", "#0072b2", [(0, 1), (1, 2)]), Curve("b", "#d55e00", [(0, 1), (1, 3)], dashed=True)]
    one, two = line_chart(curves), line_chart(curves[:1])
    assert one == line_chart(curves)
    assert "stroke-dasharray" in one and "stroke-dasharray" not in two
    names = [set(re.findall(r'id="([^"]*)"', svg)) for svg in (one, two)]
    assert names[0] and not names[0] & names[1]
    assert set(re.findall(r"(?:fill|stroke): ([^;\"]*)", one)) == {
        *("none", "var(--line)", "var(--faint)", "#0072b2", "#d55e00")
    }


def test_a_long_run_does_not_make_a_large_page() -> None:
    jumps = [(step, step * 7919 % 101) for step in range(100_000)]
    assert len(line_chart([Curve("x", "red", jumps)])) < 200_000

"""Record what the commands do, and compare recordings.

python -m tests.behaviour record OUT.json [--only PATTERN] [--work DIR] [--tree DIR]
python -m tests.behaviour compare BEFORE.json AFTER.json [--words]
python -m tests.behaviour check BEFORE.json [--words] [--only PATTERN] [--work DIR] [--tree DIR]
"""

from __future__ import annotations

import argparse
import json
import re
import shutil
import sys
import tempfile
from pathlib import Path
from typing import Any

from tests.behaviour.comparing import differences, report
from tests.behaviour.recording import ROOT, record


def main(words: list[str] | None = None) -> int:
    """Run the command; return 1 if anything but words differs."""
    options = _parser().parse_args(words)
    if options.act == "compare":
        return _compare(_read(options.before), _read(options.after), options)
    found = _record(options)
    if options.act == "record":
        options.out.write_text(json.dumps(found, indent=1) + "\n")
        return 0
    before = _read(options.before)
    # A partial recording is compared with the same part of the other.
    before["lines"] = {
        name: line for name, line in before["lines"].items() if not options.only or name in found["lines"]
    }
    return _compare(before, found, options)


def _compare(before: dict[str, Any], after: dict[str, Any], options: argparse.Namespace) -> int:
    found = differences(before, after)
    if options.expected:
        found = [difference for difference in found if not re.search(options.expected, difference.place)]
    print(report(found, words=not options.words))
    return int(any(difference.kind == "content" for difference in found))


def _record(options: argparse.Namespace) -> dict[str, Any]:
    def tell(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    # Not a TemporaryDirectory, which every fork would delete at its end.
    work = options.work or Path(tempfile.mkdtemp(prefix="behaviour-"))
    try:
        found = record(work, options.tree, options.only, tell)
    finally:
        if options.work is None:
            shutil.rmtree(work)
    # Same types as when it is read from a file.
    read: dict[str, Any] = json.loads(json.dumps(found))
    return read


def _read(path: Path) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(path.read_text())
    return found


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(prog="python -m tests.behaviour")
    acts = parser.add_subparsers(dest="act", required=True)
    recording = acts.add_parser("record", help="run the command lines and write down what they do")
    recording.add_argument("out", type=Path, metavar="OUT.json")
    comparing = acts.add_parser("compare", help="tell what differs between two recordings")
    comparing.add_argument("before", type=Path, metavar="BEFORE.json")
    comparing.add_argument("after", type=Path, metavar="AFTER.json")
    checking = acts.add_parser("check", help="record, and tell what differs from a recording")
    checking.add_argument("before", type=Path, metavar="BEFORE.json")
    for act in (recording, checking):
        act.add_argument("--only", default="", metavar="PATTERN", help="lines whose names this is found in")
        act.add_argument("--work", type=Path, metavar="DIR", help="new folder to work in, which then stays")
        act.add_argument("--tree", type=Path, default=ROOT, metavar="DIR", help="repository whose adamae runs")
    for act in (comparing, checking):
        act.add_argument("--words", action="store_true", help="hide what differs in words alone")
        act.add_argument("--except", dest="expected", default="", metavar="PATTERN", help="places that may differ")
    return parser


if __name__ == "__main__":
    sys.exit(main())

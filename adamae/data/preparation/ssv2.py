"""Something-Something V2: labels and training, validation and test lists in JSON; videos are named by their id."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from adamae.data.list_rows import UNLABELLED
from adamae.data.preparation.json_entries import read_entries, read_pairs
from adamae.data.preparation.label_text import read_lines
from adamae.data.preparation.plan import ListedVideo, Listing, PreparationPlan, match, number_classes
from adamae.data.preparation.problems import Problems
from adamae.data.preparation.source_tree import SourceTree
from adamae.errors import UserError

# Ends of the file names in the old and the current distribution.
_LABELS = "labels.json"
_LISTS = {"train": ("train.json",), "val": ("validation.json", "val.json"), "test": ("test.json",)}
_ANSWERS = "test-answers.csv"
_ANSWER = re.compile(r'"?(\w+)"?\s*[;,]\s*"?(.*?)"?')


def plan_ssv2(tree: SourceTree, split: int, problems: Problems) -> PreparationPlan:
    """See ``layouts``. Test videos only have labels if there is a file of answers (``test-answers.csv``).

    Raises:
        UserError: The labels or all lists are missing, or a label file is malformed.
    """
    labels_file = _only(tree, (_LABELS,))
    if labels_file is None:
        raise UserError(f"no file *{_LABELS} below {tree.root} (or --annotations), expected Something-Something's")
    files = {part: path for part, ends in _LISTS.items() if (path := _only(tree, ends))}
    if not files.keys() & {"train", "val"}:
        raise UserError(f"{labels_file}: no *train.json or *validation.json with it, expected the lists of videos")
    labels = _read_labels(labels_file, problems)
    listing = Listing(tuple(labels))
    answers_file = _only(tree, (_ANSWERS,))
    answers = {} if answers_file is None else dict(_read_answers(answers_file))
    seen: dict[str, str] = {}
    for part, path in files.items():
        for place, entry in read_entries(path):
            video = _read_video(entry, part, path, place, labels, answers, problems)
            if isinstance(video, str):
                listing.others.add(video)
            elif video.names[0] in seen:
                reason = f"the id {video.names[0]} is already listed in {seen[video.names[0]]}; skipped"
                problems.add("duplicate", video.place, reason)
            else:
                seen[video.names[0]] = video.place
                listing.videos.append(video)
    return match(listing, tree, problems)


def _only(tree: SourceTree, ends: tuple[str, ...]) -> Path | None:
    found = [path for path in tree.label_files if path.name.lower().endswith(ends)]
    if len(found) > 1:
        raise UserError(f"{found[0]} and {found[1]}: expected one file *{ends[0]}; --annotations names its folder")
    return found[0] if found else None


def _read_labels(path: Path, problems: Problems) -> dict[str, int]:
    """Read {template: "id"} as {template: label}."""
    numbered = []
    for entry, (template, number) in enumerate(read_pairs(path), 1):
        place = f"{path}:entry {entry}"
        if not str(number).isdecimal() or not template.strip():
            raise UserError(f"{place}: the class {template!r} has the number {number!r}, expected 0 or more")
        numbered.append((int(number), template.strip(), place))
    return number_classes(numbered, problems)


def _read_answers(path: Path) -> Iterator[tuple[str, str]]:
    for line, text in read_lines(path):
        found = _ANSWER.fullmatch(text)
        if found is None:
            raise UserError(f"{path}:{line}: got {text!r}, expected ID;TEMPLATE")
        yield found[1], found[2]


def _read_video(
    entry: dict[str, Any],
    part: str,
    path: Path,
    at: str,
    labels: dict[str, int],
    answers: dict[str, str],
    problems: Problems,
) -> ListedVideo | str:
    """Return the row of an entry, or only its id if its label is missing or unknown."""
    place = f"{path}:{at}"
    name = str(entry.get("id") or "").strip()
    if not name:
        raise UserError(f"{place}: has {', '.join(entry) or 'nothing'}, expected an id")
    template = entry.get("template") or (answers.get(name) if part == "test" else None)
    if template is None and part == "test":
        return ListedVideo(part, (name,), UNLABELLED, str(path), at)
    if not isinstance(template, str) or not template.strip():
        problems.add("no_label", place, f"the video {name} has no template; skipped")
        return name
    plain = template.replace("[", "").replace("]", "").strip()
    if plain not in labels:
        problems.add("unknown_class", place, f"{plain!r} is not among the {len(labels)} classes; {name} is skipped")
        return name
    return ListedVideo(part, (name,), labels[plain], str(path), at)

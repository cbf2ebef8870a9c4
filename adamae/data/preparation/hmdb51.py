"""HMDB51: a list for every class and each of three splits, with 1 for training, 2 for test, 0 for neither."""

from __future__ import annotations

import re

from adamae.data.preparation.label_text import read_lines
from adamae.data.preparation.plan import ListedVideo, Listing, PreparationPlan, match, stem
from adamae.data.preparation.problems import Problems
from adamae.data.preparation.source_tree import SourceTree
from adamae.errors import UserError

_ROW = re.compile(r"(\S.*?\.\w+)(?:\s+(\S+))?")
_PARTS = {"1": "train", "2": "test"}


def plan_hmdb51(tree: SourceTree, split: int, problems: Problems) -> PreparationPlan:
    """See ``layouts``. Classes are in alphabetical order; there is no official validation split.

    Raises:
        UserError: The lists of the split are missing, or a line is malformed.
    """
    end = f"_test_split{split}.txt"
    files = {path.name.removesuffix(end): path for path in tree.label_files if path.name.endswith(end)}
    if not files:
        raise UserError(f"no file *{end} below {tree.root} (or --annotations), expected HMDB51's, one for each class")
    listing = Listing(tuple(sorted(files)))
    seen: dict[tuple[int, str], str] = {}
    for label, name in enumerate(listing.classes):
        path = files[name]
        for line, text in read_lines(path):
            place = f"{path}:{line}"
            found = _ROW.fullmatch(text)
            if found is None:
                raise UserError(f"{place}: got {text!r}, expected VIDEO.avi NUMBER")
            video, number = stem(found[1]), found[2]
            if number is None:
                problems.add("no_label", place, f"no number after {video}, expected 0, 1 or 2; skipped")
            elif number not in ("0", *_PARTS):
                raise UserError(f"{place}: the number of {video} is {number!r}, expected 0, 1 or 2")
            elif (label, video) in seen:
                problems.add("duplicate", place, f"{video} stands in {seen[label, video]} already; skipped")
                continue
            elif number in _PARTS:
                seen[label, video] = place
                listing.videos.append(ListedVideo(_PARTS[number], (video,), label, str(path), line))
                continue
            listing.others.add(video)
    # Lists are read class by class, but training videos come before test videos in the plan.
    listing.videos.sort(key=lambda video: video.split, reverse=True)
    return match(listing, tree, problems)

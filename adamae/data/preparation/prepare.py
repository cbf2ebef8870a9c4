"""Prepare a data set: read its label files, re-encode its videos, write lists and a report."""

from __future__ import annotations

import os
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

from adamae.data.decoding.damage import describe_loss
from adamae.data.preparation.journal import Part, alone_at_the_end, is_in_progress
from adamae.data.preparation.layouts import LAYOUTS
from adamae.data.preparation.lists import Lists, write_lists
from adamae.data.preparation.plan import PreparationPlan
from adamae.data.preparation.problems import Problems
from adamae.data.preparation.reencoding import Reencoding
from adamae.data.preparation.report import Report
from adamae.data.preparation.source_tree import SourceTree, look_through
from adamae.data.preparation.transcoding import Encoding
from adamae.data.threads import ScanProgress, in_threads
from adamae.errors import UserError
from adamae.files import begin, is_begun, remove_temporaries
from adamae.plain_text import counted
from adamae.progress import ProgressCallback

# File with the options, in the output folder.
MANIFEST = "prepare.json"
# Increased when the same options produce other files than before.
_VERSION = 1


def prepare(
    layout: str,
    source: str | Path,
    out: str | Path,
    *,
    annotations: str | Path | None = None,
    split: int = 1,
    encoding: Encoding | None = Encoding(),  # noqa: B008 (it cannot be changed)
    paths: str = "relative",
    part: Part = Part(),  # noqa: B008
    workers: int = 0,
    time_limit: float | None = None,
    retry: bool = False,
    progress: ProgressCallback | None = None,
    scanning: ScanProgress | None = None,
) -> Report:
    """Prepare a data set for training.

    Writes ``train.csv``, ``val.csv``, ``test.csv``, ``classes.txt``, ``report.json``, ``report.txt`` and the videos
    below ``videos/``. Problems with single videos or rows are reported, and the others are prepared. If it is
    interrupted and called again, it continues where it stopped and produces the same lists and videos.

    Args:
        layout: A key of ``layouts.LAYOUTS``.
        source: Folder of the videos, at any depth.
        out: Output folder: new, empty, or started with the same options.
        annotations: Folder of the label files; None for ``source``.
        split: Number of the official split, for data sets with several.
        encoding: How to re-encode; None only writes lists of the original videos. Images are never re-encoded.
        paths: "relative" (to the lists) or "absolute".
        part: The part of the videos to re-encode; the part that ends last writes the lists.
        workers: Number of worker processes; 0 for the main process.
        time_limit: Time limit for one video in seconds.
        retry: Retry videos that could not be read.
        progress: Called with (videos done, total videos) of this part.
        scanning: Called during the scan before that, with (files scanned, total files or None).

    Raises:
        UserError: Label files or videos are missing, no video could be prepared, the output folder contains something
            else, or it cannot be written.
    """
    root, folder = Path(source).expanduser(), Path(out).expanduser()
    where = None if annotations is None else Path(annotations).expanduser()
    options: dict[str, Any] = {
        "version": _VERSION,
        "layout": layout,
        "source": os.path.realpath(root),
        "annotations": None if where is None else os.path.realpath(where),
        "split": split,
        "paths": paths,
        **(asdict(encoding) if encoding is not None else {"transcode": False}),
    }
    is_begun(folder, MANIFEST, options)
    problems = Problems()
    tree = look_through(root, annotations=where, skip=folder, scanning=scanning)
    plan = _plan(layout, tree, split, problems)
    task = _Task(layout, tree, plan, folder, paths, problems)
    try:
        begin(folder, MANIFEST, options)
        if encoding is None or tree.images:
            with alone_at_the_end(folder / MANIFEST):
                return task.list_as_is(scanning)
        work = Reencoding(root, folder, sorted({video.source for video in plan.videos}), encoding, scanning)
        work.run(part, workers=workers, time_limit=time_limit, retry=retry, progress=progress)
        return task.finish(work, part)
    except OSError as error:
        raise UserError(f"{error.filename or folder}: cannot be written ({error.strerror})") from error


def _plan(layout: str, tree: SourceTree, split: int, problems: Problems) -> PreparationPlan:
    try:
        plan = LAYOUTS[layout](tree, split, problems)
    except UserError as error:
        # The first problem found in a label file may be the reason why there are no labels.
        first = next(iter(problems), None)
        raise UserError(f"{error}; {first.place}: {first.reason}" if first else str(error)) from None
    if not plan.videos:
        first = next(iter(problems), None)
        why = f"; {first.place}: {first.reason}" if first else ""
        raise UserError(
            f"{tree.root}: none of its {counted(len(tree.videos), tree.noun)} can be prepared as {layout}{why}"
        )
    return plan


@dataclass(frozen=True)
class _Task:
    """A data set to prepare, and its destination.

    Attributes:
        layout: A key of ``layouts.LAYOUTS``.
        tree: The source folder.
        plan: Videos to prepare, with their labels.
        folder: Output folder.
        paths: "relative" (to the lists) or "absolute".
        problems: Problems found so far; the methods add to them.
    """

    layout: str
    tree: SourceTree
    plan: PreparationPlan
    folder: Path
    paths: str
    problems: Problems

    def list_as_is(self, scanning: ScanProgress | None) -> Report:
        """Write lists of the source files, without re-encoding."""
        root = os.path.realpath(self.tree.root)
        start = root if self.paths == "absolute" else os.path.relpath(root, os.path.realpath(self.folder))
        lists = write_lists(self.folder, self.plan, self.problems, lambda source: os.path.join(start, source))  # noqa: PTH118
        sources = sorted({video.source for video in self.plan.videos})
        what = "images are listed as they are" if self.tree.images else "no video was opened"
        note = f"{what}: adamae scan finds the broken ones"
        size = sum(in_threads(lambda source: os.path.getsize(self.tree.root / source), sources, scanning))  # noqa: PTH202
        report = Report(
            **self._facts(),
            part=Part(),
            complete=True,
            done=len(self.plan.videos),
            rows=lists.rows,
            counts=lists.counts,
            notes=(*self.plan.notes, *lists.notes, note),
            bytes_before=size,
        )
        report.write()
        remove_temporaries(self.folder)
        return report

    def finish(self, work: Reencoding, part: Part) -> Report:
        """Write the report, and the lists if all parts are done and none tries its failed videos again."""
        with alone_at_the_end(self.folder / MANIFEST):
            return self._finish(work, part)

    def _finish(self, work: Reencoding, part: Part) -> Report:
        complete = bool(work.known.all()) and not is_in_progress(self.folder)
        if complete and work.reasons:
            # A part that tried failed videos again may have ended after its journal was read.
            work.recall()
        for row, reason in sorted(work.reasons.items()):
            self.problems.add("broken", work.sources[row], reason)
        for row, packets in sorted(work.damaged.items()):
            self.problems.add("damaged", work.sources[row], describe_loss(packets))
        ready = work.after > 0
        if complete and not ready.any():
            first = self.problems.of_kind("broken")[0]
            raise UserError(f"none of {len(work.sources)} videos could be read; {first.place}: {first.reason}")
        lists = self._write_lists(work) if complete else _postponed_lists(int((~work.known).sum()))
        report = Report(
            **self._facts(),
            part=part,
            complete=complete,
            done=int(ready.sum()),
            rows=lists.rows,
            counts=lists.counts,
            notes=(*self.plan.notes, *lists.notes),
            bytes_before=int(work.before[work.before > 0].sum()),
            bytes_after=int(work.after.sum()),
            frames=work.frames[ready],
            seconds=work.seconds[ready],
        )
        report.write()
        if complete:
            work.clean()
            remove_temporaries(self.folder)
        return report

    def _write_lists(self, work: Reencoding) -> Lists:
        """Write lists of the videos that were re-encoded."""
        start = os.path.realpath(self.folder) if self.paths == "absolute" else ""
        return write_lists(
            self.folder,
            self.plan,
            self.problems,
            lambda source: (path := work.path_of(source)) and os.path.join(start, path),  # noqa: PTH118
        )

    def _facts(self) -> dict[str, Any]:
        return {
            "layout": self.layout,
            "noun": self.tree.noun,
            "out": self.folder,
            "found": len(self.tree.videos),
            "listed": self.plan.listed,
            "planned": len(self.plan.videos),
            "classes": self.plan.classes,
            "problems": self.problems,
        }


def _postponed_lists(left: int) -> Lists:
    """Return no lists, with a note on the number of videos that are left to other parts; 0 for failed ones."""
    why = f"{left} videos of other parts are left" if left else "another part is in progress"
    note = f"{why}: the part that ends last writes the lists, as does this command without --part, when they are done"
    return Lists({}, None, (note,))

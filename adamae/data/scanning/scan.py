"""Decodes every video of a list and writes a list of good videos, one of bad videos with reasons, and frame counts."""

from __future__ import annotations

import time
from pathlib import Path

from adamae.data.annotations import Annotations, load_annotations
from adamae.data.decoding import get_decoder
from adamae.data.frame_counts import COUNTS, GOOD, FrameCounts, counts_of_list, file_key, result_place, video_key
from adamae.data.image_files import ImageFiles
from adamae.data.scanning.inspection import Inspection
from adamae.data.scanning.journal import Finding, ScanJournal
from adamae.data.scanning.lists import bad_list, good_list
from adamae.data.scanning.report import BadVideo, DamagedVideo, ScanReport
from adamae.data.threads import ScanProgress, in_threads
from adamae.data.workers import Failure, run_jobs
from adamae.errors import UserError
from adamae.files import write_whole
from adamae.progress import ProgressCallback

_BAD = ".bad.csv"
_JOURNAL = ".scan.jsonl"


def scan(
    source: str | Path,
    *,
    data_root: str | Path | None = None,
    out: str | Path | None = None,
    full: bool = False,
    decoder: str = "pyav",
    workers: int = 0,
    video_timeout: float = 60.0,
    image_files: ImageFiles = "auto",
    progress: ProgressCallback | None = None,
    scanning: ScanProgress | None = None,
) -> ScanReport:
    """Scan a list, a folder of videos or shards.

    An interrupted call resumes where it stopped. Good videos that are known from an earlier scan and have not changed
    since are not decoded again.

    Args:
        source: As in :func:`~adamae.data.annotations.load_annotations`.
        data_root: Folder that a list's relative paths start from, instead of the list's own folder.
        out: Folder of the results; None to write beside the list, or into the scanned folder.
        full: Decode every frame; otherwise the first, the last and one in between.
        decoder: A name from ``decoding.DECODERS``.
        workers: Number of processes; 0 decodes in this process, where a video that hangs or crashes ends the scan.
        video_timeout: Time limit per video in seconds; 0 for no limit.
        image_files: Whether image files in folders are images or frames of videos.
        progress: Called with the number of videos done and the total.
        scanning: Called before that with the number of files found or checked and the total, if known.

    Raises:
        UserError: The list does not exist, results cannot be written, or shards are remote and there is no ``out``.
    """
    began = time.perf_counter()
    get_decoder(decoder)  # raises before any work is done
    annotations = load_annotations(source, data_root=data_root, image_files=image_files, scanning=scanning)
    place = result_place(annotations.source, out)
    folder = place.parent
    try:
        folder.mkdir(parents=True, exist_ok=True)
        earlier = _earlier_counts(annotations, folder, decoder, full)
        keys = _keys(annotations, scanning)
        settings: dict[str, str | bool] = {"decoder": decoder, "full": full, "cut_off_known": True}
        journal = ScanJournal(folder / f"{place.name}{_JOURNAL}", settings)
        findings = _known_findings(keys, journal, earlier)
        known = len(findings)
        inspection = Inspection(annotations, decoder, full)
        _decode_missing(
            findings, keys, journal, inspection, workers=workers, time_limit=video_timeout or None, progress=progress
        )
        good = {row: _good(found) for row, found in findings.items() if not isinstance(found, str)}
        bad = tuple(
            BadVideo(row, annotations.path(row), found)
            for row, found in sorted(findings.items())
            if isinstance(found, str)
        )
        counts = _counts(keys, good, earlier, decoder, full)
        written = _write(folder, place.name, annotations, bad, counts, root_given=data_root is not None)
        journal.remove()
    except OSError as error:
        raise UserError(f"{error.filename or folder}: cannot be written ({error.strerror})") from error
    return ScanReport(
        videos=len(keys),
        noun=annotations.noun,
        frames=sum(frames for frames, _ in good.values()),
        bad=bad,
        damaged=tuple(
            DamagedVideo(row, annotations.path(row), damaged) for row, (_, damaged) in sorted(good.items()) if damaged
        ),
        decoded=len(keys) - known,
        seconds=time.perf_counter() - began,
        written=written,
    )


def _earlier_counts(annotations: Annotations, folder: Path, decoder: str, full: bool) -> FrameCounts | None:
    """Return the frame counts of an earlier scan; None if there are none, or that scan checked less than this one."""
    earlier = counts_of_list(annotations.source, decoder, folder)
    if earlier is not None and (not earlier.cut_off_known or (full and not earlier.full)):
        return None
    return earlier


def _keys(annotations: Annotations, scanning: ScanProgress | None) -> list[int]:
    """Return the key of each row's video; see :func:`~adamae.data.frame_counts.video_key`."""
    if annotations.members is None:
        return in_threads(lambda row: video_key(annotations.video(row)), range(len(annotations)), scanning)
    sizes = annotations.members.sizes.tolist()
    return [file_key(annotations.path(row), size, 0) for row, size in enumerate(sizes)]


def _known_findings(keys: list[int], journal: ScanJournal, earlier: FrameCounts | None) -> dict[int, Finding]:
    """Return the findings of an interrupted or earlier scan, by row."""
    return {row: found for row, key in enumerate(keys) if (found := _recall(key, journal, earlier)) is not None}


def _recall(key: int, journal: ScanJournal, earlier: FrameCounts | None) -> Finding | None:
    found = journal.found.get(key)
    return earlier.find_both(key) if found is None and earlier is not None else found


def _decode_missing(
    findings: dict[int, Finding],
    keys: list[int],
    journal: ScanJournal,
    inspection: Inspection,
    *,
    workers: int,
    time_limit: float | None,
    progress: ProgressCallback | None,
) -> None:
    """Decode the videos that have no finding, and add theirs to ``findings`` and to the journal."""
    jobs = (row for row in range(len(keys)) if row not in findings)
    results = run_jobs(inspection, jobs, workers=workers, time_limit=time_limit)
    for done, (row, result) in enumerate(results, len(findings) + 1):
        findings[row] = _finding(result)
        journal.add(keys[row], findings[row])
        if progress is not None:
            progress(done, len(keys))


def _finding(result: Finding | Failure) -> Finding:
    if not isinstance(result, Failure):
        return result
    if result.error is not None:
        raise result.error
    return result.reason


def _good(found: int | tuple[int, int]) -> tuple[int, int]:
    """Return the numbers of frames and damaged packets of a good video."""
    return (found, 0) if isinstance(found, int) else found


def _counts(
    keys: list[int], good: dict[int, tuple[int, int]], earlier: FrameCounts | None, decoder: str, full: bool
) -> FrameCounts:
    """Return the frame counts to store; they are full if all frames were decoded, in this scan or an earlier one."""
    by_key = {keys[row]: both for row, both in good.items()}
    every_frame = full or (earlier is not None and earlier.full and all(earlier.find(key) for key in by_key))
    return FrameCounts.of(((key, *both) for key, both in by_key.items()), decoder, every_frame)


def _write(
    folder: Path,
    name: str,
    annotations: Annotations,
    bad: tuple[BadVideo, ...],
    counts: FrameCounts,
    *,
    root_given: bool,
) -> tuple[Path, ...]:
    contents = {
        f"{GOOD}.csv": good_list(annotations, {video.row for video in bad}, folder, root_given),
        _BAD: bad_list(annotations, bad),
        COUNTS: counts.packed(),
    }
    written = []
    for kind, content in contents.items():
        if content is not None:
            write_whole(folder / f"{name}{kind}", content)
            written.append(folder / f"{name}{kind}")
    return tuple(written)

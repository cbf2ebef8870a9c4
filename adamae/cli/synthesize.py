"""``adamae synthesize``: generate a small labelled data set."""

from __future__ import annotations

from collections.abc import Sequence

from adamae.cli.workers import one_per_core
from adamae.options.synthesize import synthesize_parser


def run(words: Sequence[str]) -> int:
    """Run the command.

    Raises:
        UserError: If an option is invalid, or the folder cannot be written or contains other files.
    """
    options = vars(synthesize_parser().parse(words).options.videos).copy()
    from adamae.data.synthetic import synthesize
    from adamae.progress import progress_of

    classes, workers = options.pop("classes"), options.pop("workers")
    with progress_of("writing videos", first="writing videos") as progress:
        report = synthesize(
            **options,
            classes=None if classes == "all" else classes.split(","),
            workers=one_per_core(workers),
            progress=progress.work,
        )
    known = "" if report.written else ", all of them already complete"
    what = "images" if options["images"] else "videos"
    print(f"{report.root}: {sum(report.videos.values())} {what} of {len(report.classes)} classes{known}")
    for split, path in report.lists.items():
        print(f"  {path}: {report.videos[split]} {what}")
    return 0

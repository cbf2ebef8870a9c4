"""The timeline as a figure and as a table."""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np

from adamae.visualize.picture_grid import font_families, without_glyph_warnings
from adamae.visualize.probability import Timeline
from adamae.visualize.video_clips import VideoClips


def timeline_png(video: VideoClips, timeline: Timeline, notes: Sequence[str]) -> bytes:
    """Draw curves over time, and above them the frames at the peaks in order of time.

    Args:
        video: The video.
        timeline: Its curves.
        notes: Notes for the reader.
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    peaks = np.sort(timeline.peaks)
    seconds = np.array([video.seconds(frame) for frame in range(len(video.frames))])
    figure = Figure(figsize=(10, 5.2), layout="constrained")
    FigureCanvasAgg(figure)
    rows = figure.add_gridspec(2, len(peaks), height_ratios=(1, 1.5))
    for column, frame in enumerate(peaks.tolist()):
        axes = figure.add_subplot(rows[0, column])
        axes.imshow(video.frames[frame].numpy())
        axes.set_title(video.stamp(frame), fontsize=9)
        axes.set_axis_off()
    axes = figure.add_subplot(rows[1, :])
    axes.axhline(1, color="0.7", linewidth=0.8)
    axes.step(seconds, timeline.information, where="post", color="#3b528b", label="information (probability)")
    axes.plot(seconds[peaks], timeline.information[peaks], "o", color="#3b528b")
    axes.set(xlabel="seconds", ylabel="probability relative to uniform", xlim=(seconds[0], seconds[-1]))
    other = axes.twinx()
    other.step(seconds, timeline.error, where="post", color="#b5367a", linewidth=0.9, label="error of masked tokens")
    other.set_ylabel("error (the loss of a token)")
    lines = [*axes.get_legend_handles_labels()[0], *other.get_legend_handles_labels()[0]]
    axes.legend(handles=lines, loc="lower center", bbox_to_anchor=(0.5, 1), ncol=2, frameon=False, fontsize=8)
    # A dollar sign in a file's name must not start a formula.
    caption = figure.supxlabel("\n".join(notes), fontsize=8, color="0.4", fontfamily=font_families())
    caption.set_parse_math(False)
    file = io.BytesIO()
    with without_glyph_warnings():
        figure.savefig(file, format="png", dpi=110)
    return file.getvalue()


def timeline_csv(video: VideoClips, timeline: Timeline) -> bytes:
    """Return one line per frame: index, seconds, information, error, rank among the peaks."""
    ranks = {int(frame): rank for rank, frame in enumerate(timeline.peaks, start=1)}
    lines = ["frame,seconds,information,error,peak"]
    for number, (information, error) in enumerate(zip(timeline.information, timeline.error, strict=True)):
        told = f"{video.seconds(number):.4f},{information:.6g},{error:.6g},{ranks.get(number, '')}"
        lines.append(f"{video.first + number},{told}")
    return ("\n".join(lines) + "\n").encode()

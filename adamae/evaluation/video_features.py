"""Features of videos from a frozen encoder, for probes: means over the views, and a few tokens."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import closing
from dataclasses import dataclass
from typing import Any, NamedTuple

import numpy as np
import torch
from torch import Tensor

from adamae.checkpoints.networks import FrozenEncoder
from adamae.data.views import VideoViews
from adamae.distributed import World
from adamae.errors import UserError
from adamae.evaluation.scoring import Unscored, evaluating, forward_in_batches
from adamae.evaluation.view_loader import groups_of_rows, load_groups
from adamae.progress import ProgressCallback

# Memory limit for the tokens of all videos, in float16.
_TOKEN_BYTES = 8 * 2**30


@dataclass(frozen=True)
class VideoFeatures:
    """One feature for each readable, labelled video, and optionally a few of its tokens.

    Attributes:
        pooled: (n, D) float32, means over the views.
        tokens: (n, K, D) float16, means over blocks of neighbouring tokens of the views; None if not requested.
        labels: (n,) int64.
        rows: (n,) int64 rows of the list.
        unread: Videos without features: unreadable, or with non-finite features.
    """

    pooled: Tensor
    tokens: Tensor | None
    labels: Tensor
    rows: np.ndarray
    unread: list[Unscored]


def extract_videos(
    encoder: FrozenEncoder,
    dataset: VideoViews,
    *,
    most_tokens: int = 0,
    batch_size: int = 16,
    num_workers: int = 0,
    precision: str = "fp32",
    progress: ProgressCallback | None = None,
) -> VideoFeatures:
    """Compute features of videos for probes. They are kept in memory and each is computed once.

    Args:
        encoder: The encoder, on its device.
        dataset: Videos with all their views; those without a label are ignored.
        most_tokens: Maximum number of tokens to keep per view; 0 for none.
        batch_size: Views per forward pass.
        num_workers: Decoding processes.
        precision: "fp32", "bf16" or "fp16".
        progress: Called with the number of completed videos and their total.

    Raises:
        UserError: If no labelled video has features.
    """
    labelled = [row for row in range(len(dataset)) if dataset.annotations.labels[row] >= 0]
    encoded: list[_EncodedVideo] = []
    unread: list[Unscored] = []
    size = max(batch_size // dataset.plan.num_views, 1)
    groups = [[labelled[index] for index in group] for group in groups_of_rows(len(labelled), size, World())]
    with evaluating(encoder), closing(load_groups(dataset, groups, num_workers=num_workers)) as loaded:
        for group in loaded:
            for video in group:
                found = _encode_views(encoder, video, most_tokens, batch_size, precision)
                if isinstance(found, Unscored):
                    unread.append(found)
                else:
                    encoded.append(found)
            if progress is not None:
                progress(len(encoded) + len(unread), len(labelled))
    if not encoded:
        example = f", for example {unread[0].path}: {unread[0].reason}" if unread else ""
        raise UserError(f"{dataset.annotations.source}: no labelled {dataset.annotations.noun} has features{example}")
    tokens = [video.tokens for video in encoded if video.tokens is not None]
    return VideoFeatures(
        pooled=torch.stack([video.pooled for video in encoded]),
        tokens=torch.stack(tokens) if tokens else None,
        labels=torch.tensor([video.label for video in encoded]),
        rows=np.array([video.row for video in encoded]),
        unread=unread,
    )


class _EncodedVideo(NamedTuple):
    """Features of one video.

    Attributes:
        row: Row of the video in the list.
        label: Its class.
        pooled: (D,) float32, mean over the views.
        tokens: (K, D) float16, means over blocks of neighbouring tokens of the views; None if not requested.
    """

    row: int
    label: int
    pooled: Tensor
    tokens: Tensor | None


def _encode_views(
    encoder: FrozenEncoder, video: Mapping[str, Any], most_tokens: int, batch_size: int, precision: str
) -> _EncodedVideo | Unscored:
    """Encode the views of a video; the arguments are those of :func:`extract_videos`."""
    row, path = video["row"], video["path"]
    if "reason" in video:
        return Unscored(row, path, video["reason"])
    encoded = forward_in_batches(encoder.encode, video["views"], batch_size, precision)
    pooled = encoder.pool(encoded).mean(dim=0).cpu()
    tokens = _few_tokens(encoded, encoder, most_tokens).half().cpu() if most_tokens else None
    # A single such training video would make every probe non-finite.
    if not all(each.isfinite().all() for each in (pooled, tokens) if each is not None):
        return Unscored.not_finite(row, path, "features")
    return _EncodedVideo(row, video["label"], pooled, tokens)


def affordable_tokens(asked: int, num_videos: int, num_views: int, width: int) -> int:
    """Return how many of the requested tokens per view fit into memory.

    Args:
        asked: Requested tokens per view.
        num_videos: Videos that are kept in memory at once.
        num_views: Views of each video.
        width: Embedding dimension of a token.
    """
    return min(asked, _TOKEN_BYTES // (2 * width * num_views * num_videos))


def _few_tokens(encoded: Tensor, encoder: FrozenEncoder, most: int) -> Tensor:
    """(V, N, D) to (V * K, D): pool tokens over space, then over time, to at most ``most`` per view.

    Selected tokens do not form a grid; they are pooled over neighbours in their order.
    """
    if encoder.selects_tokens:
        few = torch.nn.functional.adaptive_avg_pool1d(encoded.transpose(1, 2), min(most, encoded.shape[1]))
        return few.transpose(1, 2).flatten(0, 1)
    t, h, w = encoder.feature_grid
    while t * h * w > most and max(h, w) > 1:
        h, w = max(h // 2, 1), max(w // 2, 1)
    while t * h * w > most and t > 1:
        t = max(t // 2, 1)
    volume = encoded.unflatten(1, encoder.feature_grid).permute(0, 4, 1, 2, 3)
    return torch.nn.functional.adaptive_avg_pool3d(volume, (t, h, w)).flatten(2).transpose(1, 2).flatten(0, 1)

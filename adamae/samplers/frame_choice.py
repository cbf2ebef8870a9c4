"""Information-intensive frame selection (EVEREST): the frames with the most motion from a longer clip."""

from __future__ import annotations

from collections.abc import Callable
from typing import Literal, get_args

import torch
from torch import Tensor

from adamae.checks import check_choice, check_fraction
from adamae.errors import UserError
from adamae.grid import TokenGrid
from adamae.randomness import SampleNoise
from adamae.samplers.motion import check_time, count_kept, motion_scores
from adamae.samplers.sampler import draw_gumbel
from adamae.selection import gather_tokens, rank_tokens

FrameRule = Literal["auto", "draw", "top"]
# Added to the counts: tubelets without counted tokens can be drawn, too, so there are always enough.
_LEAST_COUNT = 1e-6


class FrameChoice:
    """Shortens candidate clips to the tubelets with the most moving tokens.

    The paper describes this method but there is no official code. The tokens of the candidate clip with the most motion
    are counted per tubelet. Tubelets are drawn without replacement with probabilities proportional to the counts, and
    keep their order. A motion-aware sampler computes new scores on the shortened clip.

    Args:
        grid: Token grid of the shortened clip.
        candidate_frames: Frames of the input clip; None or the same number as in ``grid``: no selection.
        keep_ratio: Fraction of the candidates' tokens that is counted.
        rule: "draw" as described; "top" selects the tubelets with the highest counts, the earlier ones on ties; "auto"
            draws in training and selects the top in evaluation.

    Raises:
        UserError: If there are too few candidate frames, they do not divide into tubelets, or the rule is unknown.
    """

    def __init__(
        self, grid: TokenGrid, candidate_frames: int | None, keep_ratio: float = 0.3, rule: str = "auto"
    ) -> None:
        check_choice("frame_choice", rule, get_args(FrameRule))
        frames, height, width = grid.clip_shape
        candidate_frames = frames if candidate_frames is None else candidate_frames
        if candidate_frames < frames or candidate_frames % grid.tubelet_size:
            raise UserError(
                f"{candidate_frames} frames to choose {frames} from: expected at least as many, and a multiple of "
                f"tubelet_size = {grid.tubelet_size}"
            )
        self.grid = grid
        self.candidates = TokenGrid.of(candidate_frames, height, width, grid.tubelet_size, grid.patch_size)
        check_fraction("keep_ratio", keep_ratio)
        self.keep_ratio = keep_ratio
        self.rule = rule
        if self.active:
            check_time(self.candidates)

    @property
    def active(self) -> bool:
        """Whether any frame is dropped."""
        return self.candidates != self.grid

    @property
    def grids(self) -> tuple[TokenGrid, TokenGrid]:
        """Grids of the clips that are taken: candidates, and clips of the final length, which are not shortened."""
        return self.candidates, self.grid

    @torch.no_grad()
    def choose(self, tokens: Tensor, noise: SampleNoise, training: bool) -> Tensor:
        """Choose tubelets.

        Args:
            tokens: (B, N', D) tokens of the candidates in full precision, without positions.
            noise: Noise for the draw.
            training: Whether "auto" draws.

        Returns:
            (B, t) int64 ascending indices of tubelets.
        """
        keys = count_moving(tokens, self.candidates, self.keep_ratio).to(torch.float32)
        if self.rule == "draw" or (self.rule == "auto" and training):
            keys = torch.log(keys + _LEAST_COUNT) + draw_gumbel(noise, self.candidates.t)
        return rank_tokens(keys, self.grid.t).sort(dim=1).values

    def shorten(
        self, pixels: Tensor, tokenizer: Callable[[Tensor], Tensor], noise: SampleNoise, training: bool
    ) -> tuple[Tensor, Tensor | None]:
        """Drop the frames that are not chosen.

        Args:
            pixels: (B, N', P) of candidates; (B, N, P) of clips with the final length are returned unchanged.
            tokenizer: Maps pixels to tokens in full precision.
            noise: Noise for the draw.
            training: Whether "auto" draws.

        Returns:
            (B, N, P) the remaining pixels, and (B, T) int64 indices of the remaining frames among the candidates; None
            if no frame was dropped.
        """
        if pixels.shape[1] == self.grid.num_tokens:
            return pixels, None
        with torch.no_grad():
            chosen = self.choose(tokenizer(pixels), noise, training)
        by_time = pixels.unflatten(1, (self.candidates.t, -1))
        left = gather_tokens(by_time, chosen)
        within = torch.arange(self.grid.tubelet_size, device=chosen.device)
        frames = chosen.unsqueeze(-1) * self.grid.tubelet_size + within
        return left.flatten(1, 2), frames.flatten(1)


def count_moving(tokens: Tensor, grid: TokenGrid, keep_ratio: float) -> Tensor:
    """Count the clip's tokens with the most motion in each tubelet: (B, N, D) to (B, t) int64."""
    kept = rank_tokens(motion_scores(tokens, grid), count_kept(grid.num_tokens, keep_ratio))
    counts = torch.zeros(tokens.shape[0], grid.t, dtype=torch.int64, device=tokens.device)
    return counts.scatter_add_(1, kept // (grid.h * grid.w), torch.ones_like(kept))

"""Base class of both pyramid encoders: units are divided into patches and pass through four stages."""

from __future__ import annotations

import math
from abc import abstractmethod
from collections.abc import Sequence

import torch
from torch import Tensor, nn

from adamae.checks import check_count
from adamae.errors import UserError
from adamae.grid import TokenGrid
from adamae.layers.devices import can_read
from adamae.layers.layer_norm import LayerNorm
from adamae.models.encoder import Encoder
from adamae.models.pyramid.blocks import PyramidBlock
from adamae.models.pyramid.layout import Layout, all_units, compact_units
from adamae.models.pyramid.tokenizer import PATCH_SIZE, PatchTokenizer
from adamae.randomness import SampleNoise
from adamae.samplers import declaration_of
from adamae.samplers.cells import CellPattern, CellSampler
from adamae.samplers.sampler import Sampler
from adamae.selection import TokenSelection, gather_tokens

UNIT_SIZE = 16
STAGES = 4
# Frame sizes to suggest in error messages.
_SIZES = range(64, 1025, 64)


class PyramidEncoder(Encoder):
    """Four stages of blocks, between which 2x2 patches are merged.

    The encoder takes all tokens of a clip, or one from each cell (:mod:`adamae.samplers.cells`). Tokens are units of
    16x16 pixels, which have 4x4 patches each. Visible units are put side by side in the order of their cells; the other
    units are not read. The features are those of the last stage: (B, T * H/2 * W/2, 8C) for H x W units or cells at T
    times.

    Args:
        grid: The grid of units.
        pattern: The cells, each with one visible unit; None: the encoder takes all tokens.
        in_chans: Colour channels.
        dims: Width of each stage.
        depths: Number of blocks of each stage.
        patch_norm: Whether a LayerNorm follows the projection of the patches.
        final_norm: Whether a LayerNorm follows the blocks.

    Raises:
        UserError: If the clip does not divide into four stages, or a stage has no block.
    """

    takes = frozenset({"all"})
    blocks: nn.ModuleList
    patch_embed: PatchTokenizer

    def __init__(
        self,
        grid: TokenGrid,
        *,
        pattern: CellPattern | None,
        in_chans: int,
        dims: Sequence[int],
        depths: Sequence[int],
        patch_norm: bool,
        final_norm: bool,
    ) -> None:
        if grid.patch_size != UNIT_SIZE:
            raise UserError(f"patch_size = {grid.patch_size}: expected {UNIT_SIZE}, the units of a pyramid encoder")
        for stage, depth in enumerate(depths, start=1):
            check_count(f"depth of stage {stage}", depth)
        patch_embed = PatchTokenizer(grid, in_chans, dims[0], norm=patch_norm)
        super().__init__(grid, patch_embed, in_chans=in_chans, embed_dim=dims[-1], depth=sum(depths))
        self.pattern = pattern
        self.patches = patch_embed.patches
        self.patch_dim = dims[0]
        self.axes = 2 if grid.is_image else 3
        self.depths = tuple(depths)
        self.vis_mask_token: nn.Parameter | None = None
        self._check_size()
        self.norm = LayerNorm(dims[-1]) if final_norm else nn.Identity()

    @property
    def feature_grid(self) -> tuple[int, int, int]:
        """One feature for each 2x2 units."""
        return self.grid.t, self.grid.h // 2, self.grid.w // 2

    @property
    def position_grid(self) -> tuple[int, int, int]:
        """One position for each patch of a frame."""
        return 1, self.grid.h * self.patches, self.grid.w * self.patches

    @property
    def shape(self) -> tuple[int, int, int]:
        """Patches of the first stage along time, height and width."""
        t, h, w = (self.grid.t, self.grid.h, self.grid.w) if self.pattern is None else self.pattern.cells(self.grid)
        return t, h * self.patches, w * self.patches

    def _check_size(self) -> None:
        _, height, width = self.grid.clip_shape
        for name, size in (("height", height), ("width", width)):
            if not self._fits(size):
                sizes = [str(each) for each in _SIZES if self._fits(each)]
                raise UserError(
                    f"{name} = {size} does not divide into the {STAGES} stages of the encoder{self.within}: expected "
                    f"one of {', '.join(sizes) or 'none, because of the window size'}"
                )

    def _fits(self, size: int) -> bool:
        """Whether all stages support a frame height or width of ``size`` pixels."""
        cell = 1 if self.pattern is None else self.pattern.cell[1]
        patches = size // PATCH_SIZE // cell
        # The last stage must have complete units in both layouts.
        divides = size % (PATCH_SIZE * cell) == 0 and size % 64 == 0
        return divides and all(self.fits_stage(stage, patches >> stage) for stage in range(STAGES))

    @property
    def within(self) -> str:
        """A phrase for error messages with further requirements on the size."""
        return ""

    @abstractmethod
    def fits_stage(self, stage: int, length: int) -> bool:
        """Whether a stage supports ``length`` patches along an axis."""

    @abstractmethod
    def share(self, layout: Layout, stage: int, like: Tensor) -> object:
        """Return the object that the attention of a stage's blocks shares.

        Args:
            layout: Layout of the stage's patches.
            stage: Index of the stage.
            like: A tensor with the device and dtype to use.
        """

    def place(self, x: Tensor, layout: Layout) -> Tensor:
        """Add position embeddings to patches (B, T, H, W, C); by default none, for encoders with relative positions."""
        return x

    def check_sampler(self, sampler: Sampler) -> None:
        """Raise a UserError unless ``sampler`` leaves one unit of each of its cells visible."""
        name = declaration_of(sampler).name
        if not isinstance(sampler, CellSampler):
            raise UserError(
                f"mask_type = {name!r}: expected uniform or adaptive_uniform, which leave one token of each cell "
                f"visible, because the encoder is a pyramid ({self.family})"
            )
        if sampler.pattern != self.pattern:
            raise UserError(
                f"uniform_sampling = {sampler.uniform_sampling!r} of mask_type {name}: expected that of the encoder"
            )

    def learn_secondary_token(self) -> None:
        """See :meth:`~adamae.models.encoder.Encoder.learn_secondary_token`; the token is a patch (1, 1, C)."""
        self.vis_mask_token = nn.Parameter(nn.init.normal_(torch.empty(1, 1, self.patch_dim), std=0.02))

    def forward(self, seen: Tensor, noise: SampleNoise, selection: TokenSelection | None = None) -> Tensor:
        """Encode units.

        Args:
            seen: (B, V, 16 * C) units from ``patch_embed``.
            noise: Noise for stochastic depth.
            selection: The selection whose visible units these are, one from each cell; None: all units.

        Returns:
            (B, T * H/2 * W/2, 8C) in raster order.

        Raises:
            UserError: If there are more or fewer than one for each cell; on a CPU also if they are not one of each.
        """
        if selection is None:
            layout = all_units(self.grid, self.patches, self.axes)
        else:
            assert self.pattern is not None
            seen = self._with_tokens(seen, selection)
            cells = self.pattern.cell_of(self.grid, seen.device)[selection.visible]
            order = cells.argsort(dim=1)
            seen = gather_tokens(seen, order)
            units = selection.visible.gather(1, order)
            self._check_cells(cells.gather(1, order), units)
            layout = compact_units(units, self.grid, self.pattern, self.patches, self.axes)
        x = self.place(self._patches(seen, layout), layout)
        number = 0
        for stage, depth in enumerate(self.depths):
            shared: object = None
            for index in range(depth):
                block = self.blocks[number]
                assert isinstance(block, PyramidBlock)
                if block.downsample is not None:
                    x, layout = block.downsample(x), layout.merged()
                if index == 0:
                    shared = self.share(layout, stage, x)
                x = block(x, noise.fold_in(number), shared)
                number += 1
        return self.norm(x.flatten(1, 3))

    def _check_cells(self, cells: Tensor, units: Tensor) -> None:
        """Raise a UserError unless ``units`` (B, V), in the order of their ``cells`` (B, V), are one of each cell."""
        assert self.pattern is not None
        count = math.prod(self.pattern.cells(self.grid))
        each = f"expected {count}, one of each cell of {'x'.join(map(str, self.pattern.cell))}"
        if units.shape[1] != count:
            raise UserError(f"visible: got {units.shape[1]} tokens, {each}")
        if not can_read(units):
            return
        if not torch.equal(cells, torch.arange(count).expand_as(cells)):
            raise UserError(f"visible: got several tokens of one cell, {each}")
        if self.pattern.shared_over_time:
            places = units.unflatten(1, (self.grid.t, -1)) % (self.grid.h * self.grid.w)
            if not torch.equal(places, places[:, :1].expand_as(places)):
                raise UserError(f"visible: got different places at different times, {each}, the same at all times")

    def _with_tokens(self, seen: Tensor, selection: TokenSelection) -> Tensor:
        if self.vis_mask_token is None:
            return seen
        token = self.patch_embed.norm(self.vis_mask_token) if self.patch_embed.norm else self.vis_mask_token
        return self.with_secondary_tokens(seen, token.repeat(1, 1, self.patches**2), selection)

    def _patches(self, units: Tensor, layout: Layout) -> Tensor:
        """Rearrange (B, V, 16 * C) units in raster order to their patches (B, T, H, W, C)."""
        (t, h, w), k = layout.shape, self.patches
        x = units.view(units.shape[0], t, h // k, w // k, k, k, self.patch_dim)
        return x.transpose(3, 4).reshape(units.shape[0], t, h, w, self.patch_dim)

    def recompute_blocks(self, active: bool) -> None:
        """See :meth:`~adamae.models.encoder.Encoder.recompute_blocks`."""
        for block in self.blocks:
            assert isinstance(block, PyramidBlock)
            block.recompute = active

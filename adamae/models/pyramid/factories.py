"""Models with pyramid encoders, built from the keywords of named models and saved configs."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any

from adamae.errors import UserError
from adamae.layers.positions import sincos_2d_table
from adamae.losses.reconstruction import Statistics
from adamae.models.building import pop_pretrainer_options, refuse_rates, token_grid
from adamae.models.classifier import Classifier, new_head
from adamae.models.decoder import Decoder
from adamae.models.naming import UM_MAE_NAMES
from adamae.models.pretrainer import Pretrainer, new_mask_token
from adamae.models.pyramid.encoder import STAGES, PyramidEncoder
from adamae.models.pyramid.expansion import CellExpansion
from adamae.models.pyramid.pvt import PvtEncoder
from adamae.models.pyramid.swin import SwinEncoder
from adamae.samplers import build_sampler, declared
from adamae.samplers.builtin import UNIFORM
from adamae.samplers.cells import cell_pattern
from adamae.samplers.frame_choice import FrameChoice

_LACKING = "the pyramid encoders have no LayerScale and no dropout"


def swin_pretrainer(
    *,
    encoder_embed_dim: Sequence[int] = (96, 192, 384, 768),
    encoder_depth: Sequence[int] = (2, 2, 6, 2),
    encoder_num_heads: Sequence[int] = (3, 6, 12, 24),
    window_size: int = 8,
    position_dim: int = 32,
    mlp_ratio: float = 4.0,
    drop_path_rate: float = 0.0,
    **others: Any,
) -> Pretrainer:
    """A masked autoencoder with uniform masks and a Swin encoder.

    Args:
        encoder_embed_dim: Width of each of the four stages.
        encoder_depth: Number of blocks of each stage.
        encoder_num_heads: Attention heads of each stage.
        window_size: Patches along a window's side.
        position_dim: Hidden width of the position MLPs.
        mlp_ratio: Hidden width of the MLPs of encoder and decoder over their width.
        drop_path_rate: Stochastic depth of encoder and decoder.
        **others: Keywords of all pyramid models, see :func:`pyramid_pretrainer`.

    Raises:
        UserError: If a keyword is unknown or sizes do not fit.
    """
    encoder = partial(
        SwinEncoder,
        **_stages(encoder_embed_dim, encoder_depth, encoder_num_heads),
        window=window_size,
        position_dim=position_dim,
        mlp_ratio=mlp_ratio,
        drop_path_rate=drop_path_rate,
    )
    return pyramid_pretrainer(encoder, mlp_ratio=mlp_ratio, drop_path_rate=drop_path_rate, **others)


def pvt_pretrainer(
    *,
    encoder_embed_dim: Sequence[int] = (64, 128, 320, 512),
    encoder_depth: Sequence[int] = (3, 4, 6, 3),
    encoder_num_heads: Sequence[int] = (1, 2, 5, 8),
    encoder_mlp_ratio: Sequence[float] = (8, 8, 4, 4),
    pools: Sequence[int] = (4, 2, 1, 1),
    drop_path_rate: float = 0.0,
    **others: Any,
) -> Pretrainer:
    """A masked autoencoder with uniform masks and a PVT encoder.

    Args:
        encoder_embed_dim: Width of each of the four stages.
        encoder_depth: Number of blocks of each stage.
        encoder_num_heads: Attention heads of each stage.
        encoder_mlp_ratio: Hidden width of the MLPs over the width, for each stage.
        pools: Side of the pooling kernel for keys and values in patches, for each stage.
        drop_path_rate: Stochastic depth of encoder and decoder.
        **others: Keywords of all pyramid models, see :func:`pyramid_pretrainer`.

    Raises:
        UserError: If a keyword is unknown or sizes do not fit.
    """
    encoder = partial(
        PvtEncoder,
        **_stages(encoder_embed_dim, encoder_depth, encoder_num_heads, mlp_ratios=encoder_mlp_ratio, pools=pools),
        drop_path_rate=drop_path_rate,
    )
    return pyramid_pretrainer(encoder, drop_path_rate=drop_path_rate, **others)


def pyramid_pretrainer(
    make_encoder: Callable[..., PyramidEncoder],
    *,
    img_size: int | tuple[int, int] = 256,
    patch_size: int = 16,
    tubelet_size: int = 1,
    num_frames: int = 1,
    in_chans: int = 3,
    decoder_embed_dim: int = 512,
    decoder_depth: int = 2,
    decoder_num_heads: int = 16,
    mlp_ratio: float = 4.0,
    init_values: float | None = 0.0,
    drop_path_rate: float = 0.0,
    mask_type: str = UNIFORM.name,
    mask_ratio: float | None = None,
    uniform_sampling: str = "tube",
    sampler_dim: int | None = None,
    released_decoder_order: bool = False,
    target_statistics: Statistics = "token",
    imagenet_default_mean_and_std: bool = True,
    candidate_frames: int | None = None,
    frame_keep_ratio: float = 0.3,
    frame_choice: str = "auto",
    **others: Any,
) -> Pretrainer:
    """Build a masked autoencoder with a pyramid encoder.

    Args:
        make_encoder: Builds the encoder from a grid and further keywords.
        img_size: Frame size in pixels, one number or (height, width).
        patch_size: Pixels along a token's side: 16, which are 4x4 patches.
        tubelet_size: Frames in a token.
        num_frames: Frames in a clip; 1 is an image.
        in_chans: Colour channels.
        decoder_embed_dim: Width of the decoder.
        decoder_depth: Blocks of the decoder.
        decoder_num_heads: Heads of the decoder.
        mlp_ratio: Hidden width of the decoder's MLPs over its width.
        init_values: Must be 0 or None: LayerScale is not supported.
        drop_path_rate: Stochastic depth of the decoder.
        mask_type: "uniform" or "adaptive_uniform".
        mask_ratio: The mask ratio of the cells, or None for the same value.
        uniform_sampling: "tube", "step" or "octet", see :class:`~adamae.samplers.cells.CellSampler`.
        sampler_dim: Width of an adaptive sampler; None: that of a patch of the first stage.
        released_decoder_order: See :class:`~adamae.models.pyramid.expansion.CellExpansion`.
        target_statistics: See :class:`~adamae.models.pretrainer.Pretrainer`; the default is that of the official code.
        imagenet_default_mean_and_std: Standardise pixels by ImageNet's statistics; else by 0.5 and 0.5.
        candidate_frames: See :func:`~adamae.models.vit.vit_pretrainer`.
        frame_keep_ratio: See :func:`~adamae.models.vit.vit_pretrainer`.
        frame_choice: See :func:`~adamae.models.vit.vit_pretrainer`.
        **others: Keywords of :class:`~adamae.models.pretrainer.Pretrainer` and of samplers.

    Raises:
        UserError: If a keyword is unknown, sizes do not fit, or the visible tokens do not form a regular grid.
    """
    refuse_rates(_LACKING, init_values=init_values)
    own = pop_pretrainer_options(others)
    grid = token_grid(img_size, patch_size, tubelet_size, num_frames)
    frames = FrameChoice(grid, candidate_frames, frame_keep_ratio, frame_choice)
    mask_token = new_mask_token(decoder_embed_dim)
    encoder = make_encoder(grid, pattern=cell_pattern(uniform_sampling), in_chans=in_chans)
    if "sampler_dim" in declared(mask_type).sampler_class.keywords():
        # The default would be the width of a unit, sixteen times that of a patch.
        others["sampler_dim"] = sampler_dim or encoder.patch_dim
    sampler = build_sampler(
        mask_type, mask_ratio, grid, encoder.patch_embed.embed_dim, uniform_sampling=uniform_sampling, **others
    )
    decoder = Decoder(
        grid,
        in_chans * tubelet_size * patch_size**2,
        embed_dim=decoder_embed_dim,
        depth=decoder_depth,
        num_heads=decoder_num_heads,
        mlp_ratio=mlp_ratio,
        drop_path_rate=drop_path_rate,
        positions=sincos_2d_table(grid.h, grid.w, decoder_embed_dim) if grid.is_image else None,
        key_bias=True,
    )
    expansion = CellExpansion(encoder, decoder_embed_dim, released_order=released_decoder_order)
    return Pretrainer(
        encoder,
        sampler,
        decoder,
        mask_token=mask_token,
        encoder_to_decoder=expansion,
        frame_choice=frames,
        target_statistics=target_statistics,
        imagenet_default_mean_and_std=imagenet_default_mean_and_std,
        published_names=UM_MAE_NAMES,
        **own,
    )


def swin_classifier(
    *,
    embed_dim: Sequence[int] = (96, 192, 384, 768),
    depth: Sequence[int] = (2, 2, 6, 2),
    num_heads: Sequence[int] = (3, 6, 12, 24),
    window_size: int = 16,
    position_dim: int = 32,
    mlp_ratio: float = 4.0,
    **others: Any,
) -> Classifier:
    """A classifier with a Swin encoder over all tokens, whose windows cover the same image area as in pre-training.

    Args:
        embed_dim: Width of each of the four stages.
        depth: Number of blocks of each stage.
        num_heads: Attention heads of each stage.
        window_size: Patches along a window's side.
        position_dim: Hidden width of the position MLPs.
        mlp_ratio: Hidden width of the MLPs over the width.
        **others: Keywords of all pyramid models, see :func:`pyramid_classifier`.

    Raises:
        UserError: If a keyword is unknown or sizes do not fit.
    """
    encoder = partial(
        SwinEncoder,
        **_stages(embed_dim, depth, num_heads),
        window=window_size,
        position_dim=position_dim,
        mlp_ratio=mlp_ratio,
    )
    return pyramid_classifier(encoder, **others)


def pvt_classifier(
    *,
    embed_dim: Sequence[int] = (64, 128, 320, 512),
    depth: Sequence[int] = (3, 4, 6, 3),
    num_heads: Sequence[int] = (1, 2, 5, 8),
    mlp_ratio: Sequence[float] = (8, 8, 4, 4),
    pools: Sequence[int] = (8, 4, 2, 1),
    **others: Any,
) -> Classifier:
    """A classifier with a PVT encoder over all tokens and learned positions.

    Args:
        embed_dim: Width of each of the four stages.
        depth: Number of blocks of each stage.
        num_heads: Attention heads of each stage.
        mlp_ratio: Hidden width of the MLPs over the width, for each stage.
        pools: Side of the pooling kernel for keys and values in patches, for each stage.
        **others: Keywords of all pyramid models, see :func:`pyramid_classifier`.

    Raises:
        UserError: If a keyword is unknown or sizes do not fit.
    """
    encoder = partial(
        PvtEncoder,
        **_stages(embed_dim, depth, num_heads, mlp_ratios=mlp_ratio, pools=pools),
        learned_positions=True,
    )
    return pyramid_classifier(encoder, **others)


def pyramid_classifier(
    make_encoder: Callable[..., PyramidEncoder],
    *,
    img_size: int | tuple[int, int] = 256,
    patch_size: int = 16,
    tubelet_size: int = 1,
    num_frames: int = 1,
    in_chans: int = 3,
    num_classes: int = 1000,
    init_values: float | None = 0.0,
    drop_rate: float = 0.0,
    attn_drop_rate: float = 0.0,
    drop_path_rate: float = 0.0,
    fc_drop_rate: float = 0.0,
    init_scale: float = 1.0,
    use_mean_pooling: bool = True,
    imagenet_default_mean_and_std: bool = True,
    token_selection: str = "none",
    keep_ratio: float = 1.0,
    candidate_frames: int | None = None,
    frame_keep_ratio: float = 0.3,
    frame_choice: str = "auto",
) -> Classifier:
    """Build a classifier with a pyramid encoder.

    Args:
        make_encoder: Builds the encoder from a grid and further keywords.
        img_size: Frame size in pixels, one number or (height, width).
        patch_size: Pixels along a token's side: 16.
        tubelet_size: Frames in a token.
        num_frames: Frames in a clip; 1 is an image.
        in_chans: Colour channels.
        num_classes: Outputs of the head; 0: no head, the model returns features.
        init_values: Must be 0 or None: LayerScale is not supported.
        drop_rate: Must be 0: dropout is not supported.
        attn_drop_rate: Must be 0: dropout is not supported.
        drop_path_rate: Stochastic depth of the last block.
        fc_drop_rate: Dropout before the head.
        init_scale: Factor on the head's initial weights and bias.
        use_mean_pooling: Mean over the features and then a norm. False puts the norm first, and is only supported
            without a head.
        imagenet_default_mean_and_std: Standardise pixels by ImageNet's statistics; else by 0.5 and 0.5.
        token_selection: Must be "none": all tokens are encoded.
        keep_ratio: No effect.
        candidate_frames: See :func:`~adamae.models.vit.vit_classifier`.
        frame_keep_ratio: See :func:`~adamae.models.vit.vit_classifier`.
        frame_choice: See :func:`~adamae.models.vit.vit_classifier`.

    Raises:
        UserError: If sizes do not fit.
    """
    refuse_rates(_LACKING, init_values=init_values, drop_rate=drop_rate, attn_drop_rate=attn_drop_rate)
    if num_classes and not use_mean_pooling:
        raise UserError("use_mean_pooling = False: expected True, because the pyramid encoders have no class token")
    if token_selection != "none":
        raise UserError(
            f"token_selection = {token_selection!r}: expected none, because a pyramid encoder takes all tokens"
        )
    grid = token_grid(img_size, patch_size, tubelet_size, num_frames)
    encoder = make_encoder(
        grid, pattern=None, in_chans=in_chans, drop_path_rate=drop_path_rate, final_norm=not use_mean_pooling
    )
    head = new_head(encoder.embed_dim, num_classes, init_scale) if num_classes else None
    return Classifier(
        encoder,
        head,
        fc_drop_rate=fc_drop_rate,
        use_mean_pooling=use_mean_pooling,
        imagenet_default_mean_and_std=imagenet_default_mean_and_std,
        frame_choice=FrameChoice(grid, candidate_frames, frame_keep_ratio, frame_choice),
    )


def _stages(
    dims: Sequence[int], depths: Sequence[int], heads: Sequence[int], **others: Sequence[float]
) -> dict[str, Any]:
    """Check and return the arguments of an encoder that have one number for each stage."""
    for name, given in {"embed_dim": dims, "depth": depths, "num_heads": heads, **others}.items():
        if isinstance(given, (int, float)) or len(given) != STAGES:
            raise UserError(
                f"{name} = {given}: expected {STAGES} numbers, one for each stage of the pyramid; take another model"
            )
    whole = {"dims": dims, "depths": depths, "num_heads": heads, **others}
    return {name: tuple(given) for name, given in whole.items()}

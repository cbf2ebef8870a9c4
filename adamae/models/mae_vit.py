"""The ViT of MAE for images and models with it: the third network of UM-MAE, with uniform masks.

Clips are single images. Unlike the ViT of VideoMAE, it has a class token that passes through encoder and decoder, and
two-dimensional position embeddings.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn

from adamae.errors import UserError
from adamae.grid import TokenGrid
from adamae.layers.block import check_heads, initialise_normal, initialise_xavier, recompute_blocks, stack
from adamae.layers.layer_norm import LayerNorm
from adamae.layers.positions import sincos_2d_table
from adamae.losses.reconstruction import Statistics
from adamae.models.building import pop_pretrainer_options, refuse_rates, token_grid
from adamae.models.classifier import Classifier, new_head
from adamae.models.decoder import Decoder
from adamae.models.encoder import Encoder
from adamae.models.naming import UM_MAE_NAMES
from adamae.models.pretrainer import Pretrainer, Projection, new_mask_token
from adamae.models.pyramid.tokenizer import PatchTokenizer
from adamae.randomness import SampleNoise
from adamae.samplers import build_sampler
from adamae.samplers.builtin import UNIFORM
from adamae.samplers.frame_choice import FrameChoice
from adamae.samplers.token_choice import TokenChoice
from adamae.selection import TokenSelection, gather_tokens

_LACKING = "this ViT has no LayerScale and no dropout"


class MaeVitEncoder(Encoder):
    """Patch embedding, two-dimensional positions, a class token, transformer blocks and a final norm.

    Args:
        grid: The image's token grid.
        in_chans: Colour channels.
        embed_dim: Width D.
        depth: Blocks.
        num_heads: Attention heads.
        mlp_ratio: Hidden width of the MLP over D.
        drop_path_rate: Stochastic depth of the last block.
        final_norm: Whether a LayerNorm follows the blocks.
        learned_positions: Whether the position embedding is learned, as in fine-tuning.
        gives_class_token: Whether the output starts with the class token, as in pre-training.

    Raises:
        UserError: If clips are not single images, or the width does not divide into the heads.
    """

    family = "mae_vit"
    first_layer = ("cls_token", "pos_embed")

    def __init__(
        self,
        grid: TokenGrid,
        *,
        in_chans: int,
        embed_dim: int,
        depth: int,
        num_heads: int,
        mlp_ratio: float,
        drop_path_rate: float,
        final_norm: bool,
        learned_positions: bool,
        gives_class_token: bool,
    ) -> None:
        if not grid.is_image:
            raise UserError(
                f"num_frames = {grid.t * grid.tubelet_size}: expected 1 with tubelet_size = 1, because this ViT is for "
                "images; for video take adamae_base with --mask_type uniform"
            )
        check_heads("encoder", embed_dim, num_heads)
        patch_embed = PatchTokenizer(grid, in_chans, embed_dim, norm=False, patch_size=grid.patch_size)
        super().__init__(grid, patch_embed, in_chans=in_chans, embed_dim=embed_dim, depth=depth)
        self.gives_class_token = gives_class_token
        self.vis_mask_token: nn.Parameter | None = None
        self.cls_token = nn.Parameter(nn.init.normal_(torch.empty(1, 1, embed_dim), std=0.02))
        table = with_class_row(sincos_2d_table(grid.h, grid.w, embed_dim))
        if learned_positions:
            self.pos_embed: Tensor = nn.Parameter(table)
        else:
            self.register_buffer("pos_embed", table)
        self.blocks = stack(
            depth, embed_dim, num_heads, mlp_ratio=mlp_ratio, drop_path_rate=drop_path_rate, key_bias=True
        )
        self.norm = LayerNorm(embed_dim) if final_norm else nn.Identity()
        self.blocks.apply(initialise_xavier)

    def forward(self, seen: Tensor, noise: SampleNoise, selection: TokenSelection | None = None) -> Tensor:
        """Encode: see :meth:`~adamae.models.encoder.Encoder.forward`; (B, V, D) to (B, V, D) or (B, 1 + V, D)."""
        table = self.pos_embed.to(seen.dtype)
        first, positions = table[:, :1], table[:, 1:]
        if selection is not None:
            seen = self.with_secondary_tokens(seen, self.vis_mask_token, selection)
            positions = gather_tokens(positions.expand(seen.shape[0], -1, -1), selection.visible)
        first = (self.cls_token.to(seen.dtype) + first).expand(seen.shape[0], -1, -1)
        x = torch.cat((first, seen + positions), dim=1)
        for number, block in enumerate(self.blocks):
            x = block(x, noise.fold_in(number))
        return self.norm(x if self.gives_class_token else x[:, 1:])

    def learn_secondary_token(self) -> None:
        """See :meth:`~adamae.models.encoder.Encoder.learn_secondary_token`."""
        self.vis_mask_token = nn.Parameter(nn.init.normal_(torch.empty(1, 1, self.embed_dim), std=0.02))

    def recompute_blocks(self, active: bool) -> None:
        """See :meth:`~adamae.models.encoder.Encoder.recompute_blocks`."""
        recompute_blocks(self.blocks, active)


def with_class_row(table: Tensor) -> Tensor:
    """Prepend a row of zeros for the class token to positions (1, N, D)."""
    return torch.cat((torch.zeros_like(table[:, :1]), table), dim=1)


def mae_vit_pretrainer(
    *,
    img_size: int | tuple[int, int] = 224,
    patch_size: int = 16,
    tubelet_size: int = 1,
    num_frames: int = 1,
    in_chans: int = 3,
    encoder_embed_dim: int = 768,
    encoder_depth: int = 12,
    encoder_num_heads: int = 12,
    decoder_embed_dim: int = 512,
    decoder_depth: int = 2,
    decoder_num_heads: int = 16,
    mlp_ratio: float = 4.0,
    init_values: float | None = 0.0,
    drop_path_rate: float = 0.0,
    mask_type: str = UNIFORM.name,
    mask_ratio: float | None = None,
    target_statistics: Statistics = "token",
    imagenet_default_mean_and_std: bool = True,
    candidate_frames: int | None = None,
    frame_keep_ratio: float = 0.3,
    frame_choice: str = "auto",
    **others: Any,
) -> Pretrainer:
    """A masked autoencoder for images with a plain ViT encoder.

    Args:
        img_size: Image size in pixels, one number or (height, width).
        patch_size: Pixels along a token's side.
        tubelet_size: Frames in a token: 1.
        num_frames: Frames in a clip: 1.
        in_chans: Colour channels.
        encoder_embed_dim: Width of the encoder.
        encoder_depth: Blocks of the encoder.
        encoder_num_heads: Heads of the encoder.
        decoder_embed_dim: Width of the decoder.
        decoder_depth: Blocks of the decoder.
        decoder_num_heads: Heads of the decoder.
        mlp_ratio: Hidden width of the MLPs over their width.
        init_values: Must be 0 or None: LayerScale is not supported.
        drop_path_rate: Stochastic depth of encoder and decoder.
        mask_type: Name of the sampler.
        mask_ratio: Fraction of tokens to mask; None: the sampler's default.
        target_statistics: See :class:`~adamae.models.pretrainer.Pretrainer`.
        imagenet_default_mean_and_std: Standardise pixels by ImageNet's statistics; else by 0.5 and 0.5.
        candidate_frames: See :func:`~adamae.models.vit.vit_pretrainer`.
        frame_keep_ratio: No effect on images.
        frame_choice: No effect on images.
        **others: Keywords of :class:`~adamae.models.pretrainer.Pretrainer` and of samplers.

    Raises:
        UserError: If a keyword is unknown, sizes do not divide, or clips are not single images.
    """
    refuse_rates(_LACKING, init_values=init_values)
    own = pop_pretrainer_options(others)
    grid = token_grid(img_size, patch_size, tubelet_size, num_frames)
    blocks: dict[str, Any] = {"mlp_ratio": mlp_ratio, "drop_path_rate": drop_path_rate}
    encoder = MaeVitEncoder(
        grid,
        in_chans=in_chans,
        embed_dim=encoder_embed_dim,
        depth=encoder_depth,
        num_heads=encoder_num_heads,
        final_norm=True,
        learned_positions=False,
        gives_class_token=True,
        **blocks,
    )
    sampler = build_sampler(mask_type, mask_ratio, grid, encoder_embed_dim, **others)
    decoder = Decoder(
        grid,
        in_chans * patch_size**2,
        embed_dim=decoder_embed_dim,
        depth=decoder_depth,
        num_heads=decoder_num_heads,
        positions=with_class_row(sincos_2d_table(grid.h, grid.w, decoder_embed_dim)),
        key_bias=True,
        **blocks,
    )
    return Pretrainer(
        encoder,
        sampler,
        decoder,
        mask_token=new_mask_token(decoder_embed_dim),
        encoder_to_decoder=Projection(encoder_embed_dim, decoder_embed_dim),
        frame_choice=FrameChoice(grid, candidate_frames, frame_keep_ratio, frame_choice),
        target_statistics=target_statistics,
        imagenet_default_mean_and_std=imagenet_default_mean_and_std,
        published_names=UM_MAE_NAMES,
        **own,
    )


def mae_vit_classifier(
    *,
    img_size: int | tuple[int, int] = 224,
    patch_size: int = 16,
    tubelet_size: int = 1,
    num_frames: int = 1,
    in_chans: int = 3,
    num_classes: int = 1000,
    embed_dim: int = 768,
    depth: int = 12,
    num_heads: int = 12,
    mlp_ratio: float = 4.0,
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
    """An image classifier with a plain ViT encoder and learned positions, pooled over all tokens but the class token.

    Args:
        img_size: Image size in pixels, one number or (height, width).
        patch_size: Pixels along a token's side.
        tubelet_size: Frames in a token: 1.
        num_frames: Frames in a clip: 1.
        in_chans: Colour channels.
        num_classes: Outputs of the head; 0: no head, the model returns features.
        embed_dim: Width D.
        depth: Blocks.
        num_heads: Attention heads.
        mlp_ratio: Hidden width of the MLP over D.
        init_values: Must be 0 or None: LayerScale is not supported.
        drop_rate: Must be 0: dropout is not supported.
        attn_drop_rate: Must be 0: dropout is not supported.
        drop_path_rate: Stochastic depth of the last block.
        fc_drop_rate: Dropout before the head.
        init_scale: Factor on the head's initial weights and bias.
        use_mean_pooling: Mean over the tokens and then a norm. False puts the norm first, and is only supported without
            a head.
        imagenet_default_mean_and_std: Standardise pixels by ImageNet's statistics; else by 0.5 and 0.5.
        token_selection: Tokens to encode: "none" for all, or "random".
        keep_ratio: Fraction of the tokens to keep with ``token_selection``.
        candidate_frames: See :func:`~adamae.models.vit.vit_classifier`.
        frame_keep_ratio: No effect on images.
        frame_choice: No effect on images.

    Raises:
        UserError: If sizes do not divide, or clips are not single images.
    """
    refuse_rates(_LACKING, init_values=init_values, drop_rate=drop_rate, attn_drop_rate=attn_drop_rate)
    if num_classes and not use_mean_pooling:
        raise UserError("use_mean_pooling = False: expected True, because this classifier pools over the tokens")
    grid = token_grid(img_size, patch_size, tubelet_size, num_frames)
    encoder = MaeVitEncoder(
        grid,
        in_chans=in_chans,
        embed_dim=embed_dim,
        depth=depth,
        num_heads=num_heads,
        mlp_ratio=mlp_ratio,
        drop_path_rate=drop_path_rate,
        final_norm=not use_mean_pooling,
        learned_positions=True,
        gives_class_token=False,
    )
    head = new_head(embed_dim, num_classes, init_scale) if num_classes else None
    encoder.blocks.apply(initialise_normal)
    return Classifier(
        encoder,
        head,
        fc_drop_rate=fc_drop_rate,
        use_mean_pooling=use_mean_pooling,
        imagenet_default_mean_and_std=imagenet_default_mean_and_std,
        token_choice=TokenChoice(token_selection, keep_ratio, grid, embed_dim),
        frame_choice=FrameChoice(grid, candidate_frames, frame_keep_ratio, frame_choice),
    )

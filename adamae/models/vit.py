"""Models with a plain ViT encoder, built from the keywords of named models and saved configs."""

from __future__ import annotations

from typing import Any

from adamae.layers.block import initialise_normal
from adamae.models.building import pop_pretrainer_options, token_grid
from adamae.models.classifier import Classifier, new_head
from adamae.models.decoder import Decoder
from adamae.models.pretrainer import Pretrainer, new_mask_token
from adamae.models.vit_encoder import Positions, VitEncoder
from adamae.samplers import DEFAULT, build_sampler
from adamae.samplers.adaptive import Network
from adamae.samplers.frame_choice import FrameChoice
from adamae.samplers.token_choice import TokenChoice


def vit_pretrainer(
    *,
    img_size: int | tuple[int, int] = 224,
    patch_size: int = 16,
    tubelet_size: int = 2,
    num_frames: int = 16,
    in_chans: int = 3,
    encoder_embed_dim: int = 768,
    encoder_depth: int = 12,
    encoder_num_heads: int = 12,
    decoder_embed_dim: int = 384,
    decoder_depth: int = 4,
    decoder_num_heads: int = 6,
    mlp_ratio: float = 4.0,
    qkv_bias: bool = True,
    init_values: float | None = 0.0,
    drop_path_rate: float = 0.0,
    mask_type: str = DEFAULT,
    mask_ratio: float | None = None,
    imagenet_default_mean_and_std: bool = True,
    candidate_frames: int | None = None,
    frame_keep_ratio: float = 0.3,
    frame_choice: str = "auto",
    **others: Any,
) -> Pretrainer:
    """A masked autoencoder with a plain ViT encoder.

    Args:
        img_size: Frame size in pixels, one number or (height, width).
        patch_size: Pixels along a token's side.
        tubelet_size: Frames in a token.
        num_frames: Frames in a clip.
        in_chans: Colour channels.
        encoder_embed_dim: Width of the encoder.
        encoder_depth: Blocks of the encoder.
        encoder_num_heads: Heads of the encoder.
        decoder_embed_dim: Width of the decoder.
        decoder_depth: Blocks of the decoder; 4 is the paper's best.
        decoder_num_heads: Heads of the decoder.
        mlp_ratio: Hidden width of the MLPs of encoder and decoder over their width.
        qkv_bias: Whether queries and values have a bias (the sampler's never do).
        init_values: Initial value of LayerScale, 0 for none.
        drop_path_rate: Stochastic depth of encoder and decoder.
        mask_type: The sampler, a key of :data:`adamae.samplers.SAMPLERS`.
        mask_ratio: Fraction of tokens to mask; None: the sampler's default, 0.95 except for uniform masks.
        candidate_frames: Accept clips of this many frames and use the ``num_frames`` frames with the most motion; None:
            no frame selection. Clips of ``num_frames`` frames are used unchanged.
        frame_keep_ratio: Fraction of the candidates' tokens, those with the most motion, counted per tubelet.
        frame_choice: "draw" frames in proportion to the counts, use the "top" ones, or "auto": draw in training, top in
            evaluation.
        imagenet_default_mean_and_std: Standardise pixels by ImageNet's statistics; else by 0.5 and 0.5.
        **others: Keywords of :class:`~adamae.models.pretrainer.Pretrainer` (losses, decoder_budget) and of samplers.
            Keywords of samplers other than ``mask_type`` are ignored. The adaptive sampler (learnable) has
            sampler_network (mha or mlp), sampler_depth (blocks), sampler_dim (width; None: the encoder's),
            sampler_drop_rate, sampler_mlp_ratio (4, independent of ``mlp_ratio``) and detach_sampler_input (no
            gradient of the sampling loss to the tokenizer, as in the paper but not in the official code). The
            motion-aware sampler has keep_ratio (fraction of tokens that are visible or targets; the others are
            dropped).

    Raises:
        UserError: If a keyword is unknown, sizes do not divide, or the ratio leaves no visible or no target token.
    """
    own = pop_pretrainer_options(others)
    grid = token_grid(img_size, patch_size, tubelet_size, num_frames)
    frames = FrameChoice(grid, candidate_frames, frame_keep_ratio, frame_choice)
    # Keep the order in which the parts are created: a seed must give the same initial weights as before.
    mask_token = new_mask_token(decoder_embed_dim)
    blocks: dict[str, Any] = {
        "mlp_ratio": mlp_ratio,
        "qkv_bias": qkv_bias,
        "init_values": init_values,
        "drop_path_rate": drop_path_rate,
    }
    encoder = VitEncoder(
        grid,
        in_chans=in_chans,
        embed_dim=encoder_embed_dim,
        depth=encoder_depth,
        num_heads=encoder_num_heads,
        **blocks,
    )
    sampler = build_sampler(mask_type, mask_ratio, grid, encoder.patch_embed.embed_dim, **others)
    decoder = Decoder(
        grid,
        in_chans * tubelet_size * patch_size**2,
        embed_dim=decoder_embed_dim,
        depth=decoder_depth,
        num_heads=decoder_num_heads,
        **blocks,
    )
    return Pretrainer(
        encoder,
        sampler,
        decoder,
        mask_token=mask_token,
        frame_choice=frames,
        imagenet_default_mean_and_std=imagenet_default_mean_and_std,
        **own,
    )


def vit_classifier(
    *,
    img_size: int | tuple[int, int] = 224,
    patch_size: int = 16,
    tubelet_size: int = 2,
    num_frames: int = 16,
    in_chans: int = 3,
    num_classes: int = 1000,
    embed_dim: int = 768,
    depth: int = 12,
    num_heads: int = 12,
    mlp_ratio: float = 4.0,
    qkv_bias: bool = True,
    init_values: float | None = 0.0,
    drop_rate: float = 0.0,
    attn_drop_rate: float = 0.0,
    drop_path_rate: float = 0.0,
    fc_drop_rate: float = 0.0,
    init_scale: float = 1.0,
    use_mean_pooling: bool = True,
    imagenet_default_mean_and_std: bool = True,
    position_embedding: Positions = "fixed",
    cls_token: bool = False,
    token_selection: str = "none",
    keep_ratio: float = 0.6,
    sampler_network: Network = "mha",
    sampler_depth: int = 1,
    sampler_dim: int | None = None,
    sampler_mlp_ratio: float = 4.0,
    candidate_frames: int | None = None,
    frame_keep_ratio: float = 0.3,
    frame_choice: str = "auto",
) -> Classifier:
    """A video classifier with a plain ViT encoder.

    Args:
        img_size: Frame size in pixels, one number or (height, width).
        patch_size: Pixels along a token's side.
        tubelet_size: Frames in a token.
        num_frames: Frames in a clip.
        in_chans: Colour channels.
        num_classes: Outputs of the head; 0: no head, the model returns features.
        embed_dim: Width D.
        depth: Blocks.
        num_heads: Attention heads.
        mlp_ratio: Hidden width of the MLP over D.
        qkv_bias: Whether queries and values have a bias.
        init_values: Initial value of LayerScale, 0 for none.
        drop_rate: Dropout after each attention projection and MLP.
        attn_drop_rate: Dropout on the attention weights.
        drop_path_rate: Stochastic depth of the last block.
        fc_drop_rate: Dropout before the head.
        init_scale: Factor on the head's initial weights and bias.
        use_mean_pooling: Mean over the tokens; else the first token, as with VideoMAE's ``--use_cls``.
        imagenet_default_mean_and_std: Standardise pixels by ImageNet's statistics; else by 0.5 and 0.5.
        position_embedding: "fixed" as in the official code, "learned", or "separable" as in mae_st.
        cls_token: Whether to add a class token, as in mae_st.
        token_selection: Tokens that are encoded in training and evaluation: all ("none"), those with the most motion
            ("motion"), those with the highest probability of a learned sampler ("adaptive"), or "random".
        keep_ratio: Fraction of the tokens to keep with ``token_selection``.
        sampler_network: The learned sampler's network, as in the :class:`~adamae.models.Pretrainer` it comes from.
        sampler_depth: Blocks of the sampler.
        sampler_dim: Width of the sampler; None: the encoder's.
        sampler_mlp_ratio: Hidden width of the sampler's MLPs over its width.
        candidate_frames: Accept clips of this many frames and use the ``num_frames`` frames with the most motion; None:
            no frame selection. Clips of ``num_frames`` frames are used unchanged.
        frame_keep_ratio: Fraction of the candidates' tokens, those with the most motion, counted per tubelet.
        frame_choice: "draw" frames in proportion to the counts, use the "top" ones, or "auto": draw in training, top in
            evaluation.

    Raises:
        UserError: If sizes do not divide, or ``position_embedding`` or ``token_selection`` is unknown.
    """
    grid = token_grid(img_size, patch_size, tubelet_size, num_frames)
    encoder = VitEncoder(
        grid,
        in_chans=in_chans,
        embed_dim=embed_dim,
        depth=depth,
        num_heads=num_heads,
        mlp_ratio=mlp_ratio,
        qkv_bias=qkv_bias,
        init_values=init_values,
        drop_rate=drop_rate,
        attn_drop_rate=attn_drop_rate,
        drop_path_rate=drop_path_rate,
        final_norm=not use_mean_pooling,
        position_embedding=position_embedding,
        cls_token=cls_token,
    )
    head = new_head(embed_dim, num_classes, init_scale) if num_classes else None
    encoder.blocks.apply(initialise_normal)
    token_choice = TokenChoice(
        token_selection,
        keep_ratio,
        grid,
        encoder.patch_embed.embed_dim,
        mlp_ratio=sampler_mlp_ratio,
        network=sampler_network,
        depth=sampler_depth,
        dim=sampler_dim,
    )
    return Classifier(
        encoder,
        head,
        fc_drop_rate=fc_drop_rate,
        use_mean_pooling=use_mean_pooling,
        imagenet_default_mean_and_std=imagenet_default_mean_and_std,
        token_choice=token_choice,
        frame_choice=FrameChoice(grid, candidate_frames, frame_keep_ratio, frame_choice),
    )

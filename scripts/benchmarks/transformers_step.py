"""A pre-training step of Transformers' VideoMAE."""

from __future__ import annotations

from dataclasses import replace
from typing import cast

import torch
from known_masks import with_known_masks
from torch import nn

from adamae.benchmark.contenders import Contender, Setting, contender, on_device
from adamae.errors import UserError
from adamae.layers.block import Block
from adamae.models.vit_encoder import VitEncoder

MASK_RATIO = 0.9
# Parts of the step in the report of adamae bench step --predict.
_PARTS = {
    "videomae.embeddings.forward": "tokens",
    "videomae.encoder.forward": "encoder",
    "encoder_to_decoder.forward": "decoder",
    "decoder.forward": "decoder",
}


def build_transformers(setting: Setting) -> Contender:
    """Build ``VideoMAEForPreTraining`` with the sizes of the setting's model, no sampler and its own mask ratio.

    Raises:
        UserError: If Transformers is not installed.
    """
    from adamae import torchvision_import  # noqa: F401

    try:
        from transformers import VideoMAEConfig, VideoMAEForPreTraining
    except ImportError as error:
        raise UserError("--compare transformers needs that package: pip install transformers") from error

    model, clips = setting.build(), setting.clips
    assert isinstance(model.encoder, VitEncoder)
    grid = model.grid
    frames, height, _ = grid.clip_shape
    config = VideoMAEConfig(
        image_size=height,
        patch_size=grid.patch_size,
        num_frames=frames,
        tubelet_size=grid.tubelet_size,
        norm_pix_loss=True,
        attn_implementation="sdpa",
        **_stack_sizes(model.encoder.blocks, "{}"),
        **_stack_sizes(model.decoder.blocks, "decoder_{}"),
    )
    network = on_device(VideoMAEForPreTraining(config), clips.device).train()
    video = model.pixel_norm(clips).permute(0, 1, 4, 2, 3).contiguous()
    area = grid.h * grid.w
    count = int(MASK_RATIO * area)
    masked = torch.rand(len(clips), area, device=clips.device).argsort(dim=1) < count
    masks = masked.unsqueeze(1).expand(-1, grid.t, -1).flatten(1)
    step = contender(network, lambda: network(video, bool_masked_pos=masks).loss, setting.precision, parts=_PARTS)
    return replace(step, step=with_known_masks(step.step, clips, len(clips) * count * grid.t))


def _stack_sizes(blocks: nn.ModuleList, name: str) -> dict[str, int]:
    """Return width, depth, heads and MLP width of a stack of blocks under Transformers' names."""
    first = cast(Block, blocks[0])
    sizes = {
        "hidden_size": first.attn.proj.out_features,
        "num_hidden_layers": len(blocks),
        "num_attention_heads": first.attn.num_heads,
        "intermediate_size": first.mlp.fc1.out_features,
    }
    return {name.format(key): value for key, value in sizes.items()}

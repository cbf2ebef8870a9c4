"""A pre-training step in the style of the reference implementation, with the same sizes as ours.

Written from the method's description: a 3-D convolution over the clip, attention with an explicit attention matrix,
boolean masks as indices, a loop over the clips for sampling, targets computed for all tokens, probabilities instead of
their logarithms.
"""

from __future__ import annotations

from dataclasses import replace

import torch
from known_masks import with_known_masks
from torch import Tensor, nn
from torch.distributions import Categorical

from adamae.benchmark.contenders import Contender, Setting, contender, on_device
from adamae.layers.block import Block
from adamae.layers.positions import sinusoid_table
from adamae.models import Pretrainer
from adamae.models.vit_encoder import VitEncoder
from adamae.samplers.adaptive import SAMPLER_HEADS, SAMPLER_NORM_EPS

_SAMPLING_WEIGHT = 1e-4
_SAMPLER_DROP_RATE = 0.1
# Parts of the step in the report of adamae bench step --predict.
_PARTS = {
    "tokenizer.forward": "tokens",
    "sampler.forward": "selection",
    "score.forward": "selection",
    "encoder.forward": "encoder",
    "to_decoder.forward": "decoder",
    "decoder.forward": "decoder",
}


def build_reference(setting: Setting) -> Contender:
    """Build the step of :class:`ReferenceStyle`, with the sizes of the setting's model."""
    like = setting.build()
    network = on_device(ReferenceStyle(like), setting.clips.device).train()
    frames = like.grid.clip_shape[0]
    video = like.pixel_norm(setting.clips[:, :frames]).permute(0, 4, 1, 2, 3).contiguous()
    on_gpu = setting.clips.device.type == "cuda"
    # The official launch scripts train in fp16 with loss scaling, which a CPU does not support.
    precision = torch.float16 if on_gpu else setting.precision
    step = contender(network, lambda: network(video), precision, scaled=on_gpu, parts=_PARTS)
    hidden = len(video) * (like.grid.num_tokens - network.visible)
    return replace(step, step=with_known_masks(step.step, setting.clips, hidden))


class ReferenceStyle(nn.Module):
    """The adaptive masked autoencoder as a direct implementation of its description.

    Args:
        like: Model whose sizes are used.
    """

    def __init__(self, like: Pretrainer) -> None:
        super().__init__()
        self.grid, self.visible = like.grid, like.sampler.num_visible(like.grid)
        self.channels = like.pixel_norm.mean.numel()
        assert isinstance(like.encoder, VitEncoder)
        encoder, decoder = like.encoder.blocks, like.decoder.blocks
        width, narrow = like.encoder.embed_dim, like.decoder.embed_dim
        tokens, kernel = self.grid.num_tokens, (self.grid.tubelet_size, self.grid.patch_size, self.grid.patch_size)
        self.tokenizer = nn.Conv3d(self.channels, width, kernel, stride=kernel)
        self.sampler_positions = nn.Parameter(torch.zeros(1, tokens, width))
        self.sampler = _Block(width, SAMPLER_HEADS, 4 * width, _SAMPLER_DROP_RATE, SAMPLER_NORM_EPS)
        self.score = nn.Linear(width, 1)
        self.encoder = nn.Sequential(*(_like(block) for block in encoder), nn.LayerNorm(width, eps=1e-6))
        self.to_decoder = nn.Linear(width, narrow, bias=False)
        self.mask_token = nn.Parameter(torch.zeros(1, 1, narrow))
        self.decoder = nn.Sequential(*(_like(block) for block in decoder))
        self.head = nn.Sequential(nn.LayerNorm(narrow, eps=1e-6), nn.Linear(narrow, like.decoder.head.out_features))
        self.register_buffer("places", sinusoid_table(tokens, width))
        self.register_buffer("decoder_places", sinusoid_table(tokens, narrow))
        self.register_buffer("mean", like.pixel_norm.mean.view(1, -1, 1, 1, 1))
        self.register_buffer("std", like.pixel_norm.std.view(1, -1, 1, 1, 1))

    places: Tensor
    decoder_places: Tensor
    mean: Tensor
    std: Tensor

    def forward(self, video: Tensor) -> Tensor:
        """Compute the 0-dim loss of normalised clips (B, C, T, H, W)."""
        batch = len(video)
        tokens = self.tokenizer(video).flatten(2).transpose(1, 2)
        probability = self.score(self.sampler(tokens + self.sampler_positions)).squeeze(-1).softmax(dim=-1)
        hidden = torch.ones(batch, self.grid.num_tokens, dtype=torch.bool, device=video.device)
        for row in range(batch):
            hidden[row, torch.multinomial(probability[row].detach().float(), self.visible)] = False
        seen = (tokens + self.places)[~hidden].reshape(batch, self.visible, -1)
        latent = self.to_decoder(self.encoder(seen))
        places = self.decoder_places.expand(batch, -1, -1)
        visible_places = places[~hidden].reshape(batch, self.visible, -1)
        hidden_places = places[hidden].reshape(batch, -1, places.shape[-1])
        x = self.decoder(torch.cat((latent + visible_places, self.mask_token + hidden_places), dim=1))
        prediction = self.head(x[:, self.visible :])
        error = (prediction - self.targets(video)[hidden].view_as(prediction)).square().mean(dim=-1)
        log_probs = Categorical(probs=probability).logits[hidden].view_as(error)
        return error.mean() - _SAMPLING_WEIGHT * (log_probs * error.detach()).mean()

    @torch.no_grad()
    def targets(self, video: Tensor) -> Tensor:
        """Return the normalised pixels (B, N, P) of all tokens."""
        pixels = self.grid.patchify((video * self.std + self.mean).permute(0, 2, 3, 4, 1))
        values = pixels.unflatten(2, (-1, self.channels))
        deviation = values.var(dim=-2, unbiased=True, keepdim=True).sqrt() + 1e-6
        return ((values - values.mean(dim=-2, keepdim=True)) / deviation).flatten(2)


def _like(block: nn.Module) -> _Block:
    assert isinstance(block, Block)
    attention, mlp = block.attn, block.mlp
    return _Block(attention.proj.out_features, attention.num_heads, mlp.fc1.out_features, 0.0, 1e-6)


class _Block(nn.Module):
    """Pre-norm transformer block with an explicit attention matrix."""

    def __init__(self, dim: int, heads: int, hidden: int, drop_rate: float, norm_eps: float) -> None:
        super().__init__()
        self.heads = heads
        inner = dim // heads * heads
        self.norm1, self.norm2 = nn.LayerNorm(dim, eps=norm_eps), nn.LayerNorm(dim, eps=norm_eps)
        self.qkv, self.proj = nn.Linear(dim, 3 * inner), nn.Linear(inner, dim)
        self.fc1, self.fc2 = nn.Linear(dim, hidden), nn.Linear(hidden, dim)
        self.drop = nn.Dropout(drop_rate)

    def forward(self, x: Tensor) -> Tensor:
        x = x + self._attention(self.norm1(x))
        return x + self.drop(self.fc2(nn.functional.gelu(self.fc1(self.norm2(x)))))

    def _attention(self, x: Tensor) -> Tensor:
        query, key, value = self.qkv(x).unflatten(2, (3, self.heads, -1)).permute(2, 0, 3, 1, 4)
        weights = ((query * query.shape[-1] ** -0.5) @ key.transpose(-2, -1)).softmax(dim=-1)
        return self.drop(self.proj((weights @ value).transpose(1, 2).flatten(2)))

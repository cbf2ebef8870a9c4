"""The golden numbers on a GPU: in float32 as on the CPU, in half precision to within its own grain."""

from __future__ import annotations

import pytest
import torch

from adamae.models import vit_pretrainer
from tests.golden import recipe

pytestmark = pytest.mark.gpu


def losses(case: str, dtype: torch.dtype) -> tuple[dict[str, float], dict[str, float], torch.Tensor]:
    """Our losses, the published ones, and the gradient's norm."""
    golden = recipe.load(f"adamae/golden_pretrain_{case}.json")
    config, meta = golden["config"], golden["meta"]
    names = (
        "img_size patch_size tubelet_size encoder_embed_dim encoder_depth encoder_num_heads decoder_embed_dim "
        "decoder_depth decoder_num_heads mlp_ratio qkv_bias mask_ratio"
    )
    sizes = {name: config[name] for name in names.split()}
    model = vit_pretrainer(**sizes, num_frames=config["frames"], detach_sampler_input=False)
    recipe.fill(model, config["seed"], golden.get("weight_scale_after_recipe"))
    model = model.eval().cuda()
    clip = recipe.video(config["batch"], config["frames"], config["img_size"], config["seed"]).cuda()
    visible = recipe.visible(config["batch"], meta["N"], meta["visible"], config["seed"]).cuda()
    with torch.autocast("cuda", dtype, enabled=dtype != torch.float32):
        out = model(clip, visible=visible)
    out.losses["loss"].backward()
    gradients = [p.grad for p in model.parameters() if p.grad is not None]
    expected = golden["float32"]["losses"] | {"gradient": golden["float32"]["grad_global_l2_total"]}
    return (
        {name: float(value.detach()) for name, value in out.losses.items()},
        expected,
        torch.nn.utils.get_total_norm(gradients),
    )


@pytest.mark.parametrize("case", ["tiny", "base"])
@pytest.mark.parametrize(
    ("dtype", "tolerance"), [(torch.float32, 1e-4), (torch.bfloat16, 3e-2), (torch.float16, 1e-2)], ids=str
)
def test_losses_and_gradient_are_the_published_ones(case: str, dtype: torch.dtype, tolerance: float) -> None:
    if dtype == torch.float32:
        torch.backends.cuda.matmul.allow_tf32 = False
    got, expected, norm = losses(case, dtype)
    assert got["reconstruction"] == pytest.approx(expected["L_R"], rel=tolerance)
    assert got["sampling"] == pytest.approx(expected["L_S_unscaled"], rel=tolerance)
    assert got["loss"] == pytest.approx(expected["total"], rel=tolerance)
    assert float(norm) == pytest.approx(expected["gradient"], rel=max(tolerance, 1e-3))


def test_noise_is_that_of_the_cpu() -> None:
    from adamae.randomness import SampleNoise

    seeds = torch.arange(5)
    assert torch.equal(
        SampleNoise(seeds.cuda()).fold_in(2).uniform(7, 9).cpu(), SampleNoise(seeds).fold_in(2).uniform(7, 9)
    )

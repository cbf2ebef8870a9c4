"""Pairs of layers that keep less give what the plain pairs give."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils import parametrizations, prune

from adamae.benchmark.operations import OperationRecorder
from adamae.layers import devices
from adamae.layers.block import Block
from adamae.layers.plain_modules import is_plain
from adamae.layers.recomputing_linear import gelu_linear, norm_linear
from adamae.randomness import SampleNoise


def recomputing_norm(x: Tensor, norm: nn.LayerNorm, linear: nn.Linear) -> Tensor:
    return norm_linear(x, norm, linear)


def plain_norm(x: Tensor, norm: nn.LayerNorm, linear: nn.Linear) -> Tensor:
    return linear(norm(x))


def recomputing_gelu(x: Tensor, norm: nn.LayerNorm, linear: nn.Linear) -> Tensor:
    return gelu_linear(x * norm.weight, linear)


def plain_gelu(x: Tensor, norm: nn.LayerNorm, linear: nn.Linear) -> Tensor:
    return linear(F.gelu(x * norm.weight))


PAIRS = [(recomputing_norm, plain_norm), (recomputing_gelu, plain_gelu)]
Pair = Callable[[Tensor, nn.LayerNorm, nn.Linear], Tensor]


def layers(dtype: torch.dtype) -> tuple[nn.LayerNorm, nn.Linear]:
    norm, linear = nn.LayerNorm(12).to(dtype), nn.Linear(12, 20).to(dtype)
    nn.init.normal_(norm.weight)
    nn.init.normal_(norm.bias)
    return norm, linear


def run(
    pair: Pair, x: Tensor, norm: nn.LayerNorm, linear: nn.Linear, half: torch.dtype | None = None
) -> list[Tensor | None]:
    """The output and every gradient."""
    leaves = [x, *norm.parameters(), *linear.parameters()]
    with torch.autocast("cpu", half, enabled=half is not None):
        out = pair(x, norm, linear)
    wanted = [leaf for leaf in leaves if leaf.requires_grad]
    gradients = iter(torch.autograd.grad(out.float().square().sum(), wanted, allow_unused=True))
    return [out, *(next(gradients) if leaf.requires_grad else None for leaf in leaves)]


@pytest.mark.parametrize(("recomputing", "plain"), PAIRS)
@pytest.mark.parametrize("half", [None, torch.bfloat16])
@pytest.mark.parametrize("frozen", [None, "norm", "linear", "input"])
def test_the_same_results_and_gradients(
    recomputing: Pair, plain: Pair, half: torch.dtype | None, frozen: str | None
) -> None:
    norm, linear = layers(torch.float32 if half else torch.float64)
    x = torch.randn(2, 3, 12, dtype=norm.weight.dtype, requires_grad=frozen != "input")
    norm.requires_grad_(frozen != "norm")
    linear.requires_grad_(frozen != "linear")
    tolerance = {"rtol": 2e-2, "atol": 2e-2} if half else {}
    for got, expected in zip(*(run(pair, x, norm, linear, half) for pair in (recomputing, plain)), strict=True):
        torch.testing.assert_close(got, expected, **tolerance)


def gelu_alone(x: Tensor, norm: nn.LayerNorm, linear: nn.Linear) -> Tensor:
    return gelu_linear(x, linear)


@pytest.mark.parametrize("half", [torch.bfloat16, torch.float16])
@pytest.mark.parametrize("recomputing", [recomputing_norm, gelu_alone])
def test_the_way_of_a_gpu(recomputing: Pair, half: torch.dtype, monkeypatch: pytest.MonkeyPatch) -> None:
    """By a CPU's kernels, whose sums over so few rows are good enough."""
    norm, linear = layers(torch.float32)
    x = torch.randn(2, 3, 12).to(half).requires_grad_()
    expected = run(recomputing, x.detach().float().requires_grad_(), norm, linear)
    monkeypatch.setattr(devices, "_CPU", "")
    with OperationRecorder("forward") as seen:
        got = run(recomputing, x, norm, linear, half)
    for one, exact in zip(got, expected, strict=True):
        if one is not None and exact is not None:
            assert one.dtype == (half if one.shape[:2] == (2, 3) else torch.float32)
            assert (one.float() - exact).norm() < 3e-2 * exact.norm()
    # All parameters are cast in one kernel and their gradients in another; nothing as large as the input is.
    names = [one.name for one in seen.operations]
    assert names.count("_foreach_copy_") == 2
    # The loss of this test in float32, and back.
    assert names.count("_to_copy") == 2


@pytest.mark.parametrize(("recomputing", "plain"), PAIRS)
def test_less_is_kept(recomputing: Pair, plain: Pair) -> None:
    norm, linear = layers(torch.float32)
    x = torch.randn(2, 300, 12, requires_grad=True)

    def kept(pair: Pair) -> int:
        sizes: dict[int, int] = {}

        def pack(t: Tensor) -> Tensor:
            sizes[t.untyped_storage().data_ptr()] = t.untyped_storage().nbytes()
            return t

        with torch.autograd.graph.saved_tensors_hooks(pack, lambda t: t):
            out = pair(x, norm, linear)
        assert out.requires_grad
        return sum(sizes.values())

    assert kept(recomputing) < kept(plain)


class Adapted(nn.Module):
    """As a LoRA layer: it shows the weights of the layer that it wraps, and adds a product of its own."""

    def __init__(self, base: nn.Linear) -> None:
        super().__init__()
        self.base = base.requires_grad_(False)
        self.update = nn.Linear(base.in_features, base.out_features, bias=False)

    @property
    def weight(self) -> Tensor:
        return self.base.weight

    @property
    def bias(self) -> Tensor | None:
        return self.base.bias

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.base(x) + self.update(x)
        return out


def unchanged(module: nn.Module) -> None:
    pass


def wrap_norm(block: Block) -> None:
    block.norm1 = nn.Sequential(block.norm1)


def patch_forward(block: Block) -> None:
    # As accelerate does.
    block.mlp.fc1.forward = block.mlp.fc1.forward


def observe(block: Block) -> None:
    for module in block.modules():
        module.register_forward_hook(lambda *_: None)


@pytest.mark.parametrize("change", [wrap_norm, patch_forward, observe])
@pytest.mark.parametrize("key_bias", [False, True])
@pytest.mark.parametrize("half", [None, torch.bfloat16])
def test_modules_that_must_be_called_give_the_same(
    change: Callable[[Block], None], key_bias: bool, half: torch.dtype | None
) -> None:
    block, noise = Block(12, 2, key_bias=key_bias), SampleNoise(torch.arange(2))
    x = torch.randn(2, 5, 12)
    found = []
    for prepare in (unchanged, change):
        prepare(block)
        block.zero_grad()
        with torch.autocast("cpu", half, enabled=half is not None):
            out = block(x, noise)
        out.float().square().sum().backward()
        found.append([out, *(each.grad for each in block.parameters())])
    for plain, called in zip(*found, strict=True):
        assert called.dtype == plain.dtype
        torch.testing.assert_close(called, plain, **({"rtol": 5e-2, "atol": 5e-2} if half else {}))


@pytest.mark.parametrize("name", ["attn.qkv", "attn.proj", "mlp.fc1", "mlp.fc2"])
def test_an_adapter_in_place_of_a_layer_takes_part(name: str) -> None:
    block, noise = Block(12, 2), SampleNoise(torch.arange(2))
    x = torch.randn(2, 5, 12)
    before = block(x, noise)
    adapted = Adapted(block.get_submodule(name))
    block.set_submodule(name, adapted)
    after = block(x, noise)
    after.square().sum().backward()
    assert not torch.equal(before, after)
    assert adapted.update.weight.grad is not None


@pytest.mark.parametrize("name", ["attn.qkv", "mlp.fc1", "mlp.fc2"])
def test_a_pruned_layer_trains(name: str) -> None:
    block, noise = Block(12, 2), SampleNoise(torch.arange(2))
    linear = block.get_submodule(name)
    prune.l1_unstructured(linear, "weight", 0.5)
    optimiser = torch.optim.SGD(block.parameters(), lr=0.1)
    for _ in range(2):
        optimiser.zero_grad()
        block(torch.randn(2, 5, 12), noise).square().sum().backward()
        used = linear.weight_orig * linear.weight_mask
        torch.testing.assert_close(linear.weight, used)
        optimiser.step()


def test_a_parametrized_layer_is_still_recomputed() -> None:
    linear = parametrizations.weight_norm(nn.Linear(4, 4))
    assert type(linear) is not nn.Linear and is_plain(linear, nn.Linear)

from __future__ import annotations

import pytest
import torch
from torch import nn

from adamae.training.ema import WeightEma


def model() -> nn.Module:
    torch.manual_seed(0)
    return nn.Sequential(nn.Linear(3, 4), nn.Linear(4, 2))


def move(network: nn.Module, step: int) -> None:
    noise = torch.Generator().manual_seed(step)
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(torch.randn(parameter.shape, generator=noise))


@pytest.mark.parametrize("on_host", [False, True])
def test_the_average_by_hand(on_host: bool) -> None:
    network = model()
    history = [network[0].weight.detach().clone()]
    average = WeightEma(network, 0.9, on_host)
    for step in range(1, 6):
        move(network, step)
        history.append(network[0].weight.detach().clone())
        average.after_step(step)
    expected = 0.9**5 * history[0] + sum(0.1 * 0.9 ** (5 - k) * history[k] for k in range(1, 6))
    torch.testing.assert_close(average.state()["0.weight"], expected)


@pytest.mark.parametrize("on_host", [False, True])
def test_the_average_is_that_of_earlier_versions_bit_for_bit(on_host: bool) -> None:
    """Those moved each parameter's average by ``lerp_``."""
    network = model()
    average = WeightEma(network, 0.99, on_host)
    expected = {name: parameter.detach().clone() for name, parameter in network.named_parameters()}
    for step in range(1, 10):
        move(network, step)
        average.after_step(step)
        for name, parameter in network.named_parameters():
            expected[name].lerp_(parameter.detach(), 1 - 0.99)
    assert all(torch.equal(average.state()[name], value) for name, value in expected.items())


def test_buffers_have_no_average() -> None:
    network = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    average = WeightEma(network, 0.5)
    assert average.state().keys() == {name for name, _ in network.named_parameters()}
    network[1].running_mean.fill_(7.0)
    average.after_step(1)
    with average.applied():
        assert (network[1].running_mean == 7).all()


def test_applied_and_taken_back_bit_for_bit() -> None:
    network = model()
    average = WeightEma(network, 0.5)
    move(network, 1)
    average.after_step(1)
    before = {name: value.clone() for name, value in network.state_dict().items()}
    with pytest.raises(RuntimeError, match="within"), average.applied():
        inside = network.state_dict()
        assert all(torch.equal(inside[name], average.state()[name]) for name in inside)
        raise RuntimeError("within")
    assert all(torch.equal(value, before[name]) for name, value in network.state_dict().items())
    assert not torch.equal(before["0.weight"], average.state()["0.weight"])
    assert all(parameter.requires_grad for parameter in network.parameters())


def test_saved_and_loaded_it_goes_on_as_it_was() -> None:
    network = model()
    average = WeightEma(network, 0.7)
    move(network, 1)
    average.after_step(1)
    saved = average.state()
    again = WeightEma(network, 0.7)
    again.load(saved)
    for each in (average, again):
        each.after_step(2)
    assert all(torch.equal(again.state()[name], average.state()[name]) for name in saved)


def test_switched_on_later_it_begins_with_the_weights_of_that_moment() -> None:
    network = model()
    average = WeightEma(network, 0.7)
    move(network, 1)
    average.load(WeightEma(network, None).state())
    assert all(torch.equal(average.state()[name], value) for name, value in network.state_dict().items())


def test_without_a_decay_there_is_no_average() -> None:
    network = model()
    average = WeightEma(network, None)
    average.after_step(1)
    before = network[0].weight.detach().clone()
    with average.applied():
        assert torch.equal(network[0].weight, before)
    assert not average.active
    assert average.state() == {}
    assert average.after_epoch(0) == {}

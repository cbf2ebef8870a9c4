"""What differs between a CPU and a GPU is asked in one place, which the prediction of a GPU's operations answers."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest
import torch

import adamae
from adamae.benchmark.gpu_choices import gpu_choices
from adamae.layers.devices import on_cpu

PACKAGE = Path(adamae.__file__).parent
NETWORKS = [
    path for room in ("layers", "losses", "samplers", "models") for path in sorted((PACKAGE / room).rglob("*.py"))
]


def test_the_answer_is_another_where_a_gpu_is_predicted() -> None:
    x = torch.zeros(1)
    assert on_cpu(x)
    assert not on_cpu(torch.zeros(1, device="meta"))
    with gpu_choices():
        assert not on_cpu(x)
    assert on_cpu(x)


@pytest.mark.parametrize("module", NETWORKS, ids=lambda path: path.relative_to(PACKAGE).as_posix())
def test_no_network_compares_devices_itself(module: Path) -> None:
    if module == PACKAGE / "layers" / "devices.py":
        return
    for node in ast.walk(ast.parse(module.read_text(encoding="utf-8"))):
        sides = [node.left, *node.comparators] if isinstance(node, ast.Compare) else []
        assert not any(ast.unparse(side).endswith(".device.type") for side in sides), f"{module}:{sides[0].lineno}"
        assert not (isinstance(node, ast.Attribute) and node.attr in ("is_cpu", "is_cuda")), f"{module}:{node.lineno}"

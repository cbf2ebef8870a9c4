"""Kernels of a compiled step, predicted by a model of fusion.

Torch's compiler generates kernels for a GPU only if its driver is installed. Therefore only its front end is used,
which traces one graph of the forward pass and one of the backward pass and decides what is recomputed. This model
replaces its back end. Products, attention and sorting remain library calls. Every other operation is fused with the
operations that it reads from, if both iterate over the same elements and no other operation has to run in between. A
kernel reads its external inputs and writes the values that are used outside. Two simplifications: nothing is computed
twice to save a write, and kernels that only share inputs are not joined.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from functools import partial
from typing import Any

import torch
from torch import Tensor
from torch.fx import GraphModule, Node
from torch.utils._pytree import tree_leaves

from adamae.benchmark.operations import BACKWARD, Operation, count, is_view, touched

# In addition to operations with a FLOP formula: library calls, or kernels that are not fused.
_LIBRARY = {"sort", "topk", "multinomial", "cumsum", "scatter", "scatter_add", "index_put", "randint", "_fused_adamw"}
_REDUCTIONS = {"sum", "mean", "var_mean", "var", "amax", "amin", "prod", "argmax", "any", "all"}
# Generated where they are read, without memory traffic.
_GENERATED = {"full", "iota", "arange", "scalar_tensor", "full_like", "zeros_like"}
_GATHERS = {"gather", "index", "index_select", "embedding"}


def fusing_backend(recorded: list[Operation], default: str, parts: Mapping[str, str]) -> Callable[..., Any]:
    """Return a back end for ``torch.compile`` that records kernels and runs the graphs unchanged.

    Args:
        recorded: List to which kernels are appended.
        default: Part of forward operations that are not in any of ``parts``.
        parts: Part of the step by the path of a module.
    """
    from torch._dynamo.backends.common import aot_autograd
    from torch._functorch._aot_autograd.utils import make_boxed_func
    from torch._functorch.partitioners import min_cut_rematerialization_partition
    from torch._inductor.decomposition import select_decomp_table

    def compiled(graph: GraphModule, inputs: Any, backward: bool) -> Any:
        def part(node: Node) -> str:
            return BACKWARD if backward else _part(node, default, parts)

        recorded.extend(kernels(graph, part))
        return make_boxed_func(graph.forward)

    backend: Callable[..., Any] = aot_autograd(
        fw_compiler=partial(compiled, backward=False),
        bw_compiler=partial(compiled, backward=True),
        decompositions=select_decomp_table(),
        partition_fn=partial(min_cut_rematerialization_partition, compiler="inductor"),
    )
    return backend


def _part(node: Node, default: str, parts: Mapping[str, str]) -> str:
    stack = list((node.meta.get("nn_module_stack") or {}).values())
    path = str(stack[-1][0]) if stack else ""
    path = path.removeprefix("L['self']").removeprefix("L['fn']").strip(".") + "."
    found = [known for known in parts if path.startswith(f"{known}.") or f".{known}." in path]
    return parts[max(found, key=len)] if found else default


@dataclass
class _Group:
    """Nodes of one kernel, and their positions in the graph as a bit set."""

    nodes: list[Node]
    members: int
    elements: int
    rows: set[int] = field(default_factory=set)
    axis: str = ""


def kernels(graph: GraphModule, part: Callable[[Node], str]) -> list[Operation]:
    """Return the kernels of a graph without mutation.

    Args:
        graph: Graph of torch operations, with the shapes of the nodes' values.
        part: Returns the part of the step to which a node belongs.
    """
    nodes = [node for node in graph.graph.nodes if node.op == "call_function"]
    position = {node: number for number, node in enumerate(nodes)}
    # All nodes that a node depends on, as a bit set.
    behind: dict[Node, int] = {}
    group_of: dict[Node, _Group] = {}
    result: list[Operation] = []
    for node in nodes:
        inputs = [x for x in node.all_input_nodes if x in position]
        behind[node] = 0
        for x in inputs:
            behind[node] |= behind[x] | 1 << position[x]
        if _aliases(node) or _name(node) in _GENERATED:
            continue
        if _is_library(node):
            result.append(_library_call(node, part(node)))
            continue
        group_of[node] = group = _new_group(node, position[node])
        for source in {id(x): x for x in map(_source, inputs)}.values():
            other = group_of.get(source)
            if other is not None and other is not group and _fits(other, group):
                joined = _join(other, group)
                if _may_run_at_once(joined, behind, position):
                    group = joined
                    group_of.update(dict.fromkeys(joined.nodes, joined))
    groups = {id(group): group for group in group_of.values()}.values()
    return result + [_kernel(group, part) for group in groups]


def _name(node: Node) -> str:
    target: Any = node.target
    schema = getattr(target, "_schema", None)
    return schema.name.split("::")[-1] if schema is not None else getattr(target, "__name__", str(target))


def _aliases(node: Node) -> bool:
    """Whether a node is a view, or selects one of several results."""
    target: Any = node.target
    return not hasattr(target, "_schema") or is_view(target) or _name(node) in {"_unsafe_view", "detach", "alias"}


def _source(node: Node) -> Node:
    """Return the node whose memory this one reads."""
    while node.op == "call_function" and _aliases(node) and node.all_input_nodes:
        node = node.all_input_nodes[0]
    return node


def _is_library(node: Node) -> bool:
    from torch.utils.flop_counter import flop_registry

    target: Any = node.target
    name = _name(node)
    return name in _LIBRARY or "scaled_dot_product" in name or getattr(target, "overloadpacket", None) in flop_registry


def _values(node: Node) -> list[Tensor]:
    return [x for x in tree_leaves(node.meta.get("val")) if isinstance(x, Tensor)]


def _library_call(node: Node, part: str) -> Operation:
    def value(x: Any) -> Any:
        return x.meta["val"] if isinstance(x, Node) else x

    args, kwargs = torch.fx.node.map_arg((node.args, dict(node.kwargs)), value)
    counted = count(node.target, args, kwargs, node.meta["val"], part)
    assert counted is not None
    return counted


def _new_group(node: Node, position: int) -> _Group:
    written = max((x.numel() for x in _values(node)), default=0)
    if _name(node) not in _REDUCTIONS:
        return _Group([node], 1 << position, written)
    read = _values(node.all_input_nodes[0])[0]
    dims = [x for x in node.args[1:2] if isinstance(x, (list, tuple))]
    inner = not dims or (read.dim() - 1 in dims[0] or -1 in dims[0])
    return _Group([node], 1 << position, read.numel(), {written}, "inner" if inner else "outer")


def _fits(one: _Group, other: _Group) -> bool:
    """Whether two groups iterate over the same elements, or one over the rows of the other's reductions."""
    if one.axis and other.axis and one.axis != other.axis:
        return False
    if one.elements == other.elements:
        return True
    smaller, larger = sorted((one, other), key=lambda group: group.elements)
    # A value that is broadcast to more elements is computed where it is read.
    if not smaller.axis and smaller.elements and larger.elements % smaller.elements == 0:
        return True
    return one.elements in other.rows or other.elements in one.rows


def _join(one: _Group, other: _Group) -> _Group:
    return _Group(
        [*one.nodes, *other.nodes],
        one.members | other.members,
        max(one.elements, other.elements),
        one.rows | other.rows,
        one.axis or other.axis,
    )


def _may_run_at_once(group: _Group, behind: Mapping[Node, int], position: Mapping[Node, int]) -> bool:
    """Whether no node outside of a group is between two of its nodes."""
    for node in group.nodes:
        for x in node.all_input_nodes:
            source = _source(x)
            if source in position and not group.members >> position[source] & 1 and behind[source] & group.members:
                return False
    return True


def _kernel(group: _Group, part: Callable[[Node], str]) -> Operation:
    members = set(group.nodes)
    read: dict[Node, int] = {}
    written = 0
    for node in group.nodes:
        for x in node.all_input_nodes:
            source = _source(x)
            if source not in members and _name(source) not in _GENERATED:
                taken = node if _name(node) in _GATHERS and x is node.all_input_nodes[0] else x
                read[source] = max(read.get(source, 0), touched(_values(taken)))
        if any(user not in members for user in _readers(node)):
            written += touched(_values(node))
    last = group.nodes[-1]
    # A reduction over the first axes needs a second kernel, which adds up the results of the blocks.
    return Operation(
        name="+".join(dict.fromkeys(_name(node) for node in group.nodes)),
        part=part(last),
        kind="other",
        dtype=_values(last)[0].dtype,
        flop=0,
        exponentials=0,
        read=sum(read.values()),
        written=written,
        launches=2 if group.axis == "outer" else 1,
    )


def _readers(node: Node) -> Iterable[Node]:
    """Yield the nodes that read a node's memory, also through views."""
    for user in node.users:
        if user.op == "call_function" and _aliases(user):
            yield from _readers(user)
        else:
            yield user

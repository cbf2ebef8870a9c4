"""Write graphs to files, each of which is run once before it is moved to its final name."""

from __future__ import annotations

import json
import logging
import shutil
import tempfile
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from torch import Tensor
from torch.export import ExportedProgram

from adamae.checkpoints.formats import CheckpointFile
from adamae.checks import check_choice
from adamae.errors import UserError
from adamae.export.graphs import Graph, build_graph
from adamae.files import TEMPORARY_PREFIX, check_writable, flush
from adamae.plain_text import first_line

# Key of our JSON entry in a file's metadata.
_OURS = "adamae"
# Clips in the traced example, and in the one that is run afterwards: they differ to verify the dynamic batch axis.
_TRACED, _RUN = 2, 3
# Without an upper bound, torch 2.6 rejects some operators for the largest possible integer.
_MOST_CLIPS = 65536
# Relative to the largest value. A larger difference is not rounding.
_TOLERANCE = 1e-3

Run = Callable[[Mapping[str, Tensor]], list[Tensor]]


@dataclass(frozen=True)
class ExportReport:
    """Result of :func:`export`.

    Attributes:
        path: The file.
        target: "onnx" or "torch_export".
        graph: The exported graph.
        difference: Largest difference from the network's own outputs on random clips, relative to the largest value;
            None if the file could not be run.
    """

    path: Path
    target: str
    graph: Graph
    difference: float | None

    def __str__(self) -> str:
        """Return a one-line summary for the log."""
        inputs = ", ".join(_signature(name, value) for name, value in self.graph.example(1).items())
        checked = (
            "not run: onnxruntime is not installed"
            if self.difference is None
            else f"largest relative difference from the checkpoint's network {self.difference:.1e}"
        )
        what = f"{self.path}: {self.graph.part} as {self.target}, {inputs} to {', '.join(self.graph.outputs)}"
        return "; ".join([what, checked, *self.graph.notes])


def export(file: CheckpointFile, out: str | Path, target: str, part: str | None = None) -> ExportReport:
    """Export a checkpoint's network as a graph for any number of clips.

    Args:
        file: Result of :func:`~adamae.checkpoints.formats.open_checkpoint`.
        out: A file that ends in ``.onnx`` or ``.pt2``. ONNX weights of 2 GB and more are stored beside it, in
            ``OUT.data``.
        target: A key of :data:`TARGETS`: "onnx", or "torch_export" for ``torch.export.load``.
        part: See :func:`~adamae.export.graphs.build_graph`.

    Raises:
        UserError: If the target or the part is unknown, a package is missing, the network cannot be exported, or the
            file cannot be written.
    """
    check_choice("target", target, tuple(TARGETS))
    out, suffix = Path(out), _SUFFIXES[target]
    if out.suffix != suffix:
        raise UserError(f"{out}: expected a name that ends in {suffix} for --to {target}")
    check_writable(out)
    _check_target(target)
    graph = build_graph(file, part)
    graph.module.eval().requires_grad_(False)
    program = _trace(file, graph)
    facts = {"part": graph.part, "class_names": list(file.class_names) if graph.part == "classifier" else []}
    try:
        out.parent.mkdir(parents=True, exist_ok=True)
        with _published(out) as temporary:
            run = TARGETS[target](program, graph, temporary, json.dumps(facts))
            difference = _difference(graph, run) if run else None
            if difference is not None and not difference <= _TOLERANCE:
                raise UserError(
                    f"{file.path}: the exported graph gives other numbers than the network (relative difference "
                    f"{difference:.1e}); nothing was written"
                )
    except OSError as error:
        raise UserError(f"{out}: cannot be written ({error.strerror or error})") from error
    return ExportReport(out, target, graph, difference)


def _is_installed(package: str) -> bool:
    return find_spec(package) is not None


def _check_target(target: str) -> None:
    if target == "onnx" and not _is_installed("onnxscript"):
        raise UserError(
            "--to onnx needs the package 'onnxscript', which is not installed: pip install onnxscript onnxruntime"
        )


def _trace(file: CheckpointFile, graph: Graph) -> ExportedProgram:
    inputs = graph.example(_TRACED)
    batch = torch.export.Dim("batch", min=1, max=_MOST_CLIPS)
    try:
        with torch.no_grad():
            return torch.export.export(
                graph.module, (), inputs, dynamic_shapes={name: {0: batch} for name in inputs}, strict=False
            )
    # An operator that cannot be traced may raise any exception.
    except Exception as error:
        raise UserError(f"{file.path}: torch.export cannot trace the {graph.part}: {_reason(error)}") from error


def _write_torch_export(program: ExportedProgram, graph: Graph, path: Path, facts: str) -> Run:
    torch.export.save(program, path, extra_files={_OURS: facts})
    loaded = torch.export.load(path).module()
    return lambda inputs: _listed(loaded(**inputs))


def _write_onnx(program: ExportedProgram, graph: Graph, path: Path, facts: str) -> Run | None:
    from adamae.export.onnx_operators import onnx_operators

    inputs = graph.example(_TRACED)
    try:
        with _quiet():
            made: Any = torch.onnx.export(
                program,
                kwargs=inputs,
                input_names=list(inputs),
                output_names=list(graph.outputs),
                dynamo=True,
                optimize=True,
                verbose=False,
                custom_translation_table=onnx_operators(),
            )
    # An operator without a translation may raise any exception.
    except Exception as error:
        raise UserError(f"torch.onnx cannot translate the {graph.part}: {_reason(error)}") from error
    _name_batch(made.model)
    made.model.metadata_props[_OURS] = facts
    made.save(path)
    if not _is_installed("onnxruntime"):
        return None
    import onnxruntime

    session = onnxruntime.InferenceSession(path, providers=["CPUExecutionProvider"])
    return lambda inputs: [
        torch.from_numpy(value) for value in session.run(None, {name: x.numpy() for name, x in inputs.items()})
    ]


def _name_batch(model: Any) -> None:
    """Name the dynamic axis "batch" in all values; torch gives it a generated name."""
    free = str(model.graph.inputs[0].shape[0])
    values = [*model.graph.inputs, *(value for node in model.graph for value in node.outputs)]
    for value in values:
        for axis, size in enumerate(value.shape or ()):
            if not isinstance(size, int) and str(size) == free:
                value.shape[axis] = "batch"


@contextmanager
def _quiet() -> Iterator[None]:
    """Silence the exporter's developer messages."""
    logger = logging.getLogger("torch.onnx")
    before = logger.level
    logger.setLevel(logging.ERROR)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    finally:
        logger.setLevel(before)


@contextmanager
def _published(out: Path) -> Iterator[Path]:
    """Yield a path in a temporary folder; all files written there are then moved beside ``out``, ``out`` itself last.

    A graph refers to the file of its weights by name, so the temporary files must have their final names.
    """
    folder = Path(tempfile.mkdtemp(dir=out.parent, prefix=TEMPORARY_PREFIX))
    try:
        yield folder / out.name
        for path in sorted(folder.iterdir(), key=lambda path: path.name == out.name):
            flush(path)
            path.replace(out.with_name(path.name))
    finally:
        shutil.rmtree(folder, ignore_errors=True)


@torch.no_grad()
def _difference(graph: Graph, run: Run) -> float:
    """Return the largest difference of any output on random clips, relative to its largest value or 1."""
    inputs = graph.example(_RUN)
    pairs = zip(run(inputs), _listed(graph.module(**inputs)), strict=True)
    return max(float((got - wanted).abs().max() / wanted.abs().max().clamp(min=1)) for got, wanted in pairs)


def _listed(outputs: Tensor | tuple[Tensor, ...]) -> list[Tensor]:
    return [outputs] if isinstance(outputs, Tensor) else list(outputs)


def _signature(name: str, value: Tensor) -> str:
    sizes = ", ".join(["batch", *map(str, value.shape[1:])])
    return f"{name} {str(value.dtype).removeprefix('torch.')} ({sizes})"


def _reason(error: BaseException) -> str:
    """Return the innermost cause in one line."""
    while error.__cause__ is not None:
        error = error.__cause__
    return first_line(error)


TARGETS: dict[str, Callable[[ExportedProgram, Graph, Path, str], Run | None]] = {
    "onnx": _write_onnx,
    "torch_export": _write_torch_export,
}
_SUFFIXES = {"onnx": ".onnx", "torch_export": ".pt2"}

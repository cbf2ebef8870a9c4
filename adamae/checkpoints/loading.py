"""Load a checkpoint's weights into a network and report what was done with each of them."""

from __future__ import annotations

import math
import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from adamae.checkpoints.formats import CheckpointFile, open_checkpoint
from adamae.checkpoints.resizing import Grid, fit_kernel, fit_offsets, resize_positions
from adamae.errors import UserError
from adamae.models import Classifier, Pretrainer
from adamae.models.ema_network import PREFIX as EMA_PREFIX
from adamae.models.naming import reference_name
from adamae.models.pyramid.expansion import CellExpansion
from adamae.plain_text import some_of

# Parameters that a classifier may keep at their initial values if the file does not contain them.
_MAY_BE_NEW = re.compile(r"(head|fc_norm)\..*")
# Entries of a pre-trained file that a classifier does not use, and why.
_IGNORED = (
    (re.compile(r"mask_token|decoder[._].*|encoder_to_decoder\..*"), "a classifier has no decoder"),
    (re.compile(r"vis_mask_token"), "a classifier sees all tokens"),
    (re.compile(r"norm\..*"), "mean pooling uses its own norm, fc_norm"),
)
_SAMPLER = re.compile(r"encoder\.(pos_embed_probs|(get|reduce)_token_probs\..*)")
# Parameters of learned samplers that no published checkpoint has.
_OTHER_SAMPLER = re.compile(r"sampler\..*")
_CHOOSER = re.compile(_SAMPLER.pattern.removeprefix(r"encoder\."))
_CHOOSER_SIGN = "pos_embed_probs"
_SAMPLER_MLP = re.compile(r"(encoder\.)?get_token_probs\.\d+\.mlp\.fc1\.weight")
_FIXED = "fixed positions are those of the model"
_HEAD = re.compile(r"head\..*")
_HINTS = {
    "cls_token": "build the classifier with cls_token=True",
    "pos_embed_spatial": 'build the classifier with position_embedding="separable"',
    "pos_embed": 'build the classifier with position_embedding="learned"',
    "norm.weight": "build the classifier with use_mean_pooling=False",
}


@dataclass(frozen=True, kw_only=True)
class LoadReport:
    """Result of loading a checkpoint's weights into a model.

    Attributes:
        path: The checkpoint.
        layout: Its layout, as in :class:`~adamae.checkpoints.formats.CheckpointFile`.
        loaded: Names of the model's parameters that were loaded from the file.
        resized: Names among ``loaded`` whose tensors were resized.
        new: Names of the model's parameters that are not in the file and keep their initial values.
        ignored: Names in the file that the model does not use, and why.
        notes: Other changes, one sentence each.
    """

    path: Path
    layout: str
    loaded: tuple[str, ...]
    resized: tuple[str, ...]
    new: tuple[str, ...]
    ignored: dict[str, str]
    notes: tuple[str, ...]

    def __str__(self) -> str:
        """Return a one-line summary for the log."""
        parts = [f"{self.path} ({self.layout} layout): {len(self.loaded)} tensors loaded"]
        if self.resized:
            parts.append(f"{len(self.resized)} resized ({some_of(self.resized)})")
        if self.new:
            parts.append(f"{len(self.new)} randomly initialised ({some_of(self.new)})")
        if self.ignored:
            parts.append(f"{len(self.ignored)} ignored ({'; '.join(dict.fromkeys(self.ignored.values()))})")
        return "; ".join([*parts, *self.notes])


def load_weights(
    model: nn.Module,
    checkpoint: str | Path | CheckpointFile,
    *,
    complete: bool = False,
    key: str | None = None,
    constants: bool = True,
) -> LoadReport:
    """Load a checkpoint of any known format into a pre-train model or a classifier.

    A classifier loads the encoder of a pre-trained file. From a fine-tuned file with the same number of classes it also
    loads the head. If the number of frames, the frame size or the number of channels differs, learned positions and the
    patch embedding kernel are resized. Fixed positions are always those of the model.

    Args:
        model: A :class:`~adamae.models.Pretrainer` or :class:`~adamae.models.Classifier`, also compiled
            (``torch.compile``) or in a wrapper that has it as ``module``, such as ``DistributedDataParallel``.
        checkpoint: A path, or the result of :func:`open_checkpoint`.
        complete: Also fail if a parameter of the model would keep its initial value. For evaluation, where every
            parameter must come from the file.
        key: Key of the weights in the file's dict, alternatives separated by ``|``.
        constants: Set the model's LayerNorm epsilons and pixel statistics to those of the file's network where they are
            known to differ from the official code (Transformers, mae_st). They are not part of the state dict: a model
            that is built again has to load or adopt them again.

    Raises:
        UserError: If the file cannot be read, its weights do not match the model, or the model is another module. The
            model is then unchanged.
    """
    network = _unwrapped(model)
    file = checkpoint if isinstance(checkpoint, CheckpointFile) else open_checkpoint(checkpoint, key)
    try:
        return _load(network, file, complete, constants)
    except UserError as error:
        raise UserError(f"{file.path}: {error}") from error


def _unwrapped(model: nn.Module) -> Pretrainer | Classifier:
    """Return the network of ``model``, which may be compiled or in wrappers."""
    network: object = model
    while not isinstance(network, Pretrainer | Classifier):
        if not isinstance(network, nn.Module):
            raise UserError(f"load_weights got a {type(model).__name__}, expected a Pretrainer or a Classifier")
        network = getattr(network, "_orig_mod", None) or getattr(network, "module", None)
    return network


def _load(model: Pretrainer | Classifier, file: CheckpointFile, complete: bool, constants: bool) -> LoadReport:
    wanted = model.state_dict()
    if any(tensor.is_meta for tensor in wanted.values()):
        raise UserError("the model is on the meta device; expected one with memory, as of to_empty(device=...)")
    offered, ignored = _offer(model, wanted, file)
    fixed = {reference_name(model, name) for name, _ in model.named_buffers()}
    ignored |= {name: _FIXED for name in fixed if offered.pop(name, None) is not None}
    resized = _fit(model, wanted, offered, file)
    missing = [name for name in wanted if name not in offered and name not in fixed]
    notes = [*file.notes]
    if "heads" in file.architecture.guessed:
        notes.append(f"the file does not store the number of attention heads: the encoder has {_heads(model.encoder)}")
    if resized and file.architecture.guesses_clip:
        frames, (height, width) = file.architecture.frames, file.architecture.size
        notes.append(f"the clips of the checkpoint are assumed to be {frames} frames of {height}x{width}")
    notes += _notes_on_order(model, file)
    drops_norm = "encoder.norm.weight" in missing and not file.architecture.norm
    if drops_norm:
        # The EMA network has the same parts.
        missing = [name for name in missing if not name.removeprefix(EMA_PREFIX).startswith("encoder.norm.")]
        notes.append("the encoder of the checkpoint has no final norm: that of the model was removed")
    _check_match(wanted, offered, missing, complete)
    if drops_norm:
        for encoder in ("encoder", f"{EMA_PREFIX}encoder"):
            if f"{encoder}.norm.weight" in wanted:
                model.get_submodule(encoder).norm = nn.Identity()
    model.load_state_dict({**model.state_dict(), **offered})
    if constants:
        notes += file.constants.adopt(model)
    loaded = tuple(name for name in wanted if name in offered)
    return LoadReport(
        path=file.path,
        layout=file.layout,
        loaded=loaded,
        resized=tuple(resized),
        new=tuple(missing),
        ignored=ignored,
        notes=tuple(notes),
    )


def _notes_on_order(model: Pretrainer | Classifier, file: CheckpointFile) -> list[str]:
    """Return a note if a pyramid's decoder takes its positions in another order than it was trained in."""
    expansion = getattr(model, "encoder_to_decoder", None)
    if not isinstance(expansion, CellExpansion):
        return []
    trained = bool(file.architecture.options().get("released_decoder_order"))
    if trained == expansion.released_order:
        return []
    return [f"the decoder was trained with released_decoder_order = {trained}, the model has {not trained}"]


def _heads(encoder: nn.Module) -> str:
    """Return the distinct numbers of attention heads of the blocks; in a pyramid they differ between stages."""
    return ", ".join(
        dict.fromkeys(str(module.num_heads) for module in encoder.modules() if hasattr(module, "num_heads"))
    )


def _offer(
    model: nn.Module, wanted: Mapping[str, Tensor], file: CheckpointFile
) -> tuple[dict[str, Tensor], dict[str, str]]:
    """Return the file's tensors under the model's names, and the names it does not use with the reasons."""
    if isinstance(model, Pretrainer):
        if not file.architecture.decoder:
            raise UserError(f"holds a {file.method}; expected a pre-trained network with its decoder")
        offered = dict(file.state)
        # The EMA of the weights (models/ema_network) is not read from files: it starts from the loaded weights.
        begun = {
            name: reference_name(model, name.removeprefix(EMA_PREFIX)) for name in wanted if name.startswith(EMA_PREFIX)
        }
        offered |= {name: offered[weights] for name, weights in begun.items() if weights in offered}
        # Sampler entries are only ignored if the model has none: a sampler of another shape must be a mismatch.
        absent = (pattern for pattern in (_SAMPLER, _OTHER_SAMPLER) if not any(map(pattern.fullmatch, wanted)))
        return offered, _take_out(
            wanted, offered, [(pattern, "the sampler of the model has no parameters") for pattern in absent]
        )
    prefix = "encoder." if file.architecture.decoder else ""
    offered = {name.removeprefix(prefix): tensor for name, tensor in file.state.items()}
    if _CHOOSER_SIGN in wanted and _CHOOSER_SIGN not in offered:
        raise UserError(
            f"is a {file.method}, so no learned sampler can choose the tokens; expected a checkpoint that was "
            "pre-trained with --mask_type learnable, or another --token_selection than adaptive"
        )
    ignored = dict(file.left_out)
    ignored |= _take_out(
        wanted, offered, [(names, "a classifier has no sampler") for names in (_CHOOSER, _OTHER_SAMPLER)]
    )
    if "head.weight" not in wanted:
        ignored |= _take_out(wanted, offered, ((_HEAD, "the model has no head"),))
    elif "head.weight" in offered and offered["head.weight"].shape[0] != wanted["head.weight"].shape[0]:
        reason = f"it is for {file.architecture.classes} classes, the model has {wanted['head.weight'].shape[0]}"
        ignored |= _take_out({}, offered, ((_HEAD, reason),))
    # A file with a head also has the norm that belongs to it.
    if "head.weight" not in offered:
        ignored |= _take_out(wanted, offered, _IGNORED)
    return offered, ignored


def _take_out(
    wanted: Container[str], offered: dict[str, Tensor], rules: Sequence[tuple[re.Pattern[str], str]]
) -> dict[str, str]:
    """Remove entries from ``offered`` that match a rule and are not in ``wanted``; return the reasons by name."""
    reasons = {}
    for name in [name for name in offered if name not in wanted]:
        reason = next((reason for pattern, reason in rules if pattern.fullmatch(name)), None)
        if reason:
            reasons[name] = reason
            del offered[name]
    return reasons


def _fit(
    model: Pretrainer | Classifier, wanted: Mapping[str, Tensor], offered: dict[str, Tensor], file: CheckpointFile
) -> list[str]:
    """Resize tensors in ``offered`` that were made for another clip shape; return their names."""
    grid = model.grid
    old, new = file.architecture.grid, (grid.t, grid.h, grid.w)
    spans: dict[str, tuple[Grid, Grid]] = {
        "encoder.pos_embed_probs": (old, new),
        "pos_embed_probs": (old, new),
        "pos_embed": (file.architecture.position_grid, model.encoder.position_grid),
        "pos_embed_spatial": ((1, *old[1:]), (1, *new[1:])),
        "pos_embed_temporal": ((old[0], 1, 1), (new[0], 1, 1)),
    }
    resized = []
    for name, tensor in [(name, tensor) for name, tensor in offered.items() if name in wanted]:
        fitted = tensor
        if name in spans:
            before, after = spans[name]
            # If the clip shape is guessed and the number of tokens matches, their order is unknown: load as is.
            known = tensor.shape[1] == math.prod(before) and not (
                file.architecture.guesses_clip and tensor.shape == wanted[name].shape
            )
            if known:
                fitted = resize_positions(tensor, before, after)
            elif tensor.shape[1] == math.prod(before) + 1:
                # MAE's table: the first row is the position of the class token.
                places = resize_positions(tensor[:, 1:], before, after)
                fitted = tensor if before == after else torch.cat((tensor[:, :1], places), dim=1)
        elif name.endswith("patch_embed.proj.weight"):
            fitted = fit_kernel(tensor, tuple(wanted[name].shape))
        elif name.endswith("posmlp.0.weight"):
            fitted = fit_offsets(tensor, wanted[name].shape[1])
        if fitted is not tensor:
            offered[name] = fitted
            resized.append(name)
    return resized


def _check_match(
    wanted: Mapping[str, Tensor], offered: Mapping[str, Tensor], missing: Sequence[str], complete: bool
) -> None:
    """Raise unless every tensor of the file is used and every parameter is loaded or may keep its initial value."""
    stray = [name for name in offered if name not in wanted]
    # A model with a learned sampler may start from a file without one.
    absent = (pattern for pattern in (_SAMPLER, _OTHER_SAMPLER) if not any(map(pattern.fullmatch, offered)))
    new = re.compile("|".join(pattern.pattern for pattern in (_MAY_BE_NEW, *absent)))
    lacking = [name for name in missing if complete or not new.fullmatch(name)]
    other = [name for name in wanted if name in offered and offered[name].shape != wanted[name].shape]
    shapes = [f"{name} {tuple(offered[name].shape)} for {tuple(wanted[name].shape)}" for name in other]
    complaints = (("not in the model", stray), ("not in the file", lacking), ("of another shape", shapes))
    parts = [f"{len(names)} {what}: {some_of(names)}" for what, names in complaints if names]
    if not parts:
        return
    hints = [hint for name, hint in _HINTS.items() if name in stray]
    # Early files of this project used the encoder's MLP ratio in the sampler, too.
    mlps = [(offered[name].shape, wanted[name].shape) for name in other if _SAMPLER_MLP.fullmatch(name)]
    ratios = [(theirs[0] / theirs[1], ours[0] / ours[1]) for theirs, ours in mlps[:1] if len(theirs) == 2 and theirs[1]]
    hints += [f"build the model with sampler_mlp_ratio={theirs:g}" for theirs, ours in ratios if theirs != ours]
    # With ``complete``, the model was built from the checkpoint.
    if shapes and not hints and not complete and "mask_token" in wanted:
        hints.append("adamae.checkpoints.networks.build_pretrainer builds the network of a checkpoint")
    raise UserError("; ".join([f"does not match the model: {'; '.join(parts)}", *hints]))

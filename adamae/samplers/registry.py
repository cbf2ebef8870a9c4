"""All samplers by name, and a sampler from a name and options."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from adamae.errors import UserError
from adamae.flags import flags_of
from adamae.samplers.builtin import ADAPTIVE, BUILT_IN
from adamae.samplers.declaration import Declaration

if TYPE_CHECKING:
    from adamae.grid import TokenGrid
    from adamae.samplers.sampler import Sampler

DEFAULT = ADAPTIVE.name
SAMPLERS: dict[str, Declaration] = {declaration.name: declaration for declaration in BUILT_IN}


def register(declaration: Declaration) -> None:
    """Make a sampler known: to ``--mask_type`` and ``--help``, to models, checkpoints, pictures and benchmarks.

    Raises:
        ValueError: If its name, or the name of one of its options, is another sampler's.
    """
    if declaration.name in SAMPLERS:
        raise ValueError(f"mask_type {declaration.name!r} is registered already")
    for other in SAMPLERS.values():
        if declaration.options and other.options and declaration.options is not other.options:
            names = {option.name for option in flags_of(declaration.options)}
            shared = names & {option.name for option in flags_of(other.options)}
            if shared:
                raise ValueError(f"mask_type {declaration.name!r}: {other.name!r} has an option {min(shared)} already")
    SAMPLERS[declaration.name] = declaration


def mask_types() -> tuple[str, ...]:
    """The names of all samplers."""
    return tuple(SAMPLERS)


def declared(mask_type: str) -> Declaration:
    """The sampler of a name.

    Raises:
        UserError: If there is none.
    """
    if mask_type not in SAMPLERS:
        raise UserError(f"mask_type = {mask_type!r}: expected one of {', '.join(SAMPLERS)}")
    return SAMPLERS[mask_type]


def declaration_of(sampler: Sampler) -> Declaration:
    """What a sampler was registered as; one that was not goes by the name of its class."""
    kind = type(sampler)
    known = (declaration for declaration in SAMPLERS.values() if declaration.sampler_class is kind)
    return next(known, Declaration(kind.__name__, kind, "not registered"))


def build_sampler(mask_type: str, mask_ratio: float | None, grid: TokenGrid, embed_dim: int, **options: Any) -> Sampler:
    """The sampler that launch scripts call ``mask_type``.

    Args:
        mask_type: A key of :data:`SAMPLERS`.
        mask_ratio: Share of tokens that are hidden; None: the sampler's usual one.
        grid: The clip's tokens.
        embed_dim: Width of the tokens.
        **options: Keywords of all samplers, see :meth:`~adamae.samplers.sampler.Sampler.keywords`; those of others are
            ignored.

    Raises:
        UserError: If the name or a keyword is unknown, or the ratio leaves nothing to see or nothing to predict on this
            grid.
    """
    kind = declared(mask_type).sampler_class
    known = {name for declaration in SAMPLERS.values() for name in declaration.sampler_class.keywords()}
    for name in options:
        if name not in known:
            raise UserError(
                f"{name}: not an option of this model, and no sampler has it; options of samplers are "
                f"{', '.join(sorted(known))}"
            )
    own = {name: options[name] for name in kind.keywords() if name in options}
    sampler = kind.build(kind.usual_ratio(**own) if mask_ratio is None else mask_ratio, grid, embed_dim, **own)
    sampler.num_visible(grid)
    return sampler

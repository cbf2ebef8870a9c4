"""Registry of samplers."""

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
    """Add a sampler to the registry, for ``--mask_type`` and ``--help``, models, checkpoints, figures and benchmarks.

    Raises:
        ValueError: If its name, or the name of one of its options, is already taken by another sampler, or a keyword
            of the class is an option of another sampler with another default.
    """
    if declaration.name in SAMPLERS:
        raise ValueError(f"mask_type {declaration.name!r} is registered already")
    for other in SAMPLERS.values():
        if declaration.options and other.options and declaration.options is not other.options:
            names = {option.name for option in flags_of(declaration.options)}
            shared = names & {option.name for option in flags_of(other.options)}
            if shared:
                raise ValueError(f"mask_type {declaration.name!r}: {other.name!r} has an option {min(shared)} already")
    if not isinstance(declaration.sampler, str):
        _check_defaults(declaration)
    SAMPLERS[declaration.name] = declaration


def _check_defaults(declaration: Declaration) -> None:
    """Raise a ValueError if a command would replace a keyword's default by that of another sampler's option.

    A command passes the options of all samplers. An option whose default is none is not passed unless it was given.
    """
    keywords = declaration.sampler_class.keywords()
    for other in SAMPLERS.values():
        if other.options is None or other.options is declaration.options:
            continue
        for option in flags_of(other.options):
            default = keywords.get(option.name, option.default)
            if option.default is not None and default != option.default:
                raise ValueError(
                    f"mask_type {declaration.name!r}: its keyword {option.name} = {default!r} is an option of "
                    f"{other.name!r}: expected that option's default, {option.default!r}, or another name"
                )


def mask_types() -> tuple[str, ...]:
    """Return the names of all samplers."""
    return tuple(SAMPLERS)


def declared(mask_type: str) -> Declaration:
    """Return the registry entry of a sampler.

    Raises:
        UserError: If the name is unknown.
    """
    if mask_type not in SAMPLERS:
        raise UserError(f"mask_type = {mask_type!r}: expected one of {', '.join(SAMPLERS)}")
    return SAMPLERS[mask_type]


def declaration_of(sampler: Sampler) -> Declaration:
    """Return the registry entry of a sampler; if it is not registered, a new one with the name of its class."""
    kind = type(sampler)
    known = (declaration for declaration in SAMPLERS.values() if declaration.sampler_class is kind)
    return next(known, Declaration(kind.__name__, kind, "not registered"))


def build_sampler(
    mask_type: str, mask_ratio: float | None, grid: TokenGrid, embed_dim: int, /, **options: Any
) -> Sampler:
    """Build a sampler by name.

    Args:
        mask_type: A key of :data:`SAMPLERS`.
        mask_ratio: Fraction of tokens to mask; None: the sampler's default.
        grid: The clip's token grid.
        embed_dim: Width of the tokens.
        **options: Keywords of all samplers, see :meth:`~adamae.samplers.sampler.Sampler.keywords`; those of other
            samplers are ignored.

    Raises:
        UserError: If the name or a keyword is unknown, or the ratio leaves no visible or no target token on this grid.
        ValueError: As :func:`register`, for a class that is registered as a string.
    """
    declaration = declared(mask_type)
    _check_defaults(declaration)
    kind = declaration.sampler_class
    known = {name for each in SAMPLERS.values() for name in each.sampler_class.keywords()}
    for name in options:
        if name not in known:
            raise UserError(
                f"{name}: not an option of this model, and no sampler has it; options of samplers are "
                f"{', '.join(sorted(known))}"
            )
    own = {name: options[name] for name in kind.keywords() if name in options}
    sampler = kind.build(kind.usual_ratio(**own) if mask_ratio is None else mask_ratio, grid, embed_dim, **own)
    sampler.check_fits(grid, embed_dim)
    return sampler

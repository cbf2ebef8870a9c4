"""Checks of arguments that Python code passes, where a command line checks its options."""

from __future__ import annotations

from numbers import Integral, Real

from adamae.errors import UserError


def check_choice(name: str, value: object, choices: tuple[str, ...]) -> None:
    """Raise a UserError unless ``value`` is one of ``choices``."""
    if value not in choices:
        raise UserError(f"{name} = {value!r}: expected one of {', '.join(choices)}")


def check_rate(name: str, value: object) -> None:
    """Raise a UserError unless ``value`` is a number at least 0 and below 1."""
    if not (isinstance(value, Real) and 0 <= float(value) < 1):
        raise UserError(f"{name} = {value}: expected a number at least 0 and below 1")


def check_fraction(name: str, value: object) -> None:
    """Raise a UserError unless ``value`` is a number above 0 and at most 1."""
    if not (isinstance(value, Real) and 0 < float(value) <= 1):
        raise UserError(f"{name} = {value}: expected a number above 0 and at most 1")


def check_count(name: str, value: object) -> None:
    """Raise a UserError unless ``value`` is an integer at least 1."""
    if not (isinstance(value, Integral) and int(value) >= 1):
        raise UserError(f"{name} = {value!r}: expected an integer at least 1")

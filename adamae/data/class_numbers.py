"""Checks that numeric labels mean the same classes in a list and in the owner of the class names."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

from adamae.data.class_names import CLASSES_FILE, class_names_beside
from adamae.data.shards.names import is_remote
from adamae.errors import UserError
from adamae.plain_text import some_of


def numbered(num_classes: int) -> tuple[str, ...]:
    """Return the numbers of the classes as names, for classes without names."""
    return tuple(str(number) for number in range(num_classes))


def check_same_classes(where: str | Path, names: Sequence[str], expected: Sequence[str], owner: str) -> None:
    """Check that numeric labels mean the same classes in a data set and in a network, or in training.

    Args:
        where: Origin of the data set's names, for the message.
        names: Names in the data set, class 0 first; numbers do not count as names.
        expected: Names in the network or in training, in the same form.
        owner: Origin of the expected names, for the message.

    Raises:
        UserError: If both have names and the name of a class differs, so that scores would be of the wrong classes.
    """
    if tuple(names) == numbered(len(names)) or tuple(expected) == numbered(len(expected)):
        return
    number = first_difference(names, expected)
    if number is not None:
        raise UserError(f"{where}: class {number} is {names[number]!r}, expected {expected[number]!r}, as in {owner}")


def compare_numbers(source: str | Path, names: Sequence[str], owner: str) -> list[str]:
    """Compare ``classes.txt`` beside a list with numeric labels with the classes of a network, or of training.

    Args:
        source: The list or folder.
        names: Names of the classes of the network or of training, or their numbers.
        owner: Origin of the names, for the message.

    Returns:
        A note if the number of classes in the file differs, else nothing.

    Raises:
        UserError: See :func:`check_same_classes`.
    """
    beside = None if is_remote(str(source)) else class_names_beside(source)
    if beside is None:
        return []
    class_file = (Path(source) if Path(source).is_dir() else Path(source).parent) / CLASSES_FILE
    check_same_classes(class_file, beside, names, owner)
    if len(beside) != len(names):
        return [f"{class_file}: {len(beside)} class names, {len(names)} in {owner}: labels are taken as its numbers"]
    return []


def names_and_numbers(
    source: str | Path, owner: str | Path, names: Sequence[str], *, names_in_training: bool
) -> UserError:
    """Return the error for class names in one list and numbers in the other, if no file orders the names.

    Args:
        source: The validation or test list.
        owner: The training list.
        names: The class names.
        names_in_training: Whether they are in the training list.
    """
    if names_in_training:
        return UserError(
            f"{source}: labels are numbers, those of {owner} are names ({some_of(names)}); "
            f"expected names in both, or a {CLASSES_FILE} beside the lists that numbers them"
        )
    return UserError(
        f"{source}: labels are names ({some_of(names)}), those of {owner} are numbers; expected numbers in both, or a "
        f"{CLASSES_FILE} beside the lists that names them"
    )


def first_difference(names: Sequence[str], others: Sequence[str]) -> int | None:
    """Position of the first name that differs, among the positions that both have."""
    pairs = enumerate(zip(names, others, strict=False))
    return next((number for number, (name, other) in pairs if name != other), None)

"""Conversion of option groups to a command line, and of a command line to option groups.

Parsing is done by argparse, after the spelling of the words is normalised: hyphens in an option's name become
underscores, and a switch gets its value. So ``--pin-mem``, ``--pin_mem True``, ``--no_pin_mem`` and
``--pin_mem=false`` are all supported. Presets are parsed in the same way before the command line.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from os import PathLike, fspath
from typing import Any, Generic, NoReturn, TypeVar, get_type_hints

from adamae.errors import UserError
from adamae.flags import BOOLEANS, SWITCH, Flag, OptionGroup, did_you_mean, flags_of
from adamae.options.help_layout import HelpLayout, example_text
from adamae.options.presets import Preset, find_preset, words_of
from adamae.options.published import Answer
from adamae.options.record import flatten

Options = TypeVar("Options")
Layered = Callable[[Mapping[str, Any], Mapping[str, Any], Collection[str]], tuple[Mapping[str, Any], list[str]]]
_NOTES = "notes"
# Names of the options that the command line gives itself: not from presets, and not set by flags of other programs.
_TYPED = "typed"


@dataclass(frozen=True)
class Parsed(Generic[Options]):
    """A parsed command line.

    Attributes:
        options: The groups of options.
        presets: The presets of ``--config``, in order.
        recipe: The options according to the presets alone; None without presets.
        notes: Notes for the user on options that are accepted and have no effect.
    """

    options: Options
    presets: tuple[Preset, ...] = ()
    recipe: Options | None = None
    notes: tuple[str, ...] = ()


class OptionParser(Generic[Options]):
    """Parser of one command.

    Args:
        options: A dataclass whose fields are option groups.
        prog: Command for the usage line.
        description: One sentence.
        examples: Complete command lines for the end of ``--help``.
        foreign: Flags of other programs' launch scripts and the answers to them.
        preset_folder: Folder below ``configs`` for ``--config NAME``; None if the command has no presets.
        layered: Called with the options by name according to the presets so far, those after a further preset or the
            command line, and the names that the latter gives itself. It returns options to change, and notes.
        check: Called with the options by name, and with those according to the presets alone (empty without any). It
            raises a UserError if they are inconsistent, and returns further notes.
    """

    def __init__(
        self,
        options: type[Options],
        *,
        prog: str,
        description: str,
        examples: Sequence[str] = (),
        foreign: Mapping[str, Answer] | None = None,
        preset_folder: str | None = None,
        layered: Layered | None = None,
        check: Callable[[Mapping[str, Any], Mapping[str, Any]], Sequence[str]] | None = None,
    ) -> None:
        self._options = options
        self._layered = layered
        self._check = check
        self._groups = groups_of(options)
        self._preset_folder = preset_folder
        self._parser = _Parser(
            prog=prog,
            description=description,
            epilog=example_text(examples),
            formatter_class=HelpLayout,
            allow_abbrev=False,
            add_help=False,
        )
        general = self._parser.add_argument_group("General")
        general.add_argument("-h", "--help", action="help", help="show this help and exit")
        if preset_folder is not None:
            general.add_argument(
                "--config",
                action="append",
                metavar="NAME",
                help=f"a recipe of configs/{preset_folder} or a YAML file; options on the command line override it",
            )
        for group in self._groups.values():
            section = self._parser.add_argument_group(*_title(group))
            for option in flags_of(group):
                _add(section, option)
        self._texts = {
            option.name
            for group in self._groups.values()
            for option in flags_of(group)
            if option.kind is str and not option.choices
        }
        for name, answer in (foreign or {}).items():
            self._parser.add_argument(
                f"--{name}", action=_Foreign, nargs=answer.nargs, answer=answer, dest=_NOTES, help=argparse.SUPPRESS
            )
        names = self._parser.option_names
        self._switches = {name for name, action in names.items() if action.metavar == SWITCH}
        self._known = {*names, *(f"--no_{name[2:]}" for name in self._switches)}

    @property
    def known(self) -> list[str]:
        """Names of all accepted options, without dashes."""
        return sorted(name[2:] for name in self._known if name.startswith("--"))

    def parse(self, words: Sequence[str]) -> Parsed[Options]:
        """Parse a command line.

        Raises:
            UserError: If an option is unknown, a value on the command line or in a preset is invalid, or options are
                inconsistent.
        """
        names, words = self._take_presets(words)
        presets: list[Preset] = []
        for name in names:
            folder = self._preset_folder or ""
            presets += find_preset(name, folder).expand(folder)
        state = argparse.Namespace()
        for preset in presets:
            with preset.blamed():
                _check_texts({key: each for key, each in preset.values.items() if key.replace("-", "_") in self._texts})
                self._read(preset.words(), state)
        recipe = self._collect(state) if presets else None
        self._read(words, state)
        options = self._collect(state)
        checked = self._check(flatten(options), flatten(recipe) if presets else {}) if self._check else ()
        return Parsed(options, tuple(presets), recipe, (*(getattr(state, _NOTES, None) or ()), *checked))

    def of(
        self, presets: Sequence[str], values: Mapping[str, Any], positionals: Sequence[str | PathLike[str]] = ()
    ) -> Options:
        """Build options from Python by name, with the same defaults, presets and checks as on the command line.

        Raises:
            UserError: If there is no such preset or option, or a value is invalid.
            TypeError: If a positional argument is neither a string nor a path.
        """
        return self.parse(
            [*(fspath(path) for path in positionals), *(f"--config={name}" for name in presets), *words_of(values)]
        ).options

    def _take_presets(self, words: Sequence[str]) -> tuple[list[str], Sequence[str]]:
        if self._preset_folder is None:
            return [], words
        finder = _Parser(prog=self._parser.prog, add_help=False, allow_abbrev=False)
        finder.add_argument("--config", action="append", default=[])
        found, others = finder.parse_known_args(list(words))
        return found.config, others

    def _read(self, words: Sequence[str], state: argparse.Namespace) -> None:
        before = dict(vars(state))
        setattr(state, _TYPED, set())
        _, strange = self._parser.parse_known_args(self._one_spelling(words), state)
        for word in strange:
            if word.startswith("--"):
                name = word.partition("=")[0]
                near = did_you_mean(name.lstrip("-").replace("-", "_"), self.known, prefix="--")
                raise UserError(f"unknown option {name}{near or f'; {self._parser.prog} --help lists them'}")
        if strange:
            raise UserError(f"unexpected argument {strange[0]!r}")
        if before and self._layered:
            changes, notes = self._layered(before, vars(state), getattr(state, _TYPED))
            vars(state).update(changes)
            setattr(state, _NOTES, [*(getattr(state, _NOTES, None) or ()), *notes])

    def _one_spelling(self, words: Sequence[str]) -> list[str]:
        spelled: list[str] = []
        for word in words:
            name, equals, value = word.partition("=")
            plain = "--" + name[2:].replace("-", "_")
            if word.startswith("--") and plain in self._known:
                word = plain + equals + value
            previous = spelled[-1] if spelled else ""
            if equals and self._negated(plain):
                raise _takes_no_value(plain, value)
            if self._negated(previous) and word.lower() in BOOLEANS:
                raise _takes_no_value(previous, word)
            if previous in self._switches and word.lower() in BOOLEANS:
                spelled[-1] = f"{previous}={word}"
            else:
                spelled.append(word)
        return [self._with_value(word) for word in spelled]

    def _with_value(self, word: str) -> str:
        """Append the value to ``--switch`` and ``--no_switch``."""
        if word in self._switches:
            return f"{word}=true"
        negated = self._negated(word)
        return f"{negated}=false" if negated else word

    def _negated(self, word: str) -> str | None:
        """Return ``--switch`` for ``--no_switch``; None for all other words."""
        positive = word.replace("--no_", "--", 1)
        return positive if positive != word and positive in self._switches else None

    def _collect(self, state: argparse.Namespace) -> Options:
        values = {
            field: group(**{option.name: getattr(state, option.name) for option in flags_of(group)})
            for field, group in self._groups.items()
        }
        return self._options(**values)


def _takes_no_value(name: str, value: str) -> UserError:
    positive = name.replace("--no_", "--", 1)
    return UserError(f"{name} takes no value, got {value!r}; use {positive}=true or {positive}=false")


def _check_texts(values: Mapping[str, Any]) -> None:
    """Check that YAML has not converted unquoted strings of a preset.

    Raises:
        UserError: If one of the values is not a string: ``no`` was read as False, ``1.10`` as 1.1, ``2024_11_27`` as
            20241127.
    """
    for name, value in values.items():
        for part in value if isinstance(value, list) else [value]:
            if part is not None and not isinstance(part, str):
                raise UserError(f"--{name}: YAML reads the value as {part}; expected a text, in quotes")


def groups_of(options: type) -> dict[str, type[OptionGroup]]:
    """Return the groups of a command's options by field name."""
    hints = get_type_hints(options)
    return {entry.name: hints[entry.name] for entry in fields(options)}


def _title(group: type[OptionGroup]) -> tuple[str, str]:
    sentence = (group.__doc__ or "").strip().splitlines()[0].rstrip(".")
    return group.heading(), sentence


def _add(section: argparse._ArgumentGroup, option: Flag) -> None:
    def convert(word: str) -> Any:
        try:
            return option.parse(word)
        except ValueError as error:
            raise argparse.ArgumentTypeError(str(error)) from None

    details: dict[str, Any] = {
        "type": convert,
        "metavar": SWITCH if option.kind is bool else option.metavar,
        "help": _help(option),
        "action": _One,
    }
    if option.count != 1:
        details |= {"nargs": option.count or "+", "action": _Several}
    if option.metadata["positional"]:
        section.add_argument(option.name, **details)
        return
    aliases = (name if name.startswith("-") else f"--{name}" for name in option.metadata["aliases"])
    needed = option.default is MISSING
    section.add_argument(
        f"--{option.name}", *aliases, dest=option.name, default=option.default, required=needed, **details
    )


def _help(option: Flag) -> str:
    text = option.metadata["text"].replace("%", "%%")
    if option.default is MISSING:
        return text
    return f"{text} (default: {' '.join(option.words(option.default))})"


class _Parser(argparse.ArgumentParser):
    """An argparse parser whose errors are a single line."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # argparse treats -1e-3 as an option.
        self._negative_number_matcher = re.compile(r"-(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$", re.IGNORECASE)

    @property
    def option_names(self) -> Mapping[str, argparse.Action]:
        return self._option_string_actions

    def error(self, message: str) -> NoReturn:
        raise UserError(message.removeprefix("argument "))


class _One(argparse.Action):
    """Action that stores a value, and notes that the option was given: its value may be the default."""

    def __call__(self, _: Any, namespace: argparse.Namespace, value: Any, option: str | None = None) -> None:
        setattr(namespace, self.dest, value)
        getattr(namespace, _TYPED).add(self.dest)


class _Several(_One):
    """Action that stores several words as a tuple, and ``none`` alone as None."""

    def __call__(self, parser: Any, namespace: argparse.Namespace, values: Any, option: str | None = None) -> None:
        if None in values and len(values) > 1:
            raise UserError(f"{option or self.dest}: got none among other values, expected none alone")
        super().__call__(parser, namespace, None if values == [None] else tuple(values), option)


class _Foreign(argparse.Action):
    """Action for a flag of another program: noted, translated, or refused with a replacement."""

    def __init__(self, *args: Any, answer: Answer, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._answer = answer

    def __call__(self, _: Any, namespace: argparse.Namespace, values: Any, option: str | None = None) -> None:
        if self._answer.refused:
            if self._answer.is_idle(values):
                return
            raise UserError(f"{option}: {self._answer.text}")
        # This program's own options take precedence; among several of these flags the last one counts.
        for name, value in self._answer.sets.items():
            if name not in getattr(namespace, _TYPED):
                setattr(namespace, name, value)
        if self._answer.text:
            note = f"{option}: {self._answer.text}"
            seen = getattr(namespace, self.dest, None) or []
            setattr(namespace, self.dest, seen if note in seen else [*seen, note])

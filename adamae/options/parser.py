"""From groups of options to a command line, and from a command line to groups of options.

The parser is argparse's. Before it sees the words they are brought into one spelling: hyphens in an option's name
become underscores, and a switch gets its value, so that ``--pin-mem``, ``--pin_mem True``, ``--no_pin_mem`` and
``--pin_mem=false`` all mean what they say. Presets are read by the same parser, before what was typed.
"""

from __future__ import annotations

import argparse
import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass, fields
from typing import Any, Generic, NoReturn, TypeVar, get_type_hints

from adamae.errors import UserError
from adamae.flags import BOOLEANS, SWITCH, Flag, OptionGroup, did_you_mean, flags_of
from adamae.options.help_layout import HelpLayout, example_text
from adamae.options.presets import Preset, find_preset, words_of
from adamae.options.published import Answer
from adamae.options.record import flatten

Options = TypeVar("Options")
_NOTES = "notes"
# Values that no word of the command line has given: of presets, and translated from flags of other programs.
_UNTYPED = "untyped"


@dataclass(frozen=True)
class Parsed(Generic[Options]):
    """What a command line meant.

    Attributes:
        options: The groups of options.
        presets: The presets that were asked for with ``--config``, in their order.
        recipe: The options that those presets alone would have given; None without any.
        notes: What the person should know about options that were accepted and do nothing.
    """

    options: Options
    presets: tuple[Preset, ...] = ()
    recipe: Options | None = None
    notes: tuple[str, ...] = ()


class OptionParser(Generic[Options]):
    """The command line of one command.

    Args:
        options: A dataclass whose fields are option groups.
        prog: What the person typed to get here, for the usage line.
        description: One sentence.
        examples: Whole command lines, for the end of ``--help``.
        foreign: Flags of other programs' launch scripts and what is answered to them.
        preset_folder: Where ``--config NAME`` looks, below ``configs``; None if the command has no presets.
        check: Given the options by name, and those that the presets alone give (none without any): raises a UserError
            if they do not go together, and returns further notes.
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
        check: Callable[[Mapping[str, Any], Mapping[str, Any]], Sequence[str]] | None = None,
    ) -> None:
        self._options = options
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
                help=f"a preset of configs/{preset_folder} or a YAML file; options on the command line override it",
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
        """Every option that is accepted, without its dashes."""
        return sorted(name[2:] for name in self._known if name.startswith("--"))

    def parse(self, words: Sequence[str]) -> Parsed[Options]:
        """Read a command line.

        Raises:
            UserError: If an option is unknown or a value is not one, typed or in a preset, or options do not go
                together.
        """
        names, words = self._take_presets(words)
        presets: list[Preset] = []
        for name in names:
            folder = self._preset_folder or ""
            presets += find_preset(name, folder).expand(folder)
        state = argparse.Namespace()
        for preset in presets:
            with preset.blamed():
                _check_texts({name: preset.values[name] for name in self._texts & preset.values.keys()})
                self._read(preset.words(), state)
        recipe = self._collect(state) if presets else None
        setattr(state, _UNTYPED, dict(vars(state)))
        self._read(words, state)
        options = self._collect(state)
        checked = self._check(flatten(options), flatten(recipe) if presets else {}) if self._check else ()
        return Parsed(options, tuple(presets), recipe, (*(getattr(state, _NOTES, None) or ()), *checked))

    def of(self, presets: Sequence[str], values: Mapping[str, Any], positionals: Sequence[str] = ()) -> Options:
        """Options by name from Python: the same defaults, presets and checks as on the command line.

        Raises:
            UserError: If there is no such preset or option, or a value is not one.
        """
        return self.parse([*positionals, *(f"--config={name}" for name in presets), *words_of(values)]).options

    def _take_presets(self, words: Sequence[str]) -> tuple[list[str], Sequence[str]]:
        if self._preset_folder is None:
            return [], words
        finder = _Parser(prog=self._parser.prog, add_help=False, allow_abbrev=False)
        finder.add_argument("--config", action="append", default=[])
        found, others = finder.parse_known_args(list(words))
        return found.config, others

    def _read(self, words: Sequence[str], state: argparse.Namespace) -> None:
        _, strange = self._parser.parse_known_args(self._one_spelling(words), state)
        for word in strange:
            if word.startswith("--"):
                name = word.partition("=")[0]
                near = did_you_mean(name.lstrip("-").replace("-", "_"), self.known, prefix="--")
                raise UserError(f"unknown option {name}{near or f'; {self._parser.prog} --help lists them'}")
        if strange:
            raise UserError(f"unexpected argument {strange[0]!r}")

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
        """``--switch`` and ``--no_switch`` with their value written out."""
        if word in self._switches:
            return f"{word}=true"
        negated = self._negated(word)
        return f"{negated}=false" if negated else word

    def _negated(self, word: str) -> str | None:
        """``--switch`` of ``--no_switch``; None for all other words."""
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
    """Refuse what YAML has made of a text that stood without quotes.

    Raises:
        UserError: If one of the values is no text: ``no`` was read as False, ``1.10`` as 1.1.
    """
    for name, value in values.items():
        for part in value if isinstance(value, list) else [value]:
            if isinstance(part, bool | float):
                raise UserError(f"--{name}: YAML reads the value as {part!r}; expected a text, in quotes")


def groups_of(options: type) -> dict[str, type[OptionGroup]]:
    """The groups of a command's options by field name."""
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
    """An argparse parser whose complaints are one line of the project."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # argparse takes -1e-3 for an option.
        self._negative_number_matcher = re.compile(r"-(\d+\.?\d*|\.\d+)(e[-+]?\d+)?$", re.IGNORECASE)

    @property
    def option_names(self) -> Mapping[str, argparse.Action]:
        return self._option_string_actions

    def error(self, message: str) -> NoReturn:
        raise UserError(message.removeprefix("argument "))


class _Several(argparse.Action):
    """Several words as a tuple."""

    def __call__(self, _: Any, namespace: argparse.Namespace, values: Any, __: str | None = None) -> None:
        setattr(namespace, self.dest, tuple(values))


class _Foreign(argparse.Action):
    """A flag of another program: noted, translated, or refused with what to use instead."""

    def __init__(self, *args: Any, answer: Answer, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._answer = answer

    def __call__(
        self, parser: argparse.ArgumentParser, namespace: argparse.Namespace, _: Any, option: str | None = None
    ) -> None:
        if self._answer.refused:
            raise UserError(f"{option}: {self._answer.text}")
        # What is typed in this program's own words counts more; of several of these flags the last one counts.
        untyped = getattr(namespace, _UNTYPED, {})
        for name, value in self._answer.sets.items():
            if getattr(namespace, name) == untyped.get(name, parser.get_default(name)):
                setattr(namespace, name, value)
                untyped = {**untyped, name: value}
        setattr(namespace, _UNTYPED, untyped)
        if self._answer.text:
            note = f"{option}: {self._answer.text}"
            seen = getattr(namespace, self.dest, None) or []
            setattr(namespace, self.dest, seen if note in seen else [*seen, note])

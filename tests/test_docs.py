"""The documents say what is so: their commands parse, their tables are the code's, their links lead somewhere."""

from __future__ import annotations

import importlib
import math
import re
import shlex
import subprocess
import sys
import tomllib
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from pathlib import Path

import pytest

from adamae.cli.main import COMMANDS, run_command
from adamae.options.parser import OptionParser
from scripts.option_tables import renew

ROOT = Path(__file__).resolve().parents[1]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").rglob("*.md"))]
SCRIPTS = sorted((ROOT / "scripts").rglob("*.sh")) + sorted((ROOT / "scripts").rglob("*.sbatch"))
# Programs of others that the documents may name.
OTHERS = {"source", "tensorboard", "cd", "git", "make"}


class UnderstoodError(Exception):
    """The parser has read the whole line."""


@pytest.fixture
def only_parse(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let commands read their options and do nothing."""
    parse = OptionParser.parse

    def stop(self: OptionParser[object], words: Sequence[str]) -> None:
        parse(self, words)
        raise UnderstoodError

    monkeypatch.setattr(OptionParser, "parse", stop)


@pytest.fixture
def neighbours(monkeypatch: pytest.MonkeyPatch) -> None:
    """Let the benchmarks' scripts import each other."""
    monkeypatch.syspath_prepend(str(ROOT / "scripts" / "benchmarks"))


def lines_of(document: Path) -> Iterator[str]:
    for block in re.findall(r"^```bash\n(.*?)^```", document.read_text(encoding="utf-8"), re.DOTALL | re.MULTILINE):
        yield from filter(None, block.replace("\\\n", " ").splitlines())


def words_after(words: list[str], *names: str) -> list[str]:
    """What follows the launcher's ``-m adamae`` or ``--module adamae``."""
    for place in range(len(words) - 1):
        if words[place] in names and words[place + 1] == "adamae":
            return words[place + 2 :]
    raise AssertionError(f"no {' or '.join(names)} adamae in {' '.join(words)}")


def plain_words(line: str) -> list[str]:
    """A command line without the variables that it sets."""
    return [word for word in shlex.split(line) if not re.match(r"[A-Z_]+=", word)]


def adamae_words(line: str) -> list[str] | None:
    """The words after ``adamae`` in a line, however it is launched; None for other programs and scripts."""
    program, *rest = plain_words(line)
    if program == "adamae":
        return rest
    if program in ("torchrun", "python"):
        return words_after(rest, "-m")
    if program == "deepspeed":
        return words_after(rest, "--module")
    if program in ("bash", "sbatch"):
        script = ROOT / rest[0]
        assert script.is_file(), f"{line}: no such script"
        return [script.stem, *launched(script, rest[1:])] if script.stem in COMMANDS else None
    assert program in OTHERS, f"{line}: a program that no test knows"
    return None


def launched(script: Path, words: list[str]) -> list[str]:
    """What a launch script gives to its command; of training, a recipe's name comes before the options."""
    if script.stem not in ("pretrain", "finetune"):
        return words
    door = re.search(r"/\.\./\w+\.sh\" (\w+) \"\$@\"", script.read_text())
    recipe, *options = [door[1], *words] if door else words
    return ["--config", recipe, *options]


def understand(line: str) -> None:
    """Let the command of a line read its options.

    Raises:
        UserError: If it does not understand them.
    """
    program, *rest = plain_words(line)
    if program == "python" and rest[0].endswith(".py"):
        assert (ROOT / rest[0]).is_file(), f"{line}: no such script"
        run: Callable[[], int] = partial(importlib.import_module(Path(rest[0]).stem).main, rest[1:])
    else:
        words = adamae_words(line)
        if words is None:
            return
        # A run's own record exists only after the run.
        options = ["quickstart" if word.endswith("/options.yaml") else word for word in words[1:]]
        run = partial(run_command, words[0], options)
    try:
        run()
    except UnderstoodError:
        pass
    except SystemExit as left:
        assert left.code == 0  # --help


@pytest.mark.parametrize(
    ("document", "line"),
    [pytest.param(path, line, id=f"{path.relative_to(ROOT)}: {line}") for path in DOCUMENTS for line in lines_of(path)],
)
def test_commands_in_documents_parse(document: Path, line: str, only_parse: None, neighbours: None) -> None:
    understand(line)


@pytest.mark.parametrize("script", SCRIPTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_commands_in_scripts_parse(script: Path, only_parse: None, neighbours: None) -> None:
    for line in script.read_text(encoding="utf-8").splitlines():
        if line.startswith("#   "):
            # An example of how to call the script.
            understand(re.split(r"  +", line[4:])[0])
        elif found := re.search(rf"^[^#]*\badamae\"? (?=({'|'.join(COMMANDS)})\b)", line):
            words = (
                line[found.end() :]
                .replace('--config "$@"', "--config quickstart")
                .replace('"$@"', "")
                .replace('"$recipe"', "quickstart")
            )
            words = re.sub(r"\$\w+", "runs/x", words)
            understand(f"adamae {words}")


def test_processes_can_share_the_batch_of_a_command(monkeypatch: pytest.MonkeyPatch, neighbours: None) -> None:
    parse = OptionParser.parse
    checked = []

    def stop(self: OptionParser[object], words: Sequence[str]) -> None:
        parse(self, words).options.for_processes(processes)  # type: ignore[attr-defined]
        checked.append(processes)
        raise UnderstoodError

    monkeypatch.setattr(OptionParser, "parse", stop)
    for document in DOCUMENTS:
        for line in lines_of(document):
            processes = math.prod(map(int, re.findall(r"--(?:nnodes|nproc_per_node|num_gpus|gpus|nodes) (\d+)", line)))
            if processes > 1 and re.search(r"adamae (pretrain|estimate)", line):
                understand(line)
    assert 32 in checked and len(checked) > 2


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_links_lead_to_files(document: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", document.read_text(encoding="utf-8")):
        if not target.startswith("http"):
            assert (document.parent / target).exists(), target


@pytest.mark.parametrize("document", DOCUMENTS, ids=lambda path: str(path.relative_to(ROOT)))
def test_option_tables_are_the_options(document: Path) -> None:
    text = document.read_text(encoding="utf-8")
    assert renew(text) == text, "make docs writes the tables anew"


def test_every_option_of_pretraining_is_in_its_guide() -> None:
    from adamae.options.pretrain import PretrainOptions
    from adamae.options.record import flatten

    text = (ROOT / "PRETRAIN.md").read_text(encoding="utf-8")
    assert [name for name in flatten(PretrainOptions()) if f"| `--{name}`" not in text] == []


def test_every_option_of_fine_tuning_is_in_its_guide() -> None:
    from adamae.options.finetune import FinetuneOptions
    from adamae.options.record import flatten

    text = "".join((ROOT / name).read_text(encoding="utf-8") for name in ("FINETUNE.md", "PRETRAIN.md"))
    assert [name for name in flatten(FinetuneOptions()) if f"| `--{name}`" not in text] == []


@pytest.mark.parametrize("command", ["pretrain", "finetune"])
def test_every_recipe_is_in_its_guide(command: str) -> None:
    text = (ROOT / f"{command.upper()}.md").read_text(encoding="utf-8")
    assert [path.stem for path in (ROOT / "configs" / command).glob("*.yaml") if f"`{path.stem}`" not in text] == []


def test_the_readme_lists_every_command() -> None:
    text = (ROOT / "README.md").read_text(encoding="utf-8")
    rows = re.search(r"<!-- commands -->\n(.*?)<!-- end of commands -->", text, re.DOTALL)
    assert rows is not None
    wanted = ["| command | what it does |", "|---|---|"]
    wanted += [f"| `adamae {name}` | {purpose} |" for name, (_, purpose) in COMMANDS.items()]
    assert rows[1].splitlines() == wanted, "copy the rows into README.md"


def test_every_number_of_the_log_is_explained(tmp_path: Path) -> None:
    import torch

    from adamae.models import vit_pretrainer
    from adamae.training.objectives import pretrain_objective
    from adamae.training.run_logger import TIMING

    sizes = {"encoder_embed_dim": 16, "encoder_depth": 1, "encoder_num_heads": 2}
    sizes |= {"decoder_embed_dim": 16, "decoder_depth": 1, "decoder_num_heads": 2}
    model = vit_pretrainer(img_size=16, patch_size=8, num_frames=4, mask_ratio=0.5, **sizes)
    batch = {"clip": torch.zeros(1, 4, 16, 16, 3, dtype=torch.uint8), "motion_mask": torch.ones(1, 4, 16, 16).bool()}
    values = pretrain_objective(model, batch | {"seed": torch.zeros(1, dtype=torch.long)}, True)
    names = {*values, *TIMING, "grad_norm", "skipped", "loss_scale", "lr", "weight_decay", "kind", "step", "epoch"}
    text = (ROOT / "PRETRAIN.md").read_text(encoding="utf-8")
    table = re.search(r"<!-- log -->\n(.*?)<!-- end of log -->", text, re.DOTALL)
    assert table is not None
    explained = {name for row in table[1].splitlines()[2:] for name in re.findall(r"`(\w+)`", row.split("|")[1])}
    assert names <= explained


def test_one_oldest_python_is_named_everywhere() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())
    (oldest,) = re.findall(r"Python (3\.\d+) or newer", (ROOT / "README.md").read_text())
    assert project["project"]["requires-python"] == f">={oldest}"
    assert project["tool"]["mypy"]["python_version"] == oldest
    assert project["tool"]["ruff"]["target-version"] == f"py{oldest.replace('.', '')}"
    assert f"({oldest} to" in (ROOT / "scripts" / "test_oldest_torch.sh").read_text()


def test_import_adamae_gives_the_names_of_the_readme() -> None:
    """In a process of its own, because other tests have imported the subpackages already.

    Names of subpackages come first: ``adamae.create_model`` imports some of them.
    """
    names = set(re.findall(r"\badamae((?:\.[a-z_]+)+)\(", (ROOT / "README.md").read_text(encoding="utf-8")))
    assert {".create_model", ".models.register_with_timm"} <= names
    program = "; ".join(
        ["import adamae", *(f"adamae{name}" for name in sorted(names, key=lambda name: -name.count(".")))]
    )
    subprocess.run([sys.executable, "-c", program], check=True)


def test_an_unknown_name_is_an_attribute_error() -> None:
    import adamae

    for name in ("nothing", "__main__", "__wrapped__"):
        with pytest.raises(AttributeError, match=f"module 'adamae' has no attribute '{name}'"):
            getattr(adamae, name)

"""Untrusted files: nothing in them is executed, nothing is written outside the output, memory stays small."""

from __future__ import annotations

import io
import json
import os
import pickle
import random
import re
import struct
import tarfile
import zipfile
from collections.abc import Callable
from html.parser import HTMLParser
from pathlib import Path

import torch

from adamae.cli.main import main
from adamae.errors import UserError
from tests.checkpoints.networks import classifier, pretrainer
from tests.checkpoints.test_damage import FILES, damage
from tests.evaluation.tiny import write_pretrainer
from tests.faults.data import absurd_size
from tests.faults.processes import Process, expect
from tests.faults.runs import pretrain_words, videos
from tests.faults.trial import MEMORY_LIMIT_BYTES, LostError, Trial

PROMISE = "Hostile checkpoints, lists, YAML, shards, videos, file names: nothing executed, nothing outside, below 2 GB"
MUTATED = 200
HOSTILE = 50
Body = Callable[[Path, random.Random], None]


class Payload:
    """Object whose pickle calls a function when it is loaded."""

    def __init__(self, function: Callable[..., object], *arguments: object) -> None:
        self._call = (function, arguments)

    def __reduce__(self) -> tuple[Callable[..., object], tuple[object, ...]]:
        return self._call


def trials(seed: int, scale: float, shared: Path) -> list[Trial]:
    """Return trials of mutated checkpoints, and of hostile checkpoints, lists, recipes, shards, videos and names."""
    data = videos(shared)
    network = shared / "network.safetensors"
    if not network.exists():
        expect([Process(lambda: int(write_pretrainer(network) is None), shared, "network").wait()])
    kinds: dict[str, Body] = {
        "pickle": lambda folder, dice: _pickle(folder, dice, data),
        "safetensors header": _header,
        "zip": _zip,
        "list": lambda folder, dice: _list(folder, dice, data),
        "YAML": lambda folder, dice: _yaml(folder, dice, data),
        "shard": lambda folder, dice: _shard(folder, dice, data),
        "lying video": lambda folder, dice: _video(folder, dice, data),
        "file name": lambda folder, dice: _name(folder, dice, data, network),
    }
    made = [
        _trial(f"{kind} {number}", f"{seed} {kind} {number}", body)
        for number in range(max(1, round(HOSTILE * scale)))
        for kind, body in kinds.items()
    ]
    return made + [
        _trial(f"mutated checkpoint {number}", f"{seed} {number}", _mutated)
        for number in range(max(4, round(MUTATED * scale)))
    ]


def _trial(name: str, seed: str, body: Body) -> Trial:
    def guarded(folder: Path) -> None:
        place = folder / "place"
        place.mkdir()
        os.chdir(place)
        body(place, random.Random(seed))
        outside = [path.name for path in folder.iterdir() if path != place]
        outside += ["/tmp/adamae-canary"] if Path("/tmp/adamae-canary").exists() else []
        if outside or any(place.rglob("canary*")):
            raise LostError(f"something was executed or written outside: {outside or 'canary'}")
        peak = peak_bytes()
        if peak > MEMORY_LIMIT_BYTES:
            raise LostError(f"took {peak / 2**30:.1f} GiB of memory")

    return Trial(name, guarded, seconds=90)


def peak_bytes() -> int:
    """Return the peak resident memory of this process since it was forked."""
    (line,) = (line for line in Path("/proc/self/status").read_text().splitlines() if line.startswith("VmHWM"))
    return int(line.split()[1]) * 1024


def refused(command: list[str | Path], folder: Path, allowed: tuple[int, ...] = (0, 2)) -> None:
    """Raise LostError unless a command ends with 0, or with 2 and one line of error."""
    ended = Process(lambda: _with_peak([str(word) for word in command]), folder.parent / "place", "c").wait(60)
    if ended.code == 99:
        raise LostError(f"took more than {MEMORY_LIMIT_BYTES / 2**30:g} GiB of memory")
    errors = [line for line in ended.told.splitlines() if line.startswith("adamae: error: ")]
    if ended.code not in allowed or "Traceback" in ended.told or len(errors) != (ended.code == 2):
        raise LostError(f"ended with {ended.code}: {ended.told[-1500:]}")


def _with_peak(words: list[str]) -> int:
    code = main(words)
    return 99 if peak_bytes() > MEMORY_LIMIT_BYTES else code


def _mutated(folder: Path, dice: random.Random) -> None:
    from adamae.checkpoints.loading import load_weights

    name = dice.choice(sorted(FILES))
    damage(name, folder, dice)
    model = {"pretrain": pretrainer, "classifier": classifier}[FILES[name][0]](seed=1)
    try:
        load_weights(model, folder / name, complete=True)
    except UserError as error:
        if "\n" in str(error) or str(folder) not in str(error):
            raise LostError(f"not one line with the path: {error}") from None


def _pickle(folder: Path, dice: random.Random, data: Path) -> None:
    """System calls in pickles at the paths and in the formats of a checkpoint."""
    canary = folder / "canary"
    payload = dice.choice(
        [
            Payload(os.system, f"touch {canary}"),
            Payload(eval, f"open({str(canary)!r}, 'w')"),
            Payload(exec, f"import os; os.mkdir({str(canary)!r})"),
            Payload(os.mkdir, str(canary)),
            Payload(__import__, "this"),
            Payload(getattr, Payload(__import__, "os"), "system"),
            Payload(torch.load, str(canary)),
            Payload(Path.touch, canary),
        ]
    )
    state: dict[str, object] = dict(pretrainer().state_dict())
    place = dice.choice(["top", "weight", "args", "optimizer", "key"])
    whole = {
        "top": payload,
        "weight": {"model": {**state, next(iter(state)): payload}},
        "args": {"model": state, "args": payload},
        "optimizer": {"model": state, "optimizer": [payload]},
        "key": {"model": state, "epoch": payload},
    }[place]
    path = folder / dice.choice(["model.pth", "model.pt", "model.bin", "model.safetensors"])
    if dice.randrange(3) == 0:
        path.write_bytes(pickle.dumps(whole, protocol=dice.choice((0, 2, 4))))
    else:
        torch.save(whole, path, _use_new_zipfile_serialization=bool(dice.randrange(2)))
    command: list[str | Path] = ["inspect", path]
    if dice.randrange(2):
        command = ["extract", path, data / "train.csv", "-o", folder / "out.npz"]
    refused(command, folder)


def _header(folder: Path, dice: random.Random) -> None:
    """A header with a wrong length, offsets, shapes or types, or with very deep nesting."""
    entry: dict[str, object] = {"dtype": "F32", "shape": [2, 2], "data_offsets": [0, 16]}
    lie: dict[str, object] = dice.choice(
        [
            {"shape": [2**40, 2**20]},
            {"data_offsets": [0, 2**62]},
            {"data_offsets": [16, 0]},
            {"data_offsets": [-16, 0]},
            {"shape": [-1]},
            {"dtype": "X99"},
            {"shape": "[" * 9000},
            {},
        ]
    )
    header = json.dumps({"a": entry | lie, "__metadata__": {"adamae": "[" * dice.choice((1, 100_000))}}).encode()
    length = dice.choice((len(header), len(header), 2**63, 2**40, 0, len(header) * 2))
    (folder / "m.safetensors").write_bytes(struct.pack("<Q", length) + header + bytes(16))
    refused(["inspect", folder / "m.safetensors"], folder, allowed=(2,) if lie else (0, 2))


def _zip(folder: Path, dice: random.Random) -> None:
    """A checkpoint's archive with names outside it, a zip bomb, a repeated name, or wrong sizes."""
    path = folder / "m.pth"
    torch.save({"model": dict(pretrainer().state_dict())}, path)
    with zipfile.ZipFile(path) as read:
        members = {name: read.read(name) for name in read.namelist()}
    first = next(iter(members)).split("/")[0]
    data = dice.choice([name for name in members if "/data/" in name])
    kind = dice.choice(["names", "bomb", "twice", "sizes", "storage"])
    if kind == "bomb":
        members[data] = bytes(300 * 2**20)
    if kind == "storage":
        # The pattern matches the number of values of a storage, which is followed by the end of its tuple.
        pickled = members[f"{first}/data.pkl"]
        members[f"{first}/data.pkl"] = re.sub(rb"K.(?=tq)", b"\x8a\x05\0\0\0\0\x40", pickled, flags=re.DOTALL)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED if kind == "bomb" else zipfile.ZIP_STORED) as write:
        for name, content in members.items():
            write.writestr(name, content)
        if kind == "names":
            write.writestr("../../canary", b"x")
            write.writestr("/tmp/adamae-canary", b"x")
        if kind == "twice":
            write.writestr(f"{first}/data.pkl", pickle.dumps(Payload(os.mkdir, str(folder / "canary"))))
    if kind == "sizes":
        content = bytearray(path.read_bytes())
        # In the central directory: the compressed and the uncompressed size.
        place = content.rfind(b"PK\1\2") + 20
        content[place : place + 8] = dice.choice((b"\xff" * 8, b"\0\0\0\x7f" * 2, bytes(8)))
        path.write_bytes(content)
    refused(["inspect", path], folder)


def _list(folder: Path, dice: random.Random, data: Path) -> None:
    rows = (data / "train.csv").read_bytes().splitlines()
    hostile = dice.choice(
        [
            b"../../../../etc/passwd 0",
            b"/etc/passwd 0",
            b"/dev/zero 0",
            b"a\0b.mp4 0",
            b"x" * 2**20 + b".mp4 0",
            b"\xff\xfe\xfa.mp4 0",
            "".join(map(chr, range(0x2028, 0x2030))).encode() + b" 0",
            b'"unclosed.mp4 0',
            b"a.mp4 99999999999999999999",
            b"$(touch canary) 0",
            b"file:///etc/passwd 0",
            b"concat:a.mp4|b.mp4 0",
            b"pipe:touch canary | 0",
        ]
    )
    text = b"\n".join(b"%s/%s" % (os.fsencode(data), row) for row in rows) + b"\n" + hostile + b"\n"
    if dice.randrange(4) == 0:
        text = text.decode(errors="replace").encode(dice.choice(("utf-16", "utf-8-sig", "utf-32")))
    (folder / "train.csv").write_bytes(text)
    more = ("--epochs", "1", "--max_bad_fraction", "1")
    refused(pretrain_words(folder, folder / "run", *more), folder)


def _yaml(folder: Path, dice: random.Random, data: Path) -> None:
    hostile = dice.choice(
        [
            "!!python/object/apply:os.system ['touch canary']",
            "a: !!python/name:os.system",
            "epochs: !!python/object/new:os.mkdir [canary]",
            "&a [*a]",
            "".join(f"x{n + 1}: &x{n + 1} [{', '.join([f'*x{n}'] * 10) if n else '0'}]\n" for n in range(12)),
            "epochs: 2026-13-45",
            "epochs: !!timestamp x",
            "config: ../../../../etc/passwd",
            "output_dir: [1, 2]",
            "\0",
            "epochs: 1e400",
            "epochs: .nan",
            "? [a]\n: b",
            "epochs: 2026-11-26",
            "{" * 3000,
            "data_path: null\nepochs: 0x10",
        ]
    )
    (folder / "r.yaml").write_text(hostile + "\n")
    refused(pretrain_words(data, folder / "run", "--config", folder / "r.yaml", "--max_steps", "1"), folder)


def _shard(folder: Path, dice: random.Random, data: Path) -> None:
    """A shard with links, names outside the output, devices, or wrong sizes."""
    good = next(data.rglob("*.mp4")).read_bytes()
    with tarfile.open(folder / "0.tar", "w") as tar:
        for number in range(8):
            info = tarfile.TarInfo(f"{number}.mp4")
            info.size = len(good)
            tar.addfile(info, io.BytesIO(good))
        info = tarfile.TarInfo(dice.choice(["../canary.mp4", "/tmp/adamae-canary", "a/../../canary.mp4", "link.mp4"]))
        info.type = dice.choice([tarfile.SYMTYPE, tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.REGTYPE])
        info.linkname = dice.choice(["/etc/passwd", "../../canary", "0.mp4"])
        info.size = len(good) if info.type == tarfile.REGTYPE else 0
        tar.addfile(info, io.BytesIO(good))
    if dice.randrange(3) == 0:
        content = bytearray((folder / "0.tar").read_bytes())
        content[124:136] = dice.choice([b"77777777777\0", b"\x80" + b"\0" * 3 + b"\xff" * 8, b"-0000000001\0"])
        (folder / "0.tar").write_bytes(content)
    os.environ["ADAMAE_CACHE"] = str(folder / "cache")
    words = pretrain_words(folder, folder / "run", "--max_steps", "1", "--max_bad_fraction", "1")
    words[words.index("--data_path") + 1] = folder / "0.tar"
    refused(words, folder)


def _video(folder: Path, dice: random.Random, data: Path) -> None:
    """A header with 65,535 x 65,535 pixels, billions of frames, or frames of extreme duration."""
    good = next(data.rglob("*.mp4")).read_bytes()
    path = folder / "a.mp4"
    path.write_bytes(good)
    if dice.randrange(2):
        absurd_size(path, dice)
    content = bytearray(path.read_bytes())
    for name in dice.sample([b"stsz", b"stts", b"stco", b"stsc", b"mvhd", b"mdhd"], 2):
        place = content.find(name)
        if place >= 0:
            where = place + dice.choice((4, 8, 12, 16, 20))
            content[where : where + 4] = dice.choice((b"\xff\xff\xff\xff", b"\x7f\xff\xff\xff", b"\0\0\0\0"))
    path.write_bytes(content)
    (folder / "train.csv").write_text("a.mp4 0\n" + "".join(f"{good} 0\n" for good in sorted(data.rglob("*.mp4"))[:7]))
    more = ("--max_steps", "1", "--max_bad_fraction", "1", "--video_timeout", "20")
    refused(pretrain_words(folder, folder / "run", *more), folder)


def _name(folder: Path, dice: random.Random, data: Path, network: Path) -> None:
    """File names with HTML, quotes, newlines and bytes that are not UTF-8, in pages and JSON."""
    names = [b"<script>alert(1)</script>".replace(b"/", b""), b"\"'><img src=x onerror=alert(1)>", b"a\nb", b"\xff\xfe"]
    names += [b"--help", b"$(touch canary)", "\u202etxt".encode(), b"%s%n", b"]]>&amp;", b"</script "]
    name = dice.choice(names).replace(b"/", b"")
    path = Path(os.fsdecode(bytes(folder) + b"/" + name + b".mp4"))
    path.write_bytes(next(data.rglob("*.mp4")).read_bytes())
    words = ["visualize", network, path, "-o", folder / "out", "--html", "--sampling_rate", "1", "--device", "cpu"]
    refused(words, folder)
    pages = list((folder / "out").glob("*.html"))
    if not pages:
        raise LostError("no page was written")
    for page in pages:
        scripts = _Scripts()
        scripts.feed(page.read_text(encoding="utf-8"))
        if scripts.count != 2 or scripts.handlers:
            raise LostError(f"the page has {scripts.count} scripts and handlers {scripts.handlers}")
    refused(["scan", folder, "-o", folder / "scan", "--json", "--workers", "1"], folder)
    json.loads((folder / "out-c").read_text(errors="surrogateescape"))


class _Scripts(HTMLParser):
    """Counts a page's scripts and finds event handler attributes."""

    def __init__(self) -> None:
        super().__init__()
        self.count = 0
        self.handlers: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.count += tag == "script"
        self.handlers += [name for name, _ in attributes if name.startswith("on")]

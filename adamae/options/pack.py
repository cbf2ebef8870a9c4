"""The options of ``adamae pack``."""

from __future__ import annotations

import re
from dataclasses import MISSING, dataclass

from adamae.errors import UserError
from adamae.flags import MOST_WORKERS, OptionGroup, flag
from adamae.options.parser import OptionParser
from adamae.options.shared import data_root_flag

_SIZE = re.compile(r"(\d+(?:\.\d+)?)\s*([kmgt]?)(i?)b?", re.IGNORECASE)
_POWERS = {"": 0, "k": 1, "m": 2, "g": 3, "t": 4}


@dataclass(frozen=True)
class PackedOptions(OptionGroup):
    """The videos or images to pack, and the shards."""

    data_path: str = flag(
        MISSING,
        "list, folder of videos or images, or folder with train.csv, val.csv and test.csv, each packed into its own "
        "sub-folder",
        positional=True,
        metavar="LIST",
    )
    out: str = flag(
        MISSING, "output folder: new, empty, or started with the same options", aliases=("-o",), metavar="SHARDS"
    )
    data_root: str | None = data_root_flag()
    shard_size: str = flag(
        "1GB", "maximum size of a shard: bytes, or a number with a unit such as MB or GiB", metavar="SIZE"
    )
    videos_per_shard: int | None = flag(None, "videos or images per shard, instead of --shard_size", least=1)
    shuffle: bool = flag(True, "shuffle before packing, so that every shard contains all classes")
    seed: int = flag(0, "random seed of the shuffle", least=0)
    max_bad_fraction: float = flag(
        0.05, "stop when more than this fraction of the files is missing or empty", least=0, most=1
    )
    workers: int | None = flag(
        None,
        "number of writer threads, each writing one shard at a time; none: one per core",
        least=1,
        limit=MOST_WORKERS,
    )

    @property
    def shard_bytes(self) -> int:
        """``shard_size`` in bytes.

        Raises:
            UserError: If it is not a size.
        """
        matched = _SIZE.fullmatch(self.shard_size.strip())
        if matched is None or not float(matched[1]):
            raise UserError(f"--shard_size: got {self.shard_size!r}, expected a size such as 1GB, 500MB or 1073741824")
        unit = 1024 if matched[3] else 1000
        return int(float(matched[1]) * unit ** _POWERS[matched[2].lower()])


@dataclass(frozen=True)
class PackOptions:
    """Options of ``adamae pack``."""

    packed: PackedOptions


def pack_parser() -> OptionParser[PackOptions]:
    """The command line of ``adamae pack``."""
    return OptionParser(
        PackOptions,
        prog="adamae pack",
        description="Pack a list of videos or images into WebDataset shards, which every command accepts instead of a "
        "list.",
        examples=(
            "adamae pack train.csv -o shards",
            "adamae pack DIR -o shards --shard_size 500MB",
            "adamae pack train.csv -o shards --videos_per_shard 1000 --no_shuffle",
        ),
    )

"""Options of several groups, so that each has the same help text everywhere.

A function is called as the value of a field: ``device: str = device_flag()``.
"""

from __future__ import annotations

from typing import Any

from adamae.data.decoders import decoder_names
from adamae.flags import MOST_AT_ONCE, MOST_SECONDS, MOST_WORKERS, flag


def data_root_flag() -> Any:
    """Option ``data_root: str | None``."""
    return flag(
        None,
        "folder that relative paths of a list are resolved against; none: the folder of the list",
        metavar="DIR",
        changes_result=False,
    )


def decoder_flag() -> Any:
    """Option ``decoder: str``."""
    return flag("pyav", "decoding library; only pyav returns the right frames for unusual files", choices=decoder_names)


def num_workers_flag() -> Any:
    """Option ``num_workers: int | None``."""
    return flag(
        None,
        "loader workers per process; none: chosen by the number of cores",
        least=0,
        limit=MOST_WORKERS,
        changes_result=False,
    )


def video_timeout_flag(default: float = 60.0, then: str = "") -> Any:
    """Option ``video_timeout: float``; ``then`` continues "counts as unreadable"."""
    return flag(
        default,
        f"seconds after which a file counts as unreadable{then}; 0: no limit",
        least=0,
        limit=MOST_SECONDS,
        changes_result=False,
    )


def device_flag() -> Any:
    """Option ``device: str``."""
    return flag("auto", "cpu, cuda or auto; auto: cuda if available", metavar="DEVICE", changes_result=False)


def rendezvous_timeout_flag() -> Any:
    """Option ``rendezvous_timeout: float``."""
    return flag(
        120.0,
        "seconds to wait for the other processes at start-up",
        above=0,
        most=86400,
        metavar="SECONDS",
        changes_result=False,
    )


def precision_flag() -> Any:
    """Option ``precision: Literal["auto", "fp32", "bf16", "fp16"]``."""
    return flag("auto", "auto: bf16 if the GPU supports it, else fp16; fp32 on the CPU")


def model_key_flag() -> Any:
    """Option ``model_key: str | None``."""
    return flag(
        None,
        "key of the weights in the checkpoint, such as model_ema, alternatives separated by |; none: the usual keys",
        metavar="KEY",
    )


def num_sample_flag(default: int) -> Any:
    """Option ``num_sample: int``."""
    return flag(
        default,
        "clips per decoded file (repeated augmentation); a micro-batch has --batch_size times this many clips",
        least=1,
        limit=MOST_AT_ONCE,
    )


def test_num_segment_flag() -> Any:
    """Option ``test_num_segment: int | None``."""
    return flag(
        None,
        "evenly spaced clips per video; none: 5 with dense sampling, 2 with segment sampling, 1 of single frames",
        least=1,
        limit=MOST_AT_ONCE,
    )


def test_num_crop_flag(default: int = 3) -> Any:
    """Option ``test_num_crop: int``."""
    return flag(
        default, "square crops along the longer side of each clip; 1: the centre crop", least=1, limit=MOST_AT_ONCE
    )


def softmax_flag() -> Any:
    """Option ``softmax: bool | None`` of a test of a checkpoint."""
    return flag(
        None,
        "average probabilities over the views instead of logits, as the official code does; none: as the test of a "
        "run of adamae did, otherwise logits",
    )

"""Help texts speak of images where images are meant as well."""

from __future__ import annotations

import importlib
import pkgutil
import re
from collections.abc import Iterator

import pytest

import adamae.options
from adamae.flags import Flag, OptionGroup, flags_of

# Of several frames, or of what is done to videos alone.
OF_VIDEOS_ALONE = {
    *("frame_selection", "frame_sampling", "test_num_segment", "frames"),
    *("start", "seconds"),
    # adamae prepare
    *("short_side", "part", "retry"),
}


def flags() -> Iterator[Flag]:
    for module in pkgutil.iter_modules(adamae.options.__path__):
        for group in vars(importlib.import_module(f"adamae.options.{module.name}")).values():
            if isinstance(group, type) and issubclass(group, OptionGroup) and group is not OptionGroup:
                yield from flags_of(group)


@pytest.mark.parametrize(
    "option", {option.metadata["text"]: option for option in flags()}.values(), ids=lambda one: one.name
)
def test_videos_or_images(option: Flag) -> None:
    text = option.metadata["text"]
    if re.search(r"\bvideos?\b", text) and option.name not in OF_VIDEOS_ALONE:
        assert re.search(r"\bimages?\b", text), f"--{option.name}: {text}"

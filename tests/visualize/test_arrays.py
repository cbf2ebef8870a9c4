"""The arrays behind the pictures are those that the guide names."""

from __future__ import annotations

import io
import re
from pathlib import Path

import numpy as np
import pytest

from adamae.visualize.arrays import npz_bytes
from adamae.visualize.reconstruction import Variant, reconstruct
from tests.visualize.scenes import tiny_model, video_clips


def test_tokens_that_the_encoder_does_not_see_are_told() -> None:
    model, film = tiny_model(patch_size=4, mask_type="uniform", mask_ratio=None), video_clips()
    result = reconstruct(model, film, Variant("uniform", 0.75))
    with np.load(io.BytesIO(npz_bytes(film, [result])), allow_pickle=False) as arrays:
        assert arrays["secondary"].any()
        assert not (arrays["secondary"] & ~arrays["visible"]).any()


def documented(root: Path) -> dict[str, tuple[list[str], str]]:
    """Shape and type of each key in the guide's table."""
    text = (root / "PRETRAIN.md").read_text(encoding="utf-8")
    table = re.search(r"<!-- npz -->\n(.*?)<!-- end of npz -->", text, re.DOTALL)
    assert table is not None
    keys = {}
    for row in table[1].splitlines()[2:]:
        names, shape, kind = (cell.strip() for cell in row.strip("|").split("|")[:3])
        for name in re.findall(r"`(\w+)`", names):
            keys[name] = ([part for part in shape.split(", ") if part], kind)
    return keys


@pytest.mark.parametrize("moving", [True, False])
def test_the_guide_names_every_key_with_its_shape_and_type(moving: bool, root: Path) -> None:
    model, film = tiny_model(), video_clips(moving=moving)
    results = [reconstruct(model, film, Variant(*variant)) for variant in (("learnable", 0.5), ("frame", 0.7))]
    sizes = {"K": 2, "F": 10, "S": 16, "C": len(film.cut.frames), "T": 4, "N": 8}
    expected = documented(root)
    with np.load(io.BytesIO(npz_bytes(film, results)), allow_pickle=False) as arrays:
        assert set(arrays) == set(expected) - (set() if moving else {"moving"})
        for name, array in arrays.items():
            shape, kind = expected[name]
            assert array.shape == tuple(sizes.get(part) or int(part) for part in shape), name
            assert array.dtype.kind == "U" if kind == "str" else array.dtype == kind, name
        assert arrays["mask_ratio"].tolist() == [0.5, 0.7]
        # Of two tubelets one stays.
        assert arrays["masked"].tolist() == [0.5, 0.5]

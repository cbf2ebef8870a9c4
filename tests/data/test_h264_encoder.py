"""The same frames give the same file, whatever instructions the CPU has."""

from pathlib import Path

import numpy as np
import pytest

from adamae.data import h264_encoder
from adamae.data.h264_encoder import encode_h264, encoder_options
from adamae.data.preparation import transcoding
from adamae.data.preparation.transcoding import Encoding, transcode
from tests.data.conftest import MakeVideo

# Of x264's own assembly: what the CPU has, twice; none beyond AVX2; none at all.
ASSEMBLY = ("auto", "auto", "avx2", "0")


def limit_assembly(monkeypatch: pytest.MonkeyPatch, asm: str) -> None:
    def options(crf: int, preset: str, **parameters: int | str) -> dict[str, str]:
        return encoder_options(crf, preset, **parameters, asm=asm)

    for module in (h264_encoder, transcoding):
        monkeypatch.setattr(module, "encoder_options", options)


def test_synthesized_bytes_do_not_depend_on_the_cpu(monkeypatch: pytest.MonkeyPatch, rng: np.random.Generator) -> None:
    still = rng.integers(0, 256, (240, 320, 3), dtype=np.uint8)
    frames = np.stack([np.roll(still, number, axis=1) // 2 + 2 * number for number in range(40)])
    made = set()
    for asm in ASSEMBLY:
        limit_assembly(monkeypatch, asm)
        made.add(encode_h264(frames, fps=25, gop=40, crf=18))
    assert len(made) == 1


def test_prepared_bytes_do_not_depend_on_the_cpu(
    monkeypatch: pytest.MonkeyPatch, make_video: MakeVideo, tmp_path: Path
) -> None:
    source = make_video("source.mp4", 40, (240, 320))
    made = set()
    for asm in ASSEMBLY:
        limit_assembly(monkeypatch, asm)
        target = tmp_path / "made.mp4"
        transcode(str(source), str(target), str(tmp_path / "part.mp4"), Encoding(gop=40))
        made.add(target.read_bytes())
    assert len(made) == 1

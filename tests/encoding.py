"""Encoder options for the videos that tests write.

ADAMAE_TEST_ASM=avx2 limits the encoder's assembly, to run the tests as on a CPU without later instructions.
"""

from __future__ import annotations

import os
from collections.abc import Mapping

from adamae.data.h264_encoder import CODEC


def reproducible(codec: str, options: Mapping[str, str]) -> dict[str, str]:
    """Return options with which the same frames are encoded to the same file on every CPU."""
    if codec != CODEC:
        return dict(options)
    parameters = [options.get("x264-params"), "cpu-independent=1"]
    if "ADAMAE_TEST_ASM" in os.environ:
        parameters.append(f"asm={os.environ['ADAMAE_TEST_ASM']}")
    return {**options, "x264-params": ":".join(filter(None, parameters))}

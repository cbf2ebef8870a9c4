"""Colour maps of numbers, with one scale for everything that is compared."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from functools import cache

import numpy as np
from torch import Tensor

from adamae.visualize.panels import MASKED_GREY

# Perceptually uniform colour maps.
PROBABILITY_MAP = "viridis"
ERROR_MAP = "magma"
# Quantile at which a scale ends, so that a few extreme values do not darken the rest.
_COVERED = 0.995


@dataclass(frozen=True)
class Scale:
    """A colour map for numbers from 0 to ``high``.

    Attributes:
        what: Description of the numbers.
        high: Upper end of the scale.
        clipped: Whether some numbers are larger; they get the last colour, and the colour bar states it.
        colours: Name of a perceptually uniform matplotlib colour map.
    """

    what: str
    high: float
    clipped: bool
    colours: str

    @classmethod
    def over(cls, what: str, colours: str, values: Iterable[Tensor], least: float = 0.0) -> Scale:
        """Return one scale for everything that is compared.

        Args:
            what: Description of the numbers.
            colours: Name of the colour map.
            values: All numbers; NaN is ignored.
            least: Minimum upper end of the scale.
        """
        numbers = np.concatenate([value.flatten().numpy() for value in values])
        numbers = numbers[np.isfinite(numbers)]
        if not numbers.size:
            return cls(what, least or 1.0, False, colours)
        high = max(_rounded_up(float(np.quantile(numbers, _COVERED))), least)
        return cls(what, high, bool(numbers.max() > high), colours)

    def paint(self, values: np.ndarray) -> np.ndarray:
        """(...) numbers to (..., 3) uint8; NaN is grey."""
        places = np.clip(np.nan_to_num(values) / self.high, 0, 1) * 255
        painted = colour_table(self.colours)[np.round(places).astype(np.uint8)]
        painted[np.isnan(values)] = MASKED_GREY
        return painted

    @property
    def end(self) -> str:
        """The label of the upper end."""
        return f"{self.high:g}{' and more' if self.clipped else ''}"


@cache
def colour_table(name: str) -> np.ndarray:
    """Return the (256, 3) uint8 colours of a colour map."""
    import matplotlib

    table: np.ndarray = np.round(matplotlib.colormaps[name](np.arange(256))[:, :3] * 255).astype(np.uint8)
    return table


def _rounded_up(value: float) -> float:
    """Round up to two significant digits."""
    if value <= 0:
        return 1.0
    unit = 10.0 ** (np.floor(np.log10(value)) - 1)
    return float(round(np.ceil(value / unit - 1e-9) * unit, 12))

"""Generates short labelled videos, whose classes differ only in motion, and images of shapes."""

from adamae.data.synthetic.motion import MOTIONS
from adamae.data.synthetic.scene import BACKGROUNDS, SHAPES
from adamae.data.synthetic.writing import SyntheticReport, synthesize

__all__ = ["BACKGROUNDS", "MOTIONS", "SHAPES", "SyntheticReport", "synthesize"]

"""The pixel statistics that pre-trained networks expect, by colour and in the unit range."""

from __future__ import annotations

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

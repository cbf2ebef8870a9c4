"""ImageNet's pixel mean and std per colour, in the unit range, as pre-trained networks expect them."""

from __future__ import annotations

IMAGENET_MEAN = (0.485, 0.456, 0.406)
IMAGENET_STD = (0.229, 0.224, 0.225)

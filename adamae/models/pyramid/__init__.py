"""Pyramid encoders with uniform masks (UM-MAE, arXiv 2205.10063): Swin and PVT, on images and on video."""

"""Checkpoints: the store that training writes, and the file formats of other programs."""

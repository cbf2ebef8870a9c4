"""Checkpoints: the store that training writes, and the formats that others write."""

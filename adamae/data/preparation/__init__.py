"""Prepare a downloaded data set for training: list files and videos that can be read fast."""

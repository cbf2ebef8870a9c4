"""Checks before a run which videos of a list can be decoded and how many frames they have."""

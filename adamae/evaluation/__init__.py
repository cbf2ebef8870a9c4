"""Scores, features and probes of trained networks."""

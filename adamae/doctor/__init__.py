"""Check whether a machine is ready for training, and what to change on it."""

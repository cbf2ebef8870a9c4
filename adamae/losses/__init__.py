"""Pre-training losses, one per file."""

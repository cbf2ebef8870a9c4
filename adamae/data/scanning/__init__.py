"""Finding out, before a run does, which videos of a list can be decoded and how many frames they have."""

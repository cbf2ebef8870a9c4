"""The commands: one thin file each. What a command needs is imported when it runs, so ``--help`` answers at once."""

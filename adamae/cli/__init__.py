"""Command-line interface: one thin module per command, with imports at run time so that ``--help`` is fast."""

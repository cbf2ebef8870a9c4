"""The one exception that a person is meant to read, and the one that leaves work unfinished on request."""


class UserError(Exception):
    """Something the person at the keyboard can mend.

    The message is one line that names what was got and what was expected. The command line prints it
    and leaves with exit code 2; a traceback is kept for defects of our own.
    """


class PreemptedError(Exception):
    """A signal asked the run to exit, and all ranks have left what they were at, together."""

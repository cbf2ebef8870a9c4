"""The exceptions for errors that a user can fix and for preemption."""


class UserError(Exception):
    """An error that the user can fix.

    The message is one line with the value received and the value expected. The command line prints it and exits with
    code 2, without a traceback, which is reserved for bugs.
    """


class PreemptedError(Exception):
    """A signal asked the run to exit, and all ranks have stopped their work at the same point."""

"""The one exception that a person is meant to read."""


class UserError(Exception):
    """Something the person at the keyboard can mend.

    The message is one line that names what was got and what was expected. The command line prints it
    and leaves with exit code 2; a traceback is kept for defects of our own.
    """

"""Standard output: names that its encoding lacks, and an output that is closed or full."""

from __future__ import annotations

import codecs
import errno
import io
import os
import select
import sys

_ERRORS = "adamae-output"


def accept_all_names() -> None:
    """Let standard output take any name of a file: it need not be UTF-8, and the output's encoding may lack it.

    Bytes that are not UTF-8 come out as they came in. Characters that the encoding lacks are written as JSON does.
    """
    codecs.register_error(_ERRORS, _as_bytes)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors=_ERRORS)


def _as_bytes(error: UnicodeError) -> tuple[bytes, int]:
    if not isinstance(error, UnicodeEncodeError):
        raise error
    written = b""
    for character in error.object[error.start : error.end]:
        code = ord(character)
        if 0xDC80 <= code <= 0xDCFF:
            written += bytes([code - 0xDC00])
        else:
            units = character.encode("utf-16-be", "surrogatepass")
            written += b"".join(
                b"\\u%04x" % int.from_bytes(units[at : at + 2], "big") for at in range(0, len(units), 2)
            )
    return written, error.end


def flush_output() -> None:
    """Hand over what Python still holds.

    Raises:
        BrokenPipeError: If nobody reads it.
        OSError: If it cannot be written.
    """
    # None: closed before the program began, as `>&-` and some daemons do.
    if sys.stdout is not None:
        sys.stdout.flush()


def discard_output() -> None:
    """Drop what Python still holds, which would raise again at its exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def output_is_closed() -> bool:
    """Whether standard output is a pipe that nobody reads any more."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def is_full(error: OSError) -> bool:
    """Whether an output without a name, such as standard output, cannot take any more."""
    return error.filename is None and error.errno in (errno.ENOSPC, errno.EDQUOT)

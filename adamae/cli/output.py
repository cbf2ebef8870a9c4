"""Standard output: file names outside its encoding, and an output that is closed or full."""

from __future__ import annotations

import codecs
import errno
import io
import os
import select
import sys

_ERRORS = "adamae-output"


def accept_all_names() -> None:
    """Allow any file name on standard output, including invalid UTF-8 and characters outside the output's encoding.

    Bytes that are not valid UTF-8 are written unchanged. Characters outside the encoding are escaped as in JSON.
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
    """Flush standard output.

    Raises:
        BrokenPipeError: If its reader has exited.
        OSError: If it cannot be written.
    """
    # sys.stdout is None if it was closed before the start, as by `>&-` and some daemons.
    if sys.stdout is not None:
        sys.stdout.flush()


def discard_output() -> None:
    """Discard Python's buffered output, which would raise again at exit."""
    os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def output_is_closed() -> bool:
    """Return whether standard output is a pipe whose reader has exited."""
    poll = select.poll()
    poll.register(sys.stdout.fileno(), 0)
    return any(event & (select.POLLERR | select.POLLHUP) for _, event in poll.poll(0))


def is_full(error: OSError) -> bool:
    """Return whether an error means that an output without a name, such as standard output, is full."""
    return error.filename is None and error.errno in (errno.ENOSPC, errno.EDQUOT)

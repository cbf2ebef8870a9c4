"""A ``python`` for scripts that start it many times: each start is a fork of one process that has imported torch.

    with warm_interpreter(folder) as python:
        subprocess.run(["bash", "script.sh"], env={..., "PYTHON": str(python)})

It supports ``-c CODE``, ``-m adamae WORD...``, ``-m pytest WORD...`` and ``FILE WORD...``.
"""

from __future__ import annotations

import json
import os
import runpy
import socket
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

# Program that the script starts. It sends its arguments and streams to the server and receives the exit code.
_DOOR = """#!{python} -SE
import json, os, socket, sys
line = socket.socket(socket.AF_UNIX)
line.connect({address!r})
said = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
socket.send_fds(line, [len(said).to_bytes(4, "big") + said], [0, 1, 2])
sys.exit(int(line.recv(8) or b"1"))
"""


@contextmanager
def warm_interpreter(folder: Path) -> Iterator[Path]:
    """Yield the path of the program, whose server runs until the end of the context."""
    # The address of a Unix socket must be short.
    with tempfile.TemporaryDirectory() as short:
        address = f"{short}/s"
        door = folder / "python"
        door.write_text(_DOOR.format(python=sys.executable, address=address))
        door.chmod(0o755)
        server = subprocess.Popen([sys.executable, __file__, address], stdout=subprocess.PIPE)
        assert server.stdout is not None
        server.stdout.readline()
        try:
            yield door
        finally:
            server.kill()
            server.wait()
            server.stdout.close()


def _serve(address: str) -> None:
    import adamae.cli.main  # noqa: F401  (what a fork need not import again)
    from adamae.benchmark import step, timing  # noqa: F401

    # Half precision may be emulated, and a large matrix product then takes a minute.
    timing._MATRIX_SIDE = {False: 64, True: 64}
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(address)
    listener.listen()
    print("ready", flush=True)
    while True:
        line, _ = listener.accept()
        start, streams, *_ = socket.recv_fds(line, 4, 3)
        said = b""
        while len(said) < int.from_bytes(start, "big"):
            said += line.recv(1 << 16)
        child = os.fork()
        if not child:
            os._exit(_be(streams, *json.loads(said)))
        _, status = os.waitpid(child, 0)
        for stream in streams:
            os.close(stream)
        line.sendall(str(os.waitstatus_to_exitcode(status) & 255).encode())
        line.close()


def _be(streams: list[int], words: list[str], folder: str, environment: dict[str, str]) -> int:
    """Run the script's command in this fork; return the exit code."""
    for number, stream in enumerate(streams):
        os.dup2(stream, number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    try:
        _run(words)
        return 0
    except SystemExit as left:
        return left.code if isinstance(left.code, int) else int(left.code is not None)
    except BaseException:
        traceback.print_exc()
        return 1
    finally:
        sys.stdout.flush()
        sys.stderr.flush()


def _run(words: list[str]) -> None:
    if words[:2] == ["-m", "adamae"]:
        from adamae.cli.main import main

        sys.exit(main(words[2:]))
    if words[:2] == ["-m", "pytest"]:
        os.execv(sys.executable, [sys.executable, *words])
    if words[0] == "-c":
        sys.argv = ["-c", *words[2:]]
        exec(words[1], {"__name__": "__main__"})
    else:
        sys.argv = words
        sys.path.insert(0, str(Path(words[0]).parent))
        runpy.run_path(words[0], run_name="__main__")


if __name__ == "__main__":
    _serve(sys.argv[1])

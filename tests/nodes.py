"""Two or more machines on this one: network namespaces that see nothing but each other."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path

_NETWORK = "10.77.0"


def namespaces_permitted() -> bool:
    """Whether this process may make them."""
    command = ["unshare", "--net", "--uts", "--mount", "ip", "link", "add", "probe", "type", "veth"]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


@contextmanager
def two_nodes(folder: Path) -> Iterator[dict[str, list[str]]]:
    """``node1`` and ``node2``, connected and known to each other by name.

    Args:
        folder: Where their /etc/hosts is written.

    Yields:
        For each name the words that run a command there. They end with the context.
    """
    names = ("node1", "node2")
    hosts = folder / "hosts"
    addresses = {name: f"{_NETWORK}.{number}" for number, name in enumerate(names, start=1)}
    hosts.write_text("".join(f"{address} {name}\n" for name, address in addresses.items()) + "127.0.0.1 localhost\n")
    with ExitStack() as stack:
        enter: dict[str, list[str]] = {}
        for name in names:
            # cat ends when its input does: with this process, however that ends.
            command = ["unshare", "--net", "--uts", "--mount", "sh", "-c", "echo; exec cat"]
            holder = stack.enter_context(subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE))
            stack.callback(holder.kill)
            assert holder.stdout is not None
            holder.stdout.readline()
            enter[name] = ["nsenter", f"--target={holder.pid}", "--net", "--uts", "--mount", f"--wd={Path.cwd()}"]
        pids = [words[1].partition("=")[2] for words in enter.values()]
        _run("ip", "link", "add", "eth0", "netns", pids[0], "type", "veth", "peer", "name", "eth0", "netns", pids[1])
        for name, words in enter.items():
            _run(*words, "hostname", name)
            _run(*words, "mount", "--bind", str(hosts), "/etc/hosts")
            _run(*words, "ip", "address", "add", f"{addresses[name]}/24", "dev", "eth0")
            _run(*words, "ip", "link", "set", "eth0", "up")
            _run(*words, "ip", "link", "set", "lo", "up")
        yield enter


def _run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (words, done.stderr)

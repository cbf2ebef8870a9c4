"""Several emulated machines: network namespaces that are connected only to each other."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path

_NETWORK = "10.77.0"
# ssh [-o OPTION] HOST WORDS: a login shell does not inherit this environment and starts in the home folder.
_SSH = """#!/bin/sh
[ "$1" = -o ] && shift 2
host=$1
shift
case $host in
{cases}
*) echo "ssh: Could not resolve hostname $host" >&2; exit 255 ;;
esac
exec $enter env -i HOME="$HOME" PATH=/usr/local/bin:/usr/bin:/bin bash -c "cd; $*"
"""
# pdsh OPTIONS -w HOST,HOST WORDS: lines begin with their host's name, and -S returns the largest exit code.
_PDSH = """#!/bin/bash
set -o pipefail
while [ "$1" != -w ]; do shift; done
hosts=$2
shift 2
# It would find the processes of other tests too.
case $1 in pkill*) exit 1 ;; esac
number=0 largest=0 pids=()
for host in ${hosts//,/ }; do
    ssh "$host" "${*//%n/$number}" 2>&1 | sed -u "s/^/$host: /" &
    pids+=($!)
    number=$((number + 1))
done
for pid in "${pids[@]}"; do
    wait "$pid"
    code=$?
    [ $code -le $largest ] || largest=$code
done
exit $largest
"""


def namespaces_permitted() -> bool:
    """Return whether this process may create namespaces."""
    command = ["unshare", "--net", "--uts", "--mount", "ip", "link", "add", "probe", "type", "veth"]
    try:
        return subprocess.run(command, capture_output=True, check=False).returncode == 0
    except OSError:
        return False


@contextmanager
def two_nodes(folder: Path) -> Iterator[dict[str, list[str]]]:
    """Create ``node1`` and ``node2``, connected and known to each other by name.

    Args:
        folder: Folder in which their /etc/hosts is written.

    Yields:
        By node, the words that run a command on it. The nodes are removed at the end of the context.
    """
    names = ("node1", "node2")
    hosts = folder / "hosts"
    addresses = {name: f"{_NETWORK}.{number}" for number, name in enumerate(names, start=1)}
    hosts.write_text("".join(f"{address} {name}\n" for name, address in addresses.items()) + "127.0.0.1 localhost\n")
    with ExitStack() as stack:
        enter: dict[str, list[str]] = {}
        for name in names:
            # cat ends when its input is closed, which happens however this process ends.
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


def remote_shells(folder: Path, nodes: Mapping[str, Sequence[str]]) -> Path:
    """Write replacements of ``ssh`` and ``pdsh`` with which a launcher reaches the nodes.

    Returns:
        Folder of the two programs, for PATH.
    """
    bin_folder = folder / "bin"
    bin_folder.mkdir()
    cases = "\n".join(f"{name}) enter='{' '.join(words)}' ;;" for name, words in nodes.items())
    for name, text in {"ssh": _SSH.replace("{cases}", cases), "pdsh": _PDSH}.items():
        (bin_folder / name).write_text(text)
        (bin_folder / name).chmod(0o755)
    return bin_folder


def processes_on(enter: Sequence[str]) -> list[int]:
    """Return the process ids on a node, without the process that keeps it alive."""
    holder = int(enter[1].partition("=")[2])
    network = Path(f"/proc/{holder}/ns/net").readlink()
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        # The process has ended, or is a zombie.
        with suppress(OSError):
            if (process / "ns/net").readlink() == network:
                found.append(int(process.name))
    return sorted({*found} - {holder})


def _run(*words: str) -> None:
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, (words, done.stderr)

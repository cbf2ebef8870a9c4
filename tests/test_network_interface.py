"""Ranks on several machines find each other, also where a machine's own name leads to itself alone."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from pathlib import Path

import pytest

from adamae.network_interface import address_towards, choose_interface, interface_of
from tests.launching import ROOT, free_port
from tests.nodes import namespaces_permitted, two_nodes


class Store(dict[str, str]):
    """What ranks share, with one other rank's word in it already."""

    def set(self, key: str, value: str) -> None:
        self[key] = value

    def get(self, key: str) -> bytes:  # type: ignore[override]
        return self[key].encode()


def test_an_address_has_an_interface() -> None:
    assert interface_of("127.0.0.1") == "lo"
    assert interface_of("192.0.2.1") is None
    assert address_towards("127.0.0.2") == "127.0.0.1"
    assert address_towards("no such host.invalid") is None


def test_on_one_machine_nothing_is_chosen(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("GLOO_SOCKET_IFNAME", raising=False)
    monkeypatch.setattr("socket.gethostname", lambda: "localhost")
    store = Store({"adamae-address/1": "localhost "})
    choose_interface(store, 0, 2, "127.0.0.1")
    assert "GLOO_SOCKET_IFNAME" not in os.environ
    assert store["adamae-address/0"] == "localhost "


TALK = """
import json, os, socket
from adamae import distributed
world = distributed.start("cpu")
print(json.dumps(world.gather([socket.gethostname(), os.environ.get("GLOO_SOCKET_IFNAME")])))
world.close()
"""


@pytest.mark.slow
@pytest.mark.skipif(not namespaces_permitted(), reason="network namespaces are not permitted")
def test_machines_whose_own_names_lead_to_themselves(tmp_path: Path) -> None:
    port = str(free_port())
    with two_nodes(tmp_path) as nodes:
        # As Debian has it; the other machine is known by another way.
        (tmp_path / "hosts").write_text("127.0.1.1 node1 node2\n10.77.0.1 main\n127.0.0.1 localhost\n")
        processes = [
            subprocess.Popen(
                [*enter, sys.executable, "-c", TALK],
                env={
                    **{name: value for name, value in os.environ.items() if not name.startswith("GLOO_")},
                    **{"RANK": str(rank), "WORLD_SIZE": "2", "MASTER_PORT": port, "PYTHONPATH": str(ROOT)},
                    # On its own machine rank 0's name leads to itself.
                    "MASTER_ADDR": "main" if rank else "node1",
                },
                cwd=ROOT,
                stdout=subprocess.PIPE,
                stderr=subprocess.PIPE,
                text=True,
            )
            for rank, enter in enumerate(nodes.values())
        ]
        ended = [process.communicate() for process in processes]
    assert [process.returncode for process in processes] == [0, 0], ended
    assert json.loads(ended[0][0]) == json.loads(ended[1][0]) == [["node1", "eth0"], ["node2", "eth0"]]

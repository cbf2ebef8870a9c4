"""Chooses the network interface of gloo if the host name resolves to an address that other machines cannot reach.

gloo uses the address of the host name. On Debian and Ubuntu /etc/hosts often maps it to 127.0.1.1, which no other
machine can reach.
"""

from __future__ import annotations

import fcntl
import ipaddress
import os
import socket
import struct
from typing import Any

_VARIABLE = "GLOO_SOCKET_IFNAME"
# The ioctl for the address of an interface, from <linux/sockios.h>.
_SIOCGIFADDR = 0x8915
# Any port works, because nothing is sent.
_PORT = 9


def choose_interface(store: Any, rank: int, size: int, main_address: str) -> None:
    """Set the environment variable of gloo's interface if it is needed and not set. All ranks must call this.

    Args:
        store: The store of the rendezvous.
        rank: Rank of this process.
        size: Number of processes.
        main_address: Name or address of rank 0's machine, as seen from this machine.
    """
    own = _usable(_resolved(socket.gethostname()))
    address = own or _usable(address_towards(main_address))
    host = socket.gethostname()
    store.set(f"adamae-address/{rank}", f"{host} {address or ''}")
    if own or _VARIABLE in os.environ:
        return
    for other in range(size) if address is None else ():
        its_host, _, its_address = store.get(f"adamae-address/{other}").decode().partition(" ")
        if its_host != host and its_address:
            address = _usable(address_towards(its_address))
            break
    name = interface_of(address) if address else None
    if name:
        os.environ[_VARIABLE] = name


def address_towards(host: str) -> str | None:
    """Return the local address of the route to another host; None without a route."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        try:
            probe.connect((host, _PORT))
        except OSError:
            return None
        address: str = probe.getsockname()[0]
        return address


def interface_of(address: str) -> str | None:
    """Return the name of the interface with an address, such as eth0."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        for _, name in socket.if_nameindex():
            try:
                answer = fcntl.ioctl(probe.fileno(), _SIOCGIFADDR, struct.pack("256s", name.encode()[:15]))
            # The interface has no address.
            except OSError:
                continue
            if socket.inet_ntoa(answer[20:24]) == address:
                return name
    return None


def _resolved(host: str) -> str | None:
    try:
        return socket.gethostbyname(host)
    except OSError:
        return None


def _usable(address: str | None) -> str | None:
    """Return ``address`` if it belongs to this machine and is not a loopback address, else None."""
    if address is None or ipaddress.ip_address(address).is_loopback:
        return None
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM) as probe:
        try:
            probe.bind((address, 0))
        except OSError:
            return None
    return address

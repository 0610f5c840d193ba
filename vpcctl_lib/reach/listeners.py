"""The addresses of a namespace on which a program listens, from proc_pid_net(5)."""

from __future__ import annotations

import socket
import struct
from collections.abc import Iterable, Iterator
from ipaddress import IPv4Address, IPv6Address, ip_address

from vpcctl_lib.kernel import netns
from vpcctl_lib.kernel.proc import sockets
from vpcctl_lib.model.policies import Protocol
from vpcctl_lib.reach.packet import Flow

WAITING = {Protocol.TCP: "0A", Protocol.UDP: "07"}
"""TCP_LISTEN and TCP_CLOSE of net/tcp_states.h; the latter is a UDP socket's that is not connected."""

Address = IPv4Address | IPv6Address


def listeners(namespace: str, protocol: Protocol, port: int) -> tuple[Address, ...]:
    """The addresses on which that port is open; OSError where the namespace can't be read."""
    lines = netns.within(namespace, lambda: sockets(protocol.value))
    return tuple(dict.fromkeys(parsed(lines, WAITING[protocol], port)))


def answers_as(namespace: str, flow: Flow) -> bool:
    """Whether a UDP program there listens on the very address and port that an answer should come from."""
    try:
        return flow.source_port is not None \
            and flow.source in listeners(namespace, Protocol.UDP, flow.source_port.first)
    except OSError:
        return False


def parsed(lines: Iterable[str], state: str, port: int) -> Iterator[Address]:
    """The local addresses of the sockets in that state on that port."""
    for line in lines:
        _, local, _, held, *_ = line.split()
        address, _, number = local.partition(":")
        if held == state and int(number, 16) == port:
            yield _address(address)


def _address(text: str) -> Address:
    """Four bytes as a word in this machine's byte order."""
    words = (int(text[start:start + 8], 16) for start in range(0, len(text), 8))
    packed = b"".join(struct.pack("=I", word) for word in words)
    family = socket.AF_INET if len(packed) == 4 else socket.AF_INET6
    found = ip_address(socket.inet_ntop(family, packed))
    mapped = getattr(found, "ipv4_mapped", None)
    return mapped or found

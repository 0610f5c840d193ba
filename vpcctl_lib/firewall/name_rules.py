"""The iptables rules for the DNS of VPCs; pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address

from vpcctl_lib.model import addressing, naming
from vpcctl_lib.model.topology import Topology, Vpc

PORT = 53
PROTOCOLS = ("udp", "tcp")
TAG = f"{naming.MARK}dns"


def asking(resolvers: Sequence[IPv4Address]) -> Iterator[str]:
    """A machine's questions pass whatever its policy says: AWS's security groups don't see these either."""
    for address in resolvers:
        for protocol in PROTOCOLS:
            port = f"-p {protocol} -m {protocol} --dport {PORT}"
            yield f"-d {address}/32 {port} -m comment --comment {TAG} -j ACCEPT"


def from_peers(topology: Topology, vpc: Vpc, refuse: str) -> Iterator[str]:
    """Of a peer, only its server asks: its machines could ask for names that are not meant for them."""
    for peer in topology.peers_of(vpc.name) if vpc.dns else ():
        cable = naming.device("pcx-", peer.name)
        for protocol in PROTOCOLS:
            port = f"-p {protocol} -m {protocol} --dport {PORT}"
            if peer.dns:
                yield f"-s {addressing.gateway(peer.cidr)}/32 -i {cable} {port} -j ACCEPT"
            yield f"-i {cable} {port} {refuse}"


def for_addresses(vpc: Vpc) -> str:
    """A machine asks its router for its address before it has one (RFC 2131, section 4.1)."""
    bridge = naming.device("br-", vpc.name)
    return f"-s 0.0.0.0/32 -d 255.255.255.255/32 -i {bridge} -p udp -m udp --sport 68 --dport 67 -j ACCEPT"

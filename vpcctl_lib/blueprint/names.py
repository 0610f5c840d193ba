"""A VPC's DNS: the addresses where it answers, its files, its programs; pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from ipaddress import IPv4Address, IPv4Network
from typing import NamedTuple

from vpcctl_lib.model import addressing, names, naming, resolving
from vpcctl_lib.model.endpoints import Endpoint
from vpcctl_lib.model.names import FILES, INSTEAD, LEASE, Dhcp, Dns, Record, folder, leases_folder
from vpcctl_lib.model.routing import EVERYWHERE
from vpcctl_lib.model.topology import Subnet, Topology, Vpc
from vpcctl_lib.model.workloads import Restart, Upkeep
from vpcctl_lib.resources import Address, Folder, Hosts, Leases, Relay, Resolver, Resource, Settings
from vpcctl_lib.resources.hosts import BETWEEN
from vpcctl_lib.resources.relay import HERE, PORT

LOOPBACK = "lo"
TAG = "s-"
"""Before the names of subnets, among which there could be one of dnsmasq's own tags."""

MTU = 1500
ALWAYS = Upkeep(restart=Restart.ALWAYS)
CACHE = 10000
WAITING = 120
"""The most questions that wait for others' answers: the relay has a socket for each."""

DATAGRAM = 1232
"""The largest answer by UDP that no path splits (DNS Flag Day 2020)."""


class Peer(NamedTuple):
    """A peered VPC that has DNS."""

    domain: str
    networks: tuple[IPv4Network, ...]

    @property
    def server(self) -> IPv4Address:
        """Where its server is asked."""
        return addressing.gateway(self.networks[0])


def folders(topology: Topology) -> Iterator[Resource]:
    """Those that all VPCs with DNS share, and their own."""
    yield Folder(FILES)
    for vpc in (vpc for vpc in topology.vpcs if vpc.dns):
        yield Folder(folder(vpc.name))
        if vpc.dhcp:
            yield Folder(leases_folder(vpc.name))


def addresses(vpc: str, resolvers: Sequence[IPv4Address]) -> Iterator[Resource]:
    """Where it answers, besides the gateway's address; without capabilities, by the port for DNS."""
    yield Settings(vpc, (("net.ipv4.ip_unprivileged_port_start", "53"),), device=LOOPBACK)
    yield from (Address(vpc, LOOPBACK, addressing.interface(one, 32), routed=False)
               for one in resolvers)


def hosts(lines: Sequence[str], vpc: str, domain: str, records: Sequence[Record]) -> Iterator[Resource]:
    """The names of its machines, and records of a person's own. The lines are the machines."""
    yield Hosts(f"{folder(vpc)}/hosts", naming.owner(vpc), "\n".join(lines),
                tuple(names.lines(records, domain)))


def line(vpc: Vpc, _: Subnet, one: Endpoint) -> str:
    """A machine's lines."""
    domain = names.domain(vpc.name, vpc.dns or Dns())
    name = f"{names.of_machine(one.site.subnet, one.site.machine)}.{domain}"
    return BETWEEN.join(
        f"{address.ip} {name} {names.of_address(address.ip)}.{domain}" if isinstance(address.ip, IPv4Address)
        else f"{address.ip} {name}" for address in one.addresses)


def leases(lines: Sequence[str], vpc: str) -> Iterator[Resource]:
    """The addresses of its machines, for DHCP. The lines are the machines."""
    yield Leases(f"{leases_folder(vpc)}/hosts", naming.owner(vpc), "\n".join(lines), namespace=vpc,
                 mark=f"{vpc}/dns")


def lease(_: Vpc, subnet: Subnet, one: Endpoint) -> str:
    """What a machine gets: it is known by its MAC."""
    name = one.site.machine or one.site.subnet
    return f"{one.mac},set:{TAG}{subnet.name},{one.address},{name}"


def resolv_conf(vpc: Vpc, subnet: Subnet, outside: Sequence[IPv4Address]) -> str:
    """What a subnet's machines ask (resolv.conf(5)); a comment has what they would ask without DNS."""
    told = f"# {INSTEAD} {' '.join(map(str, outside))}\n" if outside else ""
    return f"{told}nameserver {names.RESOLVER}\nsearch {' '.join(resolving.search(vpc, subnet))}\n"


def programs(vpc: Vpc, listening: Sequence[IPv4Address], peers: Sequence[Peer]) -> Iterator[Resource]:
    """Its server, and the relay by which it asks others."""
    if vpc.dns is None:
        return
    mark = f"{vpc.name}/relay"
    yield Relay(vpc.name, mark, f"logs/{mark}.log", number=vpc.link, upkeep=ALWAYS,
                servers=tuple(map(str, vpc.dns.forward)))
    mark = f"{vpc.name}/dns"
    yield Resolver(vpc.name, mark, f"logs/{mark}.log", tuple(_command(vpc, vpc.dns, listening, peers)),
                   number=vpc.link, upkeep=ALWAYS, folder=folder(vpc.name),
                   leases=leases_folder(vpc.name) if vpc.dhcp else "")


def peers(topology: Topology, vpc: Vpc) -> tuple[Peer, ...]:
    """The peers whose servers it asks for their names."""
    return tuple(Peer(resolving.domain(one), one.networks) for one in resolving.asked(topology, vpc))


STAY = ("--user=root", "--group=")
"""It keeps the user that it was started as. In a sandbox without root, that is root: no other user is mapped,
and the default group can't be had there."""


def _command(vpc: Vpc, dns: Dns, listening: Sequence[IPv4Address], peers: Sequence[Peer]) -> Iterator[str]:
    """dnsmasq(8): nobody else is asked for its own names; peers are for theirs, and others for the rest."""
    domain = names.domain(vpc.name, dns)
    yield from ("dnsmasq", "--keep-in-foreground", "--conf-file=/dev/null", "--pid-file=",
                "--log-facility=-", "--no-resolv", "--no-hosts", f"--hostsdir={folder(vpc.name)}",
                "--bind-interfaces", f"--cache-size={CACHE}", f"--dns-forward-max={WAITING}",
                f"--edns-packet-max={DATAGRAM}", "--domain-needed", "--bogus-priv", *STAY)
    yield from (f"--listen-address={address}" for address in listening)
    yield f"--server={HERE}#{PORT}"
    yield from (f"--local=/{zone}/" for zone in (domain, *zones(vpc.networks)))
    for peer in peers:
        yield from (f"--server=/{zone}/{peer.server}" for zone in (peer.domain, *zones(peer.networks)))
    if vpc.dhcp:
        yield from _dhcp(vpc, vpc.dhcp, [network for peer in peers for network in peer.networks])
    yield from (f"--cname={one.name}.{domain},{one.cname}.{domain}" for one in dns.records if one.cname)


def _dhcp(vpc: Vpc, dhcp: Dhcp, beyond: Sequence[IPv4Network]) -> Iterator[str]:
    """Addresses for machines, and nothing for strangers. The router is in its network."""
    router = addressing.gateway(vpc.cidr)
    yield from (f"--dhcp-hostsfile={leases_folder(vpc.name)}/hosts", "--dhcp-ignore=tag:!known",
                "--dhcp-authoritative", "--no-ping", "--leasefile-ro", f"--no-dhcp-interface={naming.UPLINK}")
    for network in vpc.networks:
        yield f"--dhcp-range={network.network_address},static,{network.netmask},{dhcp.lease or LEASE}"
    for network in vpc.cidrs:
        yield f"--shared-network={naming.device('br-', vpc.name)},{network.network_address}"
    # A client that takes routes takes no other router (RFC 3442): each has its way without classes, too.
    routes = [f"{network},{router}" for network in (*vpc.cidrs, *beyond, EVERYWHERE)]
    options = {"option:router": router, "option:dns-server": names.RESOLVER, "option:mtu": MTU,
               "option:classless-static-route": ",".join(routes),
               **({"option:ntp-server": ",".join(map(str, dhcp.ntp))} if dhcp.ntp else {})}
    yield from (f"--dhcp-option={name},{value}" for name, value in options.items())
    for subnet in vpc.subnets:
        search = resolving.search(vpc, subnet)
        yield f"--dhcp-option=tag:{TAG}{subnet.name},option:domain-name,{search[0]}"
        yield f"--dhcp-option=tag:{TAG}{subnet.name},option:domain-search,{','.join(search)}"
        if not subnet.cidr.subnet_of(vpc.cidr):
            # There the router is no neighbour by the network: 0.0.0.0 says that it is on the link.
            near = f"{router}/32,0.0.0.0,{vpc.cidr},{router}"
            yield (f"--dhcp-option=tag:{TAG}{subnet.name},option:classless-static-route,"
                   f"{','.join((near, *routes))}")


def zones(networks: Sequence[IPv4Network]) -> list[str]:
    """The domains with the names of networks' addresses (RFC 1035, section 3.5)."""
    return [zone for network in networks for zone in _zones(network)]


def _zones(network: IPv4Network) -> Iterator[str]:
    octets = -(-network.prefixlen // 8)
    for one in network.subnets(new_prefix=8 * octets):
        yield f"{'.'.join(reversed(str(one.network_address).split('.')[:octets]))}.in-addr.arpa"

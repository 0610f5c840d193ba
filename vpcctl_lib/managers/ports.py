"""Whether a port of the host is free: neither a program nor a rule of somebody else's has it."""

from __future__ import annotations

import errno
import socket
from collections.abc import Iterator
from ipaddress import ip_network
from itertools import chain

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.firewall.families import ADDRESSES
from vpcctl_lib.kernel import proc, saves, variants
from vpcctl_lib.kernel.host import Host
from vpcctl_lib.kernel.reader import Kernel, dormant
from vpcctl_lib.kernel.run import Runner, has
from vpcctl_lib.model.addressing import Address, Family
from vpcctl_lib.model.naming import MARK
from vpcctl_lib.model.outside import Publish, Transport
from vpcctl_lib.model.policies import Ports, Protocol
from vpcctl_lib.model.publishing import LAST_PORT
from vpcctl_lib.model.topology import Variant
from vpcctl_lib.reach.chains import Table
from vpcctl_lib.reach.listeners import WAITING, parsed
from vpcctl_lib.reach.match import Place
from vpcctl_lib.reach.packet import Flow, Packet
from vpcctl_lib.reach.question import INTERNET
from vpcctl_lib.reach.tables import Chain, Tables, parse_save
from vpcctl_lib.uplink.leading import Knock, leading

SOCKETS = {Family.INET: socket.AF_INET, Family.INET6: socket.AF_INET6}
KINDS = {Transport.TCP: socket.SOCK_STREAM, Transport.UDP: socket.SOCK_DGRAM}
LEADING = frozenset({"DNAT", "REDIRECT"})
"""Targets that take a packet from the host's own programs."""

ANY_PORT = Ports(1024, 65535)


def check_free(runner: Runner, publish: Publish, family: Family = Family.INET) -> list[str]:
    """Refuse a port that a program of the host has, or that somebody else's rule already leads elsewhere.

    Returns warnings about rules that can't be read.
    """
    port = f"{publish.protocol.value} port {publish.port}"
    if not _can_bind(publish, family):
        held = sorted(set(_holders(publish, family)))
        at = f" at {', '.join(held)}" if held else ""
        raise VpcctlError(f"{port} is already in use on the host{at}",
                          "use another port, or name an address where it is free: --listen ADDRESS")
    notes: list[str] = []
    rule = next(chain(_rules_for(runner, publish, family), _of_nft(runner, publish, family, notes)), "")
    if rule:
        raise VpcctlError(f"a rule of the host already leads {port} elsewhere: {rule}", "use another port")
    return notes


def _can_bind(publish: Publish, family: Family) -> bool:
    """Whether the kernel would give a program that port, as Docker's proxy would ask for it."""
    with socket.socket(SOCKETS[family], KINDS[publish.protocol]) as one:
        if family is Family.INET6:
            # The port of IPv4 is asked for by itself.
            one.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if publish.protocol is Transport.TCP:
            # Connections that end do not count.
            one.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            one.bind((str(publish.listen or ADDRESSES[family](0)), publish.port))
        except PermissionError:
            return not any(_holders(publish, family))
        except OSError as error:
            if error.errno == errno.EADDRNOTAVAIL:
                raise VpcctlError(f"{publish.listen} is not an address of this host",
                                  "name one of its addresses (ip -br addr), or leave out --listen") from None
            return False
        return True


def _holders(publish: Publish, family: Family) -> Iterator[str]:
    """Where sockets of the host have the port; one at :: may have it in both families."""
    protocol = publish.protocol.value
    for found in parsed(proc.sockets(protocol), WAITING[Protocol(protocol)], publish.port):
        if found.version >= family.number and (found.is_unspecified or publish.listen in (None, found)):
            yield str(found)


def _rules_for(runner: Runner, publish: Publish, family: Family) -> Iterator[str]:
    """Others' rules that lead the port elsewhere, in either kind of iptables."""
    for variant in Variant:
        tables = parse_save(variants.rules(runner, variant, must=False, family=family))
        if "nat" in tables and variant is Variant.NFT and (family.nft, "nat") in dormant(""):
            continue
        chains = tables.get("nat", {})
        yield from (f"{name} {rule.words}" for name, held in chains.items() for rule in held.rules
                    if MARK not in rule.words and leads(rule.words, publish))
        if "PREROUTING" in chains:
            yield from _met(others(tables), publish, Host(runner), family)


def _of_nft(runner: Runner, publish: Publish, family: Family, notes: list[str]) -> Iterator[str]:
    """Others' rules of nft itself that do so."""
    if not has("nft"):
        return
    try:
        tables = Kernel(runner).ruleset()
    except VpcctlError as error:
        notes.append(f"whether a rule of nft leads {publish.protocol.value} port {publish.port} elsewhere is "
                     f"unknown: {error.message}")
        return
    for link in Host(runner).others:
        for address in link.of(family):
            if publish.listen in (None, address):
                yield from leading(tables, Knock(link.name, address, publish.protocol.value, publish.port))


def others(tables: Tables) -> Tables:
    """The chains of nat without our rules."""
    return {"nat": {name: Chain(name, held.policy, [one for one in held.rules if MARK not in one.words])
                    for name, held in tables["nat"].items()}}


def _met(tables: Tables, publish: Publish, host: Host, family: Family) -> Iterator[str]:
    """The rule that a packet from outside for the port would meet, whatever the rule says of ports."""
    links = host.others
    local = {address for link in links for address in link.of(family)}
    for link in links:
        for address in link.of(family):
            if publish.listen in (None, address):
                yield from led(tables, publish, address, Place(
                    link.name, address_type=lambda one: "LOCAL" if one in local else "UNICAST"))


def led(tables: Tables, publish: Publish, address: Address, place: Place) -> Iterator[str]:
    """The rule that sends a packet for that port of an address elsewhere, if that is sure."""
    family = Family.INET if address.version == 4 else Family.INET6
    flow = Flow(INTERNET[family], address, ANY_PORT, Ports(publish.port, publish.port))
    protocol = Protocol(publish.protocol.value)
    flags = frozenset({"SYN"}) if protocol is Protocol.TCP else frozenset[str]()
    outcome = Table(tables["nat"], place).decide("PREROUTING", Packet(protocol, flow, flags))
    if outcome.rule is not None and outcome.target in LEADING:
        yield f"{outcome.rule.chain} {outcome.rule.words}"


def leads(rule: str, publish: Publish) -> bool:
    """Whether a rule is for packets to that port, and sends them elsewhere."""
    options = {option[0]: option[1] for option in saves.words(rule) if len(option) > 1}
    asked = options.get("--dport") or options.get("--dports")
    return options.get("-j") in LEADING and options.get("-p") == publish.protocol.value and bool(asked) \
        and any(_spans(part, publish.port) for part in (asked or "").split(",")) \
        and (publish.listen is None or "-d" not in options or _holds(options["-d"], publish.listen))


def _spans(text: str, port: int) -> bool:
    first, colon, last = text.partition(":")
    return int(first or 0) <= port <= int((last or LAST_PORT) if colon else first)


def _holds(text: str, address: Address) -> bool:
    try:
        return address in ip_network(text, strict=False)
    except ValueError:
        return True

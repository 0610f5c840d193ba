"""Steps for connections that are older than the rules that depend on them."""

from __future__ import annotations

import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import suppress
from ipaddress import IPv4Address, IPv4Network, IPv6Address, IPv6Network, ip_address, ip_network
from typing import TYPE_CHECKING

from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel import netns
from vpcctl_lib.kernel.proc import sockets
from vpcctl_lib.kernel.run import Command
from vpcctl_lib.model.addressing import Address, Family
from vpcctl_lib.resources.operation import NO_FACTS, Desk, Facts, Operation

if TYPE_CHECKING:
    from vpcctl_lib.kernel.conntrack import Ends, Known

TCP, UDP = 6, 17
"""IPPROTO_TCP and IPPROTO_UDP (linux/in.h)."""

OPEN = frozenset({1, 4, 5, 8, 9})
"""States of a socket whose connection still carries data: ESTABLISHED, and those that are closed on one side
(include/net/tcp_states.h)."""

TABLES = (("tcp", TCP, OPEN), ("udp", UDP, frozenset({1})))


class Tending(Operation, ABC):
    """Work on a namespace's table of connections."""

    namespace: str

    @property
    @abstractmethod
    def shortfall(self) -> str:
        """The possible effect if the table is unavailable."""

    def places(self, ends: frozenset[str]) -> frozenset[str] | None:
        """Its namespace, and where its resource has its ends."""
        return ends | {self.namespace}

    def carry_out(self, desk: Desk) -> Facts:
        """If the table is unavailable, everything else is done, and a note gives the possible effect."""
        desk.runner.announce(self)
        try:
            self.do()
        except OSError as error:
            desk.notes.append(f"{self.shortfall}: {error.strerror}")
        return NO_FACTS

    @abstractmethod
    def do(self) -> None:
        """Do it; OSError if the kernel has no such table."""


@frozen
class Forget(Tending):
    """Delete the entries of connections that leave untranslated because they began without NAT.

    A connection is translated at its first packet or never: only a new entry gets NAT. Connections to
    `near` are not translated, and stay. With `whole` all others go: they are no longer allowed.
    """

    namespace: str
    sources: tuple[str, ...]
    near: tuple[str, ...] = ()
    whole: bool = False

    @property
    def shortfall(self) -> str:
        """The possible effect if the table is unavailable."""
        return "connections to the internet may go on until they end" if self.whole \
            else "connections that began without NAT may go on without it"

    def do(self) -> None:
        """Those from the sources, and no others; OSError where the kernel has no such table."""
        # Imported late, here and below: few changes have to do with connections.
        from vpcctl_lib.kernel.conntrack import Table

        sources, near = map(_networks, (self.sources, self.near))

        def is_meant(entry: Known) -> bool:
            return (self.whole or not entry.translated) and any(entry.source in one for one in sources) \
                and not any(entry.destination in one for one in near)

        def forget() -> None:
            with Table() as table:
                table.forget(is_meant)

        _within(self.namespace, forget)

    def __str__(self) -> str:
        # Those to `near` are deleted, too: tracking recreates them with their next packet.
        looks = "".join(f"  {_forgotten(source, self.whole)}\n" for source in self.sources)
        script = f"if command -v conntrack; then\n{looks}  true\nfi >/dev/null 2>&1"
        return str(Command(("sh",), script, self.namespace)) if self.namespace else script


@frozen
class Disown(Tending):
    """Delete the entries of connections with these addresses: whoever gets one next starts without them."""

    namespaces: tuple[str, ...]
    addresses: tuple[str, ...]
    shortfall = "connections of what is deleted may go on for whoever gets its address"

    def places(self, ends: frozenset[str]) -> frozenset[str] | None:
        """Everywhere: those with the addresses must be gone."""
        return None

    def do(self) -> None:
        """From either end; OSError where the kernel has no such table."""
        from vpcctl_lib.kernel.conntrack import Table

        gone = frozenset(map(ip_address, self.addresses))

        def forget() -> None:
            with Table() as table:
                table.forget(lambda entry: entry.source in gone or entry.destination in gone)

        def everywhere() -> None:
            for namespace in self.namespaces:
                # One that is not there has nothing open.
                with suppress(netns.Gone):
                    netns.within(namespace, forget)

        netns.aside(everywhere)

    def __str__(self) -> str:
        looks = "".join(f"  ip netns exec $space conntrack -D {_family(one)}{end} {one} || :\n"
                        for one in self.addresses for end in ("-s", "-d"))
        loop = f"for space in {' '.join(self.namespaces)}; do\n{looks}done"
        return f"if command -v conntrack; then\n{loop}\nfi >/dev/null 2>&1"


@frozen
class Release(Tending):
    """Delete the entries of connections by these ports and addresses: from now on they lead elsewhere."""

    namespace: str
    ports: tuple[tuple[str, int], ...]
    addresses: tuple[str, ...] = ()
    family: Family = Family.INET
    """That of the ports."""

    shortfall = "connections from outside may go on to where they led before"

    def do(self) -> None:
        """Whoever they are from; OSError where the kernel has no such table."""
        from vpcctl_lib.kernel.conntrack import Table

        numbers = {"tcp": TCP, "udp": UDP}
        freed = {(numbers[protocol], port) for protocol, port in self.ports}
        ends = frozenset(map(ip_address, self.addresses))

        def forget() -> None:
            with Table() as table:
                table.forget(lambda entry: ((entry.protocol, entry.port) in freed
                                            and entry.destination.version == self.family.number)
                             or not ends.isdisjoint((entry.source, entry.destination, entry.seen_as)))

        _within(self.namespace, forget)

    def __str__(self) -> str:
        family = "-f ipv6 " if self.family is Family.INET6 else ""
        looks = [*(f"{family}-p {protocol} --orig-port-dst {port}" for protocol, port in self.ports),
                 *(f"{end} {one}" for one in self.addresses for end in ("-s", "-d", "-q"))]
        lines = "".join(f"  conntrack -D {one} || true\n" for one in looks)
        script = f"if command -v conntrack; then\n{lines}  true\nfi >/dev/null 2>&1"
        return str(Command(("sh",), script, self.namespace)) if self.namespace else script


def _family(source: str) -> str:
    return "-f ipv6 " if ":" in source else ""


def _forgotten(source: str, whole: bool) -> str:
    """A line of a script; without a family, conntrack(8) means IPv4."""
    is_sixth, family = ip_network(source).version == 6, _family(source)
    if whole:
        return f"conntrack -D {family}-s {source}"
    words = _UNTRANSLATED.replace("icmp", "icmpv6") if is_sixth else _UNTRANSLATED
    return (f"conntrack -L {family}-s {source} | sed -nE '{words}' |\n"
            f"    while read -r words; do conntrack -D {family}$words; done")


_ENDS = r"src=(\S+) dst=(\S+)"
_UNTRANSLATED = (rf"s/^(\S+) .* {_ENDS} sport=(\S+) dport=(\S+) .* dst=\2 .*/-p \1 -s \2 -d \3 "
                 r"--sport \4 --dport \5/p; "
                 rf"s/^(icmp) .* {_ENDS} type=(\S+) code=(\S+) id=(\S+) .* dst=\2 .*/-p \1 -s \2 -d \3 "
                 r"--icmp-type \4 --icmp-code \5 --icmp-id \6/p")
"""The part of a line of `conntrack -L` that deletes its entry, if answers go to the original source."""


@frozen
class Keep(Tending):
    """Enter a subnet's open connections into connection tracking before its rules depend on it.

    Before the first rule that needs it, the kernel tracks nothing in a namespace: the next answer would
    look like the first packet of a connection that is not allowed.
    """

    namespace: str
    fourth: bool = True
    """Whether there are only rules of IPv4, for what is shown."""

    shortfall = "connections that were open before the policy may stall"

    def do(self) -> None:
        """Those of all sockets that have another end; OSError where the kernel has no such table."""
        from vpcctl_lib.kernel.conntrack import Table

        def add() -> None:
            with Table() as table:
                table.add(list(connections()))

        _within(self.namespace, add)

    def __str__(self) -> str:
        return str(Command(("sh",), _KEEPING if self.fourth else _KEEPING_BOTH, self.namespace))


_KEEPING = """if command -v conntrack; then
  ss -Hnt state established state fin-wait-1 state fin-wait-2 state close-wait |
    awk '{ gsub(/\\[::ffff:|\\]/, ""); print $(NF-1), $NF }' | while read -r near far; do
      conntrack -I -p tcp -s ${near%:*} -d ${far%:*} --sport ${near##*:} --dport ${far##*:} \\
        --state ESTABLISHED -u SEEN_REPLY,ASSURED -t 432000
    done
  true
fi >/dev/null 2>&1
"""
_KEEPING_BOTH = _KEEPING.replace(r"|\]/", "|[][]/").replace(
    "      conntrack -I", "      case $near in *:*:*) family=ipv6 ;; *) family=ipv4 ;; esac\n"
    "      conntrack -I -f $family")


def connections() -> Iterator[Ends]:
    """The connections of all sockets in the network namespace of this thread."""
    from vpcctl_lib.kernel.conntrack import Ends

    for name, protocol, states in TABLES:
        for words in map(str.split, sockets(name)):
            ends = [_end(word) for word in words[1:3]]
            if int(words[3], 16) in states and ends[0] and ends[1]:
                yield Ends(protocol, ends[0], ends[1])


def _end(word: str) -> tuple[Address, int] | None:
    """An end from /proc/net/tcp or tcp6; None if it is missing, or only known on its link."""
    address, _, port = word.partition(":")
    parts = [struct.pack("=I", int(address[at:at + 8], 16)) for at in range(0, len(address), 8)]
    is_fourth = len(parts) == 1 or b"".join(parts[:3]) == b"\0" * 10 + b"\xff\xff"
    found = IPv4Address(parts[-1]) if is_fourth else IPv6Address(b"".join(parts))
    if found.is_unspecified or found.is_loopback or (found.is_link_local and not is_fourth):
        return None
    return (found, int(port, 16)) if int(port, 16) else None


def _networks(texts: tuple[str, ...]) -> list[IPv4Network | IPv6Network]:
    return [ip_network(text) for text in texts]


def _within(namespace: str, task: Callable[[], None]) -> None:
    if namespace:
        netns.within(namespace, task)
    else:
        task()

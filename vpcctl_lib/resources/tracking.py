"""Steps that see to connections which were there before the rules that go by them."""

from __future__ import annotations

import socket
import struct
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel import netns
from vpcctl_lib.kernel.conntrack import Ends, Known, Table
from vpcctl_lib.kernel.run import Command
from vpcctl_lib.resources.operation import NO_FACTS, Desk, Facts, Operation

OPEN = frozenset({1, 4, 5, 8, 9})
"""States of a socket whose connection still carries data: ESTABLISHED, and those that are closed on one side
(include/net/tcp_states.h)."""

TABLES = (("tcp", socket.IPPROTO_TCP, OPEN), ("udp", socket.IPPROTO_UDP, frozenset({1})))


class Tending(Operation, ABC):
    """What is done about a namespace's table of connections."""

    namespace: str

    @property
    @abstractmethod
    def shortfall(self) -> str:
        """What may be so where the table can't be had."""

    def places(self, ends: frozenset[str]) -> frozenset[str] | None:
        """Its namespace, and where its resource has its ends."""
        return ends | {self.namespace}

    def carry_out(self, desk: Desk) -> Facts:
        """Where the table can't be had, all else is done, and a note says what may follow."""
        desk.runner.announce(self)
        try:
            self.do()
        except OSError as error:
            desk.notes.append(f"{self.shortfall}: {error.strerror}")
        return NO_FACTS

    @abstractmethod
    def do(self) -> None:
        """Do it; OSError where the kernel has no such table."""


@frozen
class Forget(Tending):
    """Delete the entries of connections that left with their own source, as they were begun without NAT.

    A connection is translated at its first packet or never: only a new entry gets NAT. Those that go to
    `near` are not translated, and stay. With `whole` all others go: they may begin no more.
    """

    namespace: str
    sources: tuple[str, ...]
    near: tuple[str, ...] = ()
    whole: bool = False

    @property
    def shortfall(self) -> str:
        """What may be so where the table can't be had."""
        return "connections to the internet may go on until they end" if self.whole \
            else "connections that began without NAT may go on without it"

    def do(self) -> None:
        """Those from the sources, and no others; OSError where the kernel has no such table."""
        sources, near = map(_networks, (self.sources, self.near))

        def is_meant(entry: Known) -> bool:
            return (self.whole or not entry.translated) and any(entry.source in one for one in sources) \
                and not any(entry.destination in one for one in near)

        def forget() -> None:
            with Table() as table:
                table.forget(is_meant)

        _within(self.namespace, forget)

    def __str__(self) -> str:
        # Those that go to `near` go too: tracking knows them again with their next packet.
        ends = "".join(f"  conntrack -D -s {source}\n" for source in self.sources)
        looks = ends if self.whole else "".join(f"  conntrack -L -s {source} | sed -nE '{_UNTRANSLATED}' |\n"
                        "    while read -r words; do conntrack -D $words; done\n" for source in self.sources)
        script = f"if command -v conntrack; then\n{looks}  true\nfi >/dev/null 2>&1"
        return str(Command(("sh",), script, self.namespace)) if self.namespace else script


_ENDS = r"src=(\S+) dst=(\S+)"
_UNTRANSLATED = (rf"s/^(\S+) .* {_ENDS} sport=(\S+) dport=(\S+) .* dst=\2 .*/-p \1 -s \2 -d \3 "
                 r"--sport \4 --dport \5/p; "
                 rf"s/^(icmp) .* {_ENDS} type=(\S+) code=(\S+) id=(\S+) .* dst=\2 .*/-p \1 -s \2 -d \3 "
                 r"--icmp-type \4 --icmp-code \5 --icmp-id \6/p")
"""What of a line of `conntrack -L` deletes its entry, where the answers go to who asked."""


@frozen
class Keep(Tending):
    """Have connection tracking know a subnet's open connections before its rules go by that.

    Until the first rule that needs it, the kernel tracks nothing in a namespace: an answer that comes then
    would be the first packet of a connection which nobody allowed.
    """

    namespace: str
    shortfall = "connections that were open before the policy may stall"

    def do(self) -> None:
        """Those of all sockets that have another end; OSError where the kernel has no such table."""
        def add() -> None:
            with Table() as table:
                table.add(list(connections()))

        _within(self.namespace, add)

    def __str__(self) -> str:
        return str(Command(("sh",), _KEEPING, self.namespace))


_KEEPING = """if command -v conntrack; then
  ss -Hnt state established state fin-wait-1 state fin-wait-2 state close-wait |
    awk '{ gsub(/\\[::ffff:|\\]/, ""); print $(NF-1), $NF }' | while read -r near far; do
      conntrack -I -p tcp -s ${near%:*} -d ${far%:*} --sport ${near##*:} --dport ${far##*:} \\
        --state ESTABLISHED -u SEEN_REPLY,ASSURED -t 432000
    done
  true
fi >/dev/null 2>&1
"""


def connections() -> Iterator[Ends]:
    """The connections of all sockets in the network namespace of this thread."""
    for name, protocol, states in TABLES:
        for file in (f"/proc/thread-self/net/{name}", f"/proc/thread-self/net/{name}6"):
            # Without IPv6 there is no second one.
            text = Path(file).read_text() if Path(file).exists() else ""
            for words in map(str.split, text.splitlines()[1:]):
                ends = [_end(word) for word in words[1:3]]
                if int(words[3], 16) in states and ends[0] and ends[1]:
                    yield Ends(protocol, ends[0], ends[1])


def _end(word: str) -> tuple[IPv4Address, int] | None:
    """An end as /proc/net/tcp has it; None if it is of IPv6 itself, or if there is none."""
    address, _, port = word.partition(":")
    parts = [struct.pack("=I", int(address[at:at + 8], 16)) for at in range(0, len(address), 8)]
    mapped = len(parts) == 1 or b"".join(parts[:3]) == b"\0" * 10 + b"\xff\xff"
    found = IPv4Address(parts[-1])
    if not mapped or found.is_unspecified or found.is_loopback or not int(port, 16):
        return None
    return found, int(port, 16)


def _networks(texts: tuple[str, ...]) -> list[IPv4Network]:
    return [IPv4Network(text) for text in texts]


def _within(namespace: str, task: Callable[[], None]) -> None:
    if namespace:
        netns.within(namespace, task)
    else:
        task()

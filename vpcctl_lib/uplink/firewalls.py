"""Whether another firewall on the host refuses what a VPC with a way out needs, and what to type; pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from ipaddress import IPv4Address

from vpcctl_lib.frozen import frozen
from vpcctl_lib.uplink.verdicts import CONNTRACK, BaseChain, Fate, Kind, Packet, Verdict

SERVICES = (("tcp", 443), ("tcp", 80), ("udp", 53))
"""HTTPS, HTTP and DNS."""

Found = list[tuple[Packet, Verdict]]


@frozen
class Obstacle:
    """What a chain refuses, or may, why, and what helps."""

    why: str
    help: str = ""
    sure: bool = True


def needed(cable: str, uplink: str, inside: IPv4Address, outside: IPv4Address) -> list[Packet]:
    """The packets that have to pass: each service's first, its answer, and what follows."""
    return [Packet(cable, uplink, inside, outside, kind, protocol, port)
            for protocol, port in SERVICES for kind in Kind]


def obstacles(chains: Sequence[BaseChain], packets: Sequence[Packet]) -> Iterator[Obstacle]:
    """Each chain that does not let all of them pass."""
    for chain in chains:
        found = [(packet, chain.verdict(packet)) for packet in packets]
        for fate, says in ((Fate.REFUSED, "refuses"), (Fate.UNSURE, "may refuse")):
            worst = [(packet, verdict) for packet, verdict in found if verdict.fate is fate]
            if worst:
                what = _what({(one.protocol, one.port) for one, _ in worst})
                yield Obstacle(f"another firewall {says} {what}: {chain}, {worst[0][1].why}",
                               _opened(chain, worst), fate is Fate.REFUSED)
                break


def _what(services: set[tuple[str, int]]) -> str:
    if len(services) == len(SERVICES):
        return "them"
    return " and ".join(f"{protocol.upper()} to port {port}" for protocol, port in SERVICES
                        if (protocol, port) in services)


def _opened(chain: BaseChain, found: Found) -> str:
    """What lets our packets through there."""
    if chain.chain.table == "firewalld" and chain.chain.hook == "forward":
        return _zone(found[0][0].cable)
    if chain.tool:
        return " && ".join(_inserted(chain, found))
    kinds = dict.fromkeys(packet.kind is Kind.ANSWERS for packet, _ in found)
    place = f"{chain.chain.family} {chain.chain.table} {chain.chain.name}"
    typed = []
    for is_answer in kinds:
        words = _answer(chain, found[0][0]) if is_answer else _outward(chain, found[0][0])
        if words:
            typed.append(f"nft insert rule {place} {words} accept")
        else:
            typed += _removed(chain, place, found, is_answer)
    return " && ".join(dict.fromkeys(typed))


def _outward(chain: BaseChain, packet: Packet) -> str:
    """The match of what a VPC sends; empty where it can't be told from what the host sends."""
    hook = chain.chain.hook
    if hook == "egress":
        return ""
    goes = f" oifname {packet.uplink}" if hook in ("forward", "postrouting") else ""
    return f"iifname {packet.cable}{goes}"


def _answer(chain: BaseChain, packet: Packet) -> str:
    """The match of answers; empty where they can't be told from what else comes in."""
    hook = chain.chain.hook
    if hook == "ingress" or (hook == "prerouting" and chain.chain.priority <= CONNTRACK):
        return ""
    if hook == "egress":
        return f"oifname {packet.cable}"
    goes = f" oifname {packet.cable}" if hook in ("forward", "postrouting") else ""
    return f"iifname {packet.uplink}{goes} ct state established,related"


def _removed(chain: BaseChain, place: str, found: Found, is_answer: bool) -> Iterator[str]:
    handles = {verdict.handle for packet, verdict in found if (packet.kind is Kind.ANSWERS) is is_answer}
    for handle in sorted(handles):
        if handle:
            inner = next((one for one in chain.table.chains.values()
                          if any(rule.handle == handle for rule in one.rules)), chain.chain)
            yield f"nft delete rule {inner.family} {inner.table} {inner.name} handle {handle}"
        else:
            yield f"nft chain {place} '{{ policy accept; }}'"


def _inserted(chain: BaseChain, found: Found) -> Iterator[str]:
    """Before the first rule that is not ours: what keeps others off stays the first."""
    base = chain.chain
    rules = [rule.statements for rule in base.rules]
    ours = next((number for number, rule in enumerate(rules) if rule != ({"continue": None},)), len(rules))
    if base.name == "FORWARD" and ({"accept": None},) in rules:
        yield "vpcctl restore"
        return
    place = f"{chain.tool} -t {base.table} -I {base.name} {ours + 1}"
    packet = found[0][0]
    for is_answer in dict.fromkeys(packet.kind is Kind.ANSWERS for packet, _ in found):
        one = replace(packet, kind=Kind.ANSWERS if is_answer else Kind.OPENS)
        comes = f" -i {one.incoming}" if base.name != "POSTROUTING" else ""
        goes = f" -o {one.outgoing}" if base.name != "PREROUTING" else ""
        if is_answer and base.table == "raw":
            sources = dict.fromkeys((packet.protocol, packet.port) for packet, _ in found)
            for protocol, port in sources:
                yield f"{place}{comes} -p {protocol} --sport {port} -j ACCEPT"
        else:
            state = " -m conntrack --ctstate ESTABLISHED,RELATED" if is_answer else ""
            yield f"{place}{comes}{goes}{state} -j ACCEPT"


def _zone(cable: str) -> str:
    return " && ".join(f"firewall-cmd --permanent {words}" for words in (
        "--new-zone=vpcctl", f"--zone=vpcctl --add-interface={cable}", "--new-policy=vpcctl-out",
        "--policy=vpcctl-out --add-ingress-zone=vpcctl", "--policy=vpcctl-out --add-egress-zone=ANY",
        "--policy=vpcctl-out --set-target=ACCEPT")) + " && firewall-cmd --reload && vpcctl restore"

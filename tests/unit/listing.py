"""The nft table of network ACLs as `nft -j list table` prints it, with everything as it was made."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv6Address, IPv6Network
from typing import Any

from vpcctl_lib.firewall.acl_chains import NAMED, SIX, Field, Fork, Lead, Line
from vpcctl_lib.firewall.acl_nft import Direction
from vpcctl_lib.firewall.acl_words import in_words
from vpcctl_lib.model.policies import AclRule, Action, Protocol
from vpcctl_lib.resources.acl_table import SETS, lines_of
from vpcctl_lib.resources.acls import Acls

Item = dict[str, Any]


def acl_table(one: Acls) -> list[Item]:
    """All items, in nft's order."""
    chains = {name: [_rule(line, direction, name) for line in lines] for acl in one.acls
              for direction, found in lines_of(acl, one.prefix is not None).items()
              for name, lines in found.items()}
    hooks = _hooks(str(one.gateway), one.prefix)
    held = {name: [_element(name, element) for element in one.elements(name)] for name in SETS}
    return [
        {"metainfo": {"json_schema_version": 1}}, {"table": {"family": "bridge", "name": "vpcctl-acls"}},
        *({SETS[name][0]: {"name": name, "elem": elements}} for name, elements in held.items()),
        *({"chain": {"name": name, "type": "filter", "hook": name, "prio": -200, "policy": "accept"}}
          for name in hooks),
        *({"chain": {"name": name}} for name in chains),
        *({"rule": {"chain": name, **rule}} for found in (hooks, chains) for name, rules in found.items()
          for rule in rules)]


def _element(name: str, text: str) -> Any:
    """An element of a script as nft lists it."""
    if name == "edges":
        address, _, comment = text.partition(" comment ")
        return {"elem": {"val": address, "comment": comment.strip('"')}}
    if name == "inside":
        mark, _, port = text.partition(" . ")
        return {"concat": [int(mark, 0), port.strip('"')]}
    port, _, value = text.partition(" : ")
    return [port.strip('"'), int(value, 0) if name == "subnets" else
            {"jump": {"target": value.removeprefix("jump ")}}]


def _field(protocol: str, field: str) -> Item:
    return {"payload": {"protocol": protocol, "field": field}}


def _meta(key: str) -> Item:
    return {"meta": {"key": key}}


def _match(left: Any, right: Any, operator: str = "==") -> Item:
    return {"match": {"op": operator, "left": left, "right": right}}


def _hooks(gateway: str, prefix: IPv6Network | None) -> dict[str, list[Item]]:
    kinds = {"set": ["ip", "ip6"]} if prefix else "ip"
    not_ip = {"expr": [_match(_field("ether", "type"), kinds, "!="), {"accept": None}]}
    out, into = ({"expr": [{"vmap": {"key": _meta(key), "data": data}}]}
                 for key, data in (("iifname", "@out"), ("oifname", "@in")))
    mark = {"mangle": {"key": _meta("mark"), "value": {"map": {"key": _meta("iifname"), "data": "@subnets"}}}}
    inside = _match({"concat": [_meta("mark"), _meta("oifname")]}, "@inside")
    if prefix:
        return _dual_hooks(gateway, prefix, (not_ip, mark, inside, out, into))
    return {"forward": [not_ip, {"expr": [mark]}, {"expr": [inside, {"accept": None}]}, out, into],
            "input": [not_ip, {"expr": [_match(_field("ip", "daddr"), gateway), {"accept": None}]}, out],
            "output": [not_ip, {"expr": [_match(_field("ip", "saddr"), gateway), {"accept": None}]}, into]}


def _dual_hooks(gateway: str, prefix: IPv6Network, parts: tuple[Any, ...]) -> dict[str, list[Item]]:
    not_ip, mark, inside, out, into = parts
    accept = {"accept": None}
    to, source = ({"expr": [_match(_field("ip", end), gateway), accept]} for end in ("daddr", "saddr"))
    router = str(prefix[1])
    to6, source6 = ({"expr": [_match(_field("ip6", end), router), accept]} for end in ("daddr", "saddr"))
    outside = _match(_field("ip6", "saddr"), {"prefix": {"addr": str(prefix[0]), "len": 56}}, "!=")
    errors = _match(_field("icmpv6", "type"), {"set": [
        "destination-unreachable", "packet-too-big", "time-exceeded", "parameter-problem"]})
    return {"forward": [not_ip, {"expr": [mark]}, {"expr": [inside, accept]}, out, into],
            "input": [not_ip, to, to6, out],
            "output": [not_ip, source, source6, {"expr": [outside, errors, accept]}, into]}


def _rule(line: Line, direction: Direction, chain: str) -> Item:
    if isinstance(line, AclRule):
        comment = ("fragments of " if ".later" in chain else "") + in_words(line)
        verdict = "return" if line.action is Action.ALLOW else "drop"
        counter = {"counter": {"packets": 3, "bytes": 7}}
        return {"comment": comment, "expr": [*_matches(line, direction), counter, {verdict: None}]}
    is_six = SIX in chain
    if isinstance(line, Lead):
        offset = {"exthdr": {"name": "frag", "field": "frag-off"}} if is_six else \
            {"&": [_field("ip", "frag-off"), 8191]}
        tests = [_match(offset, 0, "!=")] if line.later else \
            [_match(_field("ether", "type"), "ip6")] if line.six else []
        return {"expr": [*tests, {"goto": {"target": line.chain}}]}
    return {"expr": [_fork(line, direction, is_six)]}


def _matches(rule: AclRule, direction: Direction) -> list[Item]:
    found = []
    network, ports = rule.network, rule.ports
    if network and network.prefixlen:
        address = str(network.network_address)
        protocol = "ip" if network.version == 4 else "ip6"
        whole = network.prefixlen == network.max_prefixlen
        found.append(_match(_field(protocol, direction.far_end), address if whole else
                            {"prefix": {"addr": address, "len": network.prefixlen}}))
    if ports:
        found.append(_match(_field(rule.protocol.value, "dport"), ports.first if ports.first == ports.last
                            else {"range": [ports.first, ports.last]}))
    elif rule.protocol is not Protocol.ALL:
        found.append(_match(_meta("l4proto"), _word(rule.protocol)))
    return found


def _word(protocol: Protocol) -> str:
    return "ipv6-icmp" if protocol is Protocol.ICMPV6 else protocol.value


def _fork(line: Fork, direction: Direction, is_six: bool) -> Item:
    end = _field("ip6" if is_six else "ip", direction.far_end)
    key = {Field.PROTOCOL: _meta("l4proto"), Field.FAR_END: end,
           Field.TCP_PORT: _field("tcp", "dport"), Field.UDP_PORT: _field("udp", "dport")}[line.field]

    def value(number: int) -> Any:
        kind = IPv6Address if is_six else IPv4Address
        return str(kind(number)) if line.field is Field.FAR_END else number

    return {"vmap": {"key": key, "data": {"set": [
        [_word(NAMED[one.first]) if line.field is Field.PROTOCOL else value(one.first)
         if one.first == one.last else {"range": [value(one.first), value(one.last)]},
         {"goto": {"target": one.chain}}] for one in line.branches]}}}

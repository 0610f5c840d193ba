"""The nft table of network ACLs as `nft -j list table` prints it, with everything as it was made."""

from __future__ import annotations

from ipaddress import IPv4Address
from typing import Any

from vpcctl_lib.firewall.acl_chains import NAMED, Field, Fork, Lead, Line
from vpcctl_lib.firewall.acl_nft import Direction
from vpcctl_lib.firewall.acl_words import in_words
from vpcctl_lib.model.policies import AclRule, Action, Protocol
from vpcctl_lib.resources.acl_table import SETS, lines_of
from vpcctl_lib.resources.acls import Acls

Item = dict[str, Any]


def acl_table(one: Acls) -> list[Item]:
    """All items, in nft's order."""
    chains = {name: [_rule(line, direction, name) for line in lines] for acl in one.acls
              for direction, found in lines_of(acl).items() for name, lines in found.items()}
    hooks = _hooks(str(one.gateway))
    return [
        {"metainfo": {"json_schema_version": 1}}, {"table": {"family": "bridge", "name": "vpcctl-acls"}},
        *({SETS[name][0]: {"name": name, "elem": [_element(name, element) for element in one.elements(name)]}}
          for name in SETS),
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


def _hooks(gateway: str) -> dict[str, list[Item]]:
    not_ip = {"expr": [_match(_field("ether", "type"), "ip", "!="), {"accept": None}]}
    out, into = ({"expr": [{"vmap": {"key": _meta(key), "data": data}}]}
                 for key, data in (("iifname", "@out"), ("oifname", "@in")))
    mark = {"mangle": {"key": _meta("mark"), "value": {"map": {"key": _meta("iifname"), "data": "@subnets"}}}}
    inside = _match({"concat": [_meta("mark"), _meta("oifname")]}, "@inside")
    return {"forward": [not_ip, {"expr": [mark]}, {"expr": [inside, {"accept": None}]}, out, into],
            "input": [not_ip, {"expr": [_match(_field("ip", "daddr"), gateway), {"accept": None}]}, out],
            "output": [not_ip, {"expr": [_match(_field("ip", "saddr"), gateway), {"accept": None}]}, into]}


def _rule(line: Line, direction: Direction, chain: str) -> Item:
    if isinstance(line, AclRule):
        comment = ("fragments of " if ".later" in chain else "") + in_words(line)
        verdict = "return" if line.action is Action.ALLOW else "drop"
        counter = {"counter": {"packets": 3, "bytes": 7}}
        return {"comment": comment, "expr": [*_matches(line, direction), counter, {verdict: None}]}
    if isinstance(line, Lead):
        later = [_match({"&": [_field("ip", "frag-off"), 8191]}, 0, "!=")] if line.later else []
        return {"expr": [*later, {"goto": {"target": line.chain}}]}
    return {"expr": [_fork(line, direction)]}


def _matches(rule: AclRule, direction: Direction) -> list[Item]:
    found = []
    network, ports = rule.network, rule.ports
    if network and network.prefixlen:
        address = str(network.network_address)
        found.append(_match(_field("ip", direction.far_end), address if network.prefixlen == 32 else
                            {"prefix": {"addr": address, "len": network.prefixlen}}))
    if ports:
        found.append(_match(_field(rule.protocol.value, "dport"), ports.first if ports.first == ports.last
                            else {"range": [ports.first, ports.last]}))
    elif rule.protocol is not Protocol.ALL:
        found.append(_match(_meta("l4proto"), rule.protocol.value))
    return found


def _fork(line: Fork, direction: Direction) -> Item:
    key = {Field.PROTOCOL: _meta("l4proto"), Field.FAR_END: _field("ip", direction.far_end),
           Field.TCP_PORT: _field("tcp", "dport"), Field.UDP_PORT: _field("udp", "dport")}[line.field]

    def value(number: int) -> Any:
        return str(IPv4Address(number)) if line.field is Field.FAR_END else number

    return {"vmap": {"key": key, "data": {"set": [
        [NAMED[one.first].value if line.field is Field.PROTOCOL else value(one.first)
         if one.first == one.last else {"range": [value(one.first), value(one.last)]},
         {"goto": {"target": one.chain}}] for one in line.branches]}}}

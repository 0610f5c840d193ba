"""Others' rules in the output of iptables-save, as the same tables and chains as nft's; pure."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterator
from typing import Any

from vpcctl_lib.kernel import saves
from vpcctl_lib.kernel.ruleset import Chain, Rule, Ruleset, Statement, Table
from vpcctl_lib.model.naming import MARK

PRIORITIES = {"raw": -300, "mangle": -150, "filter": 0, "security": 50}
"""Tables whose rules may refuse; nat's can't (iptables-extensions(8)): it only translates."""

HOOKS = {"PREROUTING": "prerouting", "FORWARD": "forward", "POSTROUTING": "postrouting"}
LETS_THROUGH = "VPCCTL-FORWARD"
SIMPLE = frozenset({"-m", "--comment", "--reject-with"})
"""Options whose value decides nothing."""

UNKNOWN: Statement = {"xt": None}


def tables(saved: str, dormant: Collection[str] = ()) -> Ruleset:
    """The tables; of our own rules, only the one that lets a VPC's packets through."""
    return tuple(Table("ip", table, {name: _chain(table, name, held) for name, held in chains.items()},
                       is_dormant=table in dormant)
                 for table, chains in saves.tables(saved).items() if table in PRIORITIES)


def _chain(table: str, name: str, held: saves.Chain) -> Chain:
    rules = () if name.startswith("VPCCTL-") else tuple(
        Rule(tuple(_rule(saves.split(rule))), number) for number, rule in enumerate(held.rules, 1))
    return Chain("ip", table, name, rules, HOOKS.get(name, ""), PRIORITIES[table],
                 policy="drop" if held.policy == saves.CLOSED else "accept")


def _rule(words: list[str]) -> Iterator[Statement]:
    if any(word.startswith(MARK) for word in words):
        # Our rules are compared with the record; the guard does not refuse a VPC's own packets.
        yield {"accept": None} if LETS_THROUGH in words else {"continue": None}
        return
    position, negated = 0, False
    while position < len(words):
        word = words[position]
        if word == "!":
            negated, position = True, position + 1
            continue
        value = words[position + 1] if position + 1 < len(words) else ""
        if word in ("-j", "-g"):
            yield _target(word, value)
            return
        if word in MATCHES:
            yield _match(MATCHES[word](value), negated)
            position += 1
        elif word in SIMPLE:
            position += 1
        else:
            # Its options, if any, are not among those we know.
            yield UNKNOWN
            while position + 1 < len(words) and not words[position + 1].startswith(("-", "!")):
                position += 1
        position, negated = position + 1, False


def _target(option: str, target: str) -> Statement:
    if target in ("ACCEPT", "DROP", "REJECT", "RETURN"):
        return {target.lower(): None}
    if target in GOES_ON:
        return {"continue": None}
    if target.isupper() and target in UNFORESEEN:
        return {"queue": None}
    return {"goto" if option == "-g" else "jump": {"target": target}}


GOES_ON = frozenset({"LOG", "NFLOG", "ULOG", "TRACE", "AUDIT", "MARK", "CONNMARK", "TCPMSS", "TOS", "DSCP",
                     "TTL", "CLASSIFY",
                     "CONNSECMARK", "SECMARK", "CHECKSUM", "SET", "LED", "IDLETIMER", "RATEEST"})
UNFORESEEN = frozenset({"NFQUEUE", "QUEUE", "CT", "NOTRACK", "TEE", "TPROXY", "SYNPROXY", "STEAL", "TARPIT"})


def _match(found: tuple[Any, Any] | None, negated: bool) -> Statement:
    if found is None:
        return UNKNOWN
    left, right = found
    return {"match": {"left": left, "op": "!=" if negated else "==", "right": right}}


def _meta(key: str) -> Callable[[str], tuple[Any, Any]]:
    return lambda value: ({"meta": {"key": key}}, f"{value[:-1]}*" if value.endswith("+") else value)


def _address(field: str) -> Callable[[str], tuple[Any, Any]]:
    def read(value: str) -> tuple[Any, Any]:
        address, _, length = value.partition("/")
        return ({"payload": {"protocol": "ip", "field": field}},
                {"prefix": {"addr": address, "len": length or "32"}})
    return read


def _port(field: str) -> Callable[[str], tuple[Any, Any] | None]:
    def read(value: str) -> tuple[Any, Any] | None:
        try:
            spans = [[int(one) for one in part.split(":")] for part in value.split(",")]
        except ValueError:
            return None
        return ({"payload": {"protocol": "th", "field": field}},
                {"set": [{"range": span} if len(span) > 1 else span[0] for span in spans]})
    return read


def _states(value: str) -> tuple[Any, Any] | None:
    states = value.lower().split(",")
    if set(states) & {"snat", "dnat"}:
        return None
    return {"ct": {"key": "state"}}, {"set": states}


MATCHES: dict[str, Callable[[str], tuple[Any, Any] | None]] = {
    "-i": _meta("iifname"), "-o": _meta("oifname"), "-p": _meta("l4proto"), "-s": _address("saddr"),
    "-d": _address("daddr"), "--dport": _port("dport"), "--sport": _port("sport"),
    "--dports": _port("dport"), "--sports": _port("sport"), "--ctstate": _states, "--state": _states}

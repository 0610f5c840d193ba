"""Two topologies compared: what is added, changed and removed, and why; pure."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import is_dataclass, replace
from enum import Enum
from typing import Any

from vpcctl_lib.frozen import frozen
from vpcctl_lib.model.flowlogs import FlowLog
from vpcctl_lib.model.kinds import REGISTERED, Names, inside, placed
from vpcctl_lib.model.mirrors import Mirror
from vpcctl_lib.model.names import Dhcp, Dns, Record
from vpcctl_lib.model.policies import Acl, AclRule, Group, Policy, Rule
from vpcctl_lib.model.routes import NatGateway, RouteTable
from vpcctl_lib.model.topology import Attachment, Machine, Nat, Subnet, Topology, Vpc
from vpcctl_lib.model.workloads import Workload

Rules = Sequence[Rule] | Sequence[AclRule] | None


class Sign(Enum):
    """What happens to a thing."""

    ADD = "+"
    CHANGE = "~"
    REMOVE = "-"


@frozen
class Difference:
    """One line of a plan."""

    sign: Sign
    what: str
    why: str

    def __str__(self) -> str:
        return f"{self.sign.value} {self.what}: {self.why}"


def compare(old: Topology, new: Topology) -> list[Difference]:
    """The differences from one to the other, VPC by VPC."""
    return list(_within(old, new, ()))


def _within(old: object, new: object, names: Names) -> Iterator[Difference]:
    """The differences between what is in two homes, None for a new one; what goes comes first."""
    for kind in inside(type(new)):
        words = WORDS.get(kind.model, PLAIN)
        there = kind.given(new) if old is None else kind.things(old)
        before, after = ({one.names: one for one in placed(kind, things, names)}
                         for things in (there, kind.things(new)))
        for key, gone in before.items():
            if key not in after:
                yield Difference(Sign.REMOVE, gone.called, words.removed(gone.thing))
        for key, one in after.items():
            was = before.get(key)
            if was is None:
                yield Difference(Sign.ADD, one.called, words.added(one.thing))
            elif was.thing == one.thing:
                continue
            elif why := words.changed(was.thing, one.thing):
                yield Difference(Sign.CHANGE, one.called, why)
            yield from _within(was.thing if was else None, one.thing, one.names)


def _unlike(old: Any, new: Any) -> str:
    """The fields of a thing that differ, in words; empty if only what is in it does."""
    both = {name: (getattr(old, name), getattr(new, name)) for name in REGISTERED[type(new)].own}
    return ", ".join(_change(name.replace("_", " "), *values) for name, values in both.items()
                     if values[0] != values[1])


def _change(name: str, old: Any, new: Any) -> str:
    parts = [part for value in (old, new) for part in (value if isinstance(value, tuple) else (value,))]
    told = (part for part in parts if not isinstance(part, Attachment))
    return f"other {name}" if any(map(is_dataclass, told)) else f"{name}: {_shown(old)} → {_shown(new)}"


def _shown(value: Any) -> str:
    if isinstance(value, tuple):
        return ", ".join(map(_shown, value)) or "none"
    if isinstance(value, Attachment):
        return str(value) or "none"
    return str(value.value if isinstance(value, Enum) else value) if value not in (None, "") else "none"


@frozen
class Words:
    """Why a plan adds, changes and removes things of a kind; `changed` is empty if that is no difference."""

    added: Callable[[Any], str] = lambda _: "it does not exist yet"
    removed: Callable[[Any], str] = lambda _: "it is not in the file"
    changed: Callable[[Any, Any], str] = _unlike


PLAIN = Words()


def _networks(vpc: Vpc) -> str:
    return ", ".join(map(str, vpc.networks))


def _other_vpc(old: Vpc, new: Vpc) -> str:
    # Whether the host has a route to a VPC, and the number of its cable, are settled when it is made.
    first = f"cidr {old.cidr} becomes {new.cidr}" if old.cidr != new.cidr else ""
    gone, come = (", ".join(str(one) for one in some if one not in others)
                  for some, others in ((old.cidrs, new.cidrs), (new.cidrs, old.cidrs)))
    return ", ".join(filter(None, (first, come and f"also {come}", gone and f"no longer {gone}",
                                   _other_prefix(old, new))))


def _other_prefix(old: Vpc | Subnet, new: Vpc | Subnet) -> str:
    return f"IPv6: {old.ipv6 or 'none'} → {new.ipv6 or 'none'}" if old.ipv6 != new.ipv6 else ""


def _other_subnet(old: Subnet, new: Subnet) -> str:
    was, becomes = (" ".join(filter(None, (one.type.value, str(one.cidr), one.route_table)))
                    for one in (old, new))
    edge = f"network ACL: {old.acl or 'none'} → {new.acl or 'none'}" if old.acl != new.acl else ""
    return ", ".join(filter(None, (f"{was} becomes {becomes}" if was != becomes else "", edge,
                                    _other_prefix(old, new))))


def _other_routes(old: RouteTable, new: RouteTable) -> str:
    # Its number is found when it is made.
    gone, come = (", ".join(str(one) for one in routes if one not in others)
                  for routes, others in ((old.routes, new.routes), (new.routes, old.routes)))
    return ", ".join(filter(None, (gone and f"no longer {gone}", come)))


def _uplink(nat: Nat) -> str:
    return f"auto ({nat.interface})" if nat.follows else nat.interface


def _target(record: Record) -> str:
    return record.cname or ", ".join(map(str, record.addresses))


def _new_policy(policy: Policy) -> str:
    return f"{_rules_in(policy)}, none before"


def _rules_in(policy: Policy) -> str:
    return _count((*policy.ingress, *(policy.egress or ())))


def _parts(old: Policy, new: Policy) -> Iterator[str]:
    """The parts of a policy that differ."""
    yield from _rules("ingress", old.ingress, new.ingress)
    yield from _rules("egress", old.egress, new.egress)
    if old.default is not new.default:
        yield f"default {old.default.value} becomes {new.default.value}"
    if old.description != new.description:
        yield "its description differs"


def _acl_parts(old: Acl, new: Acl) -> Iterator[str]:
    """The parts of a network ACL that differ."""
    yield from _rules("ingress", old.ingress, new.ingress)
    yield from _rules("egress", old.egress, new.egress)
    if old.description != new.description:
        yield "its description differs"


def _rules(direction: str, old: Rules, new: Rules) -> Iterator[str]:
    if old == new:
        return
    if old is None or new is None:
        yield f"{direction}: {_told(old)} → {_told(new)}"
    elif _undescribed(old) == _undescribed(new):
        yield f"{direction}: descriptions differ"
    else:
        yield f"{direction}: rules differ ({len(old)} → {len(new)})"


def _told(rules: Rules) -> str:
    # None differs from an empty list: only with a list do other packets meet the default.
    return "open" if rules is None else _count(rules)


def _count(rules: Sequence[Any]) -> str:
    return "1 rule" if len(rules) == 1 else f"{len(rules)} rules"


def _undescribed(rules: Sequence[Any]) -> list[Any]:
    return [replace(rule, description="") for rule in rules]


WORDS: dict[type, Words] = {
    Vpc: Words(lambda vpc: f"{_networks(vpc)} does not exist yet",
               lambda vpc: f"{_networks(vpc)} and everything in it is not in the file", _other_vpc),
    Nat: Words(lambda nat: f"out of {_uplink(nat)}", lambda _: "the file has none",
               lambda old, new: f"{_uplink(old)} becomes {_uplink(new)}"),
    Dns: Words(lambda dns: f"names end in {dns.domain}" if dns.domain else "it does not exist yet",
               lambda _: "the file has none"),
    Dhcp: Words(removed=lambda _: "the file has none"),
    Record: Words(_target, changed=lambda old, new: f"{_target(old)} becomes {_target(new)}"),
    Group: Words(lambda group: _rules_in(group.policy),
                 changed=lambda old, new: ", ".join(_parts(old.policy, new.policy))),
    Acl: Words(lambda acl: _count((*acl.ingress, *acl.egress)),
               changed=lambda old, new: ", ".join(_acl_parts(old, new))),
    RouteTable: Words(lambda table: ", ".join(map(str, table.routes)) or "no routes",
                      changed=_other_routes),
    FlowLog: Words(lambda log: log.how),
    NatGateway: Words(lambda one: f"in subnet {one.subnet}"),
    Subnet: Words(lambda subnet: f"{subnet.type.value} {subnet.cidr} does not exist yet",
                  lambda subnet: f"{subnet.cidr} is not in the file", _other_subnet),
    Policy: Words(_new_policy, lambda _: "the file has none: the subnet opens",
                  lambda old, new: ", ".join(_parts(old, new))),
    Machine: Words(lambda machine: f"{machine.attached.source} is not attached yet" if machine.attached else
                   "it does not exist yet",
                   lambda machine: "it is not in the file" + (
                       f": {machine.attached.source} is unplugged" if machine.attached else "")),
    Mirror: Words(lambda one: one.how, changed=lambda old, new: f"{old.how} becomes {new.how}"),
    Workload: Words(changed=lambda *_: "its command or options differ"),
}
"""For kinds of which there is more to say."""

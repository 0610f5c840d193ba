"""Random commands about ways in and out, against a model: after each, packets go as the model says.

ACLs, route tables, NAT gateways, elastic addresses and published ports, in VPCs whose parts come and go.
"""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from typing import Any

import pytest
from host import UPLINK, Host
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from probes import REACHED

LONG = bool(os.environ.get("VPCCTL_LONG"))
CIDRS = {"a": "10.1", "b": "10.2"}
NUMBERS = {"x": 1, "y": 2}
"""A public subnet, which keeps the built-in table, and one that is private but for its table."""

POOL = "198.51.100.0/28"
EIPS = ("198.51.100.1", "198.51.100.2")
PORTS = {(vpc, subnet): 8000 + 10 * place + NUMBERS[subnet] for place, vpc in enumerate(CIDRS)
         for subnet in NUMBERS}
"""The host's port for each machine."""

GATEWAY, TABLE, ACL = "n", "t", "edge"
ALLOWED = {name: [{"number": 1, "protocol": protocol, "action": "allow"}]
           for name, protocol in (("ping", "icmp"), ("all", "all"))}
RULES = {name: {"ingress": rules, "egress": rules} for name, rules in ALLOWED.items()}
TARGETS = ("internet", f"nat:{GATEWAY}", "blackhole")
Place = tuple[str, str]
Step = tuple[str, ...]

VPCS, SUBNETS = st.sampled_from(sorted(CIDRS)), st.sampled_from(sorted(NUMBERS))
ADDRESSES = st.sampled_from(EIPS)
COMMANDS = st.one_of(
    st.tuples(st.sampled_from(["delete", "enable", "enable", "disable"]), VPCS),
    st.tuples(st.sampled_from(["create"]), VPCS),
    st.tuples(st.sampled_from(["add", "add", "remove"]), VPCS, SUBNETS),
    st.tuples(st.sampled_from(["acl", "unacl"]), VPCS),
    st.tuples(st.just("rules"), VPCS, st.sampled_from(sorted(RULES))),
    st.tuples(st.sampled_from(["guard", "guard", "unguard"]), VPCS, SUBNETS),
    st.tuples(st.sampled_from(["table", "untable", "lead", "lead", "unlead", "unroute"]), VPCS),
    st.tuples(st.just("route"), VPCS, st.sampled_from(TARGETS)),
    st.tuples(st.sampled_from(["gateway", "gateway", "ungateway"]), VPCS),
    st.tuples(st.sampled_from(["allocate", "dissociate", "release"]), ADDRESSES),
    st.tuples(st.just("associate"), ADDRESSES, VPCS, st.sampled_from(["x", "y", GATEWAY])),
    st.tuples(st.sampled_from(["publish", "publish", "unpublish"]), VPCS, SUBNETS),
    st.tuples(st.just("restore")),
)


@dataclass
class Vpc:
    """What one should have."""

    subnets: set[str] = field(default_factory=set)
    has_nat: bool = False
    acl: str | None = None
    """The name of its rules, empty for none; None without an ACL."""

    guarded: set[str] = field(default_factory=set)
    """The subnets that have the ACL."""

    has_table: bool = False
    target: str = ""
    is_led: bool = False
    """Whether the private subnet has the table."""

    has_gateway: bool = False
    published: set[str] = field(default_factory=set)

    def drop(self, subnet: str) -> None:
        """A subnet goes with what it has."""
        self.subnets.discard(subnet)
        self.guarded.discard(subnet)
        self.published.discard(subnet)
        self.is_led = self.is_led and subnet != "y"
        self.has_gateway = self.has_gateway and subnet != "x"

    def lets(self, subnet: str, protocol: str) -> bool:
        """Whether packets and their answers pass the edge of a subnet."""
        return subnet not in self.guarded or self.acl == "all" or (self.acl == "ping" and protocol == "icmp")

    def is_public(self, subnet: str) -> bool:
        """Whether the internet gateway serves it."""
        return subnet in ("x", GATEWAY) or (self.is_led and self.target == "internet")

    def step(self, verb: str, more: str) -> bool:  # noqa: C901, PLR0911, PLR0912 - a list of verbs
        """Take the step; False if vpcctl has to refuse it."""
        if verb in ("enable", "disable"):
            self.has_nat = verb == "enable"
        elif verb == "add":
            self.subnets.add(more)
        elif verb == "acl":
            self.acl = self.acl or ""
        elif verb == "table":
            self.has_table = True
        elif verb == "rules" and self.acl is not None:
            self.acl = more
        elif verb == "unacl" and self.acl is not None and not self.guarded:
            self.acl = None
        elif verb == "route" and self.has_table and self.target in ("", more) \
                and (more != f"nat:{GATEWAY}" or self.has_gateway):
            self.target = more
        elif verb == "unroute" and self.target:
            self.target = ""
        elif verb == "untable" and self.has_table and not self.is_led:
            self.has_table, self.target = False, ""
        elif verb == "ungateway" and self.has_gateway and self.target != f"nat:{GATEWAY}":
            self.has_gateway = False
        elif verb == "lead" and self.has_table and "y" in self.subnets:
            self.is_led = True
        elif verb == "unlead" and "y" in self.subnets:
            self.is_led = False
        elif verb == "gateway" and "x" in self.subnets:
            self.has_gateway = True
        else:
            return self._in_subnet(verb, more)
        return True

    def _in_subnet(self, verb: str, subnet: str) -> bool:
        if subnet not in self.subnets:
            return False
        if verb == "remove" and not (subnet == "x" and self.target == f"nat:{GATEWAY}"):
            self.drop(subnet)
        elif verb == "guard" and self.acl is not None:
            self.guarded.add(subnet)
        elif verb == "unguard":
            self.guarded.discard(subnet)
        elif verb == "publish":
            self.published.add(subnet)
        elif verb == "unpublish" and subnet in self.published:
            self.published.discard(subnet)
        else:
            return False
        return True


@dataclass
class Model:
    """What there should be."""

    vpcs: dict[str, Vpc] = field(default_factory=dict)
    eips: dict[str, Place | None] = field(default_factory=dict)
    """Who has each; a NAT gateway has its name in the place of a subnet's."""

    def step(self, verb: str, *what: str) -> bool:
        """Take the step; False if vpcctl has to refuse it."""
        first, more, *_ = (*what, "", "")
        if verb == "restore":
            return True
        if first in EIPS:
            return self._on_eip(verb, first, what[1:])
        if verb == "create":
            self.vpcs.setdefault(first, Vpc())
        elif first not in self.vpcs:
            return False
        elif verb == "delete":
            del self.vpcs[first]
        elif not self.vpcs[first].step(verb, more):
            return False
        self.eips = {address: place if place and self._stands(place) else None
                     for address, place in self.eips.items()}
        return True

    def _stands(self, place: Place) -> bool:
        vpc = self.vpcs.get(place[0])
        return vpc is not None and (place[1] in vpc.subnets or (place[1] == GATEWAY and vpc.has_gateway))

    def _on_eip(self, verb: str, address: str, place: tuple[str, ...]) -> bool:
        if verb == "allocate":
            self.eips.setdefault(address, None)
        elif address not in self.eips or (verb == "release" and self.eips[address]):
            return False
        elif verb == "release":
            del self.eips[address]
        elif verb == "dissociate":
            self.eips[address] = None
        elif not self._stands((place[0], place[1])):
            return False
        else:
            moved = (place[0], place[1])
            self.eips = {one: None if had == moved else had for one, had in self.eips.items()}
            self.eips[address] = moved
        return True

    def _works(self, place: Place) -> bool:
        vpc = self.vpcs[place[0]]
        return vpc.has_nat and vpc.is_public(place[1])

    def seen_as(self, place: Place) -> str:
        """The address with which the internet sees what such a machine or NAT gateway sends."""
        return next((one for one, had in self.eips.items() if had == place and self._works(place)), UPLINK)

    def gets_out(self, place: Place, protocol: str) -> str:
        """As whom a machine gets to the internet; empty if it does not."""
        vpc, subnet = self.vpcs[place[0]], place[1]
        if not vpc.has_nat or not vpc.lets(subnet, protocol):
            return ""
        if vpc.is_public(subnet):
            return self.seen_as(place)
        by_gateway = vpc.is_led and vpc.target == f"nat:{GATEWAY}" and vpc.lets("x", protocol)
        return self.seen_as((place[0], GATEWAY)) if by_gateway else ""

    def holder(self, address: str, protocol: str) -> Place | None:
        """Who answers at an elastic address; nothing gets in by a NAT gateway."""
        place = self.eips.get(address)
        if place is None or place[1] == GATEWAY or not self._works(place):
            return None
        return place if self.vpcs[place[0]].lets(place[1], protocol) else None

    @property
    def places(self) -> list[Place]:
        """All machines."""
        return sorted((name, subnet) for name, vpc in self.vpcs.items() for subnet in vpc.subnets)


def words(files: dict[str, str], verb: str, *what: str) -> list[str]:
    """The command line of a step."""
    vpc, more, *_ = (*what, "", "")
    of, place = ["--vpc", vpc], ["--vpc", vpc, "--subnet", more]
    routes = [*of, "--name", TABLE, "--to", "0.0.0.0/0"]
    lines = {
        "create": ["vpc", "create", "--name", vpc, "--cidr", f"{CIDRS.get(vpc)}.0.0/16"],
        "delete": ["vpc", "delete", "--name", vpc],
        "enable": ["nat", "enable", *of], "disable": ["nat", "disable", *of],
        "add": ["subnet", "add", *of, "--name", more, "--type", "public" if more == "x" else "private",
                "--cidr", f"{CIDRS.get(vpc)}.{NUMBERS.get(more)}.0/24"],
        "remove": ["subnet", "delete", *of, "--name", more],
        "acl": ["acl", "create", *of, "--name", ACL], "unacl": ["acl", "delete", *of, "--name", ACL],
        "rules": ["acl", "apply", *of, "--name", ACL, "--rules", files.get(more, "")],
        "guard": ["acl", "associate", *place, "--name", ACL], "unguard": ["acl", "dissociate", *place],
        "table": ["route-table", "create", *of, "--name", TABLE],
        "untable": ["route-table", "delete", *of, "--name", TABLE],
        "lead": ["route-table", "associate", *of, "--subnet", "y", "--name", TABLE],
        "unlead": ["route-table", "dissociate", *of, "--subnet", "y"],
        "route": ["route-table", "add-route", *routes, "--via", more],
        "unroute": ["route-table", "delete-route", *routes],
        "gateway": ["nat-gateway", "create", *of, "--subnet", "x", "--name", GATEWAY],
        "ungateway": ["nat-gateway", "delete", *of, "--name", GATEWAY],
        "publish": ["publish", "add", *place, "--port", f"{PORTS.get((vpc, more))}:80"],
        "unpublish": ["publish", "delete", *place, "--port", f"{PORTS.get((vpc, more))}:80"],
        "restore": ["restore"],
    }
    if verb == "associate":
        address, vpc, name = what
        at = ["x", "--instance", GATEWAY] if name == GATEWAY else [name]
        return ["eip", "associate", "--address", address, "--vpc", vpc, "--subnet", *at]
    return lines.get(verb) or ["eip", verb, "--address", what[0]]


def named(place: Place | None) -> str:
    """Who answers there, in the words of its service; empty if nobody does."""
    return f"{'-'.join(place)} sees" if place else ""


def wanted(model: Model) -> dict[tuple[str, str], str]:
    """What each probe has to be answered with, or the beginning of it; empty if with nothing."""
    found: dict[tuple[str, str], str] = {}
    for place in model.places:
        space, vpc = "-".join(place), model.vpcs[place[0]]
        for protocol, target in (("icmp", "8.8.8.8"), ("tcp", "8.8.8.8:80")):
            found[space, target] = model.gets_out(place, protocol)
        port = PORTS[place]
        by_port = place if place[1] in vpc.published and vpc.lets(place[1], "tcp") else None
        found["internet", f"{UPLINK}:{port}"] = named(by_port)
        for other in sorted(vpc.subnets - {place[1]}):
            address = f"{CIDRS[place[0]]}.{NUMBERS[other]}.2"
            for protocol, target in (("icmp", address), ("tcp", f"{address}:80")):
                passes = all(vpc.lets(subnet, protocol) for subnet in (place[1], other))
                found[space, target] = named((place[0], other)) if passes else ""
    for address in EIPS:
        for start in ("internet", ""):
            found[start, address] = named(model.holder(address, "icmp"))
            found[start, f"{address}:80"] = named(model.holder(address, "tcp"))
    return found


def compare(host: Host, model: Model) -> None:
    """Every probe gets the answer that the model expects, and vpcctl itself calls it in sync."""
    asked = wanted(model)
    answers = dict(zip(asked, host.probe(*asked, patience=0.7), strict=True))
    wrong = {one for one, answer in answers.items() if not _fits(one, answer, asked[one])}
    if wrong:
        # A busy machine may be late.
        again = dict(zip(wrong, host.probe(*wrong, patience=3.0), strict=True))
        assert not [(one, answer, asked[one]) for one, answer in again.items()
                    if not _fits(one, answer, asked[one])], model
    status = host.vpcctl("status")
    assert status.code == 0, (status, model)


def _fits(question: tuple[str, str], answer: Any, expected: str) -> bool:
    if (answer.verdict == REACHED) != bool(expected):
        return False
    return ":" not in question[1] or expected in answer.answer


@pytest.fixture(scope="module")
def module_host(tmp_path_factory: pytest.TempPathFactory) -> Any:
    host = Host(tmp_path_factory.mktemp("ways"))
    yield host
    host.end()


FIRST: tuple[Step, ...] = (
    ("create", "a"), ("add", "a", "x"), ("add", "a", "y"), ("enable", "a"), ("create", "b"),
    ("allocate", EIPS[0]), ("associate", EIPS[0], "a", "x"), ("table", "a"), ("gateway", "a"), ("lead", "a"),
    ("route", "a", f"nat:{GATEWAY}"), ("acl", "a"), ("rules", "a", "all"), ("guard", "a", "x"),
    ("publish", "a", "y"))
"""Everything is there once, and works."""


def serve(host: Host, model: Model, services: dict[Place, int]) -> None:
    """A service in each machine; those of machines that are gone went with them."""
    for place in set(services) - set(model.places):
        del services[place]
    for place in set(model.places) - set(services):
        services[place] = host.listen("-".join(place), "80")


@pytest.mark.long
@settings(max_examples=60 if LONG else 2, deadline=None, suppress_health_check=list(HealthCheck),
          phases=(Phase.generate,))
@given(steps=st.lists(COMMANDS, min_size=8, max_size=30 if LONG else 16))
def test_any_sequence_of_commands(module_host: Host, steps: list[Step]) -> None:
    host, model, services = module_host, Model(), dict[Place, int]()
    files = {name: host.write(f"{name}.json", rules) for name, rules in RULES.items()}
    host.do("eip pool add", POOL)
    try:
        for number, step in enumerate((*FIRST, *steps)):
            fine = model.step(*step)
            done = host.vpcctl(*words(files, *step))
            assert (done.code == 0) == fine, (step, done, model)
            assert "Traceback" not in done.err, done
            serve(host, model, services)
            if number + 1 >= len(FIRST):
                compare(host, model)
    finally:
        host.delete_all()
    host.check_same(host.before)

"""Random commands against a model of plain sets: after each, the kernel has what the model has."""

from __future__ import annotations

import os
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from host import UNREACHED, Host
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from probes import REACHED

LONG = bool(os.environ.get("VPCCTL_LONG"))
CIDRS = {"a": "10.1", "b": "10.2", "c": "10.3"}
MORE = {"a": "10.65", "b": "10.66", "c": "10.67"}
"""The second CIDR of each VPC, in which its subnet z is."""
VPCS, SUBNETS = st.sampled_from(sorted(CIDRS)), st.sampled_from(["x", "y", "z"])
COMMANDS = st.one_of(
    st.tuples(st.sampled_from(["create", "delete", "enable", "disable", "widen", "widen", "narrow", "group",
                               "allow", "ungroup", "name", "unname", "lease", "unlease"]), VPCS),
    st.tuples(st.sampled_from(["add", "add", "remove", "close", "open", "run", "stop", "join", "leave"]),
              VPCS, SUBNETS),
    st.tuples(st.sampled_from(["peer", "unpeer"]), VPCS, VPCS),
    st.tuples(st.sampled_from(["attach", "attach", "detach"]), VPCS, SUBNETS),
    st.tuples(st.just("restore")),
)
CLOSED: dict[str, Any] = {"ingress": []}
ALLOWED: dict[str, Any] = {"ingress": [{"protocol": "icmp", "action": "allow", "source": "group:g"}]}
"""Members of the group g reach each other."""


@dataclass
class Model:
    """What there should be."""

    subnets: dict[str, set[str]] = field(default_factory=dict)
    nat: set[str] = field(default_factory=set)
    wide: set[str] = field(default_factory=set)
    """The VPCs with a second CIDR."""
    named: set[str] = field(default_factory=set)
    """The VPCs with DNS."""
    leasing: set[str] = field(default_factory=set)
    """Those with DHCP, which need DNS."""
    peers: set[frozenset[str]] = field(default_factory=set)
    closed: set[tuple[str, str]] = field(default_factory=set)
    running: set[tuple[str, str]] = field(default_factory=set)
    guest: tuple[str, str] | None = None
    """Where the host's namespace `other` is attached."""
    groups: dict[str, bool] = field(default_factory=dict)
    """By VPC, whether its group has its rule."""
    members: set[tuple[str, str]] = field(default_factory=set)

    def step(self, verb: str, *what: str) -> bool:
        """Take the step; False if vpcctl has to refuse it."""
        vpc = what[0] if what else ""
        if verb == "create":
            self.subnets.setdefault(vpc, set())
            return True
        if verb == "restore":
            return True
        if vpc not in self.subnets:
            return False
        return self._on_vpc(verb, vpc) if len(what) == 1 else self._on_pair(verb, what[0], what[1])

    def _on_vpc(self, verb: str, vpc: str) -> bool:
        if verb in ("group", "allow", "ungroup"):
            return self._on_group(verb, vpc)
        if verb == "delete":
            self._forget(vpc, *self.subnets.pop(vpc))
            self.groups.pop(vpc, None)
            self.nat.discard(vpc)
            self.wide.discard(vpc)
            self.named.discard(vpc)
            self.leasing.discard(vpc)
            self.peers = {pair for pair in self.peers if vpc not in pair}
        elif verb == "widen":
            self.wide.add(vpc)
        elif verb in ("name", "unname", "lease", "unlease"):
            return self._serve(verb, vpc)
        elif verb == "narrow":
            if vpc not in self.wide or "z" in self.subnets[vpc]:
                return False
            self.wide.discard(vpc)
        else:
            (self.nat.add if verb == "enable" else self.nat.discard)(vpc)
        return True

    def _serve(self, verb: str, vpc: str) -> bool:
        """DNS and DHCP: the second needs the first."""
        if (verb == "lease" and vpc not in self.named) or (verb == "unname" and vpc in self.leasing):
            return False
        served = self.named if verb.endswith("name") else self.leasing
        (served.discard if verb.startswith("un") else served.add)(vpc)
        return True

    def _on_group(self, verb: str, vpc: str) -> bool:
        there = vpc in self.groups
        if verb == "group":
            self.groups.setdefault(vpc, False)
        elif verb == "allow" and there:
            self.groups[vpc] = True
        elif verb == "ungroup" and there and not any(one == vpc for one, _ in self.members):
            del self.groups[vpc]
        else:
            return False
        return True

    def _on_pair(self, verb: str, vpc: str, other: str) -> bool:
        if verb in ("peer", "unpeer"):
            pair = frozenset((vpc, other))
            there = other in self.subnets and (pair in self.peers if verb == "unpeer" else vpc != other)
            if there:
                (self.peers.add if verb == "peer" else self.peers.discard)(pair)
            return there
        if verb == "add":
            if other == "z" and vpc not in self.wide:
                return False
            self.subnets[vpc].add(other)
            return True
        place = (vpc, other)
        if other not in self.subnets[vpc] or (verb == "stop" and place not in self.running) \
                or (verb in ("join", "leave") and vpc not in self.groups):
            return False
        if verb in ("attach", "detach"):
            return self._attach(verb, place)
        if verb == "remove":
            self.subnets[vpc].discard(other)
            self._forget(vpc, other)
        else:
            found = {"close": self.closed, "open": self.closed, "join": self.members,
                     "leave": self.members}.get(verb, self.running)
            (found.add if verb in ("close", "run", "join") else found.discard)(place)
        return True

    def _attach(self, verb: str, place: tuple[str, str]) -> bool:
        if self.guest not in ((place, None) if verb == "attach" else (place,)):
            return False
        self.guest = place if verb == "attach" else None
        return True

    def _forget(self, vpc: str, *subnets: str) -> None:
        gone = {(vpc, subnet) for subnet in subnets}
        self.closed -= gone
        self.running -= gone
        self.guest = None if self.guest in gone else self.guest
        self.members -= gone

    def reaches(self, one: tuple[str, str], other: tuple[str, str]) -> bool:
        """Whether a ping gets from one subnet to another."""
        joined = one[0] == other[0] or frozenset((one[0], other[0])) in self.peers
        if other in self.members:
            return one in self.members and one[0] == other[0] and self.groups[one[0]]
        return other not in self.closed and joined


def part(vpc: str, subnet: str) -> str:
    """The first three bytes of a subnet's addresses."""
    return f"{MORE[vpc]}.1" if subnet == "z" else f"{CIDRS[vpc]}.{1 if subnet == 'x' else 2}"


def words(policy: str, rules: str, verb: str, *what: str) -> list[str]:
    """The command line of a step."""
    vpc, other = (*what, "", "")[:2]
    place = ["--vpc", vpc, "--subnet", other]
    lines: dict[str, Callable[[], list[str]]] = {
        "create": lambda: ["vpc", "create", "--name", vpc, "--cidr", f"{CIDRS[vpc]}.0.0/16"],
        "delete": lambda: ["vpc", "delete", "--name", vpc],
        "enable": lambda: ["nat", "enable", "--vpc", vpc],
        "disable": lambda: ["nat", "disable", "--vpc", vpc],
        "name": lambda: ["dns", "enable", "--vpc", vpc],
        "unname": lambda: ["dns", "disable", "--vpc", vpc],
        "lease": lambda: ["dhcp", "enable", "--vpc", vpc],
        "unlease": lambda: ["dhcp", "disable", "--vpc", vpc],
        "add": lambda: ["subnet", "add", "--vpc", vpc, "--name", other, "--type",
                        "private" if other == "y" else "public", "--cidr", f"{part(vpc, other)}.0/24"],
        "widen": lambda: ["vpc", "set", "--name", vpc, "--add-cidr", f"{MORE[vpc]}.0.0/16"],
        "narrow": lambda: ["vpc", "set", "--name", vpc, "--remove-cidr", f"{MORE[vpc]}.0.0/16"],
        "remove": lambda: ["subnet", "delete", "--vpc", vpc, "--name", other],
        "close": lambda: ["firewall", "apply", *place, "--policy", policy],
        "open": lambda: ["firewall", "clear", *place],
        "run": lambda: ["deploy", "run", *place, "--name", "worker", "--", "sleep", "1009"],
        "stop": lambda: ["deploy", "stop", *place, "--name", "worker"],
        "peer": lambda: ["peer", "create", "--vpc1", vpc, "--vpc2", other],
        "unpeer": lambda: ["peer", "delete", "--vpc1", vpc, "--vpc2", other],
        "attach": lambda: ["instance", "attach", *place, "--name", "lab", "--netns", "/run/netns/other",
                           "--interface", "vpc0"],
        "detach": lambda: ["instance", "detach", *place, "--name", "lab"],
        "group": lambda: ["group", "create", "--vpc", vpc, "--name", "g"],
        "allow": lambda: ["group", "apply", "--vpc", vpc, "--name", "g", "--policy", rules],
        "ungroup": lambda: ["group", "delete", "--vpc", vpc, "--name", "g"],
        "join": lambda: ["group", "join", *place, "--name", "g"],
        "leave": lambda: ["group", "leave", *place, "--name", "g"],
        "restore": lambda: ["restore"],
    }
    return lines[verb]()


def compare(host: Host, model: Model) -> None:
    """Namespaces, routes, processes and packets; and vpcctl itself has to call it in sync."""
    places = sorted((vpc, subnet) for vpc, subnets in model.subnets.items() for subnet in subnets)
    spaces = {*model.subnets, *(f"{vpc}-{subnet}" for vpc, subnet in places)}
    spaces |= {f"{'-'.join(model.guest)}.lab"} if model.guest else set()
    assert set(host.sh("ls /run/netns").split()) == spaces | {"internet", "other", "vpc1-elsewhere"}
    routes = host.sh("ip route")
    for vpc, prefix in CIDRS.items():
        assert (f"{prefix}.0.0/16 via" in routes) == (vpc in model.subnets), routes
        assert (f"{MORE[vpc]}.0.0/16 via" in routes) == (vpc in model.wide), routes
    assert host.sh("pgrep -fc '^sleep 1009' || true").strip() == str(len(model.running))
    addresses = {place: f"{part(*place)}.2" for place in places}
    targets = [(place, address) for place, address in addresses.items()] + [(None, "8.8.8.8")]
    asked = [(place, other, target) for place in places if place not in model.closed
             for other, target in targets if other != place]
    answers = host.probe(*(("-".join(place), target) for place, _, target in asked), patience=0.6)
    for (place, other, target), answer in zip(asked, answers, strict=True):
        outward = place[0] in model.nat and place[1] != "y"
        expected = outward if other is None else model.reaches(place, other)
        assert (answer.verdict == REACHED) == expected, (place, target, answer)
        assert answer.verdict in (REACHED, *UNREACHED)
    if model.guest:
        (answer,) = host.probe(("-".join(model.guest), f"{part(*model.guest)}.4"), patience=0.6)
        assert (answer.verdict == REACHED) == (model.guest not in model.closed), answer
    assert ("vpc0" in host.sh("ip link; iptables-save", "other")) == (model.guest is not None)
    compare_names(host, model)
    status = host.vpcctl("status")
    assert status.code == 0, status


def compare_names(host: Host, model: Model) -> None:
    """A server for each VPC with DNS, which knows its machines, and those of peers with DNS; and leases."""
    assert host.sh("pgrep -xc dnsmasq || true").strip() == str(len(model.named))
    known = {f"{subnet}.{vpc}.internal": (vpc, f"{part(vpc, subnet)}.2")
             for vpc, subnets in model.subnets.items() for subnet in subnets}
    for vpc in sorted(model.named):
        held = host.run("cat", f"/run/vpcctl/{vpc}.dhcp/hosts").out
        assert {address for _, address in known.values() if f",{address}," in held} == {
            address for home, address in known.values() if home == vpc and vpc in model.leasing}
        if not model.subnets[vpc]:
            continue
        told = host.inside(f"{vpc}-{min(model.subnets[vpc])}", "getent", "hosts", *sorted(known)).out
        expected = {name: address for name, (home, address) in known.items()
                    if home == vpc or (home in model.named and frozenset((home, vpc)) in model.peers)}
        assert dict(line.split()[1::-1] for line in told.splitlines()) == expected, vpc


@pytest.fixture(scope="module")
def module_host(tmp_path_factory: pytest.TempPathFactory) -> Any:
    host = Host(tmp_path_factory.mktemp("model"))
    yield host
    host.end()


@pytest.mark.long
@settings(max_examples=150 if LONG else 3, deadline=None, suppress_health_check=list(HealthCheck),
          phases=(Phase.generate,))
@given(steps=st.lists(COMMANDS, min_size=5, max_size=20 if LONG else 9))
def test_any_sequence_of_commands(module_host: Host, steps: list[tuple[str, ...]]) -> None:
    host, model = module_host, Model()
    policy, rules = host.write("policy.json", CLOSED), host.write("group.json", ALLOWED)
    try:
        for step in (("create", "a"), ("add", "a", "x"), ("create", "b"), ("add", "b", "y"),
                     ("group", "a"), ("allow", "a"), ("join", "a", "x"), ("widen", "a"), ("add", "a", "z"),
                     ("name", "a"), ("lease", "a"),
                     *steps):
            fine = model.step(*step)
            done = host.vpcctl(*words(policy, rules, *step))
            assert (done.code == 0) == fine, (step, done)
            assert "Traceback" not in done.err, done
            compare(host, model)
    finally:
        host.delete_all()
    host.check_same(host.before)

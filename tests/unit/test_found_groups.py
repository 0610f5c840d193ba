"""The groups that a router lists once the record is lost, and what of them can't be believed."""

from __future__ import annotations

from ipaddress import IPv4Network
from typing import Any

import pytest

from vpcctl_lib.engine.found_groups import groups, memberships
from vpcctl_lib.firewall.group_words import in_words
from vpcctl_lib.kernel.reader import Kernel, Unreadable
from vpcctl_lib.model.naming import GROUP_SET
from vpcctl_lib.model.policies import Action, Group, Policy, Protocol, Rule
from vpcctl_lib.model.topology import Vpc

VPC = Vpc("vpc1", IPv4Network("10.0.0.0/16"))
ALLOWS = Rule(Protocol.TCP, Action.ALLOW)


class Router(Kernel):
    """One whose table of groups has these: by name, the ports of the members and the rules in words."""

    def __init__(self, listed: dict[str, tuple[list[str], tuple[str, ...]]] | None) -> None:
        self.listed = listed

    def ip_table(self, namespace: str, name: str, *_: object) -> list[dict[str, Any]] | None:
        """As nft prints it."""
        if self.listed is None:
            raise Unreadable(namespace, name, "nft is damaged")
        return [item for group, (ports, rules) in self.listed.items() for item in (
            {"set": {"name": f"{GROUP_SET}{group}", "elem": ports}},
            {"chain": {"name": f"{GROUP_SET}{group}"}},
            *({"rule": {"chain": f"{GROUP_SET}{group}", "comment": rule}} for rule in rules))]


def found(kernel: Kernel) -> tuple[list[Group], list[str]]:
    """The groups, and what is said of them."""
    notes: list[str] = []
    return list(groups(kernel, VPC, (), notes)), notes


@pytest.mark.parametrize("policy", [Policy((ALLOWS,)), Policy((), (ALLOWS,)), Policy((ALLOWS,), (ALLOWS,))])
def test_of_a_group_with_rules_their_descriptions_are_unknown(policy: Policy) -> None:
    kernel = Router({"web": ([], in_words(policy))})
    told = "descriptions in group 'web' of VPC 'vpc1' are unknown"
    assert found(kernel) == ([Group("web", policy)], [told])


@pytest.mark.parametrize("policy", [Policy(), Policy((), ())])
def test_of_a_group_without_rules_nothing_is_unknown(policy: Policy) -> None:
    assert found(Router({"web": ([], in_words(policy))})) == ([Group("web", policy)], [])


@pytest.mark.parametrize(("name", "rules"), [
    ("web", ("somebody's",)), ("web", ()), ("Web_1", in_words(Policy())), ("a" * 32, in_words(Policy()))])
def test_what_no_vpcctl_lists_is_told_and_has_no_members(name: str, rules: tuple[str, ...]) -> None:
    kernel = Router({name: (["i-a", "i-b"], rules), "data": (["i-b"], in_words(Policy()))})
    told = f"group '{name}' of VPC 'vpc1' can't be rebuilt: its rules are not as vpcctl lists them"
    assert found(kernel) == ([Group("data")], [told])
    assert memberships(kernel, "vpc1") == {"i-b": ("data",)}


def test_a_machine_s_groups_come_by_name() -> None:
    known = in_words(Policy())
    both = ["i-b", "i-a"]
    kernel = Router({"web": (both, known), "data": (["i-b"], known), "ops": (both, known)})
    assert memberships(kernel, "vpc1") == {"i-a": ("ops", "web"), "i-b": ("data", "ops", "web")}


def test_where_the_table_can_t_be_read_there_is_no_group() -> None:
    assert found(Router(None)) == ([], [])
    assert memberships(Router(None), "vpc1") == {}


def test_where_there_is_no_table_there_is_no_group(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(Router, "ip_table", lambda *_: None)
    assert found(Router({})) == ([], [])

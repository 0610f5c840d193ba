"""What bears our mark though nothing in the record is it."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from vpcctl_lib.blueprint import blueprint
from vpcctl_lib.engine import strays as module
from vpcctl_lib.engine.strays import cables, is_marked, is_ours, mark_of, strange_cables, strays
from vpcctl_lib.kernel import proc
from vpcctl_lib.kernel.saves import Saved
from vpcctl_lib.model import names
from vpcctl_lib.model.addressing import Family
from vpcctl_lib.model.naming import HOST_FORWARD, device
from vpcctl_lib.model.topology import Topology, Vpc
from vpcctl_lib.record.ledger import Entry, State
from vpcctl_lib.resources import Chain, File, Folder, Hosts, Resource, SingleRule, Veth

MARKED = '-s 10.0.0.0/16 -m comment --comment "vpcctl:vpc1/nat" -j ACCEPT'
OTHERS = '-s 192.0.2.0/24 -m comment --comment "mine" -j ACCEPT'
SPELT = OTHERS.replace("mine", "not vpcctl:vpc1/nat")


class Held:
    """What the host holds."""

    def __init__(self, links: dict[str, dict[str, Any]] | None = None, **chains: tuple[str, ...]) -> None:
        self.held = links or {}
        lines = [f":{name} - [0:0]" for name in chains]
        lines += [f"-A {name} {rule}" for name, rules in chains.items() for rule in rules]
        self.saved = Saved("\n".join(["*filter", *lines, "COMMIT", ""]))

    def chains(self, namespace: str, family: Family = Family.INET) -> Saved:
        assert namespace == ""
        return self.saved

    def link(self, namespace: str, device: str) -> dict[str, Any] | None:
        return self.held.get(device)


@pytest.fixture(autouse=True)
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where files for namespaces are."""
    monkeypatch.setattr(module, "NAMESPACE_FILES", str(tmp_path))
    monkeypatch.setattr(module, "FILES", str(tmp_path / "names"))
    return tmp_path


def found(kernel: Any, *recorded: Resource) -> list[Resource]:
    return strays(kernel, [Entry(one) for one in recorded])


@pytest.mark.parametrize(("rule", "mark"), [
    (MARKED, "vpcctl:vpc1/nat"), (OTHERS, ""), (SPELT, ""), ("-j ACCEPT", ""), ("-m comment --comment", ""),
    ("-j vpcctl:vpc1", "")])
def test_the_mark_of_a_rule_is_in_its_comment(rule: str, mark: str) -> None:
    assert mark_of(rule) == mark


def test_a_chain_of_our_name_is_ours_if_it_is_empty_or_one_rule_is_marked() -> None:
    assert is_ours(())
    assert is_ours((OTHERS, MARKED))
    assert not is_ours((OTHERS,))


def test_chains_that_the_record_lacks() -> None:
    kernel = Held(**{HOST_FORWARD: (OTHERS, MARKED), "USER": (OTHERS,)})
    chain = Chain("", "filter", HOST_FORWARD, (OTHERS, MARKED))
    assert found(kernel) == [chain]
    assert found(kernel, chain) == []
    assert found(kernel, SingleRule("filter", "FORWARD", OTHERS)) == [chain]
    # Somebody's own of that name is not ours.
    assert found(Held(**{HOST_FORWARD: (OTHERS,)})) == []


@pytest.mark.parametrize("rule", [MARKED, f"-j {HOST_FORWARD}", f"-p tcp -g {HOST_FORWARD}"])
def test_rules_that_are_marked_or_lead_to_us(rule: str) -> None:
    kernel = Held(FORWARD=(OTHERS, rule, "-j DROP"))
    ours = SingleRule("filter", "FORWARD", rule)
    assert found(kernel) == [ours]
    assert found(kernel, ours) == []
    assert found(kernel, SingleRule("nat", "FORWARD", rule)) == [ours], "another table is another rule"
    assert found(kernel, SingleRule("filter", "INPUT", rule)) == [ours]


@pytest.mark.parametrize("rule", [OTHERS, SPELT, "-j VPCCTL-OTHER", "-j DROP", "-i VPCCTL-x -j USER",
                                  f"-m comment --comment {HOST_FORWARD} -j DROP"])
def test_rules_of_others(rule: str) -> None:
    assert found(Held(FORWARD=(rule,), USER=(rule,))) == []


def test_rules_that_say_the_same_are_told_apart() -> None:
    assert found(Held(FORWARD=(MARKED, MARKED, MARKED), INPUT=(MARKED,))) == [
        *(SingleRule("filter", "FORWARD", MARKED, alike=number) for number in range(3)),
        SingleRule("filter", "INPUT", MARKED)]
    # As the kernel spells a rule of the record is no matter.
    spelt = SingleRule("filter", "FORWARD", "-s 10.0.0.0/16 -j ACCEPT -m comment --comment vpcctl:vpc1/nat")
    assert found(Held(FORWARD=(MARKED,)), spelt) == []


def test_files_that_the_record_lacks(files: Path) -> None:
    for name, text in (("vpc1-b", "# vpcctl:vpc1/b\n"), ("vpc1-a", "# vpcctl:vpc1/a\n"),
                       *((f"vpc1-{more}", f"# vpcctl:vpc1/{more}\n") for more in "fced"),
                       ("mine", "nameserver x\n"), ("later", "x\n# vpcctl:vpc1/a\n")):
        (files / name).mkdir()
        (files / name / "resolv.conf").write_text(text)
    (files / "odd/resolv.conf").mkdir(parents=True)
    ours = [one for name in "abcdef"
            for one in (Folder(str(files / f"vpc1-{name}")),
                        File(str(files / f"vpc1-{name}/resolv.conf"), f"# vpcctl:vpc1/{name}\n"))]
    assert found(Held()) == ours
    assert found(Held(), File(str(files / "vpc1-a/resolv.conf"), "whatever")) == ours[2:]


def test_cables_that_rules_of_ours_are_for_and_the_record_lacks(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    free = ("vpc-free", "vpc-\udce4")
    names = ("vpc-first", "vpc-in", "vpc-out", "vpc-mine", "vpc-known", "other", *free)
    devices = tmp_path / "dev"
    devices.write_text("Inter-|\n face |\n" + "".join(f"{name}: 0 0\n" for name in names),
                       errors="surrogateescape")
    monkeypatch.setattr(proc, "NETWORK", devices.parent)
    links = {name: {"ifname": name, "ifalias": f"vpcctl:{name}"} for name in names}
    links["vpc-mine"]["ifalias"] = "mine"
    rules = ("-j DROP", *(f"-i {name} -j DROP" for name in names if name not in ("vpc-out", *free)),
             "-o vpc-out -j DROP")
    known = cables(State(ledger=(Entry(Veth("", "vpc-known", "known", "uplink")),
                                 Entry(Veth("a", "vpc-in", "b", "eth0")))))
    kernel: Any = Held(links, **{HOST_FORWARD: rules})
    assert strange_cables(kernel, known) == ["vpc-first", "vpc-in", "vpc-out"]
    others: Any = Held(links, USER=rules)
    assert strange_cables(others, known) == []
    plain: Any = Held({})
    assert strange_cables(plain, ()) == []


def test_the_cables_of_a_ledger_that_follows_from_its_topology() -> None:
    long = "a-name-that-is-too-long"
    topology = Topology(tuple(Vpc(name, IPv4Network("10.0.0.0/16")) for name in ("a", long)))
    state = State(topology, tuple(map(Entry, blueprint(topology))))
    found = {name for name in cables(state) if " " not in name}
    assert found == cables(replace(state, parts=(1,))) == {"vpc-a", device("vpc-", long)}


def test_whether_a_link_is_marked() -> None:
    kernel: Any = Held({"a": {"ifalias": "vpcctl:a"}, "b": {"ifalias": "b"}, "c": {}})
    assert [is_marked(kernel, "", name) for name in "abcd"] == [True, False, False, False]


def test_files_with_names_that_no_resource_is(files: Path) -> None:
    ours, others = (files / "names" / name / "hosts" for name in ("vpc1", "mine"))
    for path, owner in ((ours, "vpcctl:vpc1"), (others, "mine")):
        path.parent.mkdir(parents=True)
        path.write_text(f"# {owner}\n10.0.1.2 web\n")
    assert found(Held()) == [Folder(str(ours.parent)), File(str(ours), "# vpcctl:vpc1\n10.0.1.2 web\n")]
    assert found(Held(), Hosts(str(ours), "vpcctl:vpc1")) == []
    assert found(Held(), File(str(ours), "")) == []


def test_orders_of_a_collector_that_no_resource_is(files: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(names, "FILES", str(files / "names"))
    orders = files / "names" / "flow.logs"
    orders.mkdir(parents=True)
    (orders / "vpc1").write_text("# vpcctl:vpc1\n")
    assert found(Held()) == [Folder(str(orders)), File(str(orders / "vpc1"), "# vpcctl:vpc1\n")]


def test_a_chain_comes_after_those_that_it_leads_to() -> None:
    """So that it is unmade before them: the kernel keeps a chain to which a rule leads."""
    held = Held(**{"VPCCTL-FORWARD": ("-j VPCCTL-PUBLISHED", "-j VPCCTL-ELASTIC", MARKED),
                   "VPCCTL-ELASTIC": ("-g VPCCTL-ELASTIC-TO", MARKED), "VPCCTL-ELASTIC-TO": (MARKED,),
                   "VPCCTL-PUBLISHED": (MARKED,)})
    names = [one.name for one in found(held) if isinstance(one, Chain)]
    assert names == ["VPCCTL-ELASTIC-TO", "VPCCTL-PUBLISHED", "VPCCTL-ELASTIC", "VPCCTL-FORWARD"]


def test_a_link_that_is_called_like_a_chain_is_none() -> None:
    held = Held(**{"VPCCTL-FORWARD": ("-j VPCCTL-INPUT", MARKED),
                   "VPCCTL-INPUT": (f"-i VPCCTL-FORWARD {MARKED}", MARKED)})
    assert [one.name for one in found(held) if isinstance(one, Chain)] == ["VPCCTL-INPUT", "VPCCTL-FORWARD"]


def test_chains_that_lead_to_each_other_are_found_once_each() -> None:
    """The kernel has none, but a listing may begin before a change and end after it."""
    held = Held(**{"VPCCTL-FORWARD": ("-j VPCCTL-INPUT", MARKED),
                   "VPCCTL-INPUT": ("-j VPCCTL-FORWARD", MARKED)})
    assert [one.name for one in found(held) if isinstance(one, Chain)] == ["VPCCTL-FORWARD", "VPCCTL-INPUT"]

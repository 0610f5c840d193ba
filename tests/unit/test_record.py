"""The record through the versions, its backup, and what is said when it is lost."""

from __future__ import annotations

import fcntl
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.model.topology import OWN, Machine, Peering, Topology, Variant
from vpcctl_lib.model.workloads import Workload
from vpcctl_lib.record import document
from vpcctl_lib.record.ledger import Entry, State
from vpcctl_lib.record.store import Store

VERSION_1 = """{"version": 1,
"topology": {"vpcs": [{"name": "vpc1", "cidr": "10.0.0.0/16"}]},
"ledger": [
{"kind": "namespace", "name": "vpc1", "owner": "vpcctl:vpc1"}
]}
"""
"""As the first release wrote it."""


def test_a_file_of_version_1(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text(VERSION_1)
    loaded = Store(tmp_path).load()
    assert [vpc.name for vpc in loaded.topology.vpcs] == ["vpc1"]
    assert [str(entry.resource) for entry in loaded.ledger] == ["namespace vpc1"]
    assert loaded.iptables is None, "version 1 did not know which one holds the rules"
    Store(tmp_path).save(loaded)
    assert json.loads((tmp_path / "state.json").read_text())["version"] == document.VERSION


RECORDED = Path(__file__).with_name("recorded")
"""What each older vpcctl wrote: two peered VPCs, NAT, a policy, a web server and a program."""


def of_the_host(topology: Topology) -> Topology:
    """The network with nothing in it that an older version did not know of the host."""
    return replace(topology, iptables=None, guarded=None, quotes=None, forwarding=None,
                   front=None)


@pytest.mark.parametrize("version", sorted(document.MIGRATIONS))
def test_what_an_older_version_wrote_is_read(version: int, tmp_path: Path) -> None:
    shutil.copy(RECORDED / f"state-{version}.json", tmp_path / "state.json")
    state = Store(tmp_path).load()
    public, private = state.topology.vpcs[0].subnets
    assert public.machines == (Machine(workloads=(Workload("webserver-8080", port=8080),)),)
    assert private.machines == (Machine(workloads=(Workload("worker", ("sleep", "infinity")),)),)
    assert state.topology.vpcs[1].subnets[0].machines == (OWN,)
    assert state.topology.peerings == (Peering("vpc1", "vpc2"),)
    (tmp_path / "newer").mkdir()
    shutil.copy(RECORDED / "state-3.json", tmp_path / "newer/state.json")
    assert of_the_host(state.topology) == of_the_host(document.topology(tmp_path / "newer"))
    assert document.topology(tmp_path) == state.topology
    with Store(tmp_path).locked():
        Store(tmp_path).save(state)
    assert Store(tmp_path).load() == state
    assert json.loads((tmp_path / "state.json").read_text())["version"] == document.VERSION


def test_a_record_in_the_middle_of_a_change_is_read_too(tmp_path: Path) -> None:
    data = json.loads((RECORDED / "state-3.json").read_text())
    (tmp_path / "state.json").write_text(json.dumps({**data, "previous": data["topology"]}))
    state = Store(tmp_path).load()
    assert state.previous == state.topology


def test_each_old_version_has_its_way_to_the_next() -> None:
    assert sorted(document.MIGRATIONS) == list(range(1, document.VERSION))


def test_old_versions_go_step_by_step(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def renamed(data: dict[str, Any]) -> dict[str, Any]:
        return {**data, "topology": data["network"]}

    def unwrapped(data: dict[str, Any]) -> dict[str, Any]:
        return {**data, "network": data["network"]["it"]}

    monkeypatch.setattr(document, "MIGRATIONS", {**document.MIGRATIONS, -1: unwrapped, 0: renamed})
    network = {"it": {"vpcs": [{"name": "vpc1", "cidr": "10.0.0.0/16"}]}}
    file = tmp_path / "state.json"
    file.write_text(json.dumps({"version": -1, "network": network, "ledger": []}))
    store = Store(tmp_path)
    assert [vpc.name for vpc in store.load().topology.vpcs] == ["vpc1"]
    store.save(store.load())
    assert json.loads(file.read_text())["version"] == document.VERSION
    file.write_text('{"version": -1, "ledger": []}')
    with pytest.raises(VpcctlError, match="not a record of version -1"):
        store.load()


def test_the_backup_is_the_last_one_with_nothing_under_way(tmp_path: Path) -> None:
    store = Store(tmp_path)
    store.save(State())
    good = (tmp_path / "state.json.bak").read_text()
    store.save(State(previous=State().topology))
    assert (tmp_path / "state.json.bak").read_text() == good
    assert (tmp_path / "state.json").read_text() != good


@pytest.mark.parametrize("rest", [0, 1, 40, 150])
def test_one_that_was_cut_short_names_its_backup(tmp_path: Path, rest: int) -> None:
    store = Store(tmp_path)
    store.save(State())
    (tmp_path / "state.json").write_text(VERSION_1[:rest])
    with pytest.raises(VpcctlError, match="is damaged") as caught:
        store.load()
    assert f"cp {tmp_path}/state.json.bak {tmp_path}/state.json" in caught.value.hint
    assert "restore --from-kernel" in caught.value.hint
    (tmp_path / "state.json").unlink()
    with pytest.raises(VpcctlError, match="is missing, but its backup exists"):
        store.load()


def test_who_holds_the_lock_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vpcctl_lib.record.store.LOCK_SECONDS", 0.05)
    with (tmp_path / "lock").open("w") as held:
        held.write("4711\n")
        held.flush()
        fcntl.flock(held, fcntl.LOCK_EX)
        with pytest.raises(VpcctlError, match=r"another vpcctl \(pid 4711\)"), Store(tmp_path).locked():
            pass


def test_what_is_under_way_does_not_show(tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text(VERSION_1)
    whole = Store(tmp_path).load()
    Store(tmp_path).save(State(State().topology, (Entry(whole.ledger[0].resource),), whole.topology))
    assert document.topology(tmp_path) == whole.topology
    assert Store(tmp_path).load().settled == whole.topology


@pytest.mark.parametrize(("now", "before", "found"), [
    (Variant.NFT, None, Variant.NFT), (None, None, None), (Variant.NFT, Variant.LEGACY, Variant.NFT),
    (None, Variant.LEGACY, Variant.LEGACY)])
def test_the_iptables_with_our_rules_is_known_while_a_change_takes_the_last_of_them_away(
        now: Variant | None, before: Variant | None, found: Variant | None) -> None:
    assert State(Topology(iptables=now), (), before and Topology(iptables=before)).iptables is found

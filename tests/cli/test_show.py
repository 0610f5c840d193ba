"""What is recorded, as tables for people and as JSON for programs; pipes get whole lines and no colour."""

from __future__ import annotations

import json
import re
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest

from vpcctl_lib.kernel import run
from vpcctl_lib.kernel.run import Command, Outcome
from vpcctl_lib.model.topology import Machine, Subnet, Topology, Vpc
from vpcctl_lib.record.ledger import State

LISTS = {"vpc list": "vpcs", "subnet list": "subnets", "peer list": "peerings", "deploy list": "workloads"}
SHOWS = {"vpc show --name vpc1": "vpc", "firewall show --vpc vpc1 --subnet public": "firewall"}


def document(done: Any) -> Any:
    assert (done.code, done.err) == (0, "")
    found = json.loads(done.out)
    assert found.pop("version") == 1
    (thing,) = found.values()
    return thing


@pytest.mark.parametrize("words", LISTS)
@pytest.mark.parametrize("uid", [0, 1000])
def test_an_empty_list_says_how_to_begin(words: str, uid: int, vpcctl: Any) -> None:
    done = vpcctl(*words.split(), uid=uid)
    assert (done.code, done.out) == (0, "")
    assert done.err.startswith("vpcctl: no ")
    assert done.err.count("\n") == 1
    assert json.loads(vpcctl(*words.split(), "--json", uid=uid).out) == {"version": 1, LISTS[words]: []}
    assert not vpcctl.folder.exists()


@pytest.mark.parametrize("words", [*LISTS, *SHOWS])
def test_one_document_under_its_name(words: str, prepared: Any) -> None:
    found = json.loads(prepared(*words.split(), "--json").out)
    assert list(found) == ["version", {**LISTS, **SHOWS}[words]]


def test_vpcs(prepared: Any) -> None:
    assert prepared("vpc", "list").out.splitlines() == [
        "NAME  CIDR            GATEWAY      BRIDGE   SUBNETS          NAT   PEERS",
        "vpc1  10.0.0.0/16     10.0.0.1     br-vpc1  public, private  eth0  vpc2",
        "vpc2  172.16.0.0/16   172.16.0.1   br-vpc2  web              -     vpc1",
        "vpc3  192.168.0.0/24  192.168.0.1  br-vpc3  -                -     -",
    ]
    one, two, three = document(prepared("vpc", "list", "--json"))
    assert (one["name"], one["cidr"], one["gateway"], one["bridge"]) == (
        "vpc1", "10.0.0.0/16", "10.0.0.1", "br-vpc1")
    assert (one["nat"], one["peers"]) == ({"interface": "eth0", "auto": False}, ["vpc2"])
    assert [subnet["name"] for subnet in one["subnets"]] == ["public", "private"]
    assert (two["nat"], three["subnets"], three["peers"]) == (None, [], [])


def test_a_vpc_with_its_route_table(prepared: Any) -> None:
    done = prepared("vpc", "show", "--name", "vpc1")
    for line in ("CIDR: +10.0.0.0/16", "NAT: +eth0", "Peers: +vpc2", "172.16.0.0/16 +pcx-vpc2",
                 "10.0.0.0/16 +local", "0.0.0.0/0 +nat", "public +10.0.1.0/24 +public"):
        assert re.search(rf"^{line}\b", done.out, re.MULTILINE), line
    routes = document(prepared("vpc", "show", "--name", "vpc1", "--json"))["routes"]
    assert routes == [{"destination": "10.0.0.0/16", "target": "local"},
                      {"destination": "0.0.0.0/0", "target": "nat"},
                      {"destination": "172.16.0.0/16", "target": "pcx-vpc2"}]


def test_subnets(prepared: Any) -> None:
    assert [one["vpc"] for one in document(prepared("subnet", "list", "--json"))] == ["vpc1", "vpc1", "vpc2"]
    public, private = document(prepared("subnet", "list", "--vpc", "vpc1", "--json"))
    shall = {
        "vpc": "vpc1", "name": "public", "cidr": "10.0.1.0/24", "type": "public", "namespace": "vpc1-public",
        "address": "10.0.1.2", "gateway": "10.0.0.1", "firewall": True,
        "workloads": ["webserver-80", "worker"]}
    assert {key: public[key] for key in shall} == shall
    assert (private["type"], private["firewall"]) == ("private", False)
    rows = prepared("subnet", "list", "--vpc", "vpc2").out.splitlines()
    assert rows[1].split() == ["vpc2", "web", "172.16.1.0/24", "private", "vpc2-web", "172.16.1.2", "open"]


def test_peerings(prepared: Any) -> None:
    assert document(prepared("peer", "list", "--json")) == [
        {"vpc1": "vpc1", "vpc2": "vpc2", "cidr1": "10.0.0.0/16", "cidrs1": [],
         "cidr2": "172.16.0.0/16", "cidrs2": []}]
    assert prepared("peer", "list").out.splitlines()[1].split() == [
        "vpc1", "10.0.0.0/16", "vpc2", "172.16.0.0/16"]


def test_workloads(prepared: Any) -> None:
    server, worker = document(prepared("deploy", "list", "--json"))
    assert (server["name"], server["port"], server["url"]) == ("webserver-80", 80, "http://10.0.1.2:80")
    assert (worker["name"], worker["command"], worker["url"]) == ("worker", ["sleep", "infinity"], None)
    assert (worker["state"], worker["pid"]) == ("stopped", None)
    assert document(prepared("deploy", "list", "--vpc", "vpc2", "--json")) == []
    rows = prepared("deploy", "list").out.splitlines()
    assert rows[2].split() == ["vpc1", "public", "worker", "stopped", "-", "sleep", "infinity"]


def test_the_log_of_a_workload(prepared: Any) -> None:
    words = ("deploy", "logs", "--vpc", "vpc1", "--subnet", "public", "--name", "worker")
    assert "can't read" in prepared(*words).one_line()
    log = prepared.folder / "logs/vpc1/public/worker.log"
    log.parent.mkdir(parents=True)
    log.write_bytes(b"one\ntwo \xff\n")
    assert prepared(*words).out == "one\ntwo \N{REPLACEMENT CHARACTER}\n"
    assert document(prepared(*words, "--json"))["lines"] == ["one", "two \N{REPLACEMENT CHARACTER}"]


SAVED = "[3:180] -A INPUT -p tcp -m tcp --dport 80 -m comment --comment \"vpcctl:ingress[0]\" -j ACCEPT\n"


def test_a_policy_with_its_counters(prepared: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def save(command: Command, **_: object) -> Outcome:
        # With counters; and all tables, of which one may be dormant.
        whole = f"*filter\n{SAVED.partition(' ')[2]}COMMIT\n"
        saves = {"iptables-save -c -t filter": SAVED, "iptables-save": whole}
        return Outcome(command, 0, saves[str(command).removeprefix("ip netns exec vpc1-public ")], "", 0.0)

    monkeypatch.setattr(run, "_run", save)
    words = ("firewall", "show", "--vpc", "vpc1", "--subnet", "public")
    view = document(prepared(*words, "--json"))
    assert view["counters"] == {"ingress[0]": {"packets": 3, "bytes": 180}}
    assert view["policy"]["ingress"][1] == {
        "port": "8000-8100", "protocol": "tcp", "action": "deny", "source": "10.0.0.0/16"}
    first, second = prepared(*words).out.splitlines()[1:3]
    assert first.split() == ["ingress[0]", "allow", "tcp", "80", "any", "3", "180", "the", "[web]"]
    assert second.split() == ["ingress[1]", "deny", "tcp", "8000-8100", "10.0.0.0/16", "?", "?"]


def test_a_subnet_without_a_policy(prepared: Any) -> None:
    words = ("firewall", "show", "--vpc", "vpc1", "--subnet", "private")
    assert prepared(*words).out == "vpc1/private has no policy: all traffic is open\n"
    assert document(prepared(*words, "--json"))["policy"] is None


@pytest.mark.parametrize("words", [*LISTS, "vpc show --name vpc1"])
def test_a_pipe_gets_whole_lines_without_colour(words: str, prepared: Any) -> None:
    wide = prepared(*words.split())
    narrow = prepared(*words.split(), COLUMNS="20", TERM="xterm", FORCE_COLOR="1", CLICOLOR_FORCE="1")
    assert narrow == wide
    assert "\x1b" not in wide.out
    assert all(line == line.rstrip() for line in wide.out.splitlines())


@pytest.mark.parametrize("words", [*LISTS, "vpc show --name vpc1", "vpc show --name nosuch"])
def test_no_color_is_obeyed_even_on_a_terminal(
        words: str, prepared: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda _: True)
    monkeypatch.setenv("COLUMNS", "100")
    plain = prepared(*words.split(), NO_COLOR="1", TERM="xterm")
    assert "\x1b[" not in plain.out + plain.err
    coloured = prepared(*words.split(), NO_COLOR="", TERM="xterm")
    assert "\x1b[" in coloured.out + coloured.err


@pytest.mark.parametrize("words", [*LISTS, *SHOWS])
def test_reading_writes_nothing(words: str, prepared: Any) -> None:
    before = prepared.files()
    prepared(*words.split())
    assert prepared.files() == before
    assert not (prepared.folder / "lock").exists()


@pytest.mark.parametrize("words", [*LISTS, "vpc show --name vpc1", "export"])
def test_reading_needs_no_root(words: str, prepared: Any) -> None:
    assert prepared(*words.split(), uid=1000) == prepared(*words.split())


def test_a_graph_names_some_machines_or_all(vpcctl: Any) -> None:
    machines = tuple(Machine(f"web{number}", (IPv4Address(f"10.0.1.{number + 4}"),)) for number in range(9))
    subnet = Subnet("public", IPv4Network("10.0.1.0/24"), machines=machines)
    vpcctl.folder.mkdir()
    vpcctl.store.save(State(Topology((Vpc("vpc1", IPv4Network("10.0.0.0/16"), subnets=(subnet,)),)), ()))
    few, every = vpcctl("graph").out, vpcctl("graph", "--all").out
    assert (few.count("machine web"), "and 3 more" in few) == (6, True)
    assert (every.count("machine web"), "more" in every) == (9, False)
    nodes = document(vpcctl("graph", "--json"))["nodes"]
    assert len([node for node in nodes if node["kind"] == "machine"]) == 9

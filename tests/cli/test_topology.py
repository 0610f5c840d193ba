"""Topology files: what is in them that can't be is told with its place, before anything is asked or done."""

from __future__ import annotations

from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any

import pytest

from vpcctl_lib.files import documents, named
from vpcctl_lib.files.topology import Reader, to_document
from vpcctl_lib.model import endpoints
from vpcctl_lib.model.addressing import BRIDGE_PORTS
from vpcctl_lib.model.kinds import in_order_of
from vpcctl_lib.model.policies import Policy
from vpcctl_lib.model.topology import OWN, Machine, Subnet, Topology, Vpc
from vpcctl_lib.model.workloads import Workload
from vpcctl_lib.record.ledger import State

ODD = ("echo", "1e5", "12e34567", "1E5", "-1e5", "1e+5", "NaN", "Infinity", "-Infinity", "80", "a\x85b")
NUMBERS = Topology((Vpc("vpc1", IPv4Network("10.0.0.0/16"), subnets=(
    Subnet("a", IPv4Network("10.0.1.0/24"), policy=Policy(description="1e5"),
           machines=(Machine(workloads=(Workload("worker", ODD),)),)),)),))


def test_what_looks_like_a_number_is_exported_as_text(vpcctl: Any, tmp_path: Path) -> None:
    vpcctl.folder.mkdir()
    vpcctl.store.save(State(NUMBERS, ()))
    file = tmp_path / "export.yaml"
    file.write_text(vpcctl("export").out)
    assert documents.read(file).data == to_document(NUMBERS)
    assert vpcctl("apply", "--dry-run", "-f", str(file)).code == 0


FILE = """\
version: 1
vpcs:
  vpc1:
    cidr: 10.0.0.0/16
    nat: true
    subnets:
      a:
        cidr: 10.0.1.0/24
        firewall: {default: deny}
        workloads:
          worker:
            run: [sleep, 60]
peerings: []
"""
RUN = "vpcs.vpc1.subnets.a.workloads.worker.run"


@pytest.mark.parametrize(("old", "new", "told", "hint"), [
    ("60", "true", f"line 12: {RUN}[1]: true is not a word", 'write it in quotes: "true"'),
    ("60", "null", f"line 12: {RUN}[1]: null is not a word", 'write it in quotes: "null"'),
    ("60", "0.5", f"line 12: {RUN}[1]: 0.5 is not a word", "write it in quotes"),
    ("60", "-0", f"line 12: {RUN}[1]: -0.0 is not a word", "write it in quotes"),
    ("60", "[60]", f"line 12: {RUN}[1]: a list is not a word",
     "write all words in one list: [sleep, infinity]"),
    ("60", r'"a\0b"', rf'line 12: {RUN}[1]: "a\x00b" contains a NUL',
     "leave it out: an argument can't contain one"),
    ("[sleep, 60]", "sleep 60", f'{RUN}: "sleep 60" is not a command',
     "write a list of words: [sleep, infinity]"),
    ("version: 1", "version: true", "line 1: version: true is not a version of the format",
     "write version: 1"),
    ("version: 1", "version: 1.0", "line 1: version: 1.0 is not a version of the format",
     "write version: 1"),
    (FILE, "{}", "line 1: version: null is not a version of the format", "write version: 1"),
    ("true", "eth0", 'line 5: vpcs.vpc1.nat: "eth0" is not NAT', "write true, or {interface: eth0}"),
    ("true", "yes", 'line 5: vpcs.vpc1.nat: "yes" is not NAT', "write true, or {interface: eth0}"),
    ("true", "{}", "line 5: vpcs.vpc1.nat.interface: null is not an interface",
                                          "write for example eth0"),
    ("10.0.0.0/16", "2020-01-01", "line 4: vpcs.vpc1.cidr: '2020-01-01' has no prefix length",
     "write for example 10.0.0.0/24"),
    ("{default: deny}", '""', 'line 9: vpcs.vpc1.subnets.a.firewall: "" is not a path',
     "name a policy's file, or write the policy here"),
    ("peerings: []", "peerings: {}", "line 13: peerings: a mapping is not a list of peerings",
     "write - [vpc1, vpc2]"),
    ("peerings: []", "peerings: false", "line 13: peerings: false is not a list", "write - [vpc1, vpc2]"),
    ("peerings: []", 'peerings: ""', 'line 13: peerings: "" is not a list', "write - [vpc1, vpc2]"),
])
def test_what_can_not_be_is_told_with_its_place(old: str, new: str, told: str, hint: str, vpcctl: Any,
                                                tmp_path: Path) -> None:
    file = tmp_path / "network.yaml"
    file.write_text(FILE.replace(old, new))
    done = vpcctl("apply", "-f", str(file))
    assert done.code == 2
    assert f"{file}, " in done.one_line()
    assert told in done.err
    assert done.err.endswith(f"Hint: {hint}\n")


def test_whole_numbers_are_words_as_they_are_written(vpcctl: Any, tmp_path: Path) -> None:
    file = tmp_path / "network.yaml"
    file.write_text(FILE.replace("60", "60, -5, 007, 1_000, yes"))
    assert "sleep 60 -5 007 1_000 yes" in vpcctl("apply", "--dry-run", "-f", str(file)).out


@pytest.mark.parametrize("vpcs", ["false", "0", '""', "[]"])
def test_what_is_no_mapping_is_not_taken_for_no_vpcs(vpcs: str, prepared: Any, tmp_path: Path) -> None:
    file = tmp_path / "network.yaml"
    file.write_text(f"version: 1\nvpcs: {vpcs}\n")
    done = prepared("apply", "--prune", "-f", str(file))
    assert done.code == 2
    assert f"{file}, line 2: vpcs: " in done.one_line()
    assert "is not VPCs by name" in done.err


@pytest.mark.parametrize("key", ["subnets", "workloads"])
def test_nor_is_it_taken_for_no_subnets_or_workloads(key: str, vpcctl: Any, tmp_path: Path) -> None:
    file = tmp_path / "network.yaml"
    head, _, _ = FILE.partition(f"{key}:")
    file.write_text(f"{head}{key}: false\n")
    assert f"{key}: false is not {key} by name" in vpcctl("apply", "-f", str(file)).one_line()
    file.write_text(f"{head}{key}:\n")
    assert vpcctl("apply", "--dry-run", "-f", str(file)).code == 0


@pytest.mark.parametrize(("policy", "told"), [
    (None, "can't be read: no such file or directory"),
    ("{default: maybe}", "line 1: default: (not shown) is not one of allow, deny"),
])
def test_a_policy_of_its_own_is_told_with_who_names_it(policy: str | None, told: str, vpcctl: Any,
                                                       tmp_path: Path) -> None:
    file, named = tmp_path / "network.yaml", tmp_path / "web.yaml"
    file.write_text(FILE.replace("{default: deny}", "web.yaml"))
    if policy is not None:
        named.write_text(policy)
    done = vpcctl("apply", "-f", str(file))
    assert done.code == 2
    assert f"{file}, line 9: vpcs.vpc1.subnets.a.firewall: {named}" in done.one_line()
    assert told in done.err


def test_a_vpc_over_a_route_of_the_host_is_allowed_in_the_file(vpcctl: Any, tmp_path: Path) -> None:
    file = tmp_path / "network.yaml"
    file.write_text("version: 1\nvpcs:\n  tunnel:\n    cidr: 10.99.3.0/24\n")
    done = vpcctl("apply", "-f", str(file))
    assert f"{file}, line 4: vpcs.tunnel.cidr: 10.99.3.0/24 overlaps the host's route" in done.one_line()
    assert done.err.endswith("with allow_overlap: true\n")
    file.write_text(f"{file.read_text()}    allow_overlap: true\n")
    assert vpcctl("apply", "--dry-run", "-f", str(file)).code == 0


@pytest.mark.parametrize("options", [(), ("--dry-run",)])
@pytest.mark.parametrize(("vpcs", "told"), [
    ("  a-b: {cidr: 10.1.0.0/16, subnets: {c: {cidr: 10.1.1.0/24}}}\n"
     "  a: {cidr: 10.2.0.0/16, subnets: {b-c: {cidr: 10.2.1.0/24}}}\n",
     "line 4: vpcs.a.subnets.b-c: subnet 'b-c' of VPC 'a' would have the same namespace a-b-c as "
     "subnet 'c' of VPC 'a-b'"),
    ("  vpc1-public: {cidr: 10.1.0.0/16}\n",
     "line 3: vpcs.vpc1-public: VPC 'vpc1-public' would have the same namespace vpc1-public as "
     "subnet 'public' of VPC 'vpc1'"),
])
def test_names_that_collide_are_told_in_place_of_a_plan(vpcs: str, told: str, options: tuple[str, ...],
                                                        prepared: Any, tmp_path: Path) -> None:
    file = tmp_path / "network.yaml"
    file.write_text(f"version: 1\nvpcs:\n{vpcs}")
    assert prepared("apply", *options, "-f", str(file)).one_line() == (
        f"Error: {file}, {told}\nHint: choose another name\n")


def test_a_name_that_collides_with_a_later_vpc_that_is_not_in_the_file(vpcctl: Any, tmp_path: Path) -> None:
    vpcctl.folder.mkdir()
    vpcctl.store.save(State(Topology((Vpc("a", IPv4Network("10.0.0.0/16")),
                                      Vpc("a-b", IPv4Network("10.1.0.0/16"), 1))), ()))
    file = tmp_path / "network.yaml"
    file.write_text("version: 1\nvpcs:\n  a: {cidr: 10.0.0.0/16, subnets: {b: {cidr: 10.0.1.0/24}}}\n")
    assert f"{file}, line 3: vpcs.a.subnets.b: subnet 'b' of VPC 'a' would have the same namespace a-b as " \
           "VPC 'a-b'" in vpcctl("apply", "--dry-run", "-f", str(file)).one_line()


@pytest.mark.parametrize("options", [(), ("--dry-run",)])
def test_more_subnets_than_a_bridge_has_ports(options: tuple[str, ...], vpcctl: Any, tmp_path: Path) -> None:
    file = tmp_path / "network.yaml"
    parts = list(IPv4Network("10.0.0.0/16").subnets(13))
    file.write_text("version: 1\nvpcs:\n  big:\n    cidr: 10.0.0.0/16\n    subnets:\n" + "".join(
        f"      s{number}: {{cidr: {part}}}\n" for number, part in enumerate(parts[:BRIDGE_PORTS + 1])))
    done = vpcctl("apply", *options, "-f", str(file))
    assert done.one_line() == (
        f"Error: {file}, line 5: vpcs.big.subnets: VPC 'big' would have {BRIDGE_PORTS + 1:,} subnets: "
        f"its bridge has {BRIDGE_PORTS:,} ports\nHint: use another VPC, and peer the two\n")


def test_a_subnet_more_than_a_bridge_has_ports(vpcctl: Any) -> None:
    parts = list(IPv4Network("10.0.0.0/16").subnets(13))
    full = tuple(Subnet(f"s{number}", part) for number, part in enumerate(parts[:BRIDGE_PORTS]))
    vpcctl.folder.mkdir()
    vpcctl.store.save(State(Topology((Vpc("big", IPv4Network("10.0.0.0/16"), subnets=full),)), ()))
    done = vpcctl("subnet", "add", "--vpc", "big", "--name", "more", "--cidr", "10.0.255.0/24", "--dry-run")
    assert f"VPC 'big' would have {BRIDGE_PORTS + 1:,} subnets" in done.one_line()


def test_standard_input_is_read_and_named(vpcctl: Any, tmp_path: Path) -> None:
    (tmp_path / "web.yaml").write_text("default: allow\n")
    network = FILE.replace("{default: deny}", "web.yaml")
    done = vpcctl("apply", "--dry-run", "-f", "-", stdin=network)
    assert (done.code, done.err) == (0, "")
    assert "# + firewall of vpc1/a" in done.out
    (tmp_path / "web.yaml").unlink()
    assert vpcctl("apply", "-f", "-", stdin=network).one_line() == (
        "Error: standard input, line 9: vpcs.vpc1.subnets.a.firewall: web.yaml: can't be read: "
        "no such file or directory\n")
    assert vpcctl("apply", "-f", "-").one_line() == "Error: standard input: is empty\n"
    told = vpcctl("apply", "-f", "-", stdin="version: 1\n" + "#" * named.MAX_BYTES).one_line()
    assert told == "Error: standard input: too large: the limit is 4,194,304 bytes (4 MiB)\n"


def test_a_file_that_is_called_like_standard_input(vpcctl: Any, tmp_path: Path) -> None:
    (tmp_path / "-").write_text(FILE)
    assert "netns add vpc1-a" in vpcctl("apply", "--dry-run", "-f", "./-").out


@pytest.mark.parametrize("words", ["apply -f", "firewall apply --vpc vpc1 --subnet public --policy"])
def test_a_file_without_a_name(words: str, prepared: Any) -> None:
    done = prepared(*words.split(), "")
    assert done.code == 2
    assert "the file's name is empty" in done.one_line()


INSTANCES = """\
version: 2
vpcs:
  vpc1:
    cidr: 10.0.0.0/16
    subnets:
      a:
        cidr: 10.0.0.0/24
        instances:
          web1: {address: 10.0.0.4}
          web2: {address: [10.0.0.6, 10.0.0.7]}
"""
PLACE = "vpcs.vpc1.subnets.a.instances"


@pytest.mark.parametrize(("old", "new", "problem", "hint"), [
    ("version: 2", "version: 1", f"line 8: {PLACE}: version 1 of the format has no instances",
     "write version: 2"),
    ("10.0.0.4}", "10.0.1.4}", f"line 9: {PLACE}.web1.address: 10.0.1.4 is not inside the subnet's CIDR "
     "10.0.0.0/24", "use an address of 10.0.0.0/24"),
    ("10.0.0.4}", "10.0.0.1}", f"{PLACE}.web1.address: 10.0.0.1 already belongs to the VPC's router",
     "use another address of 10.0.0.0/24, from 10.0.0.4 on"),
    ("10.0.0.4}", "10.0.0.2}", f"{PLACE}.web1.address: 10.0.0.2 already belongs to the subnet's own machine",
     "use another address of 10.0.0.0/24, from 10.0.0.4 on"),
    ("10.0.0.4}", "10.0.0.255}", f"{PLACE}.web1.address: 10.0.0.255 is the subnet's broadcast address",
     "use another address of 10.0.0.0/24, from 10.0.0.4 on"),
    ("10.0.0.7", "10.0.0.4", f"line 10: {PLACE}.web2.address: 10.0.0.4 already belongs to machine 'web1'",
     "use another address of 10.0.0.0/24, from 10.0.0.4 on"),
    ("10.0.0.7", "10.0.0.6", f"{PLACE}.web2.address: 10.0.0.6 already belongs to machine 'web2'",
     "use another address of 10.0.0.0/24, from 10.0.0.4 on"),
    ("10.0.0.7", "fd00::4", f'{PLACE}.web2.address[1]: "fd00::4" is not an IPv4 address',
     "write for example 10.0.1.10"),
    ("{address: 10.0.0.4}", "10.0.0.4", f'{PLACE}.web1: "10.0.0.4" is not an instance',
     "write a mapping of keys to values"),
    ("{address: 10.0.0.4}", "{adress: 10.0.0.4}",
     f'{PLACE}.web1.adress: "adress" is not a key of an instance', "did you mean address?"),
    ("web1:", "web_1:", f"{PLACE}.web_1: 'web_1' can't be a machine name", "use up to 31 of"),
])
def test_refused_instances(old: str, new: str, problem: str, hint: str, vpcctl: Any, tmp_path: Path) -> None:
    file = tmp_path / "network.yaml"
    file.write_text(INSTANCES.replace(old, new))
    done = vpcctl("apply", "-f", str(file))
    assert done.code == 2
    assert problem in done.one_line()
    assert f"Hint: {hint}" in done.err


def test_a_subnet_that_is_full_has_no_room_for_an_instance(vpcctl: Any, tmp_path: Path) -> None:
    file = tmp_path / "network.yaml"
    full = INSTANCES.replace("10.0.0.0/24", "10.0.0.0/29").replace("10.0.0.7", "10.0.0.5")
    file.write_text(full)
    assert vpcctl("apply", "--dry-run", "-f", str(file)).code == 0
    file.write_text(f"{full}          web3: {{}}\n")
    done = vpcctl("apply", "-f", str(file))
    assert f"line 8: {PLACE}: all addresses of 10.0.0.0/29 are already in use" in done.one_line()


def test_an_instance_without_an_address_gets_the_lowest_and_keeps_it(vpcctl: Any, tmp_path: Path) -> None:
    file = tmp_path / "network.yaml"
    file.write_text(INSTANCES.replace("{address: 10.0.0.4}", "{}").replace(
        "          web2", "          web0: {}\n          web2"))
    found = vpcctl("apply", "--dry-run", "-f", str(file)).out
    assert "10.0.0.4/24" in found
    assert "10.0.0.5/24" in found
    had = Subnet("a", IPv4Network("10.0.0.0/24"), machines=(OWN, Machine("web1", (IPv4Address("10.0.0.9"),))))
    vpcctl.folder.mkdir()
    vpc = Vpc("vpc1", IPv4Network("10.0.0.0/16"), subnets=(had,))
    vpcctl.store.save(State(Topology((vpc,)), ()))
    plan = [line for line in vpcctl("apply", "--dry-run", "-f", str(file)).out.splitlines()
            if line.startswith(("# +", "# ~", "# -"))]
    assert plan == ["# + machine vpc1/a/web0: it does not exist yet",
                    "# + machine vpc1/a/web2: it does not exist yet"]


def test_no_other_gets_the_address_that_an_instance_has() -> None:
    first, second, third = (IPv4Address(f"10.0.0.{number}") for number in (4, 5, 6))
    before = Subnet("a", IPv4Network("10.0.0.0/24"), machines=(OWN, Machine("old", (first, second))))
    wanted = replace(before, machines=(OWN, Machine("new"), Machine("old")))
    found = {one.name: one.addresses for one in endpoints.addressed(wanted, before).machines}
    assert found == {"": (), "new": (third,), "old": (first, second)}
    moved = replace(wanted, cidr=IPv4Network("10.0.1.0/24"))
    assert endpoints.addressed(moved, before).machines[2].addresses == (IPv4Address("10.0.1.4"),)
    given = replace(wanted, machines=(OWN, Machine("new", (first,)), Machine("old")))
    assert endpoints.addressed(given, before).machines[2].addresses == (second,)
    assert endpoints.addressed(before, None) is before


def test_the_order_of_a_file_changes_nothing(tmp_path: Path) -> None:
    first, second = (Machine(name, (IPv4Address(f"10.0.0.{number}"),)) for name, number in (
        ("web2", 6), ("web1", 4)))
    subnet = Subnet("a", IPv4Network("10.0.0.0/24"), machines=(OWN, first, second))
    topology = Topology((Vpc("vpc1", IPv4Network("10.0.0.0/16"), subnets=(subnet,)),))
    file = tmp_path / "network.yaml"
    file.write_text(INSTANCES.replace("[10.0.0.6, 10.0.0.7]", "10.0.0.6"))
    wanted = Reader(documents.read(file), tmp_path).read().topology
    assert wanted != topology
    assert in_order_of(topology, wanted) == topology

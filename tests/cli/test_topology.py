"""Topology files: what is in them that can't be is told with its place, before anything is asked or done."""

from __future__ import annotations

from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from vpcctl_lib.files import documents, named
from vpcctl_lib.files.topology import to_document
from vpcctl_lib.model.addressing import BRIDGE_PORTS
from vpcctl_lib.model.topology import Machine, Policy, Subnet, Topology, Vpc, Workload
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
    ("60", "true", f"line 12: {RUN}[1]: true is no word", 'write it in quotes: "true"'),
    ("60", "null", f"line 12: {RUN}[1]: null is no word", 'write it in quotes: "null"'),
    ("60", "0.5", f"line 12: {RUN}[1]: 0.5 is no word", "write it in quotes"),
    ("60", "-0", f"line 12: {RUN}[1]: -0.0 is no word", "write it in quotes"),
    ("60", "[60]", f"line 12: {RUN}[1]: a list is no word", "write all words in one list: [sleep, infinity]"),
    ("60", r'"a\0b"', rf'line 12: {RUN}[1]: "a\x00b" holds a NUL',
     "leave it out: no program can be given one"),
    ("[sleep, 60]", "sleep 60", f'{RUN}: "sleep 60" is no command',
     "write a list of words: [sleep, infinity]"),
    ("version: 1", "version: true", "line 1: version: true is no version of the format", "write version: 1"),
    ("version: 1", "version: 1.0", "line 1: version: 1.0 is no version of the format", "write version: 1"),
    (FILE, "{}", "line 1: version: null is no version of the format", "write version: 1"),
    ("true", "eth0", 'line 5: vpcs.vpc1.nat: "eth0" is not NAT', "write true, or {interface: eth0}"),
    ("true", "yes", 'line 5: vpcs.vpc1.nat: "yes" is not NAT', "write true, or {interface: eth0}"),
    ("true", "{}", "line 5: vpcs.vpc1.nat.interface: null is no interface", "write for example eth0"),
    ("10.0.0.0/16", "2020-01-01", "line 4: vpcs.vpc1.cidr: '2020-01-01' has no prefix length",
     "write for example 10.0.0.0/24"),
    ("{default: deny}", '""', 'line 9: vpcs.vpc1.subnets.a.firewall: "" is no path',
     "name a policy's file, or write the policy here"),
    ("peerings: []", "peerings: {}", "line 13: peerings: a mapping is no list of peerings",
     "write - [vpc1, vpc2]"),
    ("peerings: []", "peerings: false", "line 13: peerings: false is no list", "write - [vpc1, vpc2]"),
    ("peerings: []", 'peerings: ""', 'line 13: peerings: "" is no list', "write - [vpc1, vpc2]"),
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

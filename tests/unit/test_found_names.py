"""DNS and DHCP of a VPC whose record is lost: what its server's command and its files tell of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network, IPv6Network
from pathlib import Path
from typing import Any

import pytest

from tests.made import Made
from vpcctl_lib.engine import found_names
from vpcctl_lib.kernel.reader import Kernel, Unreadable
from vpcctl_lib.model import names
from vpcctl_lib.model.names import Dhcp, Dns, Record
from vpcctl_lib.model.topology import Machine, Subnet, Topology, Vpc
from vpcctl_lib.model.workloads import Workload

pytestmark = pytest.mark.usefixtures("bare_host")

RECORDS = (Record("db", (IPv4Address("10.0.2.9"), IPv4Address("10.0.2.10"))), Record("www", cname="public"))
DNS = Dns("corp.internal", (IPv4Address("1.1.1.1"), IPv4Address("9.9.9.9")), RECORDS)
DHCP = Dhcp((IPv4Address("10.0.1.9"), IPv4Address("10.0.1.10")), 7200)
PUBLIC = Subnet("public", IPv4Network("10.0.1.0/24"), ipv6=IPv6Network("fd00:0:0:101::/64"))
VPC = Vpc("vpc1", IPv4Network("10.0.0.0/16"), ipv6=IPv6Network("fd00:0:0:100::/56"), dns=DNS, dhcp=DHCP,
          subnets=(PUBLIC,))
NO_DNS = ("the DNS of VPC 'vpc1' can't be rebuilt, since its server does not run as vpcctl starts it: "
          "vpcctl dns enable --vpc vpc1")
NO_DHCP = "the DHCP of VPC 'vpc1' can't be rebuilt: vpcctl dhcp enable --vpc vpc1"
SERVER, RELAY = "vpc1/dns", "vpc1/relay"


class Host:
    """What runs in the VPC's namespace, and its files; a test may change both."""

    def __init__(self, vpc: Vpc, folder: Path, patch: pytest.MonkeyPatch) -> None:
        self.vpc, self.kernel = vpc, Made(Topology((vpc,)))
        self.kernel.write_files(folder)
        self.file = folder / vpc.name / "hosts"
        self.held = self.kernel.keepers(self.kernel, vpc.name)
        patch.setattr(names, "FILES", str(folder))
        patch.setattr(found_names, "keepers", self._keepers)

    def _keepers(self, _: Kernel, space: str) -> Any:
        if not self.held:
            raise Unreadable(space, "processes", "no")
        return self.held

    def change(self, mark: str, old: str, *new: str) -> None:
        """These in the place of the first word of a program that begins like that."""
        words = self.held[mark][1].program
        at = next(number for number, word in enumerate(words) if word.startswith(old))
        self.held[mark] = None, self.held[mark][1]._replace(program=(*words[:at], *new, *words[at + 1:]))

    def finds(self, what: Callable[..., Any]) -> tuple[list[Any], list[str]]:
        """What is found, and what is noted."""
        notes: list[str] = []
        return [*what(self.kernel, self.vpc, (), notes)], notes

    def dns(self) -> tuple[list[Dns], list[str]]:
        """Its DNS."""
        return self.finds(found_names.dns)

    def dhcp(self) -> tuple[list[Dhcp], list[str]]:
        """Its DHCP."""
        return self.finds(found_names.dhcp)


@pytest.fixture
def host(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Host:
    """A host where everything of the VPC is there."""
    return Host(VPC, tmp_path, monkeypatch)


def test_all_of_it_is_found(host: Host) -> None:
    assert host.dns() == ([DNS], [])
    assert host.dhcp() == ([DHCP], [])


def test_what_nobody_chose_is_not_found_as_chosen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    host = Host(replace(VPC, dns=Dns(), dhcp=Dhcp()), tmp_path, monkeypatch)
    assert host.dns() == ([Dns()], [])
    assert host.dhcp() == ([Dhcp()], [])


def test_without_dns_none_is_found(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    machine = Machine(workloads=(Workload("web", ("sleep", "9")),))
    host = Host(replace(VPC, dns=None, dhcp=None), tmp_path, monkeypatch)
    host.held = Made(Topology((replace(VPC, dns=None, dhcp=None, subnets=(
        replace(PUBLIC, machines=(machine,)),)),))).keepers(host.kernel, "vpc1-public")
    assert host.dns() == ([], [])
    assert host.dhcp() == ([], [])


def test_processes_that_cannot_be_read_tell_nothing(host: Host) -> None:
    host.held = {}
    assert host.dns() == ([], [])
    assert host.dhcp() == ([], [])


def test_a_server_that_does_not_run_left_its_file(host: Host) -> None:
    del host.held[SERVER]
    assert host.dns() == ([], [NO_DNS])
    assert host.dhcp() == ([], [])
    host.file.unlink()
    assert host.dns() == ([], [])


def test_a_server_whose_file_is_gone_has_its_aliases(host: Host) -> None:
    host.file.unlink()
    assert host.dns() == ([replace(DNS, records=RECORDS[1:])], [])


def test_without_a_relay_nobody_is_known_to_be_asked(host: Host) -> None:
    del host.held[RELAY]
    assert host.dns() == ([replace(DNS, forward=())], [])


@pytest.mark.parametrize(("mark", "old", "new"), [
    (SERVER, "--local=", ("--local=/a b/",)), (SERVER, "--local=", ("--local=/~corp.internal/",)),
    (SERVER, "--cname=", ("--cname=www.corp.internal",)), (SERVER, "--cname=", ("--cname=www,a b",)),
    (SERVER, "--cname=", ("--cname=-,public",)), (SERVER, "--cname=", ("--cname=public,www",)),
    (RELAY, "9.9.9.9", ("nine",))])
def test_a_command_that_is_not_vpcctl_s_is_noted(host: Host, mark: str, old: str,
                                                 new: tuple[str, ...]) -> None:
    host.change(mark, old, *new)
    assert host.dns() == ([], [NO_DNS])


def test_a_server_without_a_domain_is_noted(host: Host) -> None:
    host.held[SERVER] = None, host.held[SERVER][1]._replace(program=("dnsmasq",))
    assert host.dns() == ([], [NO_DNS])


def test_the_names_of_another_s_file_are_not_believed(host: Host) -> None:
    host.file.write_text(host.file.read_text().replace("vpcctl:vpc1", "vpcctl:vpc2", 1))
    assert host.dns() == ([replace(DNS, records=RECORDS[1:])], [])


def test_machines_names_are_no_records(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    web = Machine("web", (IPv4Address("10.0.1.9"),))
    around = replace(PUBLIC, machines=(*PUBLIC.machines, web))
    host = Host(replace(VPC, subnets=(around,)), tmp_path, monkeypatch)
    assert host.dns() == ([DNS], [])
    host.file.write_text(f"{host.file.read_text()}10.0.1.9 web.public.corp.internal\n10.0.9.9\n"
                         "10.0.9.9 a b c\n")
    assert host.dns() == ([DNS], [])


@pytest.mark.parametrize("line", ["10.0.9.9 -", "ten late.corp.internal"])
def test_a_file_with_what_is_no_name_is_noted(host: Host, line: str) -> None:
    host.file.write_text(host.file.read_text() + f"{line}\n")
    assert host.dns() == ([], [NO_DNS])


@pytest.mark.parametrize(("old", "new"), [
    ("--dhcp-range=", ("--dhcp-range=10.0.0.0,static,255.255.0.0,7",)),
    ("--dhcp-option=option:ntp-server", ("--dhcp-option=option:ntp-server,10.0.1.9,ten",))])
def test_dhcp_that_is_not_vpcctl_s_is_noted(host: Host, old: str, new: tuple[str, ...]) -> None:
    host.change(SERVER, old, *new)
    assert host.dhcp() == ([], [NO_DHCP])


def test_a_server_without_a_range_gives_no_addresses(host: Host) -> None:
    host.change(SERVER, "--dhcp-range=")
    assert host.dhcp() == ([], [])
    host.vpc = replace(VPC, dns=None)
    assert host.dhcp() == ([], [])


def test_dhcp_without_dns_is_not_rebuilt(host: Host) -> None:
    host.vpc = replace(VPC, dns=None)
    assert host.dhcp() == ([], [])

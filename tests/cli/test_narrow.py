"""On a narrow terminal nothing breaks inside an address, a name or a command."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Sequence
from ipaddress import IPv4Network
from typing import Any

import pytest

from vpcctl_lib.blueprint import blueprint
from vpcctl_lib.cli import layout, output
from vpcctl_lib.engine.plan import difference
from vpcctl_lib.model.policies import Action, Policy, Ports, Protocol, Rule
from vpcctl_lib.model.topology import Machine, Nat, Peering, Subnet, SubnetType, Topology, Vpc
from vpcctl_lib.model.workloads import Workload
from vpcctl_lib.record.ledger import State

WIDTHS = (80, 60, 40)
VPC, OTHER, SUBNET = "production-eu-west", "development-eu-west", "database-replica"
POLICY = Policy((Rule(Protocol.TCP, Action.ALLOW, Ports(8000, 8100), IPv4Network("192.168.100.128/25"),
                      description="from the office in the second floor"),), (), Action.DENY)
RUN = ("python3", "-m", "http.server", "--directory", "/srv/www/production/static", "8443")
MACHINE = Machine(workloads=(Workload("static-files-server", RUN), Workload("webserver-8080", port=8080)))
SUBNETS = tuple(Subnet(f"{SUBNET}-{number}", IPv4Network(f"192.168.10{number}.128/25"), SubnetType.PUBLIC,
                       POLICY, (MACHINE,))
                for number in range(3))
LONG = Topology((Vpc(VPC, IPv4Network("192.168.0.0/16"), nat=Nat("eth0", 1500), subnets=SUBNETS),
                 Vpc(OTHER, IPv4Network("172.16.128.0/17"), 1)), (Peering(OTHER, VPC),), guarded=True)
TABLES = ("vpc list", "subnet list", "peer list", "deploy list", f"vpc show --name {VPC}",
          f"firewall show --vpc {VPC} --subnet {SUBNET}-0")


@pytest.fixture
def long(prepared: Any) -> Any:
    prepared.store.save(State(LONG, difference((), blueprint(LONG)).after))
    return prepared


def narrow(width: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """A terminal of that width, without colours."""
    monkeypatch.setattr("click.testing._NamedTextIOWrapper.isatty", lambda _: True)
    monkeypatch.setattr(shutil, "get_terminal_size", lambda *_: os.terminal_size((width, 24)))
    monkeypatch.setenv("NO_COLOR", "1")


def words(text: str) -> set[str]:
    """Names, addresses and commands' words; headings may gain a colon."""
    return {word.rstrip(":,") for word in text.split()}


def check_fits(text: str, width: int, commands: Sequence[str] = ()) -> None:
    """A line that is too long is one word, or a command that stands alone."""
    for line in text.splitlines():
        alone = len(line.split()) == 1 or line.strip() in ["URL OR COMMAND", *commands]
        assert len(line) <= width or alone, (width, line)


@pytest.mark.parametrize("width", WIDTHS)
@pytest.mark.parametrize("typed", TABLES)
def test_no_word_is_split(typed: str, width: int, long: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    whole = long(*typed.split()).out
    narrow(width, monkeypatch)
    done = long(*typed.split(), NO_COLOR="1")
    assert done.code == 0
    assert words(whole) <= words(done.out) | {""}, sorted(words(whole) - words(done.out))
    shown = re.findall(r"(?:ip|iptables|vpcctl) .*", whole)
    check_fits(done.out, width, [" ".join(RUN), *shown, *(one for line in shown for one in line.split(", "))])


COLUMNS = ("CONDITION", "WHAT", "DETAIL", "FIX")
FIX = "vpcctl subnet add --vpc production-eu-west --name database-replica --cidr 192.168.100.128/25"
ROWS = [("changed", f"route 192.168.{number}.0/24 via 192.168.0.1 dev s-database-replica in {VPC}",
         f"it leads to 169.254.64.{number}", FIX if number else "-") for number in range(3)]


@pytest.mark.parametrize("width", [120, *WIDTHS, 20])
def test_a_long_command_stands_below(width: int, capsys: pytest.CaptureFixture[str],
                                     monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "width", lambda: width)
    output.table(COLUMNS, ROWS, "", below="FIX")
    told = capsys.readouterr().out
    assert told.splitlines().count(f"  {FIX}") == 2
    assert words(" ".join(cell for row in ROWS for cell in row)) - {"-"} <= words(told)
    check_fits(told, width, [FIX])


def test_where_there_is_room_it_stays_in_the_table(capsys: pytest.CaptureFixture[str],
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(output, "width", lambda: 500)
    output.table(COLUMNS, ROWS, "", below="FIX")
    assert all(line.endswith((FIX, "-", "FIX")) for line in capsys.readouterr().out.splitlines())


def test_widths_fold_as_few_cells_as_they_can() -> None:
    rows = [("A", "B"), ("10.0.0.0/16", "one two three four five six")]
    assert layout.widths(rows, 80) == [11, 27]
    assert layout.widths(rows, 24) == [11, 11]
    assert layout.widths(rows, 17) is None
    assert list(layout.folded("one two three", 7)) == ["one two", "three"]
    assert list(layout.folded("", 7)) == [""]

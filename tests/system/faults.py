"""What the fault tests inject and into which commands: found by running each command and counting."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from host import Host, Result

SHIM = Path(__file__).with_name("tool_shim.sh")
FAULTY = Path(__file__).with_name("faulty.py")
TOOLS = ("ip", "iptables", "iptables-save", "iptables-restore", "iptables-legacy-save",
         "iptables-legacy-restore", "iptables-nft-save", "iptables-nft-restore", "sysctl", "setpriv", "ss")
FAILURES, KILLS, SIGNALS = ("fail", "middle"), ("kill-before", "kill-while", "kill-after"), ("INT", "TERM")

VPC1 = ("vpc create --name vpc1 --cidr 10.0.0.0/16",)
SUBNET = (*VPC1, "subnet add --vpc vpc1 --name public --cidr 10.0.1.0/24 --type public")
NAT = (*SUBNET, "nat enable --vpc vpc1")
WEB = "deploy webserver --vpc vpc1 --subnet public --port 8080"
RUN = ("deploy run --vpc vpc1 --subnet public --name worker -- sleep infinity",)
VPC2 = ("vpc create --name vpc2 --cidr 172.16.0.0/16",
        "subnet add --vpc vpc2 --name public --cidr 172.16.1.0/24 --type public")
PEERED = (*NAT, *VPC2, "peer create --vpc1 vpc1 --vpc2 vpc2")
POLICY = "firewall apply --vpc vpc1 --subnet public --policy {policy}"


@dataclass(frozen=True)
class Scenario:
    """A command, the ones before it (on an empty host), and those that bring its host back to them.

    `damage` is a script that gives `restore` something to do; it runs before the command.
    """

    command: str
    before: tuple[str, ...]
    back: tuple[str, ...]
    damage: str = ""

    @property
    def name(self) -> str:
        """The command's own name."""
        return " ".join(self.command.split()[:2]).replace(" --", "")


SCENARIOS = (
    Scenario(VPC2[0], NAT, ("vpc delete --name vpc2",)),
    Scenario("vpc delete --name vpc1", (*PEERED, WEB, POLICY), (*NAT, PEERED[-1], WEB, POLICY)),
    Scenario("subnet add --vpc vpc1 --name more --cidr 10.0.2.0/24 --type public", PEERED,
             ("subnet delete --vpc vpc1 --name more",)),
    Scenario("subnet delete --vpc vpc1 --name public", (*PEERED, *RUN), (SUBNET[-1], *RUN)),
    Scenario("nat enable --vpc vpc1", (*SUBNET, *VPC2), ("nat disable --vpc vpc1",)),
    Scenario("nat disable --vpc vpc1", NAT, ("nat enable --vpc vpc1",)),
    Scenario(PEERED[-1], PEERED[:-1], ("peer delete --vpc1 vpc1 --vpc2 vpc2",)),
    Scenario("peer delete --vpc1 vpc2 --vpc2 vpc1", PEERED, (PEERED[-1],)),
    Scenario(POLICY, SUBNET, ("firewall clear --vpc vpc1 --subnet public",)),
    Scenario("firewall clear --vpc vpc1 --subnet public", (*SUBNET, POLICY), (POLICY,)),
    Scenario(WEB, SUBNET, ("deploy stop --vpc vpc1 --subnet public --name webserver-8080",)),
    Scenario(RUN[0], SUBNET, ("deploy stop --vpc vpc1 --subnet public --name worker",)),
    Scenario("deploy stop --vpc vpc1 --subnet public --name worker", (*SUBNET, *RUN), RUN),
    Scenario("restore", (*NAT, *RUN), (), damage="""
        ip netns del vpc1-public; ip link del vpc-vpc1; sysctl -qw net.ipv4.ip_forward=0
        iptables-save | grep -ve '--comment "*vpcctl:' -e '-j VPCCTL-' -e ^:VPCCTL | iptables-restore"""),
)


@dataclass(frozen=True)
class Point:
    """The n-th external command (or own doing) of a command, and what happens there."""

    kind: str
    number: int
    what: str
    inside: bool = False

    def __str__(self) -> str:
        return f"{self.kind} at {self.number}{' (inside)' if self.inside else ''}: {self.what}"


class Injector:
    """Runs vpcctl on a host with a fault at one point."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._folder = host.scratch / "faults"
        self._shims = host.scratch / "shims"
        self._shims.mkdir()
        for tool in filter(shutil.which, TOOLS):
            (self._shims / tool).symlink_to(SHIM)

    def run(self, line: str, point: Point) -> Result:
        """The command with the fault."""
        shutil.rmtree(self._folder, ignore_errors=True)
        self._folder.mkdir()
        path = os.environ["PATH"]
        fault: dict[str, Any] = {"FAULT_DIR": str(self._folder), "FAULT_PATH": path,
                                 "FAULT_AT": str(point.number), "FAULT_KIND": point.kind}
        if point.inside:
            return self._host.run(sys.executable, str(FAULTY), *line.split(), **fault)
        return self._host.vpcctl(*line.split(), PATH=f"{self._shims}:{path}", **fault)

    def count(self, line: str) -> list[str]:
        """The external commands that it runs, each with its arguments."""
        logged = self._logged()
        done = self.run(line, Point("fail", 0, ""))
        assert done.code == 0, (line, done)
        found = [(self._folder / str(number + 1)).read_text().strip()
                 for number in range(sum(path.name.isdigit() for path in self._folder.iterdir()))]
        assert len(found) == self._logged() - logged, "a command went past the shims, or past the log"
        return found

    def count_inside(self, line: str) -> list[str]:
        """What it does itself: files, signals, starts."""
        done = self.run(line, Point("fail", 0, "", inside=True))
        assert done.code == 0, (line, done)
        return (self._folder / "doings").read_text().splitlines()

    def _logged(self) -> int:
        return int(self._host.sh("grep -c '] exit ' /var/lib/vpcctl/vpcctl.log || true"))


def external_points(commands: list[str]) -> Iterator[Point]:
    """Every kind at every external command; a batch fails in its middle too."""
    for number, what in enumerate(commands, 1):
        batched = what.endswith("-batch -") or "-restore " in what or what.startswith("sysctl")
        for kind in (*FAILURES, *KILLS, *SIGNALS):
            if batched or kind != "middle":
                yield Point(kind, number, what)


def inside_points(doings: list[str]) -> Iterator[Point]:
    """Every kind at everything that vpcctl does itself."""
    for number, what in enumerate(doings, 1):
        for kind in ("fail", "kill", *SIGNALS):
            yield Point(kind, number, what, inside=True)

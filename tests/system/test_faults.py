"""Every external command and own doing of whatever changes something fails, is killed, is interrupted."""

from __future__ import annotations

import os
import random
import re
import time
from typing import Any

import click
import pytest
from faults import SCENARIOS, Injector, Point, Scenario, external_points, inside_points
from host import Host
from portrait import Portrait, differences

from vpcctl_lib.cli import root

LONG = bool(os.environ.get("VPCCTL_LONG"))
SEED = int(os.environ.get("VPCCTL_SEED", random.SystemRandom().randrange(10**6)))
NOT_WALKED = {"sandbox", "apply"}
"""`sandbox` changes nothing of the host; `apply` is the same plan from a file, with tests of its own."""

policies = {"ingress": [{"port": 8080, "protocol": "tcp", "action": "allow"}], "egress": []}


def settled(portrait: Portrait) -> Portrait:
    """Without what a restarted workload changes: pids, and the links' numbers in the order of rules."""
    lines = [re.sub(r"^\d+ ", "", line) for line in portrait["processes"]]
    files = [line for line in portrait["files"] if not line.startswith("/var/lib/vpcctl/logs/")]
    return {**portrait, "processes": sorted(lines), "files": files}


def recorded(host: Host) -> Any:
    """The record, without who runs a workload now."""
    state = host.state()
    for line in state["ledger"]:
        if line["kind"] == "program":
            line.pop("found", None)
    return state


class Walk:
    """One command's points, one after the other on one host."""

    def __init__(self, host: Host, scenario: Scenario) -> None:
        self.host = host
        self.policy = host.write("policy.json", policies)
        self.scenario = scenario
        self.injector = Injector(host)
        self.command = self.line(scenario.command)
        self.build()

    def line(self, text: str) -> str:
        return text.replace("{policy}", self.policy)

    def do(self, *lines: str) -> None:
        for line in lines:
            self.host.do(self.line(line))

    def build(self) -> None:
        """The host that the command finds."""
        self.do(*self.scenario.before)
        self.again()

    def again(self) -> None:
        """The damage that the command mends, if it is that kind of command; what there is now."""
        self.host.run("sh", "-c", self.scenario.damage)
        self.before, self.record = settled(self.host.portrait()), recorded(self.host)

    def points(self) -> list[Point]:
        """All there are: found by running the command."""
        external = list(external_points(self.injector.count(self.command)))
        self.back()
        inside = list(inside_points(self.injector.count_inside(self.command)))
        self.back()
        return external + inside

    def back(self) -> None:
        """From what the command makes to what it found."""
        self.do(*self.scenario.back)
        self.again()

    def meet(self, point: Point) -> None:
        """Inject, and hold what is promised."""
        done = self.injector.run(self.command, point)
        assert "Traceback" not in done.err, done.err
        if point.kind.startswith("kill"):
            self.after_kill(point)
        elif done.code == 0:
            # A reading command that may fail, or a signal after the last thing: it is done then.
            self.finished()
            self.back()
        elif self.scenario.damage:
            # What it mended before the failure stays so.
            self.host.do(self.command)
            self.finished()
            self.again()
        else:
            self.unchanged()

    def unchanged(self) -> None:
        """After a failure or a signal, host and record are as before, to the byte."""
        # A tool that only reads may outlive us by a moment.
        for _ in range(20):
            changes = differences(self.before, settled(self.host.portrait()))
            if not any("+ processes" in change for change in changes):
                break
            time.sleep(0.1)
        assert not changes, "\n".join(changes)
        assert recorded(self.host) == self.record

    def after_kill(self, point: Point) -> None:
        """The next command copes: the same again finishes it; in the other branch delete leaves nothing."""
        begun = self.half_made()
        done = self.host.vpcctl(*self.command.split())
        # Killed after the last save: there is nothing to delete any more.
        ended = not begun and recorded(self.host) != self.record
        assert done.code == 0 or (ended and "no " in done.err), done
        self.finished()
        self.back()
        self.injector.run(self.command, point)
        # A tool that only reads holds no lock, and may outlive us by a moment.
        time.sleep(0.8 if point.kind == "kill-while" else 0)
        for vpc in ("vpc1", "vpc2"):
            done = self.host.vpcctl("vpc", "delete", "--name", vpc)
            assert done.code == 0 or "no VPC" in done.err, done
        self.host.check_same(self.host.before)
        self.build()

    def half_made(self) -> bool:
        """`status` tells what was cut short, if anything was begun and not ended."""
        status = self.host.vpcctl("status")
        begun = "previous" in self.host.state()
        assert ("half-made" in status.out) == begun, status
        if not self.scenario.damage:
            assert status.code == int(begun), status
        return begun

    def finished(self) -> None:
        """In sync, as if nothing had happened."""
        status = self.host.vpcctl("status")
        assert (status.code, status.out) == (0, "in sync\n"), status


def chosen(points: list[Point], dice: random.Random) -> list[Point]:
    """All of them in the long run; else one of each kind, inside and outside."""
    if LONG:
        return points
    kinds = {(point.kind, point.inside) for point in points}
    return [dice.choice([point for point in points if (point.kind, point.inside) == kind])
            for kind in sorted(kinds)]


@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_every_point(host: Host, scenario: Scenario, record_property: Any) -> None:
    walk = Walk(host, scenario)
    points = walk.points()
    here = chosen(points, random.Random(f"{SEED} {scenario.name}"))  # noqa: S311 - picks tests
    for point in here:
        try:
            walk.meet(point)
        except AssertionError as error:
            raise AssertionError(f"{scenario.name}, {point} (VPCCTL_SEED={SEED}): {error}") from error
    record_property("points", len(here))
    print(f"figures: {scenario.name}: {len(here)} of {len(points)} points")


def commands(group: click.Group, name: str = "") -> Any:
    """All commands that take --dry-run: those that change something."""
    for word, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from commands(command, f"{name}{word} ")
        elif any("--dry-run" in option.opts for option in command.params):
            yield name + word


def test_no_command_is_left_out() -> None:
    walked = {scenario.name for scenario in SCENARIOS}
    assert set(commands(root)) - NOT_WALKED == walked



"""One command's points, one after the other, and what has to hold at each."""

from __future__ import annotations

import json
import re
import signal
import time
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path
from typing import Any

from faults import SIGNALS, Injector, Point, external_points, inside_points, undo_points
from host import EMPTY_STATE, Host, Result
from portrait import Portrait, differences
from scenarios import FILES, Scenario

BEHIND = "POSTROUTING -s 192.0.2.7/32 -j RETURN"
"""A rule of somebody else, at the end of the chain that NAT's rules are in."""

ENDED = re.compile(
    r"(VPC|subnet|workload|machine|group|network ACL|NAT gateway|route table|pool) \S+ does not exist|"
    r"are not peered|the record is not lost|has no route to|no port \S+ of the host leads|"
    r"no machine gets a copy|"
    r"elastic address \S+ is not allocated")
"""What a command says when it has been done already, and is no `unchanged`."""


def settled(portrait: Portrait) -> Portrait:
    """Without what a restarted workload changes: pids, logs, and the links' numbers in the order of rules."""
    lines = [re.sub(r"^\d+ ", "", line) for line in portrait["processes"]]
    files = [line for line in portrait["files"]
             if not line.startswith(("/var/lib/vpcctl/logs/", "/var/lib/vpcctl/flow-logs"))]
    return {**portrait, "processes": sorted(lines), "files": files}


def recorded(host: Host) -> Any:
    """The record, without who runs a workload, and which namespace it is, now: an undo makes these anew.

    A large record's seal is a checksum of that, too.

    All that is left of one that is damaged, as text.
    """
    try:
        state = host.state()
    except json.JSONDecodeError:
        return host.sh("cd /var/lib/vpcctl && tail -n +1 state.json*")
    state.pop("seal", None)
    for line in state["ledger"]:
        if line["kind"] in ("program", "relay", "resolver", "collector", "namespace"):
            line.pop("found", None)
    return state


class Walk:
    """A command on a host that is brought back to what it was before each point."""

    def __init__(self, folder: Path, scenario: Scenario) -> None:
        self._folder = folder
        self._scenario = scenario
        self._files = {name: self._write(name, content) for name, content in FILES.items()}
        self._command = self._line(scenario.command)
        self._hosts = self._crash = 0
        self._found: Portrait | None = None
        self._begin()

    def _begin(self) -> None:
        """On a new host."""
        self._hosts += 1
        folder = self._folder / f"host{self._hosts}"
        folder.mkdir()
        self.host = Host(folder)
        self._injector = Injector(self.host)
        self._do(*self._scenario.before)
        self._base = self.host.write("base.yaml", self.host.do("export").out)
        self._damage()

    def _write(self, name: str, content: object) -> str:
        path = self._folder / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return str(path)

    def _line(self, text: str) -> str:
        return re.sub(r"\{([a-z-]+)\}", lambda name: self._files[name[1]], text)

    def _do(self, *lines: str) -> None:
        for line in lines:
            self.host.do(self._line(line))

    def points(self) -> list[Point]:
        """All there are but for those of an undo: found by running the command."""
        self._commands = self._injector.count(self._command)
        self._back()
        inside = list(inside_points(self._injector.count_inside(self._command)))
        self._back()
        return [*external_points(self._commands), *inside]

    def undo_points(self) -> list[Point]:
        """The points of the undo that follows when the last command fails of those that must not."""
        for failed in range(len(self._commands), 0, -1):
            done = self._injector.run(self._command, Point("fail", failed, ""))
            ran = self._injector.ran()
            self._back()
            if done.code:
                return list(undo_points(failed, ran))
        return []

    def go(self, points: Iterable[Point]) -> Iterator[str]:
        """Meet them all, and in the end leave nothing; what was wrong, after which another host goes on."""
        for point in points:
            try:
                self._meet(point)
            except AssertionError as error:
                yield f"{self._scenario.name}, {point}: {error}"
                self.host.end()
                self._begin()
        try:
            self._leave_nothing()
        except AssertionError as error:
            yield f"{self._scenario.name}, when all is deleted: {error}"

    def _back(self) -> None:
        """From whatever there is to what the command finds."""
        self._do(*self._scenario.back)
        if not self._scenario.back:
            self._do(f"apply --prune -f {self._base}")
        self._damage()

    def _damage(self) -> None:
        """What the command finds beside the network: others' rules behind ours, and what it is to mend."""
        self._found = None
        self.host.sh(f"iptables -t nat -D {BEHIND} 2>&1 || :; iptables -t nat -A {BEHIND}")
        self.host.sh(self._scenario.damage)
        if self._scenario.crash:
            line = self._line(self._scenario.crash)
            self._injector.run(line, self._half_way(line))

    def _meet(self, point: Point) -> None:
        """Inject, and hold what is promised."""
        before, record = self._before(), recorded(self.host)
        done = self._injector.run(self._command, point)
        assert "Traceback" not in done.err, done.err
        if point.kind in SIGNALS:
            # As a shell tells it, or (before a change has begun) ended by the signal itself; 0: it came late.
            number = signal.Signals[f"SIG{point.kind}"]
            assert done.code in (0, 128 + number, -number), done
        if point.failed and done.code > 0:
            self._after_undo(point, before, record, done)
        elif point.kind.startswith("kill"):
            if not self._is_untouched(point, before, record):
                self._after_kill(point, record)
        elif done.code == 0:
            # A reading command that may fail, or a signal after the last thing: it is done then.
            self._finished()
            self._back()
        elif self._scenario.mends:
            # What it mended before the failure stays so, and what it was to mend is not forgotten.
            self._record_kept(record)
            self._do(self._command)
            self._finished()
            self._back()
        else:
            # After a failure or a signal, host and record are as before, to the byte.
            self._same(before, settled)
            assert recorded(self.host) == record

    def _after_undo(self, point: Point, before: Portrait, record: Any, done: Result) -> None:
        """What went wrong in the undo was done in another way, or is named, and the next command copes."""
        if "could not be undone" in done.err:
            self._after_kill(point, record)
        else:
            self._same(before, settled)
            assert recorded(self.host) == record

    def _before(self) -> Portrait:
        """The host as the command finds it; taken when it was brought there anew."""
        if self._found is None:
            self._found = settled(self.host.portrait())
        return self._found

    def _same(self, before: Portrait, view: Callable[[Portrait], Portrait]) -> None:
        changes = self._changes(before, view)
        assert not changes, "\n".join(changes)

    def _changes(self, before: Portrait, view: Callable[[Portrait], Portrait]) -> list[str]:
        """Once what may outlive us by a moment (a tool that only reads) has ended."""
        for _ in range(50):
            changes = differences(before, view(self.host.portrait()))
            if not any("+ processes" in change for change in changes):
                break
            time.sleep(0.1)
        return changes

    def _is_untouched(self, point: Point, before: Portrait, record: Any) -> bool:
        """Whether it was killed before it changed anything: all that follows is as if it had never run.

        What runs on after a `kill-while` is for the next command to meet, not to be waited for.
        """
        return point.kind != "kill-while" and recorded(self.host) == record \
            and not self._changes(before, settled)

    def _record_kept(self, record: Any) -> None:
        now = recorded(self.host)
        if isinstance(record, str):
            # Lost: what is left of it stays until it is whole again.
            assert now == record or (isinstance(now, dict) and len(now["topology"].get("vpcs", ())) == 2), now
        elif not self._scenario.crash:
            assert now == record

    def _after_kill(self, point: Point, record: Any) -> None:
        """The next command copes: the same again finishes it; in the other branch delete leaves nothing."""
        begun = self._half_made()
        done = self.host.vpcctl(*self._command.split())
        # Killed after the last save: there is nothing to delete, or to rebuild, any more.
        ended = not begun and recorded(self.host) != record
        assert done.code == 0 or (ended and ENDED.search(done.err)), done
        self._finished()
        self._back()
        self._injector.run(self._command, point)
        self._leave_nothing()
        self._back()

    def _half_made(self) -> bool:
        """`status` tells what was cut short, if anything was begun and not ended."""
        status = self.host.vpcctl("status")
        record = recorded(self.host)
        begun = "previous" in record
        assert ("half-made" in status.out) == begun, status
        if not self._scenario.mends:
            assert status.code == int(begun), status
        return begun

    def _finished(self) -> None:
        """In sync, as if nothing had happened."""
        status = self.host.vpcctl("status")
        assert (status.code, status.out) == (0, "in sync\n"), status

    def _leave_nothing(self) -> None:
        """Each VPC deleted, and the host is what it was before the first."""
        record = recorded(self.host)
        if isinstance(record, str):
            self._do(self._command)
            record = recorded(self.host)
        parts = [record.get(part, {}) for part in ("topology", "previous")]
        for vpc in dict.fromkeys(vpc["name"] for part in parts for vpc in part.get("vpcs", ())):
            done = self.host.vpcctl("vpc", "delete", "--name", vpc)
            assert done.code == 0 or "does not exist" in done.err, done
        self.host.delete_all()
        self.host.sh(f"{self._scenario.by_hand}\niptables -t nat -D {BEHIND}")
        self._same(self.host.before, dict)
        assert self.host.state() == EMPTY_STATE

    def _half_way(self, line: str) -> Point:
        """Where the crash before the command is: in the middle of what changes the host."""
        if not self._crash:
            self._crash = len(self._injector.count(line)) // 2 + 1
            self._do(f"apply --prune -f {self._base}")
        return Point("kill-after", self._crash, line)

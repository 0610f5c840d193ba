"""What the fault tests inject: found by running each command and counting what it does."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from host import Host, Result

SHIM = Path(__file__).with_name("tool_shim.sh")
RULES = tuple(f"{tool}{kind}{verb}" for tool in ("iptables", "ip6tables") for kind in ("", "-legacy", "-nft")
              for verb in ("", "-save", "-restore"))
TOOLS = ("ip", "bridge", "tc", "unshare", "nft", *RULES, "sysctl", "env", "ss")
FAILURES, KILLS = ("fail", "middle"), ("kill-before", "kill-while", "kill-after")
SIGNALS = ("INT", "TERM", "HUP")


@dataclass(frozen=True)
class Point:
    """The n-th external command (or own doing) of a command, and what happens there."""

    kind: str
    number: int
    what: str
    inside: bool = False
    failed: int = 0
    """The number of a command that fails before this one, which is part of the undo then."""

    def __str__(self) -> str:
        where = " (inside)" if self.inside else f" (undoing, as {self.failed} failed)" if self.failed else ""
        return f"{self.kind} at {self.number}{where}: {self.what}"

    def faults(self) -> dict[str, str]:
        """As the shims and the faulty vpcctl are told of it."""
        here = {"FAULT_AT": str(self.number), "FAULT_KIND": self.kind}
        return {"FAULT_FAILED": str(self.failed), **here} if self.failed else here


class Injector:
    """Runs vpcctl on a host with a fault at one point."""

    def __init__(self, host: Host) -> None:
        self._host = host
        self._runs = 0
        self._shims = host.scratch / "shims"
        self._shims.mkdir()
        for tool in filter(shutil.which, TOOLS):
            (self._shims / tool).symlink_to(SHIM)

    def run(self, line: str, point: Point) -> Result:
        """The command with the fault."""
        # A folder for each run: a tool of a killed one may still write to its own.
        self._runs += 1
        self._folder.mkdir()
        path = os.environ["PATH"]
        fault: dict[str, Any] = {"FAULT_DIR": str(self._folder), "FAULT_PATH": path, **point.faults()}
        if point.inside:
            return self._host.faulty(*line.split(), **fault)
        return self._host.vpcctl(*line.split(), PATH=f"{self._shims}:{path}", **fault)

    def count(self, line: str) -> list[str]:
        """The external commands that it runs, each with its arguments."""
        logged = self._logged()
        done = self.run(line, Point("fail", 0, ""))
        assert done.code == 0, (line, done)
        found = self.ran()
        assert len(found) == self._logged() - logged, "a command went past the shims, or past the log"
        return found

    def ran(self) -> list[str]:
        """The external commands of the last run, each with its arguments."""
        return [(self._folder / str(number + 1)).read_text().strip()
                for number in range(sum(path.name.isdigit() for path in self._folder.iterdir()))]

    def count_inside(self, line: str) -> list[str]:
        """What it does itself: files, signals, starts."""
        done = self.run(line, Point("fail", 0, "", inside=True))
        assert done.code == 0, (line, done)
        return (self._folder / "doings").read_text().splitlines()

    @property
    def _folder(self) -> Path:
        return self._host.scratch / f"faults{self._runs}"

    def _logged(self) -> int:
        return int(self._host.sh("cat /var/lib/vpcctl/vpcctl.log | grep -c '] exit ' || true"))


def external_points(commands: list[str]) -> Iterator[Point]:
    """Every kind at every external command; a batch fails in its middle too."""
    for number, what in enumerate(commands, 1):
        batched = what.endswith("-batch -") or "-restore " in what or what.startswith("sysctl")
        for kind in (*FAILURES, *KILLS, *SIGNALS):
            if batched or kind != "middle":
                yield Point(kind, number, what)


def undo_points(failed: int, commands: list[str]) -> Iterator[Point]:
    """Every kind that an undo may meet, at every external command after the one that failed."""
    for number, what in enumerate(commands[failed:], failed + 1):
        yield from (Point(kind, number, what, failed=failed) for kind in ("fail", *KILLS))


def inside_points(doings: list[str]) -> Iterator[Point]:
    """Every kind at everything that vpcctl does itself; a file may be there when writing to it fails."""
    for number, what in enumerate(doings, 1):
        for kind in (*FAILURES, "kill", *SIGNALS):
            if what.startswith("write ") or kind != "middle":
                yield Point(kind, number, what, inside=True)

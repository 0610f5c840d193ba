"""Steps that start and stop processes, which no batch can hold."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vpcctl_lib import keeper, users
from vpcctl_lib.keeper.orders import MARK, Orders, words
from vpcctl_lib.run import Command

PROCESSES = 2048
"""How many a workload may have unless it is told otherwise: as many as Podman gives a container
(containers.conf(5), `pids_limit`)."""

LOG_BYTES = 10 << 20
"""How large a log grows before it becomes the older one, which goes when the next does."""

KEEPER = str(Path(keeper.__file__).with_name("__main__.py"))


@dataclass(frozen=True)
class EmptyNamespaces:
    """Stop all that runs in namespaces, as they are about to go."""

    namespaces: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(map(_emptying, self.namespaces))


def _emptying(namespace: str) -> str:
    pids = f"ip netns pids {namespace}"
    gone = f"timeout 5 sh -c 'while {pids} | grep -q .; do sleep 0.1; done'"
    return f"{pids} | xargs -r kill; {gone} || {pids} | xargs -r kill -KILL"


@dataclass(frozen=True)
class Start:
    """Start a workload's program and wait until it is ready."""

    namespace: str
    mark: str
    argv: tuple[str, ...]
    log: str
    port: int | None = None
    number: int = 0
    """Of the VPC's cable, from which the number of its user follows."""

    user: str = ""
    pids: int | None = None
    memory: int | None = None

    def command(self, folder: Path) -> Command:
        """What starts it: its keeper, which sees to all the rest; logs lie in the folder."""
        folder = folder.absolute()
        uid = None if self.user else users.usable(self.number)
        orders = Orders(self.namespace, self.mark, str(self.log_file(folder)), self.argv, (str(folder),), uid,
                        self.user, self.pids or PROCESSES, self.memory or 0, LOG_BYTES)
        python = (sys.executable, "-I", "-S")
        return Command(("env", "-i", f"{MARK}={self.mark}", *python, KEEPER, *words(orders)))

    def log_file(self, folder: Path) -> Path:
        """Where its output goes."""
        return folder / self.log


@dataclass(frozen=True)
class Stop:
    """Stop a workload's processes, and those only."""

    namespace: str
    mark: str
    log: str
    facts: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"kill {self.facts.get('pid', '')}  # workload {self.mark}"

"""Steps that start and stop processes, which no batch can hold."""

from __future__ import annotations

import sys
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path

from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.run import Command
from vpcctl_lib.model.topology import Restart, Upkeep

PROCESSES = 2048
"""How many a workload may have unless it is told otherwise: as many as Podman gives a container
(containers.conf(5), `pids_limit`)."""

LOG_BYTES = 10 << 20
"""How large a log grows before it becomes the older one, which goes when the next does."""

STOP_SECONDS = 10
"""How long what a stop signal has not ended may go on, unless told otherwise: as `docker stop`."""

KEEPER_SECONDS = 3.0
"""How long a keeper may take beyond the time that it gives its program."""

KEEPER = str(Path(__file__).parents[1] / "keeper" / "__main__.py")


@frozen
class EmptyNamespaces:
    """Stop all that runs in namespaces, as they are about to go."""

    namespaces: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(map(_emptying, self.namespaces))


def _emptying(namespace: str) -> str:
    pids = f"ip netns pids {namespace}"
    gone = f"timeout 5 sh -c 'while {pids} | grep -q .; do sleep 0.1; done'"
    return f"{pids} | xargs -r kill; {gone} || {pids} | xargs -r kill -KILL"


@frozen
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
    upkeep: Upkeep = Upkeep()

    def command(self, folder: Path) -> Command:
        """What starts it: its keeper, which sees to all the rest; logs lie in the folder."""
        # Imported late: few changes start a workload.
        from vpcctl_lib.keeper.orders import MARK, Orders, words
        from vpcctl_lib.kernel import users
        from vpcctl_lib.workloads.upkeep import signal_number

        folder = folder.absolute()
        uid = None if self.user else users.usable(self.number)
        upkeep = self.upkeep
        restart = "" if upkeep.restart is Restart.NO else upkeep.restart.value
        orders = Orders(self.namespace, self.mark, str(self.log_file(folder)), self.argv, (str(folder),), uid,
                        self.user, self.pids or PROCESSES, self.memory or 0, upkeep.log_max or LOG_BYTES,
                        upkeep.env, upkeep.workdir, signal_number(upkeep.stop_signal), upkeep.stop_timeout,
                        restart)
        python = (sys.executable, "-I", "-S")
        return Command(("env", "-i", f"{MARK}={self.mark}", *python, KEEPER, *words(orders)))

    def log_file(self, folder: Path) -> Path:
        """Where its output goes."""
        return folder / self.log


@frozen
class Stop:
    """Stop a workload's processes, and those only."""

    namespace: str
    mark: str
    log: str
    facts: Mapping[str, str] = field(default_factory=dict)
    seconds: int = STOP_SECONDS
    """How long the keeper lets the program obey."""

    def __str__(self) -> str:
        return f"kill {self.facts.get('pid', '')}  # workload {self.mark}"

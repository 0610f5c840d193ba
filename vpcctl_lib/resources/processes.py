"""Steps that start and stop processes: ready before the start returns, stopped with their children."""

from __future__ import annotations

import shlex
import sys
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path

from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.run import Command
from vpcctl_lib.model.workloads import Restart, Upkeep
from vpcctl_lib.resources.operation import NO_FACTS, Desk, Facts, Operation

PROCESSES = 2048
"""How many processes a workload may have by default: as many as Podman gives a container
(containers.conf(5), `pids_limit`)."""

LOG_BYTES = 10 << 20
"""The size at which a log becomes the older one, which is deleted when the next one is full."""

STOP_SECONDS = 10
"""How long a program may outlive the stop signal by default: as with `docker stop`."""

KEEPER_SECONDS = 3.0
"""How long a keeper may take beyond the time that it gives its program."""

KEEPER = str(Path(__file__).parents[1] / "keeper" / "__main__.py")


@frozen
class EmptyNamespaces(Operation):
    """Stop everything that runs in namespaces that are about to go."""

    namespaces: tuple[str, ...]

    def carry_out(self, desk: Desk) -> Facts:
        """Again until none is left, as a process may start others while it is being stopped."""
        # Imported late, as all here that has to do with processes: most changes touch none.
        from vpcctl_lib.resources import programs

        desk.runner.announce(self)
        programs.empty(self.namespaces, desk)
        return NO_FACTS

    def __str__(self) -> str:
        return "\n".join(map(_emptying, self.namespaces))


def _emptying(namespace: str) -> str:
    pids = f"ip netns pids {namespace}"
    gone = f"timeout 5 sh -c 'while {pids} | grep -q .; do sleep 0.1; done'"
    return f"{pids} | xargs -r kill; {gone} || {pids} | xargs -r kill -KILL"


@frozen
class Start(Operation):
    """Start a workload's program and wait until it is ready."""

    namespace: str
    mark: str
    argv: tuple[str, ...]
    log: str
    port: int | None = None
    number: int = 0
    """The number of the VPC's cable, which determines that of its user."""

    user: str = ""
    pids: int | None = None
    memory: int | None = None
    upkeep: Upkeep = Upkeep()
    shows: tuple[str, ...] = ()
    """Folders of the host's that it sees."""

    outside: bool = False
    """Whether it gets sockets of the host's network."""

    capability: int | None = None
    """One that it has in a user namespace of its own."""

    opens: tuple[str, ...] = ()
    """Folders of the host's that it gets open."""

    writes: str = ""
    """A folder below the state folder that belongs to it, and that it gets open."""

    powers: tuple[int, ...] = ()
    """Capabilities that it really has."""

    def command(self, folder: Path) -> Command:
        """What starts it: its keeper, which sees to all the rest; logs lie in the folder."""
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
                        restart, self.shows, self.capability, int(self.outside), self.opens,
                        str(folder / self.writes) if self.writes else "", tuple(map(str, self.powers)))
        python = (sys.executable, "-I", "-S")
        return Command(("env", "-i", f"{MARK}={self.mark}", *python, KEEPER, *words(orders)))

    def log_file(self, folder: Path) -> Path:
        """The file for its output."""
        return folder / self.log

    def carry_out(self, desk: Desk) -> Facts:
        """Ready when this returns; the log of one that did not start is evidence."""
        from vpcctl_lib.resources import programs

        return programs.start(self, desk)

    def typed(self, desk: Desk) -> str:
        """Like our own start: a session of its own, detached from the terminal, and the prompt returns."""
        folder, log = desk.folder, self.log_file(desk.folder)
        own = [above for above in reversed(log.parents) if folder in above.parents]
        return (f"install -d -m 700 {shlex.join(map(str, own))}\n"
                f"setsid --fork env -C / {self.command(folder)} </dev/null >/dev/null 2>&1")


@frozen
class Stop(Operation):
    """Stop only a workload's processes."""

    namespace: str
    mark: str
    log: str
    facts: Mapping[str, str] = field(default_factory=dict)
    seconds: int = STOP_SECONDS
    """How long the keeper waits for the program to obey."""

    def carry_out(self, desk: Desk) -> Facts:
        """Again until none is left, as one that was just being started may have begun another."""
        from vpcctl_lib.resources import programs

        desk.runner.announce(self)
        programs.stop(self.namespace, self.mark, self.facts, self.seconds + KEEPER_SECONDS)
        return NO_FACTS

    def typed(self, desk: Desk) -> str:
        """TERM, the workload's time to obey, KILL: for its keeper, or else for whoever bears its mark."""
        from vpcctl_lib.workloads import members

        pid = self.facts.get("pid")
        session = f"""[ "$(ps -o sid= -p $pid | tr -d ' ')" = {pid} ] || """ if pid else ""
        if members.is_kept(self.facts):
            session = "grep -qs '^NSpid:.*[[:space:]]1$' /proc/$pid/status && "
        marked = f"grep -qsz '^VPCCTL_WORKLOAD={self.mark}$' /proc/$pid/environ"
        turns = 10 * (self.seconds + round(KEEPER_SECONDS))
        return f"""# workload {self.mark}
workload() {{
  for pid in $(ip netns pids {self.namespace}); do {session}{marked} && echo $pid; done
}}
for signal in TERM KILL; do
  workload | xargs -r kill -$signal
  for turn in $(seq {turns}); do [ -n "$(workload)" ] || break 2; sleep 0.1; done
done"""

    def __str__(self) -> str:
        return f"kill {self.facts.get('pid', '')}  # workload {self.mark}"

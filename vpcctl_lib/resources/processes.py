"""Steps that start and stop processes: ready before the start returns, stopped with their children."""

from __future__ import annotations

import os
import shlex
import sys
import time
from collections.abc import Collection, Mapping
from dataclasses import field
from pathlib import Path

from vpcctl_lib import keeper
from vpcctl_lib.errors import BadInput, VpcctlError
from vpcctl_lib.frozen import frozen
from vpcctl_lib.keeper import limits
from vpcctl_lib.keeper.folders import OWN
from vpcctl_lib.keeper.orders import MARK, Orders, words
from vpcctl_lib.kernel import users
from vpcctl_lib.kernel.disk import make_secret_folder
from vpcctl_lib.kernel.netns import within
from vpcctl_lib.kernel.run import Command
from vpcctl_lib.model.topology import Restart, Upkeep
from vpcctl_lib.resources.operation import NO_FACTS, Desk, Facts, Operation
from vpcctl_lib.workloads import logs, processes
from vpcctl_lib.workloads.report import Report
from vpcctl_lib.workloads.upkeep import check_workdir, parse_signal, parse_variable, signal_number

PROCESSES = 2048
"""How many a workload may have unless it is told otherwise: as many as Podman gives a container
(containers.conf(5), `pids_limit`)."""

LOG_BYTES = 10 << 20
"""How large a log grows before it becomes the older one, which goes when the next does."""

STOP_SECONDS = 10
"""How long what a stop signal has not ended may go on, unless told otherwise: as `docker stop`."""

KEEPER_SECONDS = 3.0
"""How long a keeper may take beyond the time that it gives its program."""

READY_SECONDS = 10.0
SETTLE_SECONDS = 0.3
"""How long a program has to fail at once: a missing library, a bad option."""

LAST_WORDS_SECONDS = 1.0
"""How long a keeper whose program has failed has to end by itself, and to say who it is."""

PASSING_SECONDS = 2.0
"""How long another vpcctl and its tools may be in a namespace that is to go; a look takes milliseconds."""

LOOK_SECONDS = 0.02
STOPS = 3
TAIL_BYTES = 4096
KEEPER = str(Path(keeper.__file__).with_name("__main__.py"))


@frozen
class EmptyNamespaces(Operation):
    """Stop all that runs in namespaces, as they are about to go."""

    namespaces: tuple[str, ...]

    def carry_out(self, desk: Desk) -> Facts:
        """Again until none is left, as a process may start others while it is being stopped."""
        desk.runner.announce(self)
        for _ in range(10):
            living = _staying(self.namespaces)
            if not living:
                return NO_FACTS
            desk.notes += [f"stopped {process.name()}, which ran in {space}" for space, process in living]
            processes.end(process for _, process in living)
        space, _ = living[0]
        raise VpcctlError(f"processes keep starting in {space}", f"ip netns pids {space}")

    def __str__(self) -> str:
        return "\n".join(map(_emptying, self.namespaces))


def _emptying(namespace: str) -> str:
    pids = f"ip netns pids {namespace}"
    gone = f"timeout 5 sh -c 'while {pids} | grep -q .; do sleep 0.1; done'"
    return f"{pids} | xargs -r kill; {gone} || {pids} | xargs -r kill -KILL"


def _staying(namespaces: Collection[str]) -> list[tuple[str, processes.Process]]:
    """Who is in there, less the tools of another vpcctl (a `status` beside a delete): those are waited for.

    A tool that is just being started does not have its own environment yet, so everybody is looked at twice.
    """
    deadline = time.monotonic() + PASSING_SECONDS
    before: list[tuple[str, processes.Process]] = []
    while True:
        living = processes.by_namespace(namespaces)
        passing = any(processes.is_passing(process) for _, process in living)
        if not living or time.monotonic() > deadline or (living == before and not passing):
            return living
        before = living
        time.sleep(0.02)


@frozen
class Start(Operation):
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

    def carry_out(self, desk: Desk) -> Facts:
        """Ready when this returns; the log of one that did not start is evidence."""
        log = self.log_file(desk.folder)
        make_secret_folder(desk.folder, os.path.dirname(self.log))
        reader, writer = os.pipe()
        with Report(reader) as report:
            try:
                child = desk.runner.spawn(self.command(desk.folder), {MARK: self.mark}, writer)
            finally:
                os.close(writer)
            try:
                _wait_until_ready(self, report)
            except (VpcctlError, OSError) as error:
                desk.evidence.add(log)
                _end(self, report)
                raise VpcctlError(f"{self.mark} did not start: {error}", _advice(self, log)) from None
            finally:
                child.wait()
            desk.notes += [f"{self.mark}: {short}" for short in report.shortfalls]
            return report.facts()

    def typed(self, desk: Desk) -> str:
        """Like our own start: a session of its own, nothing of this terminal, and the prompt comes back."""
        folder, log = desk.folder, self.log_file(desk.folder)
        own = [above for above in reversed(log.parents) if folder in above.parents]
        return (f"install -d -m 700 {shlex.join(map(str, own))}\n"
                f"setsid --fork env -C / {self.command(folder)} </dev/null >/dev/null 2>&1")


def _end(start: Start, report: Report) -> None:
    """Nothing of it is left; a keeper that is on its way out is waited for."""
    report.hear_out(LAST_WORDS_SECONDS)
    for _ in range(STOPS):
        living = processes.of_workload(start.namespace, start.mark, report.facts())
        if not living:
            return
        processes.end(living)
        report.hear_out(LAST_WORDS_SECONDS)


def _wait_until_ready(start: Start, report: Report) -> None:
    deadline = time.monotonic() + READY_SECONDS
    while not report.started:
        if not report.listen(deadline - time.monotonic()):
            raise VpcctlError(f"not ready within {READY_SECONDS:.0f} s")
    if start.port is None:
        report.listen(SETTLE_SECONDS)
        return
    while not _serves(start.namespace, start.port, report.main()):
        report.listen(LOOK_SECONDS)
        if time.monotonic() > deadline:
            raise VpcctlError(f"not ready within {READY_SECONDS:.0f} s")


def _serves(namespace: str, port: int, pid: int) -> bool:
    """Whether the page comes, and not from somebody else who has the port."""
    return processes.listens(pid, port) and _answers(namespace, port)


def _answers(namespace: str, port: int) -> bool:
    """Whether a GET inside the namespace gets a page; over loopback, which every policy allows."""
    # Imported late: it brings ssl and email, a third of what a change takes to start.
    import http.client

    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
    try:
        within(namespace, connection.connect)
        connection.request("GET", "/")
        return connection.getresponse().status == 200
    except (OSError, http.client.HTTPException):
        return False
    finally:
        connection.close()


def _advice(start: Start, log: Path) -> str:
    """The end of what it wrote, or where a file is that it did not find."""
    covered = [word for word in start.argv if word.startswith(tuple(f"{folder}/" for folder in OWN))]
    if covered:
        return f"a workload has its own {', '.join(OWN)}: {covered[0]} of the host is not in there"
    try:
        text = logs.tail(log, TAIL_BYTES)
    except FileNotFoundError:
        return ""
    lines = text.decode(errors="replace").splitlines()[-3:]
    return "its log ends: " + " | ".join(lines) if lines else ""


@frozen
class Stop(Operation):
    """Stop a workload's processes, and those only."""

    namespace: str
    mark: str
    log: str
    facts: Mapping[str, str] = field(default_factory=dict)
    seconds: int = STOP_SECONDS
    """How long the keeper lets the program obey."""

    def carry_out(self, desk: Desk) -> Facts:
        """Again until none is left, as one that was just being started may have begun another."""
        desk.runner.announce(self)
        for _ in range(STOPS):
            living = processes.of_workload(self.namespace, self.mark, self.facts)
            if not living:
                break
            left = processes.end(living, self.seconds + KEEPER_SECONDS)
            if left:
                raise VpcctlError(f"can't stop {', '.join(process.name() for process in left)}")
        if self.facts.get("netns"):
            limits.remove(limits.name(self.mark, int(self.facts["netns"])))
        return NO_FACTS

    def typed(self, desk: Desk) -> str:
        """TERM, the workload's time to obey, KILL: for its keeper, or else for whoever bears its mark."""
        pid = self.facts.get("pid")
        session = f"""[ "$(ps -o sid= -p $pid | tr -d ' ')" = {pid} ] || """ if pid else ""
        if processes.is_kept(self.facts):
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


def upkeep_of(orders: Orders) -> Upkeep:
    """What a keeper's orders say of it; BadInput where they say what nobody could have asked for."""
    for one in orders.env:
        parse_variable(one)
    check_workdir(orders.workdir)
    if orders.restart not in {"", *(kind.value for kind in Restart)}:
        raise BadInput(f"{orders.restart!r} is not a way to restart")
    stop_signal = parse_signal(str(orders.stop_signal)) if orders.stop_signal else ""
    log_max = None if orders.log_bytes == LOG_BYTES else orders.log_bytes or None
    return Upkeep(orders.env, orders.workdir, stop_signal, orders.stop_timeout,
                  Restart(orders.restart or Restart.NO.value), log_max)

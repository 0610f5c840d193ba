"""Processes on this host: their identity, their network namespace, and how they are ended."""

from __future__ import annotations

import os
import select
import signal
import sys
import time
from collections.abc import Collection, Iterable, Iterator, Mapping
from dataclasses import field
from pathlib import Path

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel import netns

PROC = Path("/proc")
GRACE_SECONDS = 5.0
"""How long a process has after TERM before KILL."""

TOOL = b"VPCCTL_TOOL=1"
"""The environment variable of the tools of every vpcctl (`run.TOOL`)."""

LONGEST_ENVIRONMENT = 1 << 17
"""Bytes of a process's environment to read: ours come first, and others may have megabytes."""

EXITING = 4
"""PF_EXITING of include/linux/sched.h."""

LISTEN = "0A"
"""include/net/tcp_states.h"""


@frozen
class Process:
    """A process, distinguished from a later one with the same pid by its start time."""

    pid: int
    start: int
    session: int
    parent: int = field(compare=False)
    """It changes once its parent has ended."""

    def program(self) -> str:
        """The name of its program; empty if it has ended."""
        return _text(self.pid, "comm").strip()

    def name(self) -> str:
        """Its program and pid, for a person."""
        program = self.program()
        return f"{program} (pid {self.pid})" if program else f"pid {self.pid}"


def _text(pid: int, name: str) -> str:
    """The text of a /proc file of a process, whose name can be any bytes; empty if it has ended."""
    try:
        return (PROC / str(pid) / name).read_bytes().decode(errors="replace")
    except OSError:
        return ""


def boot_id() -> str:
    """Changes with every boot, when pids and start times start over; empty if /proc shows only processes."""
    try:
        return (PROC / "sys/kernel/random/boot_id").read_text().strip()
    except OSError:
        return ""


def look(pid: int) -> Process | None:
    """The process with that pid; None if there is none, or if it is a zombie."""
    text = _text(pid, "stat")
    if not text:
        return None
    # proc(5): the second field is the name in parentheses, and may contain any character.
    fields = text[text.rindex(")") + 2:].split()
    state, parent, session, start = fields[0], int(fields[1]), int(fields[3]), int(fields[19])
    return None if state in "ZX" else Process(pid, start, session, parent)


def identity(process: Process) -> dict[str, str]:
    """The facts by which a process is recognised later."""
    return {"pid": str(process.pid), "start": str(process.start), "boot": boot_id(),
            "netns": str(network(process.pid))}


def recognise(facts: Mapping[str, str]) -> Process | None:
    """The recorded process, if it still runs."""
    if not facts.get("pid") or facts.get("boot") != boot_id():
        return None
    process = look(int(facts["pid"]))
    return process if process is not None and str(process.start) == facts.get("start") else None


def is_hidden(facts: Mapping[str, str]) -> bool:
    """Whether it is unknown if it runs: this user can't see others' processes (proc(5), `hidepid`)."""
    if not facts.get("pid") or not boot_id():
        return bool(facts.get("pid"))
    if facts.get("boot") != boot_id() or _text(int(facts["pid"]), "stat"):
        return False
    try:
        os.kill(int(facts["pid"]), 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    return True


def is_ending(process: Process) -> bool:
    """Whether it is exiting: it runs no more code, and is not a zombie yet (proc(5), `flags` of stat)."""
    text = _text(process.pid, "stat")
    return bool(text) and bool(int(text[text.rindex(")") + 2:].split()[6]) & EXITING)


def listens(pid: int, port: int) -> bool:
    """Whether the process itself waits for TCP connections to a port (proc(5))."""
    own = set(_open_files(pid))
    try:
        lines = (PROC / str(pid) / "net/tcp").read_text().splitlines()[1:]
    except OSError:
        return False
    sockets = [line.split() for line in lines]
    return any(fields[1].endswith(f":{port:04X}") and fields[3] == LISTEN and f"socket:[{fields[9]}]" in own
               for fields in sockets)


def _open_files(pid: int) -> Iterator[str]:
    try:
        for number in os.listdir(PROC / str(pid) / "fd"):
            yield os.readlink(PROC / str(pid) / "fd" / number)
    except OSError:
        # It has ended, or closed one meanwhile: the next look decides.
        return


def inside_of(process: Process, namespace: str) -> bool:
    """Whether it is in that network namespace."""
    number = netns.inode(namespace)
    return bool(number) and network(process.pid) == number


def inside(namespace: str) -> list[Process]:
    """All processes in a network namespace."""
    return within({netns.inode(namespace)} - {0})


def by_namespace(namespaces: Collection[str]) -> list[tuple[str, Process]]:
    """All processes in these network namespaces, each with its namespace, from one pass over /proc."""
    names = {netns.inode(namespace): namespace for namespace in namespaces}
    names.pop(0, None)
    found = ((names.get(network(process.pid)), process) for process in (_all() if names else ()))
    return [(name, process) for name, process in found if name]


def is_passing(process: Process) -> bool:
    """Whether it is a tool of some vpcctl, which ends by itself in a moment."""
    return TOOL in environment(process.pid) and is_own(process)


def is_own(process: Process) -> bool:
    """Whether it is our user's, with all of that user's rights: its environment is then trustworthy.

    A workload's processes are in a user namespace below ours. Anybody can put TOOL or a mark into theirs.
    """
    # Not by the owner of the folder: proc(5) shows a process that can't be dumped as root's.
    same_user = _field(_text(process.pid, "status"), "Uid")[1:2] == [str(os.geteuid())]
    return same_user and _room(process.pid, "user") == _room("self", "user")


def _field(status: str, name: str) -> list[str]:
    # Not splitlines: the program's name may contain other line separators.
    return next((line.split()[1:] for line in status.split("\n") if line.startswith(f"{name}:")), [])


def is_keeper(process: Process) -> bool:
    """Whether it is the first process of a workload: process 1 of its own PID namespace, and ours."""
    numbers = _field(_text(process.pid, "status"), "NSpid")
    return len(numbers) > 1 and numbers[-1] == "1" and is_own(process)


def runs_as_we_do(process: Process) -> bool:
    """Whether its program is the file that we start workloads with: one in a container is another file."""
    try:
        return os.path.samestat((PROC / str(process.pid) / "exe").stat(), os.stat(sys.executable))
    except OSError:
        return False


def children(pid: int) -> list[Process]:
    """The processes that it started or inherited, oldest first."""
    return sorted((process for process in _all() if process.parent == pid), key=lambda one: one.start)


def room(process: Process) -> int:
    """The number of its PID namespace, which is the workload's own; 0 if unknown."""
    return _room(process.pid, "pid")


def within(networks: Collection[int]) -> list[Process]:
    """All processes in the network namespaces of these numbers."""
    return [process for process in _all() if network(process.pid) in networks] if networks else []


def _all() -> Iterator[Process]:
    for entry in os.listdir(PROC):
        process = look(int(entry)) if entry.isdigit() else None
        if process is not None and process.pid != os.getpid():
            yield process


def network(pid: int) -> int:
    """The number of its network namespace; 0 if unknown."""
    return _room(pid, "net")


def _room(pid: int | str, kind: str) -> int:
    try:
        return (PROC / str(pid) / "ns" / kind).stat().st_ino
    except OSError:
        return 0


def environment(pid: int) -> list[bytes]:
    """The variables that it was started with, as `NAME=value`; none if they can't be read."""
    try:
        with (PROC / str(pid) / "environ").open("rb") as environment:
            return environment.read(LONGEST_ENVIRONMENT).split(b"\0")
    except OSError:
        return []


def argv(process: Process) -> tuple[str, ...]:
    """Its current command line."""
    words = (PROC / str(process.pid) / "cmdline").read_bytes().split(b"\0")[:-1]
    return tuple(word.decode(errors="surrogateescape") for word in words)


def end(processes: Iterable[Process], seconds: float = GRACE_SECONDS) -> list[Process]:
    """TERM, a time to obey, KILL; returns those that still run."""
    living = {fd: process for process in processes if (fd := _descriptor(process)) >= 0}
    try:
        _signal(living, signal.SIGTERM)
        left = _wait(living, seconds)
        _signal(left, signal.SIGKILL)
        return list(_wait(left, GRACE_SECONDS).values())
    finally:
        for fd in living:
            os.close(fd)


def _descriptor(process: Process) -> int:
    """A pidfd of exactly this process, -1 if it has ended: no later one of its pid can be hit."""
    try:
        fd = os.pidfd_open(process.pid)
    except ProcessLookupError:
        return -1
    if look(process.pid) == process:
        return fd
    os.close(fd)
    return -1


def _signal(living: Mapping[int, Process], number: signal.Signals) -> None:
    for fd, process in living.items():
        try:
            signal.pidfd_send_signal(fd, number)
        except ProcessLookupError:
            continue
        except PermissionError as error:
            raise VpcctlError(f"can't stop {process.name()}: permission denied",
                              "run it as root: sudo vpcctl …") from error


def _wait(living: Mapping[int, Process], seconds: float) -> dict[int, Process]:
    """Those that have not ended within the time; a pidfd is readable once its process has ended."""
    left = dict(living)
    deadline = time.monotonic() + seconds
    poll = select.poll()
    for fd in left:
        poll.register(fd, select.POLLIN)
    while left and (remaining := deadline - time.monotonic()) > 0:
        for fd, _ in poll.poll(remaining * 1000):
            poll.unregister(fd)
            del left[fd]
    return left

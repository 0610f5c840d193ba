"""The workload's own program: the user it runs as, and how process 1 starts it."""

from __future__ import annotations

import errno
import os
import resource
import signal
from collections.abc import Sequence
from typing import NamedTuple

from vpcctl_lib.keeper import limits, sockets
from vpcctl_lib.keeper.limits import Cgroups
from vpcctl_lib.keeper.orders import MARK, Orders
from vpcctl_lib.keeper.outside import FOLDERS
from vpcctl_lib.keeper.outside import VARIABLE as OUTSIDE
from vpcctl_lib.kernel import syscalls
from vpcctl_lib.kernel.syscalls import Namespace
from vpcctl_lib.kernel.users import account

SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"
FIRST_VICTIM = "500"
"""Of -1000 to 1000: where memory runs out, the kernel ends a workload before the host's own (proc(5))."""

UMASK = 0o022
NOT_STARTED = 127
"""The exit status of a program that can't be started, as in a shell."""

OWN_USERS, NO_USERS, NO_NEED, FAILED = b"+", b"-", b"0", "!"
"""What the child reports first: that it waits for its users to be mapped, that it has no user namespace
although others can make one, that nobody can, or what went wrong."""

ANY_SOCKETS = "*"
"""What it may report next: that its sockets are not confined."""


class Identity(NamedTuple):
    """A user and all of its groups."""

    uid: int
    gid: int
    groups: tuple[int, ...] = ()


def identity(given: Orders) -> Identity | None:
    """The user that the orders name; None to keep our own. OSError if the user does not exist."""
    if given.user:
        try:
            found = account(given.user)
        except (KeyError, OverflowError):
            raise OSError(0, f"user '{given.user}' does not exist on this host") from None
        if found.pw_uid == 0:
            raise OSError(0, f"'{given.user}' is root: a workload never runs as root")
        return Identity(found.pw_uid, found.pw_gid, tuple(os.getgrouplist(found.pw_name, found.pw_gid)))
    if given.uid == 0:
        raise OSError(0, "a workload never runs as root")
    return None if given.uid is None else Identity(given.uid, given.uid)


class Program:
    """Created while the host's users can still be looked up."""

    def __init__(self, given: Orders, outside: Sequence[int] = (), folders: Sequence[int] = ()) -> None:
        """The descriptors of sockets and folders outside are for the program, which learns their numbers."""
        self._argv = given.program
        self._inherited = (*outside, *folders)
        self._powers = tuple(map(int, given.powers))
        held = () if given.capability is None else (given.capability,)
        self._capabilities = (*held, *self._powers)
        self.users_are_locked = False
        """Once started: whether it can't make user namespaces."""

        self.sockets_are_confined = False
        """Once started: whether it can make only sockets that its network namespace confines."""

        self._identity = identity(given)
        home = account(given.user).pw_dir if given.user else "/"
        own = dict(one.split("=", 1) for one in given.env)
        self._environment = {"PATH": SEARCH_PATH, "HOME": home, "LANG": "C.UTF-8", **own, MARK: given.mark}
        for name, descriptors in ((OUTSIDE, outside), (FOLDERS, folders)):
            if descriptors:
                self._environment[name] = ",".join(map(str, descriptors))
        self._workdir = given.workdir

    def start(self, output: int, users: int, cgroups: Cgroups, pids: int) -> int:
        """Start it and return its pid once it runs; OSError with the reason if it can't be started.

        `users` is a descriptor of /proc/sys/user, `pids` a limit that no cgroup enforces.
        """
        if self._identity and os.fstat(output).st_uid != self._identity.uid:
            # So that it can open /dev/stdout, which is the pipe's inode, by its name.
            os.fchown(output, self._identity.uid, self._identity.gid)
        reports, telling = os.pipe()
        heard, hearing = os.pipe()
        pid = os.fork()
        if pid == 0:
            os._exit(self._become(output, users, cgroups, pids, telling, heard))
        os.close(telling)
        os.close(heard)
        failure = ""
        with os.fdopen(reports, "rb", 0) as pipe, os.fdopen(hearing, "wb", 0) as answers:
            first = pipe.read(1)
            if first == OWN_USERS:
                try:
                    _map_users(pid)
                    answers.write(OWN_USERS)
                except OSError as error:
                    os.kill(pid, signal.SIGKILL)
                    failure = f"{FAILED}its users can't be mapped: {error.strerror}"
            self.users_are_locked = first != NO_USERS
            said = pipe.read().decode(errors="replace")
        self.sockets_are_confined = not said.startswith(ANY_SOCKETS)
        failure += said.removeprefix(ANY_SOCKETS)
        if failure:
            os.waitpid(pid, 0)
            raise OSError(0, failure.removeprefix(FAILED))
        return pid

    def _become(self, output: int, users: int, cgroups: Cgroups, pids: int, telling: int, heard: int) -> int:
        """In the child: returns only on failure. Nothing can be imported once the user has changed."""
        try:
            os.setsid()
            os.umask(UMASK)
            os.chdir("/")
            nothing = os.open(os.devnull, os.O_RDONLY)
            for standard, descriptor in enumerate((nothing, output, output)):
                os.dup2(descriptor, standard)
            cgroups.enter()
            _write("/proc/self/oom_score_adj", FIRST_VICTIM)
            _lose_precedence()
            if self._powers:
                # In a user namespace of its own, it would have them over nothing.
                os.write(telling, NO_NEED)
            else:
                self._lock_users(users, telling, heard)
            if pids:
                limits.bound_processes(pids)
            # Now, because the new user can't.
            if self._capabilities:
                syscalls.hold(*self._capabilities)
            syscalls.renounce()
            self._change_user()
            if self._capabilities:
                syscalls.pass_on(*self._capabilities)
            if self._workdir:
                os.chdir(self._workdir)
            # Last, because the steps above may need what it forbids.
            if not sockets.confine():
                os.write(telling, ANY_SOCKETS.encode())
            for descriptor in self._inherited:
                os.set_inheritable(descriptor, True)
            for number in (signal.SIGPIPE, signal.SIGXFSZ):
                signal.signal(number, signal.SIG_DFL)
            raise self._execute()
        except OSError as error:
            name = f"{error.filename}: " if error.filename else ""
            os.write(telling, f"{FAILED}{name}{error.strerror}".encode(errors="replace"))
            return NOT_STARTED

    def _lock_users(self, users: int, telling: int, heard: int) -> None:
        """Enter a user namespace in which none can be made: its maker would have all capabilities there.

        The workload's user makes it, so it counts against that user's limits and not root's.
        """
        if self._identity:
            os.seteuid(self._identity.uid)
            syscalls.raise_permitted()
        try:
            syscalls.unshare(Namespace.USER)
        except OSError as error:
            if error.errno not in (errno.ENOSPC, errno.EPERM, errno.EINVAL, errno.ENOSYS, errno.EUSERS):
                raise
            os.write(telling, NO_USERS if _can_be_made(users) else NO_NEED)
            return
        os.write(telling, OWN_USERS)
        os.read(heard, 1)
        _lock(users)

    def _change_user(self) -> None:
        if self._identity:
            os.setgroups(self._identity.groups)
            os.setresgid(*[self._identity.gid] * 3)
            os.setresuid(*[self._identity.uid] * 3)

    def _execute(self) -> OSError:
        """Become the program; return the error if that fails, as execvp(3) would report it."""
        name, failure = self._argv[0], OSError(errno.ENOENT, os.strerror(errno.ENOENT), self._argv[0])
        folders = self._environment["PATH"].split(":")
        found = [name] if "/" in name else [f"{folder}/{name}" for folder in folders]
        for path in found:
            try:
                os.execve(path, self._argv, self._environment)  # noqa: S606 - no shell is wanted
            except OSError as error:
                if error.errno not in (errno.ENOENT, errno.ENOTDIR):
                    failure = OSError(error.errno, error.strerror, name)
        return failure


def _lose_precedence() -> None:
    """Drop an inherited scheduling priority, and the right to one later (sched(7))."""
    for kind in (resource.RLIMIT_NICE, resource.RLIMIT_RTPRIO):
        resource.setrlimit(kind, (0, 0))
    if os.sched_getscheduler(0) in (os.SCHED_FIFO, os.SCHED_RR):
        os.sched_setscheduler(0, os.SCHED_OTHER, os.sched_param(0))
    if os.getpriority(os.PRIO_PROCESS, 0) < 0:
        os.setpriority(os.PRIO_PROCESS, 0, 0)


def _map_users(pid: int) -> None:
    """Map every user to itself in the child's user namespace."""
    for kind in ("uid", "gid"):
        with open(f"/proc/self/{kind}_map") as held:
            spans = [line.split() for line in held]
        _write(f"/proc/{pid}/{kind}_map", "".join(f"{first} {first} {count}\n" for first, _, count in spans))


def _lock(users: int) -> None:
    limit = os.open("max_user_namespaces", os.O_RDWR | os.O_CLOEXEC, dir_fd=users)
    os.write(limit, b"0")
    os.close(limit)


def _can_be_made(users: int) -> bool:
    """Whether this host lets anybody make user namespaces."""
    limit = os.open("max_user_namespaces", os.O_RDONLY | os.O_CLOEXEC, dir_fd=users)
    with os.fdopen(limit) as held:
        return held.read().strip() != "0"


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)

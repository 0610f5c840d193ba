"""Process 1 of a workload: starts the program, passes signals on, writes the log, reaps."""

from __future__ import annotations

import math
import os
import select
import signal
import time

from vpcctl_lib.keeper import folders, limits, orders, outside
from vpcctl_lib.keeper.fate import Fate, FateFile
from vpcctl_lib.keeper.log import Log
from vpcctl_lib.keeper.orders import Orders
from vpcctl_lib.keeper.program import NOT_STARTED, Program
from vpcctl_lib.keeper.restarts import Restarts
from vpcctl_lib.kernel import syscalls
from vpcctl_lib.kernel.syscalls import Namespace

NETWORKS = "/run/netns"
PASSED_ON = (signal.SIGHUP, signal.SIGINT, signal.SIGQUIT, signal.SIGUSR1, signal.SIGUSR2, signal.SIGCONT)
CHUNK = 1 << 16
END, NOTHING = 0, -1
GRACE_SECONDS = 10.0
"""How long a program may outlive the stop signal by default."""

TO_END = (5,)
"""CAP_KILL: the only capability it needs once the program runs, which belongs to another user."""

TO_START = (6, 7, 8, 21, 31)
"""CAP_SETGID, SETUID, SETPCAP, SYS_ADMIN and SETFCAP: what it needs to restart the program; the
last two are for the map of its users (user_namespaces(7))."""


class Reporter:
    """Reports our progress to the parent, line by line on standard output; the reader may be gone."""

    def say(self, word: str, detail: object = "") -> None:
        """One line, such as `failed no such file`."""
        line = f"{word} {detail}".replace("\n", " ").encode(errors="backslashreplace")
        try:
            os.write(1, line + b"\n")
        except OSError:
            return


def main(argv: list[str]) -> int:
    """Start a keeper and report its pid; this process itself ends at once."""
    given = orders.read(argv)
    reporter = Reporter()
    _forget_signals()
    try:
        keeper = Keeper(given, reporter)
        pid = os.fork()
        if pid == 0:
            os._exit(keeper.keep())
        reporter.say("keeper", pid)
    except Exception as error:  # noqa: BLE001 - whatever it is, the person gets to read it
        reporter.say("failed", _told(error))
        return 1
    return 0


def _forget_signals() -> None:
    """Undo the parent's signal settings: neither we nor the program may miss a signal because of them."""
    for number in signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP}:
        signal.signal(number, signal.SIG_DFL)
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)
    signal.pthread_sigmask(signal.SIG_SETMASK, ())


def _told(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return f"{error.filename}: {error.strerror}" if error.filename else error.strerror
    return f"{type(error).__name__}: {error}"


class Keeper:
    """One workload from its first process to its last."""

    def __init__(self, given: Orders, reporter: Reporter) -> None:
        """In the host's namespaces: open what will be out of sight, then leave them."""
        self._reporter = reporter
        _close_all()
        self._log = Log(given.log, given.log_bytes)
        self._fate = Fate()
        self._fate_file = FateFile(given.log)
        held = outside.sockets() if given.outside else ()
        folders = outside.folders(given.opens, given.writes, given.uid)
        syscalls.join(f"{NETWORKS}/{given.namespace}", Namespace.NET)
        self._program = Program(given, held, folders)
        self._to_start = {*TO_START, *map(int, given.powers)}
        self._main = 0
        self._status = 0
        self._began = 0.0
        self._stop_signal = given.stop_signal or signal.SIGTERM
        self._patience = GRACE_SECONDS if given.stop_timeout is None else given.stop_timeout
        self._stopping = math.inf
        """When to kill those that outlive the stop signal."""

        self._restarts = Restarts(given.restart)
        self._due = math.inf
        """When to restart the program."""

        network = os.stat("/proc/self/ns/net").st_ino
        self._cgroups = limits.Cgroups(limits.name(given.mark, network), {limits.PROCESSES: given.pids,
                                                                          limits.MEMORY: given.memory})
        try:
            self._leave(given)
        except Exception:
            # Whatever it is: `main` reports it, and only we know of the cgroups.
            self._cgroups.remove()
            raise

    def _leave(self, given: Orders) -> None:
        self._pids = given.pids if limits.PROCESSES in self._cgroups.lacking else 0
        if limits.MEMORY in self._cgroups.lacking:
            raise OSError(0, "no cgroup here can limit its memory")
        if given.uid is None and not given.user:
            self._reporter.say("short", "it has no user of its own: only root is mapped here")
            if self._pids and limits.is_exempt():
                self._reporter.say("short", "nothing limits the number of its processes")
        syscalls.unshare(Namespace.MOUNT | Namespace.IPC | Namespace.PID)
        for shortfall in folders.arrange(given.namespace, given.hide, not given.user, given.show):
            self._reporter.say("short", shortfall)

    def keep(self) -> int:
        """As process 1: run until nothing of the workload is left; return the program's exit code."""
        try:
            os.setsid()
            _leave_keyring(self._reporter)
            self._users = folders.arrange_processes()
            output, self._input = os.pipe()
            wake = _wake()
            self._start()
            if not self._restarts.are_wanted:
                os.close(self._input)
                os.close(self._users)
            syscalls.keep(*TO_END, *(self._to_start if self._restarts.are_wanted else ()))
        except Exception as error:  # noqa: BLE001 - as above
            self._cgroups.remove()
            self._reporter.say("failed", _told(error))
            return 1
        if not self._program.users_are_locked:
            self._reporter.say("short", "it could make a user namespace, with all capabilities in there")
        if not self._program.sockets_are_confined:
            self._reporter.say("short", "it can make sockets that no network namespace confines (AF_VSOCK)")
        self._reporter.say("started")
        self._tend(output, wake)
        self._cgroups.remove()
        return self._status

    def _start(self) -> None:
        self._main = self._program.start(self._input, self._users, self._cgroups, self._pids)
        self._began = time.monotonic()

    def _start_again(self) -> bool:
        """Whether it runs; if not, treat it as if it had ended at once."""
        self._due = math.inf
        self._tell(self._fate._replace(restarts=self._fate.restarts + 1))
        try:
            self._start()
        except OSError as error:
            self._log.write(f"[vpcctl could not start it again: {_told(error)}]\n".encode())
            self._note_end(NOT_STARTED)
            return False
        return True

    def _note_end(self, code: int) -> None:
        """Write down how the program ended, and decide whether and when to restart it."""
        ran = 0.0 if code == NOT_STARTED else time.monotonic() - self._began
        self._main = 0
        self._status = code if code >= 0 else 128 - code
        self._tell(Fate(self._fate.restarts, code, int(time.time())))
        wait = self._restarts.wait(code, ran)
        if wait is not None and self._stopping == math.inf:
            self._due = time.monotonic() + wait

    def _tell(self, fate: Fate) -> None:
        self._fate = fate
        self._fate_file.write(fate)

    def _tend(self, output: int, wake: int) -> None:
        """Copy to the log and reap until no process is left, no restart is due, and the pipe is empty."""
        os.set_blocking(output, False)
        poll = select.poll()
        poll.register(output, select.POLLIN)
        poll.register(wake, select.POLLIN)
        living = True
        while living or self._due < math.inf:
            left = min(self._stopping, self._due) - time.monotonic()
            patience = None if left == math.inf else max(0, left) * 1000
            ready = {descriptor for descriptor, _ in poll.poll(patience)}
            if output in ready and self._copy(output) == END:
                poll.unregister(output)
            if wake in ready:
                living = self._heed(os.read(wake, CHUNK))
            if time.monotonic() > self._stopping:
                _signal(-1, signal.SIGKILL)
            if not living and time.monotonic() > self._due:
                living = self._start_again()
        while self._copy(output) not in (END, NOTHING):
            continue

    def _copy(self, output: int) -> int:
        """The number of bytes copied; NOTHING if more may come later."""
        try:
            data = os.read(output, CHUNK)
        except BlockingIOError:
            # The program may have read them itself: it can open its own pipe.
            return NOTHING
        if data:
            self._log.write(data)
        return len(data)

    def _heed(self, signals: bytes) -> bool:
        """Act on the signals; whether a process is left."""
        for number in set(signals):
            if number == signal.SIGTERM:
                self._stopping = min(self._stopping, time.monotonic() + self._patience)
                self._due = math.inf
                _signal(-1, self._stop_signal)
            elif number in PASSED_ON and self._main:
                _signal(self._main, number)
        return self._reap()

    def _reap(self) -> bool:
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self._main:
                code = os.waitstatus_to_exitcode(status)
                self._note_end(code)
                self._reporter.say("ended", code)
                if self._stopping == math.inf:
                    # What it left behind no longer belongs to a workload.
                    _signal(-1, signal.SIGKILL)


def _close_all() -> None:
    """Close every descriptor that we inherited, except the standard three."""
    for name in os.listdir("/proc/self/fd"):
        if int(name) > 2:
            try:
                os.close(int(name))
            except OSError:
                # The descriptor that listed them.
                continue


def _leave_keyring(reporter: Reporter) -> None:
    try:
        syscalls.join_new_keyring()
    except OSError as error:
        # A kernel may have no keyrings at all (CONFIG_KEYS).
        if error.errno:
            return
        reporter.say("short", "it shares the keyring of the session that started it")


def _wake() -> int:
    """A descriptor that delivers the numbers of the signals that this process gets."""
    reader, writer = os.pipe()
    os.set_blocking(writer, False)
    signal.set_wakeup_fd(writer, warn_on_full_buffer=False)
    for number in (signal.SIGTERM, signal.SIGCHLD, *PASSED_ON):
        signal.signal(number, _note)
    return reader


def _note(_: int, __: object) -> None:
    """Does nothing: the wake-up descriptor notifies the loop."""


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        return

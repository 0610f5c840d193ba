"""The only module that starts a process: argument lists, never a shell; each is recorded."""

from __future__ import annotations

import os
import select
import shlex
import signal
import subprocess
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import field, replace
from functools import cache, partial

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel import disk, namelock, netns
from vpcctl_lib.kernel.sayings import sentence

TIMEOUT_SECONDS = 60.0
"""How long one external command may take; the slowest, a restore of 10,000 rules, takes about three."""

PACKAGES = {"ip": "iproute2", "bridge": "iproute2", "tc": "iproute2", "ss": "iproute2", "nft": "nftables",
            "sysctl": "procps", "unshare": "util-linux", "mount": "mount", "dnsmasq": "dnsmasq-base"}
"""The Debian package of each tool that may be missing; every iptables… and ip6tables… is in that one."""

TOOLS = ("ip", "bridge", "iptables", "iptables-restore", "sysctl")
"""The tools that a change needs: all missing ones are reported at once."""

OWN_WAY = ("ip", "tc", "bridge")
"""Tools that take the namespace with `-n`. We enter it before we start them: on their own they also unshare
the mounts (iproute2's netns_switch), and copying those takes longer the more namespaces, each being a mount,
there are."""

ADD = "netns add "
TOOL = {"VPCCTL_TOOL": "1"}
"""In the environment of the tools that we wait for, by which another vpcctl recognises them."""

SYSTEM_FOLDERS = ("/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin", "/sbin", "/bin")
"""Folders that are searched for tools whatever PATH says."""

WATCHED = frozenset({signal.SIGINT, signal.SIGQUIT, signal.SIGTERM, signal.SIGHUP, signal.SIGCHLD})
"""The signals that we may get in place of a program on our terminal, and the one for its end."""

FROM_KERNEL = 0x80
"""SI_KERNEL of asm-generic/siginfo.h."""

Child = subprocess.Popen[bytes]
"""A process that outlives us."""


@frozen
class Command:
    """A program with its arguments, its standard input, and the namespace it runs in."""

    argv: tuple[str, ...]
    stdin: str = ""
    namespace: str = ""

    def __str__(self) -> str:
        """The command as a person could paste it into a root shell."""
        typed = shlex.join(self._inside() if self.namespace else self.argv)
        return f"{typed} <<'EOF'\n{self.stdin.rstrip()}\nEOF" if self.stdin else typed

    @property
    def names_namespaces(self) -> bool:
        """Whether it is an `ip` that adds namespaces."""
        lines = (" ".join(self.argv[1:]), *self.stdin.splitlines())
        return self.argv[0] == "ip" and any(line.startswith(ADD) for line in lines)

    def _inside(self) -> tuple[str, ...]:
        tool, *words = self.argv
        if tool in OWN_WAY:
            return (tool, "-n", self.namespace, *words)
        return ("ip", "netns", "exec", self.namespace, *self.argv)


@frozen
class Outcome:
    """The result of a command: its exit status, its output, and how long it took."""

    command: Command
    status: int
    stdout: str
    stderr: str
    milliseconds: float

    def reason(self) -> str:
        """The command's own error, in one line and in words for a person."""
        return sentence(self.stderr) or f"exit status {self.status}"


def _ignore(_: object) -> None:
    """The default for callers that do not listen."""


@frozen
class Runner:
    """Runs commands; calls `announce` before each, and `record` after each."""

    announce: Callable[[object], None] = _ignore
    record: Callable[[Outcome], None] = _ignore
    note: Callable[[str], None] = _ignore
    """Called for actions without a command: a file or a setting written."""

    names: Mapping[str, str] = field(default_factory=dict)
    """Tools that have another name on this host."""

    answers: dict[tuple[str, ...], Outcome] = field(default_factory=dict, compare=False)
    """Answers that are kept."""

    def spelt(self, command: Command) -> Command:
        """The command with the name that its tool has here."""
        tool, *arguments = command.argv
        return replace(command, argv=(self.names.get(tool, tool), *arguments))

    def ask(self, argv: Sequence[str], namespace: str = "", stdin: str = "") -> Outcome:
        """Run a command that only reads; it is not announced, so that -v shows what changes."""
        outcome = _run(self.spelt(Command(tuple(argv), stdin, namespace)), close_fds=True)
        self.record(outcome)
        return outcome

    def ask_once(self, argv: tuple[str, ...]) -> Outcome:
        """The host's first answer, kept; for things that this command does not change."""
        if argv not in self.answers:
            self.answers[argv] = self.ask(argv)
        return self.answers[argv]

    def change(self, command: Command) -> Outcome:
        """Run a command that changes the host."""
        command = self.spelt(command)
        self.announce(command)
        # With the lock: if we are killed, the next vpcctl waits until it has ended. Our other files close by
        # themselves (PEP 446); looking in /proc for more takes a twentieth of the time that a network takes.
        if not command.names_namespaces:
            outcome = _run(command, close_fds=False)
        else:
            with namelock.held() as before:
                outcome = _run(command, close_fds=False, before=before)
        self.record(outcome)
        return outcome

    def attach(self, argv: Sequence[str], source: Command | None = None) -> int:
        """Run a command on this terminal and return its exit code (128 + n after signal n, as shells do).

        It reads what the source writes, if there is one, which ends with it.
        """
        started = time.monotonic()
        # Blocked, then waited for: no signal can arrive between two lines.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        before = signal.pthread_sigmask(signal.SIG_BLOCK, WATCHED)
        unblock = partial(signal.pthread_sigmask, signal.SIG_SETMASK, before)
        with ExitStack() as stack:
            stack.callback(unblock)
            feeder = stack.enter_context(_feeding(source, unblock)) if source else None
            # Signals are for the source: then the command reads to the end.
            process = _popen(Command(tuple(argv)), stdin=feeder.stdout if feeder else None, stdout=None,
                             stderr=None, preexec_fn=unblock, start_new_session=feeder is not None)
            status = _tend(process, feeder or process)
        self.record(Outcome(Command(tuple(argv)), status, "", "", _milliseconds_since(started)))
        return status if status >= 0 else 128 - status

    def spawn(self, command: Command, variables: Mapping[str, str], report: int) -> Child:
        """Start a process that outlives us: a session of its own, no terminal; it writes to `report`.

        It has the variables from its first moment on, so that it can be found even if we are killed.
        """
        self.announce(command)
        started = time.monotonic()
        process = _popen(command, variables, stdin=subprocess.DEVNULL, stdout=report,
                         stderr=subprocess.DEVNULL, start_new_session=True, cwd="/")
        self.record(Outcome(command, 0, "", "", _milliseconds_since(started)))
        return process


@cache
def _located(tool: str, path: str) -> str | None:
    """Where a tool is; looked for once, as a change of 200 subnets starts `ip` 200 times."""
    # As shutil.which, which loads the compressors: every command would wait for those.
    folders = path.split(os.pathsep) if "/" not in tool else [""]
    found = (os.path.join(folder, tool) for folder in folders)
    return next((file for file in found if os.path.isfile(file) and os.access(file, os.X_OK)), None)


def located(tool: str) -> str | None:
    """Where the program of that name is, None if this host has none; with a slash in it, it is a path."""
    return _located(tool, search_path())


def has(tool: str) -> bool:
    """Whether this host has that tool."""
    return located(tool) is not None


def need(*tools: str) -> None:
    """Refuse to continue if a tool is missing, and name its package."""
    missing = [tool for tool in tools if not has(tool)]
    if missing:
        packages = " ".join(sorted(set(map(_package, missing))))
        raise VpcctlError(f"{', '.join(missing)} not found", f"install it: apt-get install {packages}")


def _package(tool: str) -> str:
    return "iptables" if tool.startswith(("iptables", "ip6tables")) else PACKAGES.get(tool, tool)


def ends_within(child: Child, seconds: float) -> bool:
    """Whether the child ends within the time; a pidfd is readable once its process has."""
    try:
        watched = os.pidfd_open(child.pid)
    except OSError:
        # No descriptor is left for it: poll instead.
        return _ends_meanwhile(child, seconds)
    try:
        poll = select.poll()
        poll.register(watched, select.POLLIN)
        if not poll.poll(seconds * 1000):
            return False
    finally:
        os.close(watched)
    child.wait()
    return True


def _ends_meanwhile(child: Child, seconds: float) -> bool:
    try:
        child.wait(seconds)
    except subprocess.TimeoutExpired:
        return False
    return True


def start(argv: Sequence[str], environment: Mapping[str, str]) -> int:
    """Start a program, found through the PATH it gets, on this terminal with no signal blocked; its pid."""
    program = argv[0] if "/" in argv[0] else _located(argv[0], environment["PATH"])
    if program is None:
        raise FileNotFoundError(argv[0])
    # Python ignores these two; our children must die of them.
    ignored = (signal.SIGPIPE, signal.SIGXFSZ)
    return os.posix_spawn(program, tuple(argv), environment, setsigmask=(), setsigdef=ignored)


def fork(task: Callable[[], int]) -> int:
    """Run `task` in a copy of this process that ends with the status it returns; the pid of that copy."""
    pid = os.fork()
    if pid == 0:
        os._exit(task())
    return pid


def search_path() -> str:
    """The folders of PATH and then those that hold system tools, which a plain user's PATH lacks on Debian.

    Only absolute paths: an empty or relative one is the current folder, which may belong to anybody.
    """
    named = [folder for folder in os.environ.get("PATH", "").split(os.pathsep) if folder.startswith("/")]
    return os.pathsep.join(dict.fromkeys((*named, *SYSTEM_FOLDERS)))


@cache
def _environment(path: str) -> dict[bytes, bytes]:
    """Our environment for a tool; built once and in bytes, since a change of 200 subnets starts 400 tools."""
    return {**os.environb, b"LC_ALL": b"C", b"PATH": os.fsencode(path)}


def _popen(command: Command, variables: Mapping[str, str] | None = None,
           **how: object) -> subprocess.Popen[bytes]:
    tool, path = command.argv[0], search_path()
    program = _located(tool, path)
    if program is None:
        need(tool)
        raise VpcctlError(f"{tool} not found")
    argv = [program, *command.argv[1:]]
    more = {os.fsencode(name): os.fsencode(value) for name, value in (variables or {}).items()}

    def begin() -> subprocess.Popen[bytes]:
        return subprocess.Popen(argv, env={**_environment(path), **more}, **how)  # type: ignore[call-overload,no-any-return]  # noqa: S603

    try:
        # What `ip netns exec` does, without its two programs and its mounts.
        return netns.within(command.namespace, begin) if command.namespace else begin()
    except netns.Gone:
        raise
    except OSError as error:
        raise VpcctlError(f"can't start {program}: {error.strerror}") from None


def _run(command: Command, close_fds: bool, before: Callable[[], None] | None = None) -> Outcome:
    """Run to the end, in a session of its own so that Ctrl-C reaches us and not half of a batch.

    It reads and writes memory and no pipes: it need not be fed, what it leaves behind does not keep us
    waiting, and if we are killed it ends its work. `before` is what the thread does that starts it: what
    that leaves in the thread (a filter of system calls), the program inherits.
    """
    started, late = time.monotonic(), ""
    with ExitStack() as stack:
        given, out, err = (_memory(stack, text) for text in (command.stdin, "", ""))
        begin = partial(_popen, command, TOOL, stdin=given, stdout=out, stderr=err, start_new_session=True,
                        close_fds=close_fds)
        try:
            process = netns.aside(partial(_after, before, begin)) if before else begin()
        except netns.Gone as error:
            return Outcome(command, 1, "", str(error), _milliseconds_since(started))
        if not ends_within(process, TIMEOUT_SECONDS):
            # All of its session, since it may be a wrapper script.
            os.killpg(process.pid, signal.SIGKILL)
            process.wait()
            late = f"no answer within {TIMEOUT_SECONDS:.0f} s"
        return Outcome(command, process.returncode, _text(out), _text(err) + late,
                       _milliseconds_since(started))


def _after(before: Callable[[], None], begin: Callable[[], Child]) -> Child:
    """Begin it behind what comes before, in the same thread: Python would copy itself for a `preexec_fn`."""
    before()
    return begin()


def _memory(stack: ExitStack, text: str) -> int:
    """A file in memory (memfd_create(2)) that contains the text; the stack closes it."""
    try:
        file = os.memfd_create("vpcctl")
    except OSError as error:
        raise VpcctlError(f"can't start a program: {error.strerror}") from None
    stack.callback(os.close, file)
    if text:
        disk.write_all(file, text.encode())
        os.lseek(file, 0, os.SEEK_SET)
    return file


def _text(memory: int) -> str:
    length = os.fstat(memory).st_size
    return os.pread(memory, length, 0).decode(errors="replace") if length else ""


@contextmanager
def _feeding(source: Command, unblock: Callable[[], object]) -> Iterator[Child]:
    """Run it as long as somebody reads what it writes to a pipe."""
    with _popen(source, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, preexec_fn=unblock) as process:
        try:
            yield process
        finally:
            process.terminate()


def _tend(process: Child, meant: Child) -> int:
    """Wait for it, and pass on signals to the one that is meant, which gets typed ones itself."""
    while True:
        told = signal.sigwaitinfo(WATCHED)
        if told.si_signo != signal.SIGCHLD:
            if not is_typed(told):
                meant.send_signal(told.si_signo)
        elif (status := process.poll()) is not None:
            return status


def is_typed(told: signal.struct_siginfo) -> bool:
    """Whether this is Ctrl-C or Ctrl-backslash: all programs on the terminal get it, not only we."""
    return told.si_code == FROM_KERNEL and told.si_signo in (signal.SIGINT, signal.SIGQUIT)


def _milliseconds_since(started: float) -> float:
    return (time.monotonic() - started) * 1000

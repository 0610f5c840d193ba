"""Single steps of work on the host, and how consecutive ones become few commands; pure but for files."""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping
from enum import Enum
from functools import cache
from pathlib import Path

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel import disk, netns
from vpcctl_lib.kernel.run import Command
from vpcctl_lib.kernel.sayings import is_gone, sentence
from vpcctl_lib.visible import visible

HOST = ""
"""The namespace the command was started in, where others have the name of theirs."""

_BREAKS_A_WORD = re.compile(r"""[\s"'\\#\x00-\x1f\x7f]""")
"""What is no part of a word to `ip -batch`: it begins another, a quotation, a comment or a command."""

_BREAKS_A_LINE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
"""What would begin another line of an iptables-restore file, or end the text."""

BUILTIN = frozenset({"INPUT", "FORWARD", "OUTPUT", "PREROUTING", "POSTROUTING"})


class Tool(Enum):
    """The program that carries a step out."""

    IP = "ip"
    BRIDGE = "bridge"
    NFT = "nft"
    IPTABLES = "iptables-restore"
    SYSCTL = "sysctl"


@frozen
class Ip:
    """One `ip` command in a namespace, with more words where the kernel speaks IPv6."""

    namespace: str
    words: tuple[str, ...]
    ipv6: tuple[str, ...] = ()
    tool = Tool.IP

    def __str__(self) -> str:
        return " ".join((*self.words, *(self.ipv6 if self.ipv6 and netns.have_ipv6() else ())))


@frozen
class Fdb:
    """One `bridge` command in a namespace."""

    namespace: str
    words: tuple[str, ...]
    tool = Tool.BRIDGE

    def __str__(self) -> str:
        return " ".join(self.words)


@frozen
class Nft:
    """A whole nft script for a namespace: all of it takes effect at once, or nothing."""

    namespace: str
    text: str
    tool = Tool.NFT


@frozen
class Iptables:
    """One line of an iptables-restore file."""

    namespace: str
    table: str
    line: str
    tool = Tool.IPTABLES


@frozen
class Sysctl:
    """One kernel setting of the host; a key this kernel lacks is passed over (`sysctl -e`)."""

    key: str
    value: str
    namespace = HOST
    tool = Tool.SYSCTL


KernelStep = Ip | Fdb | Nft | Iptables | Sysctl
KERNEL_STEPS = (Ip, Fdb, Nft, Iptables, Sysctl)
SETTINGS = Path("/proc/sys")
Pairs = tuple[tuple[str, str], ...]


@frozen
class Set:
    """Settings of a namespace, written as sysctl(8) would: a process for each of 200 namespaces takes 0.4 s.

    With `gone_is_fine` there is nothing to do where the namespace is gone.
    """

    namespace: str
    values: Pairs
    gone_is_fine: bool = False
    links: Pairs = ()
    """Of net.ipv4.conf, for links to come and for each that is there: a link follows `default` only until
    that was once written, even on the host before the namespace was made (devinet_copy_dflt_conf)."""

    fresh: bool = False
    """Whether the namespace is new, and has what a new one is born with: that is looked at only once."""

    def carry_out(self) -> None:
        """Set those that this kernel has, and that are not so already."""
        try:
            netns.within(self.namespace, self._write)
        except netns.Gone:
            if not self.gone_is_fine:
                raise

    def _write(self) -> None:
        born = _BORN.get((self.values, self.links)) if self.fresh else None
        values, common = born or (self.values, self.links)
        written = tuple(pair for pair in values if _put(f"{SETTINGS}/{pair[0].replace('.', '/')}", pair[1]))
        on_links: set[tuple[str, str]] = set()
        folder = f"{SETTINGS}/net/ipv4/conf"
        # The two first: what they say, a link that is made meanwhile takes over.
        others = [name for name in os.listdir(folder) if name not in (*EVERYWHERE, "lo")] if common else []
        for name in (*EVERYWHERE, *others):
            on_links |= {pair for pair in common if _put(f"{folder}/{name}/{pair[0]}", pair[1])}
        if self.fresh and born is None:
            _BORN[self.values, self.links] = (written, tuple(on_links))

    def __str__(self) -> str:
        pairs = (f"{key}={value}" for key, value in self.values)
        told = str(Command(("sysctl", "-q", "-e", "-w", *pairs), namespace=self.namespace))
        return f"{told}\n{self._loop()}" if self.links else told

    def _loop(self) -> str:
        """The same for links, as a script: it is some sixty settings, of which most are one value."""
        return str(Command(("sh", "-e"), _script(self.links), self.namespace))


@cache
def _script(links: Pairs) -> str:
    by_value: dict[str, list[str]] = {}
    for key, value in links:
        by_value.setdefault(value, []).append(key)
    put = "    [ ! -e $link$key ] || echo {} >$link$key\n"
    writes = "".join(f"  for key in {' '.join(keys)}; do\n{put.format(value)}  done\n"
                     for value, keys in by_value.items())
    each = "for link in all/ default/ */"
    return f"cd /proc/sys/net/ipv4/conf\n{each}; do\n{writes}done\n"


EVERYWHERE = ("all", "default")


_BORN: dict[tuple[Pairs, Pairs], tuple[Pairs, Pairs]] = {}
"""Of what a new namespace shall have, what the first one of this run did not: all are born alike, and to look
at sixty settings of each of 200 takes a tenth of the time that it takes to make them."""


def _put(path: str, value: str) -> bool:
    """Write a setting that this kernel has and that is another; whether it was."""
    try:
        file = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            if os.pread(file, 64, 0).split() == value.encode().split():
                return False
            os.pwrite(file, value.encode(), 0)
            return True
        finally:
            os.close(file)
    except FileNotFoundError:
        # Its link may have gone meanwhile, and the settings with it.
        return False


@frozen
class Make:
    """A file or (without content) a folder to write."""

    path: Path
    content: str | None = None

    def carry_out(self) -> None:
        """Write it, to be read by everybody whatever the umask; a folder may be there already."""
        if self.content is None:
            disk.make_folder(self.path)
            return
        # In place: a workload that runs has the file itself mounted, whatever its name leads to later.
        file = disk.open_kept(self.path, os.O_WRONLY | os.O_TRUNC, disk.PUBLIC, always=True)
        try:
            disk.write_all(file, self.content.encode())
        finally:
            os.close(file)

    def __str__(self) -> str:
        if self.content is None:
            return f"mkdir -p {self.path}"
        return f"cat > {self.path} <<'EOF'\n{self.content.rstrip()}\nEOF"


@frozen
class Remove:
    """A file, or a folder if it is empty, to remove; one that is gone, or another's, is no error."""

    path: Path
    folder: bool = False

    def carry_out(self) -> None:
        """Remove it; a folder that others put something in, or mounted something on, stays."""
        is_folder = self.path.is_dir() and not self.path.is_symlink()
        if not self.folder and not is_folder:
            self.path.unlink(missing_ok=True)
        elif self.folder and is_folder and not self.path.is_mount() and not any(self.path.iterdir()):
            self.path.rmdir()

    def __str__(self) -> str:
        return f"rmdir --ignore-fail-on-non-empty {self.path}" if self.folder else f"rm -f {self.path}"


@frozen
class PutBack:
    """A shared setting of the host to put back as it was found, unless somebody has changed it since.

    `along` are settings that the kernel changed with it: each with its old value, and the kernel's.
    """

    key: str
    old: str
    ours: str
    along: tuple[tuple[str, str, str], ...] = ()
    beside: frozenset[str] = frozenset()
    """What else could use it (`forwarders`) and was there before us."""

    def command(self) -> Command | None:
        """What puts it back, by what the kernel has now; None if that is not ours any more."""
        if _setting(self.key) != self.ours:
            return None
        rest = [(key, old if _setting(key) == ours else _setting(key)) for key, old, ours in self.along]
        return self._write((key, value) for key, value in rest if value is not None)

    def _write(self, rest: Iterable[tuple[str, str]]) -> Command:
        pairs = (f"{key}={value}" for key, value in ((self.key, self.old), *rest))
        return Command(("sysctl", "-q", "-e", "-w", *pairs))

    def __str__(self) -> str:
        return str(self._write((key, old) for key, old, _ in self.along))


def _setting(key: str) -> str | None:
    """A kernel setting; sysctl(8): where a slash separates, dots belong to a name such as eth0.10."""
    path = SETTINGS / (key if "/" in key else key.replace(".", "/"))
    try:
        return path.read_text().strip()
    except FileNotFoundError:
        return None


NO_COUNTERS: Mapping[str, str] = {}


@frozen
class Batch:
    """Consecutive steps that one command carries out."""

    steps: tuple[KernelStep, ...]

    @property
    def tool(self) -> Tool:
        """The program that all the steps share."""
        return self.steps[0].tool

    @property
    def namespace(self) -> str:
        """The namespace that all the steps share."""
        return self.steps[0].namespace

    def command(self, carry_on: bool = False, counters: Mapping[str, str] = NO_COUNTERS) -> Command:
        """The command; with `carry_on`, `ip` goes on past a step that fails; `counters` are by line."""
        if self.tool in (Tool.IP, Tool.BRIDGE):
            return _lines(self, carry_on)
        if self.tool is Tool.NFT:
            scripts = "".join(step.text for step in self.steps if isinstance(step, Nft))
            return Command(("nft", "-f", "-"), scripts, self.namespace)
        if self.tool is Tool.SYSCTL:
            settings = [f"{step.key}={step.value}" for step in self.steps if isinstance(step, Sysctl)]
            return Command(("sysctl", "-q", "-e", "-w", *settings))
        lines = (f"{counters[line]} {line}" if line in counters else line
                 for line, _ in self._restore_lines())
        text = "".join(f"{_whole(line)}\n" for line in lines)
        how = ("-c",) if counters else ()
        return Command(("iptables-restore", "-w", "--noflush", *how), text, self.namespace)

    def _restore_lines(self) -> list[tuple[str, int | None]]:
        """The lines of the restore file, each with the number of its step; a table's steps stay together."""
        lines: list[tuple[str, int | None]] = []
        numbered = [(number, step) for number, step in enumerate(self.steps) if isinstance(step, Iptables)]
        tables = dict.fromkeys(step.table for _, step in numbered)
        for table in tables:
            lines.append((f"*{table}", None))
            lines += [(step.line, number) for number, step in numbered if step.table == table]
            lines.append(("COMMIT", None))
        return lines

    def done_before_failure(self, stderr: str) -> frozenset[int] | None:
        """The numbers of the steps that took effect, if the failed command said how far it came."""
        found = re.search(r"Command failed .*:(\d+)|line:? (\d+)", stderr)
        if self.tool is Tool.SYSCTL:
            return frozenset(range(len(self.steps)))
        if self.tool is Tool.NFT:
            return frozenset()
        if found is None:
            return None
        failed = int(next(filter(None, found.groups())))
        if self.tool in (Tool.IP, Tool.BRIDGE):
            return frozenset(range(min(failed - 1, len(self.steps))))
        return self._committed_before(failed)

    def _committed_before(self, failed: int) -> frozenset[int]:
        """A restore file takes effect table by table, at each COMMIT."""
        done: set[int] = set()
        table: set[int] = set()
        for line, number in self._restore_lines()[:failed - 1]:
            if number is not None:
                table.add(number)
            elif line == "COMMIT":
                done |= table
                table = set()
        return frozenset(done)


def _lines(batch: Batch, carry_on: bool) -> Command:
    """Whatever a name holds, it stays one word of one command."""
    tool = batch.tool.value
    steps = [step for step in batch.steps if isinstance(step, (Ip, Fdb))]
    words = [word for step in steps for word in step.words]
    # All at once: to look at each of a large network's takes as long as to start ten programs.
    if not all(words) or _BREAKS_A_WORD.search("".join(words)):
        raise _refusal(tool, next(word for word in words if not word or _BREAKS_A_WORD.search(word)))
    lines = list(map(str, steps))
    if len(lines) == 1:
        return Command((tool, *lines[0].split(" ")), namespace=batch.namespace)
    force = ("-force",) if carry_on else ()
    return Command((tool, *force, "-batch", "-"), "".join(f"{line}\n" for line in lines), batch.namespace)


def _whole(line: str) -> str:
    if _BREAKS_A_LINE.search(line):
        raise _refusal("iptables-restore", line)
    return line


def _refusal(tool: str, text: str) -> VpcctlError:
    shown = visible(text, keep="")
    return VpcctlError(f"'{shown}' can't be handed to {tool}, which would read something else",
                       "rename what is called so")


def problems(stderr: str) -> str:
    """What the command complained of, less what says that a thing to be removed is already gone."""
    return sentence("\n".join(line for line in stderr.splitlines() if not is_gone(line)))


def chain_lines(chain: str, rules: Iterable[str], policy: str = "", fresh: bool = False) -> list[str]:
    """The restore lines that give a chain exactly these rules; `fresh` fails if another has made it."""
    if chain in BUILTIN:
        head = [f":{chain} {policy or 'ACCEPT'} [0:0]", f"-F {chain}"]
    else:
        head = [f"-N {chain}" if fresh else f":{chain} - [0:0]"]
    return head + [f"-A {chain} {rule}" for rule in rules]

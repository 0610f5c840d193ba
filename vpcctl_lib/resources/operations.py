"""Single steps of work on the host: what ip, bridge, nft, iptables and sysctl do; settings and files."""

from __future__ import annotations

import os
import re
from collections.abc import Hashable, Iterable, Mapping
from functools import cache
from pathlib import Path

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel import disk, netns
from vpcctl_lib.kernel.proc import SYSCTLS
from vpcctl_lib.kernel.run import Command, Runner
from vpcctl_lib.kernel.sayings import is_gone, sentence
from vpcctl_lib.model.addressing import Family
from vpcctl_lib.resources.operation import NO_COUNTERS, Batch, Deed, Line
from vpcctl_lib.visible import visible

HOST = ""
"""Stands for the namespace of the command itself; the others have names."""

_BREAKS_A_WORD = re.compile(r"""[\s"'\\#\x00-\x1f\x7f]""")
"""Characters that end a word for `ip -batch`: they begin another word, quotation, comment or command."""

_BREAKS_A_LINE = re.compile(r"[\x00-\x08\x0a-\x1f\x7f]")
"""Characters that begin another line of an iptables-restore file, or end the text."""

BUILTIN = frozenset({"INPUT", "FORWARD", "OUTPUT", "PREROUTING", "POSTROUTING"})


class _Lines(Batch):
    """One line for each step; a failure reports the line's number."""

    options: tuple[str, ...] = ()

    def command(self, carry_on: bool = False, counters: Mapping[str, str] = NO_COUNTERS) -> Command:
        """Refuse words that would not stay one word of one command."""
        words = [word for step in self.steps for word in step.words]
        # All at once: checking each one of a large network takes as long as starting ten programs.
        if not all(words) or _BREAKS_A_WORD.search("".join(words)):
            raise _refusal(self.name, next(word for word in words if not word or _BREAKS_A_WORD.search(word)))
        lines = list(map(str, self.steps))
        if len(lines) == 1:
            return Command((self.name, *self.options, *lines[0].split(" ")), namespace=self.namespace)
        force = ("-force",) if carry_on else ()
        text = "".join(f"{line}\n" for line in lines)
        return Command((self.name, *self.options, *force, "-batch", "-"), text, self.namespace)

    def done_before_failure(self, stderr: str) -> frozenset[int] | None:
        """The steps of the lines before the one that failed."""
        failed = _failed_line(stderr)
        return None if failed is None else frozenset(range(min(failed - 1, len(self.steps))))


def _failed_line(stderr: str) -> int | None:
    found = re.search(r"Command failed .*:(\d+)|line:? (\d+)", stderr)
    return int(next(filter(None, found.groups()))) if found else None


class IpBatch(_Lines):
    """Steps as one `ip -batch`."""

    name = "ip"
    where = ""

    def failed_at(self, effective: frozenset[int] | None) -> int | None:
        """The first that took no effect."""
        number = len(effective or ())
        told = effective is not None or len(self.steps) == 1
        return number if told and number < len(self.steps) else None


@frozen
class Ip(Line):
    """One `ip` command in a namespace, with more words if the kernel has IPv6."""

    namespace: str
    words: tuple[str, ...]
    ipv6: tuple[str, ...] = ()
    tool = IpBatch

    def __str__(self) -> str:
        return " ".join((*self.words, *(self.ipv6 if self.ipv6 and netns.have_ipv6() else ())))


class Ip6Batch(IpBatch):
    """The same of IPv6, where no word says so."""

    options = ("-6",)


@frozen
class Ip6(Ip):
    """One `ip -6` command in a namespace."""

    tool = Ip6Batch


class RestoreBatch(Batch):
    """Lines as one file for iptables-restore, which takes effect table by table, at each COMMIT.

    They are of one family; for IPv6 it is ip6tables-restore.
    """

    needs_all = True
    says_why = False

    @property
    def family(self) -> Family:
        """That of all of its lines."""
        family: Family = self.steps[0].family
        return family

    @property
    def name(self) -> str:
        """The family's."""
        return f"{self.family.tool}-restore"

    def command(self, carry_on: bool = False, counters: Mapping[str, str] = NO_COUNTERS) -> Command:
        """The rest of each chain stays."""
        lines = (f"{counters[line]} {line}" if line in counters else line for line, _ in self._file())
        text = "".join(f"{_whole(line, self.name)}\n" for line in lines)
        how = ("-c",) if counters else ()
        return Command((self.name, "-w", "--noflush", *how), text, self.namespace)

    def _file(self) -> list[tuple[str, int | None]]:
        """The lines of the file, each with the number of its step; a table's steps stay together."""
        lines: list[tuple[str, int | None]] = []
        numbered = list(enumerate(self.steps))
        for table in dict.fromkeys(step.table for step in self.steps):
            lines.append((f"*{table}", None))
            lines += [(step.line, number) for number, step in numbered if step.table == table]
            lines.append(("COMMIT", None))
        return lines

    def done_before_failure(self, stderr: str) -> frozenset[int] | None:
        """Those of the tables that were committed before."""
        failed = _failed_line(stderr)
        if failed is None:
            return None
        done: set[int] = set()
        table: set[int] = set()
        for line, number in self._file()[:failed - 1]:
            if number is not None:
                table.add(number)
            elif line == "COMMIT":
                done |= table
                table = set()
        return frozenset(done)

    def counters(self, runner: Runner) -> Mapping[str, str]:
        """The counters of the rules that stay."""
        # Imported late: most changes leave every policy as it is.
        from vpcctl_lib.resources.kept import now

        # A policy is in one table, and a namespace has one policy.
        tables = {step.table for step in self.steps}
        table = "filter" if "filter" in tables else min(tables)
        return now(runner, self.namespace, self.family, [step.line for step in self.steps], table)


@frozen
class Iptables(Line):
    """One line of an iptables-restore file."""

    namespace: str
    table: str
    line: str
    family: Family = Family.INET
    tool = RestoreBatch

    @property
    def kin(self) -> tuple[Hashable, ...]:
        """One command writes the rules of one family."""
        return (*super().kin, self.family)


class SysctlBatch(Batch):
    """Settings as one sysctl(8)."""

    name = "sysctl"

    def command(self, carry_on: bool = False, counters: Mapping[str, str] = NO_COUNTERS) -> Command:
        """It continues after a failure by itself."""
        return Command(("sysctl", "-q", "-e", "-w", *(f"{step.key}={step.value}" for step in self.steps)))

    def done_before_failure(self, stderr: str) -> frozenset[int] | None:
        """Any of them may have been set."""
        return frozenset(range(len(self.steps)))


@frozen
class Sysctl(Line):
    """One kernel setting of the host; a key that this kernel lacks is ignored (`sysctl -e`)."""

    key: str
    value: str
    namespace = HOST
    tool = SysctlBatch

    def places(self, ends: frozenset[str]) -> frozenset[str] | None:
        """Everywhere: the host forwards nothing before all rules are there."""
        return None


Pairs = tuple[tuple[str, str], ...]


@frozen
class Set(Deed):
    """Settings of a namespace, written as sysctl(8) would: a process for each of 200 namespaces takes 0.4 s.

    With `gone_is_fine` there is nothing to do if the namespace is gone.
    """

    namespace: str
    values: Pairs
    gone_is_fine: bool = False
    links: Pairs = ()
    """Of net.ipv4.conf, for new links and for each existing one: a link follows `default` only until its own
    value is written once, even on the host before the namespace was made (devinet_copy_dflt_conf)."""

    fresh: bool = False
    """Whether the namespace is new and has the initial settings, which are read only once."""

    def places(self, ends: frozenset[str]) -> frozenset[str] | None:
        """Its namespace, and where its resource has its ends."""
        return ends | {self.namespace}

    def do(self) -> None:
        """Set those that this kernel has and that differ."""
        if self.namespace == HOST:
            self._write()
            return
        try:
            netns.within(self.namespace, self._write)
        except netns.Gone:
            if not self.gone_is_fine:
                raise

    def _write(self) -> None:
        born = _BORN.get((self.values, self.links)) if self.fresh else None
        values, common = born or (self.values, self.links)
        # Where other new namespaces differed, this one does, and need not be read.
        write = _overwrite if born else put
        written = tuple(pair for pair in values if write(f"{SYSCTLS}/{pair[0].replace('.', '/')}", pair[1]))
        on_links: set[tuple[str, str]] = set()
        folder = f"{SYSCTLS}/net/ipv4/conf"
        # These two first: a link that is created meanwhile inherits their values.
        others = [name for name in os.listdir(folder) if name not in (*EVERYWHERE, "lo")] if common else []
        for name in (*EVERYWHERE, *others):
            on_links |= {pair for pair in common if write(f"{folder}/{name}/{pair[0]}", pair[1])}
        if self.fresh and born is None:
            _BORN[self.values, self.links] = (written, tuple(on_links))

    def __str__(self) -> str:
        pairs = (f"{key}={value}" for key, value in self.values)
        told = str(Command(("sysctl", "-q", "-e", "-w", *pairs), namespace=self.namespace))
        return f"{told}\n{self._loop()}" if self.links else told

    def _loop(self) -> str:
        """The same for links, as a script: some sixty settings, most with one value."""
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
"""The settings that the first new namespace of this run lacked: all start alike, and reading sixty settings
of each of 200 takes a tenth of the time that it takes to make them."""


def put(path: str, value: str) -> bool:
    """Write a setting if this kernel has it and it differs; whether it did."""
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
        # Its link may have gone meanwhile, with its settings.
        return False


def _overwrite(path: str, value: str) -> bool:
    """Write a setting if this kernel has it; whether it has."""
    try:
        file = os.open(path, os.O_WRONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        return False
    try:
        os.write(file, value.encode())
    finally:
        os.close(file)
    return True


FILES = frozenset({"/"})
"""The place of all file operations, which go in order: a folder comes before its content."""


@frozen
class Make(Deed):
    """A file or (without content) a folder to write."""

    path: Path
    content: str | None = None

    def places(self, ends: frozenset[str]) -> frozenset[str] | None:
        """Among files."""
        return FILES

    def do(self) -> None:
        """Write it, readable by everybody whatever the umask; a folder may already exist."""
        if self.content is None:
            disk.make_folder(self.path)
            return
        # In place: a running workload has the file itself mounted, whatever its name leads to later.
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
class Remove(Deed):
    """A file, or an empty folder, to remove; one that is gone, or not ours, is not an error."""

    path: Path
    folder: bool = False

    def do(self) -> None:
        """Remove it; a folder with something of others in it, or mounted on it, stays."""
        is_folder = self.path.is_dir() and not self.path.is_symlink()
        if not self.folder and not is_folder:
            self.path.unlink(missing_ok=True)
        elif self.folder and is_folder and not self.path.is_mount() and not any(self.path.iterdir()):
            self.path.rmdir()

    def __str__(self) -> str:
        return f"rmdir --ignore-fail-on-non-empty {self.path}" if self.folder else f"rm -f {self.path}"


def _whole(line: str, tool: str) -> str:
    if _BREAKS_A_LINE.search(line):
        raise _refusal(tool, line)
    return line


def _refusal(tool: str, text: str) -> VpcctlError:
    shown = visible(text, keep="")
    return VpcctlError(f"'{shown}' can't be passed to {tool}, which would misread it",
                       "rename it")


def problems(stderr: str) -> str:
    """What the command complained of, less what says that a thing to be removed is already gone."""
    return sentence("\n".join(line for line in stderr.splitlines() if not is_gone(line)))


def chain_lines(chain: str, rules: Iterable[str], policy: str = "", fresh: bool = False) -> list[str]:
    """The restore lines that give a chain exactly these rules; `fresh` fails if the chain exists."""
    if chain in BUILTIN:
        head = [f":{chain} {policy or 'ACCEPT'} [0:0]", f"-F {chain}"]
    else:
        head = [f"-N {chain}" if fresh else f":{chain} - [0:0]"]
    return head + [f"-A {chain} {rule}" for rule in rules]

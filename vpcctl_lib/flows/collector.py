"""The collector of flow logs: a program of its own, one for the host, run by its text.

Another thread than the main one enters namespaces: a delete ends programs whose main thread is in there.
"""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Collection, Iterable, Iterator
from pathlib import Path

from vpcctl_lib.flows import accounts, records
from vpcctl_lib.flows.accounts import Account, Interval
from vpcctl_lib.flows.config import Log, Machine, Watched, parsed
from vpcctl_lib.flows.journal import Journal
from vpcctl_lib.flows.names import (
    BEFORE,
    BEHIND,
    IN,
    KEY_BYTES,
    LIVES,
    LOST,
    OK,
    OPEN,
    OUT,
    READ,
    REFUSED_LOST,
    SEEN,
    TABLE,
    machine_set,
    refused_sets,
    sure_counter,
)
from vpcctl_lib.flows.reading import BRIDGE, INET, Counted, Namespaces, Taken, Wanted
from vpcctl_lib.keeper import log as keeper

FILE_BYTES = 10 << 20
"""The size at which a log's file becomes the older one."""

NOTHING = Watched((), (), "")
DEVICE = 16
"""The bytes of a port's name in a key."""


class File(keeper.Log):
    """A log's file: where it lacks records, records say so."""

    def tell(self, lost: int) -> None:
        """Records of all machines have said it."""

    def begin(self, form: str) -> None:
        """Begin another file if this one has records of another format."""
        held = os.open(self._name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._folder)
        first = os.read(held, 1)
        os.close(held)
        if not records.is_of(form, first):
            self.turn()


class Collector:
    """Reads machines, and writes a record for each flow when an interval ends."""

    def __init__(self, watched: Path, namespaces: int, folder: int) -> None:
        self._watched = watched
        self._namespaces = Namespaces(namespaces)
        self._spaces = namespaces
        self._folder = folder
        self._journal = Journal(folder)
        self._seen: dict[str, tuple[int, int, int]] = {}
        self._vpcs: dict[str, Watched] = {}
        self._accounts: dict[str, Account] = {}
        self._files: dict[str, File] = {}
        self._faulty: set[str] = set()
        self._owners: dict[str, dict[str, str]] = {}

    def run(self, stop: threading.Event) -> None:
        """Until it is to stop: what is not written then is kept."""
        try:
            self._accounts = self._journal.kept()
        except (OSError, ValueError) as error:
            _say(f"what was not written before is lost: {error}")
        while True:
            self._look(time.time())
            try:
                self._round(time.time(), all_of_them=stop.is_set())
            except OSError as error:
                _say(f"what is not written yet can't be kept: {error.strerror}")
            if stop.is_set():
                return
            stop.wait(1 - time.time() % 1)

    def _look(self, now: float) -> None:
        """What is to be read and written, where that has changed."""
        names = {file.name for file in self._watched.glob("[!.]*")}
        for name in names:
            try:
                status = (self._watched / name).stat()
                state = (status.st_ino, status.st_mtime_ns, status.st_size)
                found = parsed((self._watched / name).read_text()) if self._seen.get(name) != state else None
            except FileNotFoundError:
                # It was removed meanwhile, which the next look sees.
                continue
            # None: it is just being written.
            if found is not None:
                self._change(name, found, now)
                self._seen[name] = state
        for gone in self._vpcs.keys() - names:
            self._change(gone, NOTHING, now)
            del self._vpcs[gone], self._seen[gone]

    def _change(self, vpc: str, found: Watched, now: float) -> None:
        before = self._vpcs.get(vpc, NOTHING)
        stays = {new.site for new in found.machines}
        for machine in (one for one in before.machines if one.site not in stays):
            self._end(vpc, before, machine, now)
            self._accounts.pop(machine.site, None)
            self._journal.totals.forget(machine.site)
        for machine in found.machines:
            account = self._accounts.setdefault(machine.site, Account())
            wanted = {log.interval for log in found.logs if log.covers(machine.site)}
            account.intervals = {length: account.intervals.get(length) or Interval(now)
                                 for length in sorted(wanted)}
        forms = {log.file: log.format for log in found.logs}
        for log in before.logs:
            if forms.get(log.file) != log.format:
                self._forget(log.file)
            if log.file not in forms:
                self._journal.totals.forget(log.file)
        self._vpcs[vpc] = found
        self._owners[vpc] = {address: one.site for one in found.machines for address in one.addresses}

    def _end(self, vpc: str, watched: Watched, machine: Machine, now: float) -> None:
        """Write what there is of a machine that is gone."""
        account = self._accounts.get(machine.site)
        for length, interval in account.intervals.items() if account else ():
            if interval.flows or interval.skipped:
                self._write(vpc, watched, machine, length, interval, now)

    def _round(self, now: float, all_of_them: bool) -> None:
        """Read those whose turn it is, and write what is over."""
        turn = {vpc: found for vpc, watched in self._vpcs.items()
                if (found := [one for one in watched.machines if all_of_them or self._is_due(one.site, now)])}
        if not turn:
            return
        self._journal.reads(one.site for found in turn.values() for one in found)
        for vpc, found in turn.items():
            self._read(vpc, self._vpcs[vpc], found)
        now = time.time()
        over = {vpc: [one for one in found if self._is_over(one.site, now)] for vpc, found in turn.items()}
        is_all = not any(over.values())
        self._journal.done(self._accounts, is_all)
        if not is_all:
            logs = [(vpc, log) for vpc, found in over.items() if found for log in self._vpcs[vpc].logs]
            for vpc, log in logs:
                # Opened before its size is noted: that may turn it over.
                self._file(vpc, log)
            self._journal.writes(log.file for _, log in logs)
            for vpc, found in over.items():
                for machine in found:
                    self._emit(vpc, self._vpcs[vpc], machine, now)
            self._journal.done(self._accounts, True)

    def _is_due(self, site: str, now: float) -> bool:
        return now - self._accounts[site].read >= READ - 0.5 or self._is_over(site, now)

    def _is_over(self, site: str, now: float) -> bool:
        return any(accounts.due(interval, length, now)
                   for length, interval in self._accounts[site].intervals.items())

    def _read(self, vpc: str, watched: Watched, turn: Iterable[Machine]) -> None:
        """The machines first: what an ACL drops has passed its sender's rules before."""
        turn = list(turn)
        spaces = {machine.site: self._space(machine.namespace) for machine in turn}
        found = {machine.site: self._taken(machine) for machine in turn}
        if watched.acls:
            self._read_refused(vpc, watched)
        for site, taken in found.items():
            account = self._accounts[site]
            before, account.read = account.read, time.time()
            if before and account.read - before > LIVES:
                account.lose()
            if taken is None:
                # A part of it may have been read.
                account.lose()
                continue
            self._journal.totals.lose(site, taken.lost)
            if taken.lost:
                account.lose()
            account.found(spaces[site], taken.handle)
            account.miss(taken.missing)
            account.take(*_sorted(taken))

    def _space(self, namespace: str) -> str:
        """What tells a namespace from others of its name: their files have numbers that are used again."""
        try:
            found = os.stat(namespace, dir_fd=self._spaces)
        except FileNotFoundError:
            # It can't be read either.
            return ""
        return f"{found.st_ino} {found.st_ctime_ns}"

    def _taken(self, machine: Machine) -> Taken | None:
        """Of a machine whose root can make the table again, otherwise."""
        sets = {machine_set(way, place, family): KEY_BYTES[family] for place in (SEEN, OK, OPEN)
                for way in (IN, OUT) for family in machine.families}
        before, behind = ([sure_counter(way, end) for way in (IN, OUT)] for end in (BEFORE, BEHIND))
        return self._ask(machine.namespace, INET, Wanted(TABLE, LOST, [*sets], before, behind),
                         sets.values())

    def _ask(self, namespace: str, family: int, wanted: Wanted, sizes: Collection[int]) -> Taken | None:
        """A table whose keys have so many bytes; None if it can't be read, which the log says once."""
        try:
            taken = self._namespaces.read(namespace, family, wanted)
            if any(len(key) != size for size, counts in zip(sizes, taken.sets, strict=True)
                   for key in counts):
                raise LookupError(wanted.name)
        except (OSError, LookupError) as error:
            why = error.strerror if isinstance(error, OSError) else "its table is not as it was made"
            if namespace not in self._faulty:
                _say(f"{namespace}: its flows can't be read: {why}")
                self._faulty.add(namespace)
            return None
        self._faulty.discard(namespace)
        return taken

    def _read_refused(self, vpc: str, watched: Watched) -> None:
        families = max((one.families for one in watched.machines), key=len, default="")
        sets = {name: (way, number) for way in (IN, OUT)
                for name, number in refused_sets(way, families).items()}
        # A port comes first, and a protocol or ports are left out.
        sizes = {name: DEVICE + KEY_BYTES[family] - (4 if number else 8) for way in (IN, OUT)
                 for family in families for name, number in refused_sets(way, family).items()}
        found = self._ask(vpc, BRIDGE, Wanted(watched.acls, REFUSED_LOST, [*sizes]), sizes.values())
        ports = {one.port.encode().ljust(DEVICE, b"\0"): one.site for one in watched.machines}
        self._journal.totals.lose(vpc, found.lost if found else 0)
        if found is None or found.lost:
            for site in ports.values():
                self._accounts[site].skip()
        for (way, number), counts in zip(sets.values(), found.sets if found else (), strict=False):
            for key, count in counts.items():
                if (owner := ports.get(key[:DEVICE])):
                    self._accounts[owner].deny(way, _whole(key[DEVICE:], number), count)

    def _emit(self, vpc: str, watched: Watched, machine: Machine, now: float) -> None:
        account = self._accounts[machine.site]
        for length, interval in account.intervals.items():
            if accounts.due(interval, length, now):
                self._write(vpc, watched, machine, length, interval, now)
                account.intervals[length] = Interval(now)

    def _write(self, vpc: str, watched: Watched, machine: Machine, length: int, interval: Interval,
               now: float) -> None:
        for log in watched.logs:
            if log.interval != length or not log.covers(machine.site):
                continue
            file = self._file(vpc, log)
            if file is None:
                continue
            if file.lost:
                interval.skipped = True
            lines = [*records.lines(log, machine, interval, now, self._owners[vpc])]
            file.write("".join(f"{line}\n" for line in lines).encode())
            if not file.lost:
                self._journal.totals.wrote(log.file, len(lines), interval.skipped)

    def _file(self, vpc: str, log: Log) -> File | None:
        """A log's file, even if somebody has removed it; None if the log is just being deleted."""
        held = self._files.get(log.file)
        if held is not None and held.is_there():
            return held
        self._forget(log.file)
        if not self._is_wanted(vpc, log):
            return None
        fresh = self._files[log.file] = File(f"/proc/self/fd/{self._folder}/./{log.file}", FILE_BYTES)
        fresh.begin(log.format)
        return fresh

    def _forget(self, name: str) -> None:
        held = self._files.pop(name, None)
        if held is not None:
            held.close()

    def _is_wanted(self, vpc: str, log: Log) -> bool:
        """By the orders that are there now: those of a log go before its file does."""
        try:
            found = parsed((self._watched / vpc).read_text())
        except FileNotFoundError:
            return False
        return found is None or any(one.file == log.file for one in found.logs)


def _sorted(taken: Taken) -> Iterator[dict[str, Counted]]:
    """What came to rules, what behind them, and what where there are none, by direction."""
    families = len(taken.sets) // 6
    held = [{key: count for one in taken.sets[first:first + families] for key, count in one.items()}
            for first in range(0, len(taken.sets), families)]
    for place in range(0, len(held), 2):
        yield {IN: held[place], OUT: held[place + 1]}


def _whole(key: bytes, protocol: int) -> bytes:
    """A key as machines' sets have it, from one whose set says the protocol, or which has no ports."""
    if not protocol:
        return key + bytes(8)
    return key[:-8] + bytes((protocol, 0, 0, 0)) + key[-8:]


def _say(text: str) -> None:
    sys.stdout.write(f"{text}\n")
    sys.stdout.flush()


def main(watched: str) -> None:
    """Until TERM."""
    namespaces, folder = map(int, os.environ["VPCCTL_FOLDERS"].split(","))
    stop = threading.Event()
    signal.signal(signal.SIGTERM, lambda *_: stop.set())
    failures: list[BaseException] = []

    def work() -> None:
        try:
            Collector(Path(watched), namespaces, folder).run(stop)
        except BaseException as error:  # noqa: BLE001 - raised again in the main thread
            failures.append(error)

    thread = threading.Thread(target=work)
    thread.start()
    thread.join()
    if failures:
        raise failures[0]

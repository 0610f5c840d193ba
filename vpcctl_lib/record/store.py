"""The record on disk: the topology and what we own; locked, versioned, replaced as a whole."""

from __future__ import annotations

import fcntl
import json
import os
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.kernel import disk
from vpcctl_lib.model.topology import Topology
from vpcctl_lib.record import document, ledger
from vpcctl_lib.record.codec import Misfit, decode, written
from vpcctl_lib.record.document import FILE, VERSION
from vpcctl_lib.record.ledger import Entry, State
from vpcctl_lib.record.spare import FULL, Spare
from vpcctl_lib.record.trust import check_folder
from vpcctl_lib.resources import Resource, name_of

LOCK_SECONDS = 60.0
HEAD = f'{{"version": {VERSION},\n'
TOPOLOGY = '"topology": '
LEDGER = '"ledger": [\n'
MANY = 500
"""Entries from which on a record gets a seal: to decode fewer takes less than to read the program's files."""

SEALED = b'"}\n'
"""How a record with a seal ends, and no other."""


class Store:
    """The state folder: state.json, lock and vpcctl.log."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.file = folder / FILE
        self.log = folder / "vpcctl.log"
        self._spare = Spare(folder / ".state.json.spare")
        self._texts: dict[int, tuple[Resource | Topology, str]] = {}
        """The text of parts that were written before, by identity: a change is saved before and after it."""

    def load(self) -> State:
        """The recorded state; empty if there is none. VpcctlError if it can't be read or understood."""
        found = document.content(self.file)
        if found is None:
            return State()
        state = self._sealed(found) if found.endswith(SEALED) else None
        if state is not None:
            return state
        data = document.parse(self.file, document.decoded(self.file, found))
        try:
            topology = decode(Topology, data.get("topology"), "topology")
            previous = data.get("previous")
            return State(topology, ledger.read(data.get("ledger")),
                         None if previous is None else decode(Topology, previous, "previous"))
        except Misfit as error:
            raise document.damaged(self.file, str(error)) from None

    def _sealed(self, whole: bytes) -> State | None:
        """The state in a text of our own; its entries are not decoded yet."""
        # Imported late: most records are small.
        from vpcctl_lib.record.seal import opened

        found = opened(whole, LEDGER.encode())
        if found is None:
            return None
        text = found.head[len(HEAD) + len(TOPOLOGY):-len(",\n")]
        topology = decode(Topology, json.loads(text))
        self._texts[id(topology)] = (topology, text)
        return State(topology, tuple(Entry.on(found.lines)), parts=found.parts)

    def save(self, state: State) -> None:
        """Replace the file; a crash leaves the old one or the new one, whole (rename(2), fsync(2)).

        A copy of the last one with nothing under way is kept beside it.
        """
        targets = (self.file,) if state.previous is not None else (self.file, document.backup(self.file))
        text = self._whole(state)
        try:
            try:
                self._replace(targets, text)
            except OSError as error:
                if error.errno not in FULL:
                    raise
                # The backup first: the larger file, of a change under way, then becomes the spare.
                self._spare.replace(targets[::-1], text)
            self._sync_folder()
        except OSError as error:
            raise VpcctlError(f"can't write {self.file}: {error.strerror}") from None
        if state.previous is None:
            self._spare.renew(len(text))

    def _replace(self, targets: Sequence[Path], text: bytearray) -> None:
        """Write all of them under other names, and only then rename them."""
        fresh = {target: self.folder / f".{target.name}.new" for target in targets}
        try:
            for temporary in fresh.values():
                disk.write_new(temporary, text)
            for target, temporary in fresh.items():
                temporary.replace(target)
        except OSError:
            with suppress(OSError):
                for temporary in fresh.values():
                    temporary.unlink(missing_ok=True)
            raise

    def _whole(self, state: State) -> bytearray:
        """One line for each resource, for people (and cleanup.sh); much smaller than indented JSON."""
        previous = "" if state.previous is None else f'"previous": {self._text(state.previous)},\n'
        text = bytearray(f"{HEAD}{TOPOLOGY}{self._text(state.topology)},\n{previous}{LEDGER}".encode())
        text += ",\n".join([entry.line or self._line(entry) for entry in state.ledger]).encode()
        if not (state.parts and state.previous is None and len(state.ledger) >= MANY and _seal(text, state)):
            text += b"\n]}\n"
        return text

    def _line(self, entry: Entry) -> str:
        # A resource is encoded once, although its entry changes while it is being made.
        text = self._text(entry.resource)
        found = f', "found": {json.dumps(entry.found)}' if entry.found else ""
        verb = f', "under_way": "{entry.under_way.value}"' if entry.under_way else ""
        return f"{text[:-1]}{found}{verb}}}"

    def _text(self, part: Resource | Topology) -> str:
        held = self._texts.get(id(part))
        if held is None:
            text = written(part) if isinstance(part, Topology) else written(part, name_of(part))
            # Kept with the part, so that no other object can get its identity meanwhile.
            held = self._texts[id(part)] = (part, text)
        return held[1]

    def lost(self) -> bool:
        """Whether the record is missing or damaged; a newer vpcctl's is an error."""
        try:
            self.load()
        except document.Damaged:
            return True
        return not self.file.exists()

    @contextmanager
    def set_aside(self) -> Iterator[list[Path]]:
        """Rename what is left of a lost record; rename it back if making a new one fails."""
        ending = f"lost-{time.strftime('%Y%m%dT%H%M%S')}.{os.getpid()}"
        kept: dict[Path, Path] = {}
        disk = (self.file, document.backup(self.file))
        new = [file for file in disk if not file.exists()]
        try:
            for file in disk:
                if file not in new:
                    # A second name first, so that the file has a name at any moment.
                    os.link(file, file.with_name(f"{file.name}.{ending}"))
                    kept[file] = file.with_name(f"{file.name}.{ending}")
            yield list(kept.values())
        except (OSError, VpcctlError) as error:
            for file in new:
                file.unlink(missing_ok=True)
            for file, other in kept.items():
                other.replace(file)
                # rename(2) does nothing while both names lead to the same file.
                other.unlink(missing_ok=True)
            if isinstance(error, OSError):
                raise VpcctlError(f"can't keep {error.filename}: {error.strerror}") from None
            raise

    def _sync_folder(self) -> None:
        folder = os.open(self.folder, os.O_DIRECTORY)
        try:
            os.fsync(folder)
        finally:
            os.close(folder)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock of every change; wait for its holder, and name the holder if it takes too long.

        The tools that change something hold it too (`Runner.change`).
        """
        self._make_folder()
        lock = self._open_lock()
        try:
            self._acquire(lock)
            self._sign(lock)
            os.set_inheritable(lock, True)
            yield
            os.ftruncate(lock, 0)
        finally:
            os.close(lock)

    def _open_lock(self) -> int:
        """The lock file, which only its owner may open: who can open a file can hold its lock for ever."""
        path = self.folder / "lock"
        try:
            return disk.open_kept(path, os.O_RDWR, disk.SECRET, always=True)
        except OSError as error:
            raise VpcctlError(f"can't open {path}: {error.strerror}") from None

    def _sign(self, lock: int) -> None:
        """Write our pid into the lock file; on a full disk it stays without."""
        try:
            os.ftruncate(lock, 0)
            os.write(lock, f"{os.getpid()}\n".encode())
        except OSError as error:
            if error.errno not in FULL:
                raise VpcctlError(f"can't write {self.folder / 'lock'}: {error.strerror}") from None

    def _make_folder(self) -> None:
        try:
            disk.make_folder(self.folder)
            # Somebody else may have made part of it since the command began.
            check_folder(self.folder)
            if not os.access(self.folder, os.W_OK):
                raise PermissionError
        except PermissionError:
            # Root may write anywhere except to a read-only mount.
            hint = "run it as root: sudo vpcctl …" if os.geteuid() else "name another folder with --state-dir"
            raise VpcctlError(f"can't write to {self.folder}: permission denied", hint) from None
        except OSError as error:
            raise VpcctlError(f"{self.folder} can't be the state folder: {error.strerror}",
                              "name a folder with --state-dir") from None

    def _acquire(self, lock: int) -> None:
        deadline = time.monotonic() + LOCK_SECONDS
        while True:
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
                return
            except BlockingIOError:
                if time.monotonic() > deadline:
                    holder = (self.folder / "lock").read_text().strip() or "unknown"
                    raise VpcctlError(f"another vpcctl (pid {holder}) has held the lock for "
                                      f"{LOCK_SECONDS:.0f} s", "wait for it, or end it") from None
                time.sleep(0.02)


def _seal(text: bytearray, state: State) -> bool:
    # Imported late: most records are small.
    from vpcctl_lib.record.seal import seal

    return seal(text, state.parts)

"""What the collector knows and has not written, kept on disk: whoever continues after it knows that, too.

It may be killed at any moment. While it reads, the kernel forgets what it was asked for; while it writes, a
record may be there and still be kept: what is under way has a note of its own, and is undone or said.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterable, Mapping
from typing import Any

from vpcctl_lib.flows import accounts, totals
from vpcctl_lib.flows.accounts import Account
from vpcctl_lib.flows.names import SAVED, UNDER_WAY
from vpcctl_lib.flows.totals import Totals

READING, WRITING = "reading", "writing"
_NEW = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC
_MODE = 0o600


class Journal:
    """In a folder that is held open. All methods raise OSError if the disk refuses."""

    def __init__(self, folder: int) -> None:
        self._folder = folder
        self.totals = Totals()
        """Kept with the accounts, so that nothing is counted twice."""

    def reads(self, sites: Iterable[str]) -> None:
        """These machines are about to be read."""
        self._note({READING: list(sites)})

    def writes(self, files: Iterable[str]) -> None:
        """Records are about to be added to these files."""
        self._note({WRITING: {file: self._size(file) for file in files}})

    def done(self, found: Mapping[str, Account], is_all: bool) -> None:
        """Keep the accounts as they are; with `is_all`, nothing more is under way."""
        fresh = f"{SAVED}.new"
        self._write(fresh, {totals.KEY: totals.saved(self.totals),
                            **{site: accounts.saved(one) for site, one in found.items()}})
        os.rename(fresh, SAVED, src_dir_fd=self._folder, dst_dir_fd=self._folder)
        if is_all:
            os.unlink(UNDER_WAY, dir_fd=self._folder)

    def kept(self) -> dict[str, Account]:
        """The accounts that were kept, less what was under way; ValueError if they can't be read."""
        note = self._read(UNDER_WAY)
        for file, size in note.get(WRITING, {}).items():
            self._cut(file, size)
        held = self._read(SAVED)
        try:
            self.totals = totals.restored(held.pop(totals.KEY, {}))
            found = {site: accounts.restored(one) for site, one in held.items()}
        except (TypeError, LookupError, AttributeError) as error:
            raise ValueError(f"{SAVED} is not as it was written: {error}") from None
        for site in note.get(READING, ()):
            if site in found:
                found[site].lose()
        return found

    def _note(self, what: Mapping[str, Any]) -> None:
        self._write(UNDER_WAY, what)

    def _write(self, name: str, content: object) -> None:
        file = os.open(name, _NEW, _MODE, dir_fd=self._folder)
        with os.fdopen(file, "w") as held:
            json.dump(content, held)

    def _read(self, name: str) -> dict[str, Any]:
        """A file's content; empty if there is none."""
        try:
            file = os.open(name, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._folder)
        except FileNotFoundError:
            return {}
        with os.fdopen(file) as held:
            text = held.read()
        # Somebody may have killed it before the first byte.
        found = json.loads(text or "{}")
        return found if isinstance(found, dict) else {}

    def _size(self, file: str) -> int:
        try:
            return os.stat(file, dir_fd=self._folder, follow_symlinks=False).st_size
        except FileNotFoundError:
            return 0

    def _cut(self, file: str, size: int) -> None:
        """Take away what was added; a file that has become the older one meanwhile is left as it is."""
        if self._size(file) > size:
            held = os.open(file, os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=self._folder)
            os.ftruncate(held, size)
            os.close(held)

"""The seal of a large record: which files it is made from, and what is never opened."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from vpcctl_lib.record import seal


@pytest.fixture
def program(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The folder of a small program."""
    monkeypatch.setattr(seal, "FOLDER", tmp_path)
    for name, content in (("b.py", "abc"), ("a.py", ""), ("z/c.py", "1"), ("y/d.py", "22")):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(content)
    seal.program.cache_clear()
    yield tmp_path
    seal.program.cache_clear()


def anew() -> str:
    """What the program is called now."""
    seal.program.cache_clear()
    return seal.program()


def test_a_program_is_called_by_the_sizes_and_times_of_its_files(program: Path) -> None:
    before, file = anew(), program / "z" / "c.py"
    assert before.startswith("4-"), "four files"
    status = file.stat()
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    touched = anew()
    file.write_text("12")
    os.utime(file, ns=(status.st_atime_ns, status.st_mtime_ns))
    assert len({before, touched, anew()}) == 3


def test_an_empty_file_is_a_program_too(program: Path) -> None:
    for name in ("b.py", "z/c.py", "y/d.py"):
        (program / name).unlink()
    assert anew().startswith("1-")
    (program / "a.py").unlink()
    assert anew() == ""


def test_what_is_no_code_does_not_count(program: Path) -> None:
    before = anew()
    (program / "notes.txt").write_text("x")
    (program / "z" / "c.pyc").write_text("x")
    assert anew() == before


def test_the_order_in_which_a_file_system_lists_does_not_count(
        program: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    before, scan = anew(), os.scandir

    @contextmanager
    def backwards(folder: str) -> Iterator[list[os.DirEntry[str]]]:
        with scan(folder) as found:
            yield sorted(found, key=lambda entry: entry.name, reverse=True)

    monkeypatch.setattr(os, "scandir", backwards)
    assert anew() == before


def test_no_file_stays_open(program: Path) -> None:
    before = os.listdir("/proc/self/fd")
    anew()
    assert os.listdir("/proc/self/fd") == before


def test_where_the_program_s_files_are_not_there_no_seal_is_its_own(program: Path) -> None:
    text = bytearray(b'{"ledger": [\n{}')
    assert seal.seal(text, (1,))
    assert seal.opened(bytes(text), b'"ledger": [\n') == seal.Opened("{", ["{}"], (1,))
    for file in program.rglob("*.py"):
        file.unlink()
    assert anew() == ""
    forged = bytes(text).rpartition(seal._SEAL)[0]
    forged += seal._SEAL + f"{seal._digest(memoryview(forged))}{seal.END}".encode()
    assert seal.opened(forged, b'"ledger": [\n') is None
    assert not seal.seal(bytearray(b"{"), ())

"""The file that keeps room for the record: large enough, never another's, and full disks are no end."""

from __future__ import annotations

import ctypes
import errno
import os
from pathlib import Path
from typing import Any

import pytest

from vpcctl_lib.record.spare import LEAST, MORE, Spare

RECORD = 10_000
WANTED = 2 * RECORD + MORE


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "spare"


@pytest.fixture
def spare(path: Path) -> Spare:
    return Spare(path)


def of_size(path: Path, size: int) -> None:
    path.touch()
    os.truncate(path, size)


def test_it_has_blocks_of_its_own_for_twice_the_record_and_more(spare: Spare, path: Path) -> None:
    spare.renew(RECORD)
    status = path.stat()
    assert status.st_size == WANTED
    assert status.st_blocks * 512 >= WANTED, "a file with a hole keeps no room"
    assert status.st_mode & 0o777 == 0o644


@pytest.mark.parametrize(("size", "stays"), [
    (2 * RECORD + LEAST - 1, False), (2 * RECORD + LEAST, True), (WANTED, True), (4 * WANTED, True),
    (4 * WANTED + 1, False)])
def test_it_is_only_made_anew_if_it_is_too_small_or_far_too_large(spare: Spare, path: Path, size: int,
                                                                  stays: bool) -> None:
    of_size(path, size)
    spare.renew(RECORD)
    assert path.stat().st_size == (size if stays else WANTED)


@pytest.mark.parametrize("size", [0, WANTED])
def test_a_file_with_another_name_is_left_alone_and_a_new_one_made(spare: Spare, path: Path,
                                                                   size: int) -> None:
    of_size(path, size)
    other = path.with_name("kept")
    os.link(path, other)
    spare.renew(RECORD)
    assert other.stat().st_size == size
    assert not other.samefile(path)
    assert path.stat().st_size == WANTED


def test_a_folder_in_its_place_stays(spare: Spare, path: Path) -> None:
    (path / "below").mkdir(parents=True)
    spare.renew(RECORD)
    assert (path / "below").is_dir()


def test_the_text_takes_the_place_of_the_file_which_becomes_the_spare(spare: Spare, path: Path) -> None:
    target = path.with_name("state.json")
    target.write_text("the old one")
    spare.renew(RECORD)
    path.chmod(0o600)
    spare.replace([target], b"new")
    assert target.read_bytes() == b"new", "and nothing that the spare had behind it"
    assert target.stat().st_mode & 0o777 == 0o644
    assert path.read_text() == "the old one"


def test_several_are_written_one_after_the_other(spare: Spare, path: Path) -> None:
    targets = [path.with_name(name) for name in ("state.json.bak", "state.json")]
    for target in targets:
        target.write_text(target.name)
    of_size(path, WANTED)
    spare.replace(targets, b"new")
    assert [target.read_bytes() for target in targets] == [b"new", b"new"]
    assert path.read_text() == "state.json", "the last one replaced"


def test_the_text_is_on_the_disk_before_it_has_the_name(spare: Spare, path: Path,
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    target = path.with_name("state.json")
    target.write_text("the old one")
    of_size(path, WANTED)
    synced: list[tuple[bytes, str]] = []
    monkeypatch.setattr(os, "fsync", lambda file: synced.append((os.pread(file, 99, 0), target.read_text())))
    spare.replace([target], b"new")
    assert synced == [(b"new", "the old one")]


def test_a_target_that_is_not_there_gets_the_spare_itself(spare: Spare, path: Path) -> None:
    of_size(path, WANTED)
    target = path.with_name("state.json")
    spare.replace([target], b"new")
    assert target.read_bytes() == b"new"
    assert not path.exists()


def refuse_to_exchange(monkeypatch: pytest.MonkeyPatch, libc: Any) -> None:
    monkeypatch.setattr(ctypes, "CDLL", lambda *_, **__: libc)


class Older:
    """A C library without renameat2."""


class Refusing:
    """A file system that can't exchange names."""

    @staticmethod
    def renameat2(*_: object) -> int:
        return -1


@pytest.mark.parametrize("libc", [Older(), Refusing()])
def test_where_names_can_t_be_exchanged_the_spare_is_given_up(spare: Spare, path: Path, libc: Any,
                                                              monkeypatch: pytest.MonkeyPatch) -> None:
    target = path.with_name("state.json")
    target.write_text("the old one")
    of_size(path, WANTED)
    refuse_to_exchange(monkeypatch, libc)
    spare.replace([target], b"new")
    assert target.read_bytes() == b"new"
    assert not path.exists()


def refused(spare: Spare, target: Path) -> OSError:
    with pytest.raises(OSError, match="No space left on device") as caught:
        spare.replace([target], b"new")
    assert (caught.value.errno, caught.value.filename) == (errno.ENOSPC, str(target.with_name("spare")))
    return caught.value


def test_without_a_spare_the_disk_is_full(spare: Spare, path: Path) -> None:
    target = path.with_name("state.json")
    target.write_text("the old one")
    refused(spare, target)
    assert target.read_text() == "the old one"


def test_nothing_is_written_into_a_file_that_has_another_name(spare: Spare, path: Path) -> None:
    path.write_text("kept")
    os.link(path, path.with_name("kept"))
    refused(spare, path.with_name("state.json"))
    assert path.read_text() == "kept"


def test_no_link_is_followed(spare: Spare, path: Path) -> None:
    path.with_name("other").write_text("another's")
    path.symlink_to("other")
    with pytest.raises(OSError, match="symbolic link"):
        spare.replace([path.with_name("state.json")], b"new")
    spare.renew(RECORD)
    assert path.with_name("other").read_text() == "another's"


def test_no_file_stays_open(spare: Spare, path: Path) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        spare.renew(RECORD)
        spare.replace([path.with_name("state.json")], b"new")
    assert len(os.listdir("/proc/self/fd")) == before

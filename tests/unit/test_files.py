"""Files of our own: their mode whatever the umask, and no link followed on the way to them."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.kernel import disk
from vpcctl_lib.kernel.audit import Audit
from vpcctl_lib.record import document
from vpcctl_lib.record.ledger import State
from vpcctl_lib.record.store import Store

UMASKS = [0o000, 0o022, 0o077, 0o777]


@pytest.fixture(params=UMASKS, ids="{:03o}".format)
def umask(request: pytest.FixtureRequest) -> Iterator[None]:
    before = os.umask(request.param)
    yield
    os.umask(before)


def mode(path: Path) -> int:
    return stat.S_IMODE(path.lstat().st_mode)


@pytest.mark.usefixtures("umask")
def test_what_reading_commands_need_is_open_to_all_and_the_lock_to_nobody_else(tmp_path: Path) -> None:
    store = Store(tmp_path / "a" / "state")
    with store.locked():
        store.save(State())
    Audit(store.log).record_end(0)
    modes = {path.name: mode(path) for path in store.folder.iterdir()}
    assert modes == {"lock": 0o600, "state.json": 0o644, "state.json.bak": 0o644, "vpcctl.log": 0o644,
                     ".state.json.spare": 0o644}
    assert {mode(store.folder), mode(store.folder.parent)} == {0o755}


def test_a_lock_that_was_open_to_all_is_closed(tmp_path: Path) -> None:
    (tmp_path / "lock").touch()
    (tmp_path / "lock").chmod(0o644)
    with Store(tmp_path).locked():
        assert mode(tmp_path / "lock") == 0o600


def test_a_folder_and_a_log_that_were_closed_on_purpose_stay_so(tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    store = Store(tmp_path)
    store.log.touch(0o600)
    with store.locked():
        Audit(store.log).record_end(0)
    assert (mode(tmp_path), mode(store.log)) == (0o700, 0o600)


def save(store: Store) -> None:
    store.save(State())


def lock(store: Store) -> None:
    with store.locked():
        pass


def log(store: Store) -> None:
    Audit(store.log).record_end(0)


@pytest.mark.parametrize(("name", "work"), [
    (".state.json.new", save), (".state.json.bak.new", save), ("state.json", save), ("state.json.bak", save),
    (".state.json.spare", save), ("lock", lock), ("vpcctl.log", log)])
def test_no_link_is_followed_to_what_is_written(tmp_path: Path, name: str,
                                                work: Callable[[Store], None]) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    precious.chmod(0o604)
    folder = tmp_path / "state"
    folder.mkdir()
    (folder / name).symlink_to(precious)
    if name == "lock":
        with pytest.raises(VpcctlError, match="can't open .*lock"):
            work(Store(folder))
    else:
        work(Store(folder))
    assert (precious.read_text(), mode(precious)) == ("precious", 0o604)


def test_no_link_is_followed_to_the_record(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    Store(tmp_path).save(State())
    (tmp_path / "state.json").rename(elsewhere)
    (tmp_path / "state.json").symlink_to(elsewhere)
    with pytest.raises(VpcctlError, match="state.json is a link, and is not followed"):
        document.topology(tmp_path)


@pytest.mark.parametrize("name", ["lock", "vpcctl.log", "state.json"])
def test_a_fifo_in_the_place_of_a_file_keeps_nobody_waiting(tmp_path: Path, name: str) -> None:
    os.mkfifo(tmp_path / name)
    store = Store(tmp_path)
    log(store)
    if name == "lock":
        with pytest.raises(VpcctlError, match="it is no regular file"):
            lock(store)
    elif name == "state.json":
        with pytest.raises(VpcctlError, match="it is no regular file"):
            store.load()


@pytest.mark.usefixtures("umask")
def test_a_secret_folder_is_closed_whatever_was_there(tmp_path: Path) -> None:
    (tmp_path / "logs").mkdir()
    (tmp_path / "logs").chmod(0o755)
    disk.make_secret_folder(tmp_path, "logs/vpc1/public")
    disk.make_secret_folder(tmp_path, "logs/vpc1/private")
    made = [tmp_path / part for part in ("logs", "logs/vpc1", "logs/vpc1/public", "logs/vpc1/private")]
    assert [mode(folder) for folder in made] == [0o700] * 4


@pytest.mark.parametrize("name", ["logs", "logs/vpc1"])
def test_a_secret_folder_is_made_behind_no_link(tmp_path: Path, name: str) -> None:
    (tmp_path / "elsewhere").mkdir()
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).symlink_to(tmp_path / "elsewhere")
    with pytest.raises(OSError, match="Not a directory|symbolic links"):
        disk.make_secret_folder(tmp_path, "logs/vpc1/public")
    assert list((tmp_path / "elsewhere").iterdir()) == []


@pytest.mark.parametrize("name", ["lock", "vpcctl.log"])
def test_a_file_with_a_name_elsewhere_is_left_alone(tmp_path: Path, name: str) -> None:
    precious = tmp_path / "precious"
    precious.write_text("precious")
    precious.chmod(0o640)
    os.link(precious, tmp_path / name)
    with pytest.raises(OSError, match="hard link: the file has 2 names"):
        disk.open_kept(tmp_path / name, os.O_WRONLY | os.O_TRUNC, disk.PUBLIC, always=True)
    assert (mode(precious), precious.read_text()) == (0o640, "precious")


def test_a_folder_in_the_place_of_the_spare_stops_no_save(tmp_path: Path) -> None:
    (tmp_path / ".state.json.spare").mkdir()
    store = Store(tmp_path)
    with store.locked():
        store.save(State())
    assert store.file.exists()

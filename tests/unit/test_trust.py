"""Whose the state folder is: nobody but root may have filled it, whichever way leads there."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from types import SimpleNamespace

import pytest

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.kernel.audit import Audit
from vpcctl_lib.record import document, trust
from vpcctl_lib.record.ledger import State
from vpcctl_lib.record.store import Store

STRANGER = 54321
Prepare = Callable[[Path], None]

pytestmark = pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to somebody else")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A state folder in a folder of its own."""
    made = tmp_path / "above" / "state"
    made.mkdir(parents=True)
    return made


def give(path: Path) -> None:
    os.chown(path, STRANGER, -1, follow_symlinks=False)


def open_to(path: Path, mode: int) -> None:
    path.chmod(mode)


def test_a_folder_of_root_s_own(folder: Path) -> None:
    trust.check_folder(folder)
    trust.check_folder(folder / "not" / "there" / "yet")


@pytest.mark.parametrize(("prepare", "told"), [
    (lambda folder: give(folder), f"it belongs to uid {STRANGER}"),
    (lambda folder: give(folder.parent), f"above belongs to uid {STRANGER}"),
    (lambda folder: open_to(folder, 0o775), "it is writable by others (mode 0775)"),
    (lambda folder: open_to(folder, 0o777), "it is writable by others (mode 0777)"),
    (lambda folder: open_to(folder, 0o1777), "it is writable by others (mode 1777)"),
    (lambda folder: open_to(folder.parent, 0o757), "above is writable by others (mode 0757)"),
], ids=["given", "above given", "group", "all", "sticky", "above all"])
def test_a_folder_that_somebody_else_could_fill(folder: Path, prepare: Prepare, told: str) -> None:
    prepare(folder)
    with pytest.raises(VpcctlError) as caught:
        trust.check_folder(folder)
    assert caught.value.message.startswith(f"the state folder {folder} is not root's alone: ")
    assert caught.value.message.endswith(told)


ELSEWHERE = "use a folder that only root can write to, such as --state-dir /var/lib/vpcctl"


@pytest.mark.parametrize(("prepare", "hint"), [
    (lambda folder: give(folder), "use another, such as --state-dir /var/lib/vpcctl; or if you trust what is "
                                  "in it: chown -R root: {folder}"),
    (lambda folder: open_to(folder, 0o777), "if you trust what is in it: chmod -R go-w {folder}"),
    (lambda folder: give(folder.parent), ELSEWHERE),
    (lambda folder: open_to(folder.parent, 0o777), ELSEWHERE),
], ids=["given", "all", "above given", "above all"])
def test_what_to_do_about_it(folder: Path, prepare: Prepare, hint: str) -> None:
    prepare(folder)
    with pytest.raises(VpcctlError) as caught:
        trust.check_folder(folder)
    assert caught.value.hint == hint.format(folder=folder)


def test_whoever_became_root_may_own_it(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (folder / "state.json").touch()
    monkeypatch.setattr(os, "getuid", lambda: STRANGER)
    trust.check_folder(folder)
    check_file(folder / "state.json")
    give(folder)
    give(folder / "state.json")
    trust.check_folder(folder)
    check_file(folder / "state.json")


def check_file(path: Path) -> None:
    with path.open() as opened:
        trust.check_file(path, opened.fileno())


@pytest.mark.parametrize("mode", [0o664, 0o646, 0o1666])
def test_a_record_that_others_may_write(folder: Path, mode: int, monkeypatch: pytest.MonkeyPatch) -> None:
    record = folder / "state.json"
    record.touch()
    record.chmod(mode)
    with pytest.raises(VpcctlError) as caught:
        check_file(record)
    assert caught.value.message == (f"{record} is not root's alone: "
                                    f"it is writable by others (mode {mode:04o})")
    assert caught.value.hint == f"if you trust what is in it: chmod -R go-w {record}"
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    check_file(record)


def test_below_a_sticky_folder_of_root_s_is_fine_and_below_a_stranger_s_is_not(folder: Path) -> None:
    open_to(folder.parent, 0o1777)
    trust.check_folder(folder)
    give(folder.parent)
    with pytest.raises(VpcctlError, match=f"above belongs to uid {STRANGER}"):
        trust.check_folder(folder)


def test_a_link_is_looked_at_and_so_is_where_it_leads(folder: Path, tmp_path: Path) -> None:
    link = tmp_path / "link"
    link.symlink_to(folder.parent)
    trust.check_folder(link / "state")
    give(link)
    with pytest.raises(VpcctlError, match=f"link belongs to uid {STRANGER}"):
        trust.check_folder(link / "state")
    os.chown(link, 0, -1, follow_symlinks=False)
    give(folder.parent)
    with pytest.raises(VpcctlError, match=f"above belongs to uid {STRANGER}"):
        trust.check_folder(link / "state")


def test_a_stranger_s_folder_on_the_way_of_a_link_s_target(folder: Path, tmp_path: Path) -> None:
    detour = tmp_path / "detour"
    detour.mkdir()
    give(detour)
    (detour / "link").symlink_to(folder)
    os.chown(detour / "link", 0, -1, follow_symlinks=False)
    (tmp_path / "link").symlink_to("detour/link")
    with pytest.raises(VpcctlError, match=f"detour belongs to uid {STRANGER}"):
        trust.check_folder(tmp_path / "link")


def test_up_and_down_again_through_a_link(folder: Path, tmp_path: Path,
                                          monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "link").symlink_to(folder)
    monkeypatch.chdir(tmp_path)
    trust.check_folder(Path("link/../state"))
    give(folder)
    with pytest.raises(VpcctlError, match=f"above/state belongs to uid {STRANGER}"):
        trust.check_folder(Path("link/../state"))


@pytest.fixture
def maze(tmp_path: Path) -> Path:
    """Folders a/b and c, and links to them: one absolute, one relative, one to a link."""
    (tmp_path / "a/b").mkdir(parents=True)
    (tmp_path / "c").mkdir()
    (tmp_path / "c/absolute").symlink_to(tmp_path / "a")
    (tmp_path / "c/relative").symlink_to("../a/b")
    (tmp_path / "c/second").symlink_to("relative")
    return tmp_path


@pytest.mark.parametrize(("path", "passed"), [
    ("a/b", "a a/b"), ("./a//b/", "a a/b"), ("a/../c", "a . c"), ("c/relative", "c c/relative . a a/b"),
    ("c/second/../../c", "c c/second c/relative . a a/b a . c"),
])
def test_the_way_is_the_kernel_s(maze: Path, path: str, passed: str) -> None:
    """Every folder and link on it, and its end once more."""
    above = [*reversed(maze.parents), maze]
    shall = [*above, *(maze / one for one in passed.split())]
    way = [(place, is_last) for place, _, is_last in trust._way(f"{maze}/{path}")]
    assert way == [*((one, False) for one in shall), (shall[-1], True)]


def test_an_absolute_link_begins_at_the_top_which_was_looked_at_before(maze: Path) -> None:
    above = [*reversed(maze.parents), maze]
    shall = [*above, maze / "c", maze / "c/absolute", *above[1:], maze / "a", maze / "a/b", maze / "a/b"]
    assert [place for place, _, _ in trust._way(f"{maze}/c/absolute/b")] == shall


def test_a_way_that_breaks_off_has_no_end(maze: Path) -> None:
    way = [(place, is_last) for place, _, is_last in trust._way(f"{maze}/a/gone/b")]
    assert way == [(place, False) for place in (*reversed(maze.parents), maze, maze / "a")]


def test_as_many_links_are_followed_as_the_kernel_follows(maze: Path,
                                                          monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust, "LINKS", 2)
    path = f"{maze}/c/second"
    assert [place for place, _, is_last in trust._way(path) if is_last] == [maze / "a/b"]
    (maze / "c/third").symlink_to("second")
    assert not any(is_last for _, _, is_last in trust._way(f"{maze}/c/third"))


def test_links_without_end_are_left_to_whoever_opens_them(tmp_path: Path) -> None:
    (tmp_path / "link").symlink_to("link")
    trust.check_folder(tmp_path / "link")


def test_a_plain_user_looks_where_they_like(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    give(folder)
    monkeypatch.setattr(os, "geteuid", lambda: 1000)
    trust.check_folder(folder)


def test_a_stranger_s_record_in_root_s_folder(folder: Path) -> None:
    Store(folder).save(State())
    give(folder / "state.json")
    with pytest.raises(VpcctlError, match=f"state.json is not root's alone: it belongs to uid {STRANGER}"):
        document.topology(folder)


def test_a_folder_that_changes_hands_while_the_command_runs(folder: Path) -> None:
    give(folder.parent)
    with pytest.raises(VpcctlError, match="above belongs to"), Store(folder).locked():
        pass
    assert list(folder.iterdir()) == []


def test_the_default_folder_is_closed_where_it_is_root_s(folder: Path,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust, "DEFAULT_FOLDER", folder)
    open_to(folder, 0o1777)
    trust.check_folder(folder)
    assert folder.stat().st_mode & 0o7777 == 0o755
    give(folder)
    open_to(folder, 0o777)
    with pytest.raises(VpcctlError, match="it belongs to"):
        trust.check_folder(folder)
    assert folder.stat().st_mode & 0o7777 == 0o777


@pytest.mark.parametrize("mode", [0o755, 0o1755, 0o700])
def test_a_default_folder_that_is_closed_stays_as_it_is(folder: Path, mode: int,
                                                        monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(trust, "DEFAULT_FOLDER", folder)
    open_to(folder, mode)
    before, files = folder.stat(), len(os.listdir("/proc/self/fd"))
    trust.check_folder(folder)
    assert folder.stat() == before, "nor is it written to"
    assert len(os.listdir("/proc/self/fd")) == files


def test_what_stands_in_the_place_of_the_default_folder_is_not_changed(
        folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    missing, link, file = (folder.parent / name for name in ("missing", "link", "file"))
    link.symlink_to(folder)
    file.touch()
    for path in (folder, file):
        path.chmod(0o777)
    for path in (missing, link, file):
        monkeypatch.setattr(trust, "DEFAULT_FOLDER", path)
        with contextlib.nullcontext() if path == missing else pytest.raises(VpcctlError, match="by others"):
            trust.check_folder(path)
    assert [path.stat().st_mode & 0o777 for path in (folder, file)] == [0o777, 0o777]


@pytest.mark.parametrize("name", ["lock", "vpcctl.log"])
def test_a_stranger_s_file_that_was_put_there_before(folder: Path, name: str) -> None:
    (folder / name).write_text("theirs")
    give(folder / name)
    store = Store(folder)
    Audit(store.log).record_end(0)
    if name == "lock":
        with pytest.raises(VpcctlError, match=f"lock: it belongs to uid {STRANGER}"), store.locked():
            pass
    assert (folder / name).read_text() == "theirs"


UNKNOWN = 65534


@pytest.fixture
def spaced(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Callable[[str], None]:
    """A user namespace with these users."""
    def have(uid_map: str) -> None:
        (tmp_path / "uid_map").write_text(uid_map)
        monkeypatch.setattr(trust, "UID_MAP", tmp_path / "uid_map")
    return have


def test_where_root_is_a_plain_user_s_an_unknown_user_may_own_what_is_above(
        folder: Path, spaced: Callable[[str], None]) -> None:
    os.chown(folder.parent, UNKNOWN, -1)
    with pytest.raises(VpcctlError, match="above belongs to"):
        trust.check_folder(folder)
    spaced("0 1000 1\n")
    trust.check_folder(folder)
    os.chown(folder, UNKNOWN, -1)
    with pytest.raises(VpcctlError, match="it belongs to"):
        trust.check_folder(folder)


@pytest.mark.parametrize(("uid_map", "is_trusted"), [
    ("         0       1000          1\n", True),
    ("         0          0 4294967295\n", False),
    ("         0     100000      65536\n", False),
    ("         0     100000      65534\n     65535    1 1\n", True),
    ("         0     100000      1000\n     65534    1 1\n", False),
    ("         0     100000      1000\n     60000    1 6000\n", False),
])
def test_a_number_that_a_user_here_has_is_nobody_else_s(
        folder: Path, spaced: Callable[[str], None], uid_map: str, is_trusted: bool) -> None:
    os.chown(folder.parent, UNKNOWN, -1)
    spaced(uid_map)
    with contextlib.nullcontext() if is_trusted else pytest.raises(VpcctlError, match="above belongs to"):
        trust.check_folder(folder)


@pytest.mark.parametrize(("uid_map", "is_beyond", "is_trusted"), [
    ("0 0 4294967295\n", True, False), ("0 100000 65536\n", True, True), ("0 100000 65536\n", False, False)])
def test_where_all_users_are_known_nobody_asks_the_kernel(
        monkeypatch: pytest.MonkeyPatch, folder: Path, spaced: Callable[[str], None], uid_map: str,
        is_beyond: bool, is_trusted: bool) -> None:
    monkeypatch.setattr(trust, "_is_beyond_root", lambda _: is_beyond)
    os.chown(folder.parent, UNKNOWN, -1)
    spaced(uid_map)
    assert trust._strangers(folder.parent, os.lstat(folder.parent)) == ({UNKNOWN} if is_trusted else set())
    assert trust._strangers(folder, os.lstat(folder)) == set()


@pytest.mark.parametrize(("capabilities", "user", "name", "is_beyond"), [
    ("8", UNKNOWN, "place", True), ("8", 0, "place", False), ("80", UNKNOWN, "place", False),
    ("8", UNKNOWN, "link", False), ("8", UNKNOWN, "file", False), ("8", UNKNOWN, "gone", False)])
def test_the_kernel_tells_whether_root_has_power_over_a_folder(
        monkeypatch: pytest.MonkeyPatch, capabilities: str, user: int, name: str, is_beyond: bool) -> None:
    """Another user has none over root's folder, whatever its capabilities are said to be."""
    told = SimpleNamespace(read_text=lambda: f"Name:\tx\nCapEff:\t{capabilities:0>16}\n")
    monkeypatch.setattr(trust, "STATUS", told)
    with TemporaryDirectory() as there:
        above = Path(there)
        above.chmod(0o755)
        (above / "place").mkdir()
        (above / "link").symlink_to("place")
        (above / "file").touch()
        os.seteuid(user)
        try:
            assert trust._is_beyond_root(above / name) is is_beyond
        finally:
            os.seteuid(0)

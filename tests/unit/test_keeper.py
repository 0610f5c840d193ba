"""What a keeper is told, what it tells, and the log that it writes."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.keeper import fate, limits
from vpcctl_lib.keeper import log as keeper_log
from vpcctl_lib.keeper.fate import Fate, FateFile
from vpcctl_lib.keeper.log import Log
from vpcctl_lib.keeper.orders import Orders, of, read, words
from vpcctl_lib.keeper.restarts import Restarts
from vpcctl_lib.kernel import users
from vpcctl_lib.model.addressing import LINK_COUNT
from vpcctl_lib.workloads import logs
from vpcctl_lib.workloads.report import Report

texts = st.text(st.characters(exclude_characters="\0", exclude_categories=("Cs",)), min_size=1, max_size=8)
all_orders = st.builds(
    Orders, texts, texts, texts, st.lists(texts, min_size=1, max_size=3).map(tuple),
    st.lists(texts, max_size=2).map(tuple), st.none() | st.integers(0, 2**32 - 2), texts | st.just(""),
    st.integers(0, 2**22), st.integers(0, 2**50), st.integers(0, 2**40),
    st.lists(texts, max_size=2).map(tuple), texts | st.just(""), st.integers(0, 64),
    st.none() | st.integers(0, 3600), st.sampled_from(("", "on-failure", "always")),
    st.lists(texts, max_size=2).map(tuple), st.none() | st.integers(0, 31), st.integers(0, 1),
    st.lists(texts, max_size=2).map(tuple), texts | st.just(""), st.lists(texts, max_size=2).map(tuple))


@given(all_orders)
def test_orders_survive_the_command_line(orders: Orders) -> None:
    assert read(words(orders)) == orders


def test_a_program_s_own_words_are_no_orders() -> None:
    orders = Orders("vpc1-public", "vpc1/public/w", "/x.log", ("sh", "--", "uid=0", "user=root"), uid=7)
    assert read(words(orders)) == orders


@pytest.mark.parametrize("argv", [["namespace=a"], ["odd=1", "--", "x"], ["uid=x", "--", "x"], ["--", "x"]])
def test_words_that_are_no_orders(argv: list[str]) -> None:
    with pytest.raises(ValueError, match=r".+"):
        read(argv)


def test_a_keeper_is_known_by_its_command_line() -> None:
    orders = Orders("vpc1-public", "vpc1/public/w", "/x.log", ("sleep", "1"))
    assert of(("python3", "-I", "-S", "/opt/keeper/__main__.py", *words(orders))) == orders
    assert of(("sleep", "namespace=vpc1-public", "--", "x")) is None
    assert of(("python3", "/opt/keeper/__main__.py", "nonsense")) is None


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "w.log"


def test_a_log_is_closed_to_others_and_never_longer_than_twice_its_limit(path: Path) -> None:
    log = Log(str(path), 1000)
    for number in range(500):
        log.write(b"line %04d\n" % number)
        assert sum(file.stat().st_size for file in path.parent.iterdir()) <= 2 * 1010
    assert {file.stat().st_mode & 0o777 for file in path.parent.iterdir()} == {0o600}
    assert logs.text(path).splitlines()[-1] == "line 0499"
    assert logs.text(path).splitlines() == sorted(logs.text(path).splitlines()), "in order, without a gap"


def test_a_log_leaves_the_last_of_a_disk_and_tells_what_it_lost(path: Path, monkeypatch: pytest.MonkeyPatch
                                                                ) -> None:
    log = Log(str(path), 1 << 20)
    log.write(b"before\n")
    monkeypatch.setattr(keeper_log, "RESERVE_BYTES", 1 << 60)
    monkeypatch.setattr(keeper_log, "RESERVE_PART", 1)
    log.write(b"lost\n")
    monkeypatch.undo()
    log.write(b"after\n")
    assert path.read_text() == "before\n[5 bytes found no room on the disk]\nafter\n"


def test_a_log_follows_no_link(path: Path) -> None:
    (path.parent / "precious").write_text("precious")
    path.symlink_to("precious")
    with pytest.raises(OSError, match="symbolic link"):
        Log(str(path), 1000)


def test_the_end_of_a_log_is_read_from_its_end(path: Path) -> None:
    with path.open("wb") as file:
        file.truncate(1 << 40)
        file.seek(0, os.SEEK_END)
        file.write(b"last words\n")
    assert logs.tail(path, 11) == b"last words\n"


def test_following_goes_on_in_the_next_log(path: Path) -> None:
    log = Log(str(path), 20)
    log.write(b"first\n")
    parts = logs.follow(path)
    assert next(parts) == b"first\n"
    assert next(parts) == b""
    log.write(b"a line that is too long\n")
    log.write(b"next\n")
    assert b"".join(next(parts) for _ in range(4)) == b"a line that is too long\nnext\n"
    assert next(logs.follow(path)) == b"first\na line that is too long\n", "from the older one on"


def test_files_that_are_not_taken_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "one.log"
    path.with_name("one.log.1").write_text("old\n")
    path.write_text("new\n")
    assert logs.text(path, lambda part: part[:1] == b"n") == "new\n"
    assert logs.text(path, lambda part: part[:1] == b"o") == "old\n"
    parts = logs.follow(path, lambda part: part[:1] == b"o")
    assert [next(parts), next(parts)] == [b"old\n", b""]
    with path.open("a") as file:
        file.write("newer\n")
    assert next(parts) == b"newer\n"


def test_each_vpc_has_its_own_user_in_each_range() -> None:
    assert list(users.owned_by(0)) == [0x70000000, 60706]
    assert list(users.owned_by(476)) == [0x70000000 + 476, 61182]
    assert list(users.owned_by(477)) == [0x70000000 + 477]
    assert list(users.owned_by(users.HOST)) == [0x70000000 + LINK_COUNT, 61183]


@pytest.mark.parametrize(("said", "message"), [
    (b"keeper 1\nfailed no such file\n", "no such file"), (b"ended 3\n", "it ended with exit status 3"),
    (b"ended -9\n", "it ended with signal 9"), (b"", "ended without a report")])
def test_a_report_of_a_failure(said: bytes, message: str) -> None:
    reader, writer = os.pipe()
    os.write(writer, said)
    os.close(writer)
    with Report(reader) as report, pytest.raises(VpcctlError, match=message):
        report.listen(1.0)


def test_a_report_in_parts() -> None:
    reader, writer = os.pipe()
    with Report(reader) as report:
        assert not report.listen(0.0)
        os.write(writer, b"keeper %d\nshort of a user\nsta" % os.getpid())
        assert report.listen(1.0)
        assert not report.started
        os.write(writer, b"rted\n")
        assert report.listen(1.0)
        assert (report.started, report.shortfalls) == (True, ["of a user"])
        assert report.facts()["pid"] == str(os.getpid())
    os.close(writer)


def test_who_the_keeper_is_may_be_told_after_what_went_wrong() -> None:
    reader, writer = os.pipe()
    os.write(writer, b"failed no such file\nkeep")
    with Report(reader) as report:
        with pytest.raises(VpcctlError, match="no such file"):
            report.listen(1.0)
        os.write(writer, b"er %d\n" % os.getpid())
        os.close(writer)
        report.hear_out(1.0)
        assert report.facts()["pid"] == str(os.getpid())


def test_who_goes_on_is_not_waited_for() -> None:
    reader, writer = os.pipe()
    with Report(reader) as report:
        report.hear_out(0.0)
        assert report.facts() == {}
    os.close(writer)


@pytest.mark.parametrize(("policy", "code", "wait"), [
    ("", 1, None), ("no", 1, None), ("on-failure", 0, None), ("on-failure", 1, 0.1), ("on-failure", -9, 0.1),
    ("always", 0, 0.1), ("always", 1, 0.1),
])
def test_when_a_program_is_started_again(policy: str, code: int, wait: float | None) -> None:
    assert Restarts(policy).wait(code, 1.0) == wait


def test_each_wait_is_twice_as_long_until_a_run_held_out() -> None:
    restarts = Restarts("always")
    waits = [restarts.wait(1, 0.5) for _ in range(12)]
    assert waits[:4] == [0.1, 0.2, 0.4, 0.8]
    assert waits[-2:] == [60.0, 60.0]
    assert restarts.wait(1, 10.0) == 0.1
    assert restarts.wait(1, 9.9) == 0.2


def test_what_became_of_a_workload_is_written_over_itself(path: Path) -> None:
    file = FateFile(str(path))
    assert logs.fate(path) == Fate(0, None, None)
    before = path.with_name("w.log.fate").stat()
    file.write(Fate(2**31, -64, 2**40))
    assert logs.fate(path) == Fate(2**31, -64, 2**40)
    after = path.with_name("w.log.fate").stat()
    assert (before.st_size, after.st_size, after.st_mode & 0o777) == (fate.SIZE, fate.SIZE, 0o600)
    logs.remove(path)
    assert list(path.parent.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"nonsense", b"[1]", b'{"other": 1}', b"1"])
def test_a_fate_that_says_nothing(content: bytes) -> None:
    assert fate.read(content) is None


def test_an_empty_cgroup_above_goes_on_the_next_occasion(tmp_path: Path, monkeypatch: pytest.MonkeyPatch
                                                         ) -> None:
    """The kernel may keep it for a moment when memory ran out in the last of ours."""
    mounts = tmp_path / "mountinfo"
    mounts.write_text(f"36 24 0:31 / {tmp_path} rw,nosuid - cgroup cgroup rw,pids\n")
    monkeypatch.setattr(limits, "MOUNTS", str(mounts))
    (tmp_path / "vpcctl").mkdir()
    limits.remove("v.s.w.1")
    assert not (tmp_path / "vpcctl").exists()
    (tmp_path / "vpcctl/v.s.other.2").mkdir(parents=True)
    (tmp_path / "vpcctl/v.s.w.1").mkdir()
    limits.remove("v.s.w.1")
    assert [path.name for path in (tmp_path / "vpcctl").iterdir()] == ["v.s.other.2"]

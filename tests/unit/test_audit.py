"""The audit log has an end: from a size on a new one is begun, whoever else writes at the same time."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path

import pytest

from vpcctl_lib.kernel import audit
from vpcctl_lib.kernel.audit import Audit

CHECKOUT = Path(__file__).resolve().parents[2]
WRITERS, LINES = 4, 400


@pytest.fixture
def log(tmp_path: Path) -> Path:
    return tmp_path / "vpcctl.log"


def older(log: Path) -> Path:
    return log.with_name("vpcctl.log.1")


def fill(log: Path, size: int, text: str = "x") -> None:
    with log.open("w") as file:
        file.write(f"{text}\n")
        file.truncate(size)


def test_a_full_log_is_kept_and_a_new_one_begun(log: Path) -> None:
    fill(log, audit.LARGEST, "old")
    Audit(log).record_end(0)
    assert older(log).read_text().startswith("old\n")
    assert older(log).stat().st_size == audit.LARGEST
    assert log.read_text().splitlines()[-1].endswith("ended with 0")


def test_one_that_is_not_full_goes_on(log: Path) -> None:
    size = audit.LARGEST - 100_000
    fill(log, size)
    Audit(log).record_end(0)
    assert not older(log).exists()
    assert size < log.stat().st_size < audit.LARGEST


def test_only_one_older_one_is_kept(log: Path) -> None:
    for text in ("first", "second"):
        fill(log, audit.LARGEST, text)
        Audit(log).record_end(0)
    assert older(log).read_text().startswith("second\n")
    assert sorted(path.name for path in log.parent.iterdir()) == [
        ".vpcctl.log.lock", "vpcctl.log", "vpcctl.log.1"]
    assert log.with_name(".vpcctl.log.lock").stat().st_mode & 0o777 == 0o600


def test_who_may_read_the_log_can_t_keep_it_from_being_renamed(log: Path) -> None:
    fill(log, audit.LARGEST)
    with log.open() as reader:
        fcntl.flock(reader, fcntl.LOCK_EX)
        Audit(log).record_end(0)
    assert older(log).exists()


def test_two_that_have_it_open_rename_it_once(log: Path) -> None:
    one, other = Audit(log), Audit(log)
    one.record_own("one")
    other.record_own("other")
    os.truncate(log, audit.LARGEST)
    one.record_own("one again")
    other.record_own("other again")
    assert older(log).stat().st_size == audit.LARGEST
    assert [line.partition("] ")[2] for line in log.read_text().splitlines()] == [
        "done: one again", "done: other again"]


WRITER = """
import sys
from pathlib import Path
from vpcctl_lib.kernel import audit
log, number, lines, audit.LARGEST = Path(sys.argv[1]), *map(int, sys.argv[2:])
mine = audit.Audit(log)
for line in range(lines):
    mine.record_own(f"writer {number} line {line}")
"""


def test_many_at_once_lose_no_line_of_the_last_two_logs(log: Path) -> None:
    # Large enough for two logs to hold all, small enough for the first to be full.
    largest = WRITERS * LINES * 60 * 2 // 3
    # Programs of their own: a copy of this process would have its locks, but not the threads that hold them.
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, *map(str, (log, number, LINES, largest))],
                                cwd=CHECKOUT) for number in range(WRITERS)]
    assert [one.wait(60) for one in writers] == [0] * WRITERS
    text = older(log).read_text() + log.read_text()
    told = [line.partition("done: ")[2] for line in text.splitlines() if "done: " in line]
    assert sorted(told) == sorted(f"writer {n} line {m}" for n in range(WRITERS) for m in range(LINES))

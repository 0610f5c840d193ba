"""Progress: a line on a terminal for what takes over a second, gone when it is done; nothing in a pipe."""

from __future__ import annotations

import fcntl
import os
import pty
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
HELD_SECONDS = 2.0
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root comes as far as the lock")


def run(folder: Path, stderr: int, held: float, **environment: str) -> int:
    """A command that waits for the lock that another holds, and then has nothing to change."""
    with (folder / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)
        timer = threading.Timer(held, lambda: fcntl.flock(lock, fcntl.LOCK_UN))
        timer.start()
        argv = [sys.executable, str(CHECKOUT / "vpcctl"), "--state-dir", str(folder), "vpc",
                "delete", "--name", "no"]
        done = subprocess.run(argv, stdout=subprocess.PIPE, stderr=stderr, timeout=60,
                              env={**os.environ, "TERM": "xterm", **environment})
        timer.join()
    assert done.stdout == b""
    return done.returncode


def on_a_terminal(folder: Path, held: float, **environment: str) -> str:
    reader, terminal = pty.openpty()
    try:
        assert run(folder, terminal, held, **environment) == 1
        return os.read(reader, 65536).decode()
    finally:
        os.close(terminal)
        os.close(reader)


@as_root
def test_a_long_wait_is_shown_and_cleared_away(tmp_path: Path) -> None:
    seen = on_a_terminal(tmp_path, HELD_SECONDS)
    drawn, _, rest = seen.rpartition("\r\x1b[K")
    assert "1 s, working" in drawn
    assert "Error" not in drawn
    assert "VPC 'no' does not exist" in rest


@as_root
def test_what_is_quick_shows_nothing(tmp_path: Path) -> None:
    # On a busy machine nothing is quick; whatever took less than the second has to have shown nothing.
    for _ in range(20):
        began = time.monotonic()
        seen = on_a_terminal(tmp_path, 0.0)
        if time.monotonic() - began < 1.0:
            assert "working" not in seen
            return
    pytest.fail("no run took less than a second")


@as_root
def test_a_dumb_terminal_gets_no_line_that_moves(tmp_path: Path) -> None:
    assert "working" not in on_a_terminal(tmp_path, HELD_SECONDS, TERM="dumb")


@as_root
def test_nothing_in_a_pipe(tmp_path: Path) -> None:
    reader, writer = os.pipe()
    assert run(tmp_path, writer, HELD_SECONDS) == 1
    os.close(writer)
    with open(reader) as pipe:
        assert pipe.read().startswith("Error: VPC 'no' does not exist")

"""Output is whole in pipes and on narrow terminals, and has colours only where they are wanted."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import struct
import subprocess
import sys
import termios
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
LONG = "a" + 30 * "b"
RECORD = {"version": 1, "ledger": [], "topology": {"vpcs": [
    {"name": LONG, "cidr": "10.0.0.0/16", "subnets": [
        {"name": f"subnet-{number}", "cidr": f"10.0.{number}.0/24"} for number in range(12)]}]}}
WORDS = ("vpc list", "subnet list", "vpc list --help", "graph")


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "state.json").write_text(json.dumps(RECORD))
    return tmp_path


def argv(folder: Path, words: str) -> list[str]:
    return [sys.executable, str(CHECKOUT / "vpcctl"), "--state-dir", str(folder), *words.split()]


def piped(folder: Path, words: str) -> str:
    environment = {**os.environ, "COLUMNS": "40", "TERM": "xterm-256color"}
    done = subprocess.run(argv(folder, words), capture_output=True, text=True, check=True, env=environment)
    return done.stdout


def on_a_terminal(folder: Path, words: str, columns: int, **environment: str) -> str:
    reader, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))
    kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")}
    process = subprocess.Popen(argv(folder, words), stdout=terminal, stderr=terminal,
                               env={**kept, "TERM": "xterm-256color", **environment})
    os.close(terminal)
    seen = b""
    try:
        while part := os.read(reader, 65536):
            seen += part
    except OSError:
        pass  # EIO: the other end is closed (pty(7))
    process.wait()
    os.close(reader)
    return seen.decode()


@pytest.mark.parametrize("words", WORDS)
def test_a_pipe_gets_whole_lines_without_colour(folder: Path, words: str) -> None:
    out = piped(folder, words)
    assert "\x1b" not in out
    assert "…" not in out
    if words == "vpc list":
        row = next(line for line in out.splitlines() if LONG in line)
        assert all(f"subnet-{number}" in row for number in range(12))


@pytest.mark.parametrize("columns", [30, 80])
def test_a_narrow_terminal_loses_nothing(folder: Path, columns: int) -> None:
    text = on_a_terminal(folder, "vpc list", columns, NO_COLOR="1")
    assert "…" not in text
    assert all(len(line) <= columns for line in text.splitlines())
    assert text.count("b") >= LONG.count("b")


def test_no_color_means_none(folder: Path) -> None:
    assert "\x1b" not in on_a_terminal(folder, "vpc list", 120, NO_COLOR="1")
    assert "\x1b" not in on_a_terminal(folder, "vpc show --name nowhere", 120, NO_COLOR="1")


def test_an_error_on_a_terminal_is_red(folder: Path) -> None:
    assert "\x1b[31m" in on_a_terminal(folder, "vpc show --name nowhere", 120)

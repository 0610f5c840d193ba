"""Output is whole in pipes and on narrow terminals, and has colours only where they are wanted."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import re
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
    return seen(argv(folder, words), columns, **environment)


def seen(command: list[str], columns: int, **environment: str) -> str:
    reader, terminal = pty.openpty()
    fcntl.ioctl(terminal, termios.TIOCSWINSZ, struct.pack("4H", 24, columns, 0, 0))
    kept = {name: value for name, value in os.environ.items() if name not in ("COLUMNS", "NO_COLOR")}
    process = subprocess.Popen(command, stdout=terminal, stderr=terminal, cwd=CHECKOUT,
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
    assert all(len(line) <= columns or len(line.split()) == 1 for line in text.splitlines())
    assert text.count("b") >= LONG.count("b")


COLOR = re.compile(r"\x1b\[[0-9;]*m")
"""What clears the line of progress, which a slow start draws, is none."""


def test_no_color_means_none(folder: Path) -> None:
    assert not COLOR.search(on_a_terminal(folder, "vpc list", 120, NO_COLOR="1"))
    assert not COLOR.search(on_a_terminal(folder, "vpc show --name nowhere", 120, NO_COLOR="1"))


def test_an_error_on_a_terminal_is_red(folder: Path) -> None:
    assert "\x1b[31m" in on_a_terminal(folder, "vpc show --name nowhere", 120)


FULL = "can't write to standard output: No space left on device"


def with_output(folder: Path, words: str, target: str, **environment: str) -> tuple[int, str]:
    """The exit code and what stderr says, of a command whose output goes there."""
    with open(target, "wb") as output:
        done = subprocess.run(argv(folder, words), stdout=output, stderr=subprocess.PIPE, text=True,
                              env={**os.environ, **environment})
    return done.returncode, done.stderr


@pytest.mark.parametrize("words", [*WORDS, "vpc list --json", "export", "--version", "completion bash"])
def test_a_full_disk_is_told_in_one_line(folder: Path, words: str) -> None:
    assert with_output(folder, words, "/dev/full") == (1, f"Error: {FULL}\n")


def test_where_no_document_can_be_written_the_error_is_told_beside_it(folder: Path) -> None:
    code, err = with_output(folder, "vpc show --name nowhere --json", "/dev/full")
    assert code == 1
    assert err.startswith("Error: VPC 'nowhere' does not exist\n")


@pytest.mark.parametrize("words", ["vpc list", "vpc list --json", "vpc show --name nowhere --json"])
def test_a_reader_that_has_gone_is_no_fault(folder: Path, words: str) -> None:
    reader, writer = os.pipe()
    os.close(reader)
    try:
        assert with_output(folder, words, f"/dev/fd/{writer}") == (1, "")
    finally:
        os.close(writer)


def test_a_standard_error_that_takes_nothing_leaves_the_exit_code(folder: Path) -> None:
    with open("/dev/full", "wb") as full:
        done = subprocess.run(argv(folder, "vpc show --name nowhere"), stdout=subprocess.PIPE, stderr=full)
    assert (done.returncode, done.stdout) == (1, b"")


def test_what_an_encoding_has_no_sign_for_is_spelt_out(folder: Path) -> None:
    environment = {**os.environ, "PYTHONIOENCODING": "latin-1"}
    done = subprocess.run(argv(folder, "graph"), capture_output=True, text=True, env=environment)
    assert (done.returncode, done.stderr) == (0, "")
    assert "\\u25" in done.stdout


STRANGE = """
from vpcctl_lib.cli import output
from vpcctl_lib.errors import VpcctlError
odd = "\\x1b[0m\\x1b]0;owned\\x07\\u202e\\r"
output.result(odd)
output.result(output.Painted(odd, "green"))
output.note(odd + "\\nvpcctl: in sync")
output.command(odd)
output.failure(VpcctlError(odd, odd), as_json=False)
output.table(("A",), [(odd + "\\n",)], "")
output.table(("A",), [(odd,)] * 1001, "")
log = output.Log()
for part in (b"caf\\xc3", b"\\xa9 \\x1b[2J\\xff\\n", b"\\xc3"):
    log.part(part)
log.part(b"", final=True)
"""


def test_what_others_named_neither_steers_a_terminal_nor_forges_our_colours() -> None:
    told = seen([sys.executable, "-c", STRANGE], 200)
    odd = "\\x1b[0m\\x1b]0;owned\\x07\\u202e\\x0d"
    lines = told.split("\r\n")
    assert lines[:6] == [odd, f"\x1b[32m{odd}\x1b[0m", f"vpcctl: {odd}\\x0avpcctl: in sync", f"+ {odd}",
                         f"\x1b[31mError: \x1b[0m{odd}", f"Hint: {odd}"]
    assert lines[6].replace(" ", "") == "\x1b[1mA\x1b[0m"
    assert lines[7] == f"{odd}\\x0a"
    assert lines[8:] == ["A", *[odd] * 1001, "café \\x1b[2J\\xff", "\\xc3"]


def test_a_mistake_of_ours_steers_nothing_either() -> None:
    code = ("import sys; from vpcctl_lib.cli import output; sys.excepthook = output.unforeseen; "
            "raise RuntimeError('\\x1b]0;owned')")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, cwd=CHECKOUT)
    assert done.stderr.splitlines()[-1] == "RuntimeError: \\x1b]0;owned"
    assert done.returncode == 1

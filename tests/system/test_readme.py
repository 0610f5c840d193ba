"""The documents show what is really printed: the console blocks of each are typed into a sandbox."""

from __future__ import annotations

import difflib
import os
import re
import shlex
import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
PATIENCE = 120.0
PROMPT = "$ "
SECTION = "\x1e"
"""ASCII's record separator, which no command prints."""

SHOWN = re.compile(r"^```console\n(.*?)^```$", re.MULTILINE | re.DOTALL)
VARIES = (
    (re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4} \[\d+\]"), "TIME [PID]"),
    (re.compile(r"\b\d+(\.\d+)?(/\d+(\.\d+)?){3} ms"), "N ms"),
    (re.compile(r"\b\d+(\.\d+)? ?ms\b"), "N ms"),
    (re.compile(r"\b(?:[0-9a-f]{2}:){5}[0-9a-f]{2}\b"), "MAC"),
    (re.compile(r"@if\d+"), "@ifN"),
    (re.compile(r"\bpid \d+"), "pid N"),
    (re.compile(r"(running +)\d+ +"), r"\1N "),
    (re.compile(r"[ \t]+$", re.MULTILINE), ""),
)
"""What differs from run to run, and what stands for it."""


@dataclass(frozen=True)
class Example:
    """A command and what it prints."""

    command: str
    output: str


def examples(text: str) -> list[Example]:
    """The commands of the console blocks, each with the lines below it; `> ` goes on with a command."""
    found: list[Example] = []
    for block in SHOWN.findall(text):
        for part in re.split(r"^\$ ", block, flags=re.MULTILINE)[1:]:
            head, *rest = part.splitlines()
            while rest and rest[0].startswith("> "):
                head += "\n" + rest.pop(0).removeprefix("> ")
            found.append(Example(head, "\n".join(rest)))
    return found


def printed(commands: list[str]) -> list[str]:
    """What each command really prints, all of them typed into one shell of a sandbox."""
    script = "".join(f"printf {shlex.quote(SECTION)}\n{command}\n" for command in commands)
    kept = {name: value for name, value in os.environ.items() if not name.startswith("SUDO_")}
    done = subprocess.run([ROOT / "vpcctl", "sandbox", "--", "bash", "-c", f"exec 2>&1\n{script}"], cwd=ROOT,
                          env={**kept, "LC_ALL": "C.UTF-8"}, stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=PATIENCE)
    assert SECTION in done.stdout, done.stderr
    return done.stdout.split(SECTION)[1:]


def settled(text: str) -> str:
    """The text without what differs from run to run."""
    for pattern, stand_in in VARIES:
        text = pattern.sub(stand_in, text)
    return text.strip("\n")


def differences(shown: list[Example], real: list[str]) -> str:
    """Where the two part, as a diff; nothing if they agree."""
    def lines(pairs: list[tuple[str, str]]) -> list[str]:
        return "\n".join(f"{PROMPT}{command}\n{settled(output)}" for command, output in pairs).splitlines()

    left = [(example.command, example.output) for example in shown]
    right = [(example.command, output) for example, output in zip(shown, real, strict=True)]
    return "\n".join(difflib.unified_diff(lines(left), lines(right), "shown", "printed", lineterm=""))


DOCUMENTS = {"README.md": 15, "docs/acls.md": 15, "docs/architecture.md": 10, "docs/commands.md": 5,
             "docs/flow-logs.md": 10, "docs/ipv6.md": 5, "docs/metrics.md": 5, "docs/names.md": 20,
             "docs/packets.md": 10, "docs/publish.md": 25, "docs/reach.md": 10, "docs/routes.md": 20,
             "docs/traffic.md": 8,
             "docs/walkthrough.md": 25}
"""Each with how many commands it shows at least."""


@pytest.mark.parametrize("document", DOCUMENTS)
def test_documents_show_what_is_printed(document: str) -> None:
    shown = examples((ROOT / document).read_text())
    assert len(shown) >= DOCUMENTS[document]
    found = differences(shown, printed([example.command for example in shown]))
    assert not found, f"{document} shows something else than what is printed:\n{found}"


def test_documents_with_console_blocks_are_tried() -> None:
    shown = {str(path.relative_to(ROOT)) for path in (ROOT / "README.md", *(ROOT / "docs").glob("*.md"))
             if examples(path.read_text())}
    tried_elsewhere = {"docs/containers.md", "docs/guide.md", "docs/neighbours.md", "docs/standard.md",
                       "docs/three-tier.md"}
    assert shown - set(DOCUMENTS) == tried_elsewhere


def test_the_picture_shows_what_is_printed() -> None:
    done = subprocess.run([sys.executable, ROOT / "docs/pictures/draw.py", "--check"], capture_output=True,
                          text=True, timeout=PATIENCE)
    assert done.returncode == 0, f"{done.stdout}{done.stderr}: docs/pictures/draw.py draws it anew"


def test_examples_are_found_in_console_blocks_only() -> None:
    text = "```sh\n$ no\n```\n\n```console\n$ one\n1\n$ two \\\n> more\n```\n$ no\n"
    assert examples(text) == [Example("one", "1"), Example("two \\\nmore", "")]


@pytest.mark.parametrize(("line", "other", "same"), [
    ("64 bytes: time=0.720 ms", "64 bytes: time=12.1 ms", True),
    ("rtt min/avg/max/mdev = 0.071/0.289/0.720/0.304 ms", "rtt min/avg/max/mdev = 1/2/3.5/4 ms", True),
    ("2026-01-02T03:04:05+0000 [7] ended with 0", "2027-01-02T03:04:05+0200 [81] ended with 0", True),
    ("link/ether 02:ef:9d:e2:97:95", "link/ether 02:ef:9d:e2:97:96", True),
    ("10.0.1.2", "10.0.1.3", False),
    ("ended with 0", "ended with 1", False),
    ("1 received, 0% packet loss", "0 received, 100% packet loss", False),
])
def test_only_what_varies_is_passed_over(line: str, other: str, same: bool) -> None:
    assert (differences([Example("x", line)], [f"{other}\n"]) == "") is same


def test_a_wrong_output_is_told_with_both_versions() -> None:
    assert "-b\n+a" in differences([Example("echo a", "b")], printed(["echo a"]))

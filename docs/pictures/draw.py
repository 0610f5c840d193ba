#!/usr/bin/env python3
"""Draws terminal.svg, the README's picture: real vpcctl commands in a sandbox, with what they print.

    .venv/bin/python docs/pictures/draw.py            # writes the picture
    .venv/bin/python docs/pictures/draw.py --check    # exit code 1 if the picture shows something else
"""

from __future__ import annotations

import io
import os
import pty
import re
import shlex
import subprocess
import sys
from html import unescape
from pathlib import Path

from rich.console import Console
from rich.text import Text

HERE = Path(__file__).resolve().parent
ROOT = HERE.parents[1]
PICTURE = HERE / "terminal.svg"
TITLE = "vpcctl sandbox"
WIDTH = 96
"""Columns: what GitHub shows of a README without making it small."""

STEERING = re.compile(r"\x1b\[[0-9;?]*[A-La-ln-zN-Z]")
"""What steers a terminal, but for colours, which end in m."""
FONT = re.compile(r"@font-face \{.*?\}\s*", re.DOTALL)

COMMANDS = (
    "vpcctl vpc create --name vpc1 --cidr 10.0.0.0/16",
    "vpcctl subnet add --vpc vpc1 --name web --cidr 10.0.1.0/24 --type public",
    "vpcctl subnet add --vpc vpc1 --name db --cidr 10.0.2.0/24",
    "vpcctl nat enable --vpc vpc1",
    "vpcctl exec --vpc vpc1 --subnet db -- curl -s http://8.8.8.8 || echo 'no way out'",
    "vpcctl reach --from vpc1/db --to internet --port 80",
    "vpcctl subnet set --vpc vpc1 --name db --type public",
    "vpcctl exec --vpc vpc1 --subnet db -- curl -s http://8.8.8.8",
    "vpcctl graph",
    "vpcctl vpc delete --name vpc1",
)


def transcript() -> str:
    """What a terminal shows while these commands run, with a prompt before each."""
    lines = [part for command in COMMANDS for part in (f"printf '$ %s\\n' {shlex.quote(command)}", command)]
    return on_terminal([str(ROOT / "vpcctl"), "sandbox", "--", "bash", "-c", "\n".join(lines)])


def on_terminal(argv: list[str]) -> str:
    """Run a program on a terminal of its own; what it writes there."""
    ours, theirs = pty.openpty()
    environment = {name: value for name, value in os.environ.items() if name != "NO_COLOR"}
    environment |= {"TERM": "xterm-256color", "LC_ALL": "C.UTF-8", "COLUMNS": str(WIDTH)}
    process = subprocess.Popen(argv, cwd=ROOT, env=environment, stdin=subprocess.DEVNULL,  # noqa: S603
                               stdout=theirs, stderr=theirs)
    os.close(theirs)
    written = b""
    try:
        while piece := os.read(ours, 65536):
            written += piece
    except OSError:
        pass  # the other end is closed: EIO on Linux
    os.close(ours)
    shown = written.decode()
    if process.wait():
        raise SystemExit(shown)
    return shown


def settled(shown: str) -> str:
    """The transcript as it stays on the screen: without carriage returns and lines that were erased."""
    lines = (line.rstrip("\r").rpartition("\r")[2] for line in shown.split("\n"))
    return "\n".join(STEERING.sub("", line) for line in lines)


def coloured(shown: str) -> Text:
    """The transcript with its own colours, and the prompts' commands in bold."""
    text = Text.from_ansi(settled(shown))
    text.highlight_regex(r"(?m)^\$ .*$", "bold")
    return text


def drawn(shown: str) -> str:
    """The picture. It loads no font from elsewhere: an image in a README may load nothing."""
    console = Console(record=True, width=WIDTH, file=io.StringIO(), force_terminal=True)
    console.print(coloured(shown), soft_wrap=False)
    svg = FONT.sub("", console.export_svg(title=TITLE, unique_id="vpcctl"))
    return "\n".join(line.rstrip() for line in svg.splitlines()) + "\n"


def words(svg: str) -> list[str]:
    """The lines of text in a picture, whatever version of rich drew it and cut it into pieces."""
    rows: dict[float, str] = {}
    for row, text in re.findall(r'<text class="vpcctl-r[^>]* y="([\d.]+)"[^>]*>([^<]*)</text>', svg):
        rows[float(row)] = rows.get(float(row), "") + unescape(text)
    return [rows[row].replace("\xa0", " ").rstrip() for row in sorted(rows)]


def main() -> int:
    """Draw the picture, or compare it."""
    svg = drawn(transcript())
    if "--check" in sys.argv[1:]:
        return words(svg) != words(PICTURE.read_text())
    PICTURE.write_text(svg)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Time and count what runs on the sandbox host."""

from __future__ import annotations

import re
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path


def run(*argv: str, stdin: str = "") -> str:
    """What a command prints that has to succeed."""
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True)
    if done.returncode != 0:
        sys.exit(f"{' '.join(argv)} failed: {done.stderr}")
    return done.stdout


def vpcctl(line: str) -> str:
    """Run vpcctl."""
    return run("vpcctl", *line.split())


def seconds(task: Callable[[], object]) -> float:
    """How long it takes."""
    begun = time.perf_counter()
    task()
    return time.perf_counter() - begun


Task = Callable[[], object]


def medians(rounds: int, tasks: dict[str, tuple[Task, Task]]) -> dict[str, float]:
    """The median time of each task, each followed by what clears up after it.

    Round by round and not task by task: what else the machine does then falls on all alike.
    """
    taken: dict[str, list[float]] = {name: [] for name in tasks}
    for _ in range(rounds):
        for name, (task, clear) in tasks.items():
            taken[name].append(seconds(task))
            clear()
    return {name: statistics.median(times) for name, times in taken.items()}


def programs_started(*argv: str, until: str = "") -> int:
    """The execve calls that succeed while a command runs (strace), its own not counted.

    Those until a program of that name is started, if one is told.
    """
    with tempfile.TemporaryDirectory() as folder:
        trace = Path(folder) / "trace"
        run("strace", "-f", "-qq", "-e", "trace=execve", "-o", str(trace), *argv)
        text = trace.read_text().partition(f"/{until}\"")[0] if until else trace.read_text()
        # A call that another process comes between is told in two lines.
        return len(re.findall(r"execve(?:\(| resumed).* = 0$", text, re.MULTILINE)) - 1

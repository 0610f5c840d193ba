"""All figures in one run; run by ./benchmarks/run, inside the sandbox."""

from __future__ import annotations

import argparse
import os
import platform
import sys
from collections.abc import Callable
from pathlib import Path

from benchmarks import acls, connections, plumbing, traffic, ways
from benchmarks.report import write, write_ways
from benchmarks.timing import medians, programs_started, run, vpcctl

WALK = (
    "vpcctl vpc create --name vpc1 --cidr 10.0.0.0/16",
    "vpcctl subnet add --vpc vpc1 --name public --cidr 10.0.1.0/24 --type public",
    "vpcctl subnet add --vpc vpc1 --name private --cidr 10.0.2.0/24 --type private",
    "vpcctl nat enable --vpc vpc1 --interface eth0",
    "vpcctl vpc create --name vpc2 --cidr 172.16.0.0/16",
    "vpcctl subnet add --vpc vpc2 --name public --cidr 172.16.1.0/24 --type public",
    "vpcctl peer create --vpc1 vpc1 --vpc2 vpc2",
    "vpcctl vpc delete --name vpc1",
    "vpcctl vpc delete --name vpc2",
)
"""The article's walk, as commands."""


def start_times(rounds: int) -> dict[str, float]:
    """A Python that imports click, three raw `ip -batch`, and our two commands that have to be quick."""
    venv = Path(".venv/bin/python")
    python = str(venv) if venv.exists() else sys.executable
    vpcctl("vpc create --name start --cidr 10.0.0.0/16")
    for number in range(3):
        vpcctl(f"subnet add --vpc start --name s{number} --cidr 10.0.{number}.0/24")
    found = medians(rounds, {
        "import click": (lambda: run(python, "-c", "import click"), lambda: None),
        "raw": (plumbing.raw_one, lambda: plumbing.clear_raw(1)),
        "vpc list --json": (lambda: run("vpcctl", "vpc", "list", "--json"), lambda: None),
        "subnet add": (lambda: vpcctl("subnet add --vpc start --name new --cidr 10.0.9.0/24"),
                       lambda: vpcctl("subnet delete --vpc start --name new")),
    })
    vpcctl("vpc delete --name start")
    return found


def programs(count: int) -> dict[str, float]:
    """The programs started by the article's walk, and by each way to build a network."""
    return {"walk": programs_started("sh", "-ec", "\n".join(WALK)), **plumbing.programs(count)}


def main() -> None:
    """Measure, print as it goes, write the page."""
    options = argparse.ArgumentParser(prog="./benchmarks/run", description=__doc__)
    options.add_argument("--rounds", type=int, default=5, help="how often each thing is measured (default 5)")
    options.add_argument("--ways", action="store_true", help="measure only the ways in and out of a VPC")
    given = options.parse_args()
    rounds = given.rounds
    plumbing.SCRATCH.mkdir()
    if given.ways:
        write_ways(Path("docs/performance.md"), ways.compare(rounds), rounds)
        return
    figures: dict[str, dict[str, float]] = {}
    tasks: dict[str, Callable[[], dict[str, float]]] = {
        "programs": lambda: programs(100),
        "start": lambda: start_times(max(rounds, 11)),
        "plumbing": lambda: plumbing.compare(rounds, 100),
        "whole": lambda: plumbing.whole(rounds, 200),
        "growth": lambda: plumbing.growth(max(rounds, 11), 500),
        "machines": lambda: plumbing.machines(max(rounds, 11), 999),
        "reading": lambda: plumbing.reading(rounds, 200, 1000),
        "crowd": lambda: plumbing.crowd(rounds, 2000),
        "connections": lambda: connections.compare(rounds),
        "acls": lambda: acls.compare(max(rounds, 11)),
        "traffic": lambda: traffic.compare(rounds),
        "ways": lambda: ways.compare(rounds),
    }
    for name, measure in tasks.items():
        figures[name] = measure()
        print(name, {key: round(value, 3) for key, value in figures[name].items()}, flush=True)
    kernel = ".".join(platform.release().split(".")[:2])
    machine = f"Linux {kernel}, {os.cpu_count()} cores, Python {platform.python_version()}"
    write(Path("docs"), figures, machine, rounds)


if __name__ == "__main__":
    main()

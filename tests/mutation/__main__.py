"""Mutation check of the rooms in rooms.yaml: ./tests/run.sh --mutants [OPTION …] [ROOM | FILE | TEST FILE …].

For each room: how many mutants the unit and command-line tests see, and which not. It fails if tests see
less than the floor of a room's mutants, if survivors.yaml does not explain a survivor, or if it explains
what is not in the code.

--quick   runs no property test: for one who writes tests for a file
--yaml    prints unexplained survivors as survivors.yaml has them
"""

from __future__ import annotations

import os
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.mutation.explained import Explained, as_yaml
from tests.mutation.sites import Mutant, mutants
from tests.mutation.worker import OUT_OF_TIME, SEEN, Worker

HERE = Path(__file__).parent
PLUGINS = ("-p", "no:terminal", "-p", "no:xdist", "-p", "no:cacheprovider", "-p", "no:randomly")
Rooms = Mapping[str, Sequence[Path]]


def main(words: Sequence[str]) -> int:
    """The exit code: 0 if every room passes."""
    tests = [word for word in words if word.startswith("tests/")]
    options = {word for word in words if word.startswith("--")}
    chosen = [word for word in words if word not in (*tests, *options)]
    settings = _settings()
    some = {room: [path for path in paths if not chosen or room in chosen or str(path) in chosen]
            for room, paths in rooms().items()}
    os.environ["VPCCTL_PROFILE"] = "mutants"
    worker = Worker([one for paths in some.values() for path in paths for one in mutants(path)],
                    len(os.sched_getaffinity(0)), "--quick" in options)
    left_out = [f"--ignore={path}" for path in settings["left out"]]
    code = pytest.main([*PLUGINS, "-o", "addopts=--import-mode=importlib", *left_out,
                        *(tests or settings["tests"])], [worker])
    if worker.broken or not worker.verdicts:
        print("\n".join(worker.broken) or "no test was collected", file=sys.stderr)
        return int(code) or 1
    whole = not tests and "--quick" not in options
    return _report(worker, some, settings["floor"], "--yaml" in options, whole)


def rooms() -> Rooms:
    """The modules of each room that is checked."""
    settings = _settings()
    left_alone = frozenset(_files(settings["left alone"]))
    return {room: [path for path in _files(patterns) if path not in left_alone]
            for room, patterns in settings["rooms"].items()}


def _settings() -> dict[str, Any]:
    settings: dict[str, Any] = yaml.safe_load((HERE / "rooms.yaml").read_text(encoding="utf-8"))
    return settings


def _files(patterns: Sequence[str]) -> list[Path]:
    """The modules of a room; a pattern that fits nothing is a mistake in rooms.yaml."""
    found = []
    for pattern in patterns:
        fitting = sorted(Path().glob(pattern))
        if not fitting:
            raise SystemExit(f"rooms.yaml: {pattern} fits no file")
        found += [path for path in fitting if path.name != "__init__.py" or path.stat().st_size]
    return found


def _report(worker: Worker, some: Rooms, floor: int, as_list: bool, whole: bool) -> int:
    """Prints what was found; the exit code. Only all tests together show that an explanation has no use."""
    explained, failed = Explained.written(), False
    for room, paths in some.items():
        tried = [one for one in worker.verdicts if Path(one.path) in paths]
        if not tried:
            continue
        print(f"\n{_row(worker, room, tried)}")
        for path in paths:
            print(_row(worker, f"  {path.name}", [one for one in tried if Path(one.path) == path]))
        survivors = [one for one in tried if worker.verdicts[one] not in SEEN]
        reasons, new = explained.sorted_out(survivors)
        gone = explained.gone(tried)
        for why, count in reasons.most_common():
            print(f"  {count} survive: {why}")
        if new:
            print(f"  {len(new)} survive without an explanation in survivors.yaml:")
            print(as_yaml(new) if as_list else "\n".join(f"  {one}  [{worker.verdicts[one]}]" for one in new))
        for one in gone:
            print(f"  explained in survivors.yaml, but not in the code: {one}")
        for one in explained.seen(tried, survivors) if whole else ():
            print(f"  explained in survivors.yaml, but seen by a test: {one}")
        few = 100 * (len(tried) - len(survivors)) < floor * len(tried)
        failed = failed or bool(new) or bool(gone) or few
    return int(failed)


def _row(worker: Worker, name: str, tried: Sequence[Mutant]) -> str:
    """A line of the table: mutants, how many were seen, how many of those by taking too long, minutes."""
    verdicts = [worker.verdicts[one] for one in tried]
    seen = sum(one in SEEN for one in verdicts)
    minutes = sum(worker.seconds[one] for one in tried) / worker.hands / 60
    share = 100 * seen / len(tried) if tried else 100
    return (f"{name:24} {len(tried):5} mutants {seen:5} killed {share:6.1f} % "
            f"{verdicts.count(OUT_OF_TIME):4} by time {minutes:6.1f} min")


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

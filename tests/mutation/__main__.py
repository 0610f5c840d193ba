"""Mutation check of the rooms in rooms.yaml: ./tests/run.sh --mutants [--quick] [ROOM | FILE | TEST FILE …].

For each room: how many mutants the unit and command-line tests see, and which not. It fails where a room has
less than the floor, or a mutant survives that survivors.yaml doesn't explain. With --quick no property test
is run: for one who writes tests for a file.
"""

from __future__ import annotations

import os
import sys
from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path

import pytest
import yaml

from tests.mutation.sites import Mutant, mutants
from tests.mutation.worker import KILLED, Worker

HERE = Path(__file__).parent
PLUGINS = ("-p", "no:terminal", "-p", "no:xdist", "-p", "no:cacheprovider", "-p", "no:randomly")
Rooms = Mapping[str, Sequence[Path]]


def main(words: Sequence[str]) -> int:
    """The exit code: 0 if every room passes."""
    settings = yaml.safe_load((HERE / "rooms.yaml").read_text(encoding="utf-8"))
    left_alone = frozenset(_files(settings["left alone"]))
    rooms = {room: [path for path in _files(patterns) if path not in left_alone]
             for room, patterns in settings["rooms"].items()}
    tests = [word for word in words if word.startswith("tests/")]
    chosen = [word for word in words if word not in (*tests, "--quick")]
    rooms = {room: [path for path in paths if not chosen or room in chosen or str(path) in chosen]
             for room, paths in rooms.items()}
    os.environ["VPCCTL_PROFILE"] = "mutants"
    worker = Worker([one for paths in rooms.values() for path in paths for one in mutants(path)],
                    os.cpu_count() or 1, "--quick" in words)
    left_out = [f"--ignore={path}" for path in settings["left out"]]
    code = pytest.main([*PLUGINS, "-o", "addopts=--import-mode=importlib", *left_out,
                        *(tests or settings["tests"])], [worker])
    if worker.broken or not worker.verdicts:
        print("\n".join(worker.broken) or "no test was collected", file=sys.stderr)
        return int(code) or 1
    return _tell(worker.verdicts, rooms, settings["floor"])


def _files(patterns: Sequence[str]) -> list[Path]:
    """The modules of a room; a pattern that fits nothing is a mistake in rooms.yaml."""
    found = []
    for pattern in patterns:
        fitting = sorted(Path().glob(pattern))
        if not fitting:
            raise SystemExit(f"rooms.yaml: {pattern} fits no file")
        found += [path for path in fitting if path.name != "__init__.py" or path.stat().st_size]
    return found


def _tell(verdicts: Mapping[Mutant, str], rooms: Rooms, floor: int) -> int:
    explained = Counter((module, function, *change) for group in
                        yaml.safe_load((HERE / "survivors.yaml").read_text(encoding="utf-8")) or ()
                        for module, functions in group["mutants"].items()
                        for function, changes in functions.items() for change in changes)
    failed = False
    for room, paths in rooms.items():
        here = [one for one in verdicts if Path(one.path) in paths]
        if not here:
            continue
        killed = sum(verdicts[one] == KILLED for one in here)
        print(f"\n{room}: {killed} of {len(here)} mutants killed, {100 * killed / len(here):.1f} %")
        for path in paths:
            ours = [one for one in here if Path(one.path) == path]
            print(f"  {path}: {sum(verdicts[one] == KILLED for one in ours)} of {len(ours)}")
        survivors = [one for one in here if verdicts[one] != KILLED]
        new = []
        for one in survivors:
            if explained[one.name]:
                explained[one.name] -= 1
            else:
                new.append(one)
        print(f"  {len(survivors) - len(new)} of {len(survivors)} survivors are explained in survivors.yaml"
              + (", these are not:" if new else ""))
        for one in new:
            print(f"  {one}  [{verdicts[one]}]")
        failed = failed or bool(new) or 100 * killed < floor * len(here)
    return int(failed)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""Every external command and own doing of whatever changes something fails, is killed, is interrupted."""

from __future__ import annotations

import os
import random
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
from faults import Point
from scenarios import SCENARIOS, Scenario
from walk import Walk

from tests.dear import LEFT, LONG, SLOW
from vpcctl_lib.cli import root

SEED = int(os.environ.get("VPCCTL_SEED", random.SystemRandom().randrange(10**6)))
Kind = tuple[str, bool]
"""What is injected, and whether among vpcctl's own doings."""

SAME = {"--dry-run", "--json", "--verbose", "--help"}
"""Flags with which a command does the same, or nothing."""


MEET = 4
"""As many commands meet each kind of fault by default."""

COMMANDS = sum(not scenario.case for scenario in SCENARIOS)

UNDOING = ("undoing", False)
"""What an undo may meet counts as one kind."""


def chosen(kinds: list[Kind], scenario: Scenario, dice: random.Random) -> list[Kind]:
    """All of them in the long run; else so many that about MEET commands meet each kind in every run."""
    if LONG or SLOW and not scenario.case:
        return kinds
    return dice.sample(kinds, -(-len(kinds) * MEET // COMMANDS))


def met(walk: Walk, scenario: Scenario, dice: random.Random) -> tuple[int, list[Point]]:
    """How many points were found, and those to meet: all in the long run, else one of each chosen kind."""
    by_kind: dict[Kind, list[Point]] = {}
    for point in walk.points():
        by_kind.setdefault((point.kind, point.inside), []).append(point)
    # What mends goes on where it failed, and has hardly anything to undo.
    kinds = chosen(sorted(by_kind) + [UNDOING] * (not scenario.mends), scenario, dice)
    if UNDOING in kinds:
        # Found by many runs, so only if they are wanted.
        by_kind[UNDOING] = walk.undo_points()
    wanted = [by_kind[kind] for kind in kinds if by_kind[kind]]
    here = [point for points in wanted for point in (points if LONG else [dice.choice(points)])]
    return sum(map(len, by_kind.values())), here


@pytest.mark.long
@pytest.mark.each_case
@pytest.mark.parametrize("scenario", SCENARIOS, ids=lambda scenario: scenario.name)
def test_every_point(tmp_path: Path, scenario: Scenario, record_property: Any) -> None:
    dice = random.Random(f"{SEED} {scenario.name}")  # noqa: S311 - picks tests
    if scenario.case and not SLOW and dice.randrange(5):
        # What a further case needs before its first fault takes longer than the faults: a fifth is drawn.
        pytest.skip(LEFT)
    walk = Walk(tmp_path, scenario)
    try:
        found, here = met(walk, scenario, dice)
        # To the last point, whatever was wrong at one: a long run tells all that it finds.
        wrong = list(walk.go(here))
    finally:
        walk.host.end()
    record_property("faults", {"command": scenario.name, "found": found, "injected": len(here),
                               "failed": len(wrong), "seed": SEED})
    assert not wrong, f"VPCCTL_SEED={SEED}: " + "\n\n".join(wrong)


@pytest.mark.long
def test_an_undo_puts_each_rule_back_where_it_stood(tmp_path: Path) -> None:
    (scenario,) = [one for one in SCENARIOS if one.name == "vpc delete (overlap)"]
    walk = Walk(tmp_path, scenario)
    try:
        points = [point for point in walk.points() if point.kind == "fail" and not point.inside]
        assert not list(walk.go(points))
    finally:
        walk.host.end()


def mutations(group: click.Group, name: str = "") -> Iterator[str]:
    """All commands that take --dry-run, which are those that change something; and each with each flag."""
    for word, command in group.commands.items():
        if isinstance(command, click.Group):
            yield from mutations(command, f"{name}{word} ")
        elif any("--dry-run" in option.opts for option in command.params):
            yield name + word
            flags = (option.opts[-1] for option in command.params if getattr(option, "is_flag", False))
            yield from (f"{name}{word} {flag}" for flag in flags if flag not in SAME)


def test_no_command_is_left_out() -> None:
    walked = {scenario.words for scenario in SCENARIOS}
    walked |= {f"{scenario.words} {word}" for scenario in SCENARIOS for word in scenario.command.split()
               if word.startswith("--")}
    assert set(mutations(root)) <= walked

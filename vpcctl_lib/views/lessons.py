"""Lessons as plain values; pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import TYPE_CHECKING, Any

from vpcctl_lib.lessons.course import COURSE, number_of
from vpcctl_lib.lessons.lesson import Ask, Lesson

if TYPE_CHECKING:
    from vpcctl_lib.managers.lesson import Checked
    from vpcctl_lib.managers.questions import Finding

RUNNING, SOLVED = "running", "solved"


def listed(lesson: Lesson, running: int, solved: Collection[int]) -> dict[str, Any]:
    """A lesson in the list of all: its state is empty until it is begun."""
    number = number_of(lesson)
    state = SOLVED if number in solved else RUNNING if number == running else ""
    return {"number": number, "name": lesson.name, "title": lesson.title, "about": lesson.about,
            "state": state}


def named(lesson: Lesson) -> dict[str, Any]:
    """Which one it is."""
    return {"number": number_of(lesson), "of": len(COURSE), "name": lesson.name, "title": lesson.title}


def begun(lesson: Lesson, is_new: bool) -> dict[str, Any]:
    """What a person is given to solve."""
    return {**named(lesson), "about": lesson.about, "symptom": lesson.symptom, "task": lesson.task,
            "changed": is_new}


def checked(lesson: Lesson, found: Checked) -> dict[str, Any]:
    """What the network answered, and whether all of it is right."""
    return {**named(lesson), "solved": found.is_solved, "in_sync": found.in_sync, "hints": found.hints,
            "checks": [check(one) for one in found.findings]}


def check(finding: Finding) -> dict[str, Any]:
    """One question and its answer."""
    ask = finding.ask
    return {"from": ask.start, "to": ask.target, "port": ask.port or None,
            "family": "IPv6" if ask.six else "IPv4", "wanted": wanted(ask), "found": finding.outcome.value,
            "ok": finding.is_right}


def wanted(ask: Ask) -> str:
    """What a repaired network answers."""
    if not ask.wanted:
        return "no answer"
    return f"answered: {ask.says}" if ask.says else "answered"


def hinted(lesson: Lesson, given: int) -> dict[str, Any]:
    """The last of the hints that were given, and how many there are."""
    return {**named(lesson), "hint": {"number": given, "of": len(lesson.hints),
                                      "text": lesson.hints[given - 1]}}


def solved(lesson: Lesson) -> dict[str, Any]:
    """How it is solved, and why."""
    return {**named(lesson), "solution": lesson.solution, "why": lesson.why}

"""The lessons of the guide: each works in an empty sandbox, prints what it shows, and leaves nothing."""

from __future__ import annotations

import re

import pytest
from test_readme import ROOT, differences, examples, printed

from vpcctl_lib.lessons.course import COURSE
from vpcctl_lib.lessons.lesson import Lesson

GUIDE = (ROOT / "docs/guide.md").read_text()
TITLE = re.compile(r"^## (\d+\. .+)\n", re.MULTILINE)
END = "vpcctl lesson quit"
LOOK = "ip netns list; vpcctl status; iptables -S; iptables -t nat -S; ls /var/lib/vpcctl/lesson*"
NOTHING = ["in sync", *(f"-P {chain} ACCEPT" for chain in ("INPUT", "FORWARD", "OUTPUT")),
           *(f"-P {chain} ACCEPT" for chain in ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING")),
           "ls: cannot access '/var/lib/vpcctl/lesson*': No such file or directory"]
"""What LOOK prints on a host without VPCs on which nobody left a rule, or a lesson."""
LENGTH = 75
"""Lines of a lesson: longer ones aren't read to their end."""


def lessons() -> dict[str, str]:
    """The lessons' texts by their titles."""
    _, *parts = TITLE.split(GUIDE.partition("\n## For teachers\n")[0])
    return dict(zip(parts[::2], parts[1::2], strict=True))


each_lesson = pytest.mark.parametrize("title", lessons())


def test_the_lessons_are_those_of_the_course() -> None:
    assert list(lessons()) == [f"{number}. {lesson.title}" for number, lesson in enumerate(COURSE, 1)]


@each_lesson
def test_a_lesson_prints_what_it_shows_and_leaves_nothing(title: str) -> None:
    shown = examples(lessons()[title])
    *real, ended, left = printed([*(example.command for example in shown), END, LOOK])
    found = differences(shown, real)
    assert not found, f"lesson {title} shows something else than what is printed:\n{found}"
    assert ended == f"lesson {title.partition('.')[0]} ended: its network is deleted\n"
    assert left.splitlines() == NOTHING


@pytest.mark.parametrize(("title", "lesson"), [*zip(lessons(), COURSE, strict=True)])
def test_a_lesson_ends_with_a_task_and_keeps_the_fault_to_itself(title: str, lesson: Lesson) -> None:
    text = lessons()[title]
    *_, start = examples(text)
    assert start.command == f"vpcctl lesson start {title.partition('.')[0]}"
    assert text.rstrip().endswith("```")
    secrets = (*lesson.fault, *lesson.solution.splitlines(), *lesson.hints, lesson.why)
    assert [one for one in secrets if len(one) > len("END") and one in text] == []
    assert len(text.splitlines()) <= LENGTH

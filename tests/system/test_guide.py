"""The lessons of the guide: each works in an empty sandbox, prints what it shows, and leaves nothing."""

from __future__ import annotations

import re

import pytest
from test_readme import ROOT, differences, examples, printed

GUIDE = (ROOT / "docs/guide.md").read_text()
TITLE = re.compile(r"^## (\d\. .+)\n", re.MULTILINE)
LOOK = "ip netns list; vpcctl status; iptables -S; iptables -t nat -S"
NOTHING = ["in sync", *(f"-P {chain} ACCEPT" for chain in ("INPUT", "FORWARD", "OUTPUT")),
           *(f"-P {chain} ACCEPT" for chain in ("PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"))]
"""What LOOK prints on a host without VPCs on which nobody left a rule."""
LENGTH = 75
"""Lines of a lesson: longer ones aren't read to their end."""


def lessons() -> dict[str, str]:
    """The lessons' texts by their titles."""
    _, *parts = TITLE.split(GUIDE)
    return dict(zip(parts[::2], parts[1::2], strict=True))


each_lesson = pytest.mark.parametrize("title", lessons())


def test_there_are_eight_lessons() -> None:
    assert [title[0] for title in lessons()] == list("12345678")


@each_lesson
def test_a_lesson_prints_what_it_shows_and_leaves_nothing(title: str) -> None:
    shown = examples(lessons()[title])
    *real, left = printed([*(example.command for example in shown), LOOK])
    found = differences(shown, real)
    assert not found, f"lesson {title} shows something else than what is printed:\n{found}"
    assert left.splitlines() == NOTHING


@each_lesson
def test_a_lesson_breaks_something_and_folds_the_solution(title: str) -> None:
    text = lessons()[title]
    problem, rest = text.split("<details><summary>Solution</summary>\n\n")
    solution, _, end = rest.partition("\n</details>\n\n")
    assert "**Broken:**" in problem
    assert any("vpcctl reach " in example.command for example in examples(solution))
    assert all(example.command.startswith("vpcctl vpc delete ") for example in examples(end))
    assert len(text.splitlines()) <= LENGTH

"""The lessons as they are written: each is whole, the program can read it, and it keeps its secret."""

from __future__ import annotations

import io
import re
from pathlib import Path

import pytest

from vpcctl_lib.files import documents
from vpcctl_lib.files.topology import Reader
from vpcctl_lib.lessons.course import COURSE, named, number_of
from vpcctl_lib.lessons.lesson import Lesson
from vpcctl_lib.model.kinds import everything
from vpcctl_lib.model.topology import Topology
from vpcctl_lib.views import lessons as views

each = pytest.mark.parametrize("lesson", COURSE, ids=lambda lesson: lesson.name)
FEW, MANY = 5, 10
"""Questions of a lesson: fewer leave much open, more are not read."""


def network(lesson: Lesson) -> Topology:
    """What its file asks for."""
    document = documents.read_stream(io.BytesIO(lesson.network.encode()), lesson.name)
    return Reader(document, Path("/")).read().topology


def test_there_are_sixteen_with_names_and_numbers() -> None:
    assert len(COURSE) == 16
    assert [number_of(lesson) for lesson in COURSE] == [*range(1, 17)]
    assert len({lesson.name for lesson in COURSE}) == len({lesson.title for lesson in COURSE}) == 16
    assert named("3") is named(COURSE[2].name) is COURSE[2]
    assert named("0") is named("17") is named("") is named("-1") is None


@each
def test_a_lesson_is_whole(lesson: Lesson) -> None:
    assert re.fullmatch(r"[a-z0-9]+(-[a-z0-9]+)*", lesson.name)
    assert FEW <= len(lesson.asks) <= MANY
    assert {ask.wanted for ask in lesson.asks} == {True, False}
    assert len(lesson.hints) == 3
    assert lesson.solution.endswith("\n")
    assert lesson.symptom.startswith('"')
    assert lesson.symptom.endswith('"')


@each
def test_its_questions_are_about_machines_that_it_has(lesson: Lesson) -> None:
    places = {one.path for one in everything(network(lesson))}
    for ask in lesson.asks:
        assert ask.start in places | {"host", "internet"}
        assert "/" not in ask.target or ask.target in places
        assert not ask.says or ask.port


@each
def test_what_it_says_at_first_names_no_command_of_its_solution(lesson: Lesson) -> None:
    said = lesson.symptom + lesson.task + lesson.about
    tools = ("vpcctl ", "ip ", "iptables ")
    typed = [line for line in lesson.solution.splitlines() if line.startswith(tools)]
    assert typed
    assert [line for line in (*typed, *lesson.fault) if line in said] == []


@each
def test_something_guards_its_network(lesson: Lesson) -> None:
    """Without a policy, a group or an ACL, nobody could open too much."""
    topology = network(lesson)
    assert any(subnet.policy or subnet.acl or any(machine.groups for machine in subnet.machines)
               for vpc in topology.vpcs for subnet in vpc.subnets)


def test_the_list_says_which_one_runs_and_which_are_solved() -> None:
    states = [views.listed(lesson, running=3, solved=(1, 2))["state"] for lesson in COURSE]
    assert states == ["solved", "solved", "running", *[""] * 13]
    states = [views.listed(lesson, running=2, solved=(2,))["state"] for lesson in COURSE]
    assert states == ["", "solved", *[""] * 14]

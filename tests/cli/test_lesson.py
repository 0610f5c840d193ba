"""`vpcctl lesson` outside a sandbox: it lists, opens sandboxes, prints solutions, and builds nothing."""

from __future__ import annotations

import json
from typing import Any

import pytest

import vpcctl_lib.sandbox
from vpcctl_lib.kernel import run
from vpcctl_lib.lessons.course import COURSE
from vpcctl_lib.sandbox import Sandbox, Wish


@pytest.fixture(autouse=True)
def wishes(monkeypatch: pytest.MonkeyPatch) -> list[Wish]:
    """The sandboxes that were opened, on a host that is none itself."""
    found: list[Wish] = []
    monkeypatch.setattr(vpcctl_lib.sandbox, "enter", lambda wish: found.append(wish) or 5)
    monkeypatch.setattr(vpcctl_lib.sandbox, "is_inside", lambda: False)
    return found


def test_the_list_has_all_of_them(vpcctl: Any) -> None:
    _, *rows = vpcctl("lesson", "list").out.splitlines()
    assert [row.split()[:2] for row in rows] == [
        [str(number), lesson.name] for number, lesson in enumerate(COURSE, 1)]
    listed = json.loads(vpcctl("lesson", "list", "--json").out)["lessons"]
    assert listed[3] == {"number": 4, "name": "isolation", "title": "Isolation", "about": COURSE[3].about,
                         "state": ""}


@pytest.mark.parametrize("number", ["2", "routes"])
def test_a_start_outside_opens_a_sandbox_and_returns_its_code(vpcctl: Any, wishes: list[Wish],
                                                              number: str) -> None:
    assert vpcctl("lesson", "start", number).code == 5
    (wish,) = wishes
    assert (wish.argv, wish.name) == ((), "course")
    assert wish.first == ("vpcctl", "lesson", "start", "routes")
    assert "_VPCCTL_COMPLETE" in wish.completion("bash")
    assert not vpcctl.folder.exists()


def test_a_start_as_json_says_so_inside(vpcctl: Any, wishes: list[Wish]) -> None:
    vpcctl("lesson", "start", "2", "--json")
    assert wishes[0].first[-1] == "--json"


@pytest.mark.parametrize("number", ["0", "17", "route", "-1", ""])
def test_a_lesson_that_does_not_exist(vpcctl: Any, wishes: list[Wish], number: str) -> None:
    done = vpcctl("lesson", "start", "--", number)
    assert done.code == 2
    assert f"lesson '{number}' does not exist" in done.one_line()
    assert wishes == []


def test_a_program_that_is_missing_is_named_before_a_sandbox_opens(vpcctl: Any, wishes: list[Wish],
                                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "_located", lambda tool, path: None if tool == "dnsmasq" else f"/bin/{tool}")
    said = vpcctl("lesson", "start", "names").one_line()
    assert said == "Error: dnsmasq not found\nHint: install it: apt-get install dnsmasq-base\n"
    assert wishes == []
    assert vpcctl("lesson", "start", "routes").code == 5


@pytest.mark.parametrize("verb", ["check", "hint", "solution", "quit"])
def test_outside_a_sandbox_no_lesson_runs(vpcctl: Any, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    done = vpcctl("lesson", verb)
    assert done.code == 1
    assert "no lesson is running here\nHint: start one: vpcctl lesson start 1" in done.one_line()
    monkeypatch.setattr(vpcctl_lib.sandbox, "running", lambda: [Sandbox(7, "lesson-nat", "/a")])
    assert "vpcctl sandbox --join" in vpcctl("lesson", verb).one_line()
    assert not vpcctl.folder.exists()


@pytest.mark.parametrize("lesson", COURSE, ids=lambda lesson: lesson.name)
def test_a_solution_is_printed_anywhere_to_be_pasted(vpcctl: Any, lesson: Any) -> None:
    done = vpcctl("lesson", "solution", lesson.name)
    assert done.code == 0
    assert lesson.solution in done.out
    assert max(map(len, done.out.removeprefix(lesson.solution).splitlines())) <= 100
    given = json.loads(vpcctl("lesson", "solution", lesson.name, "--json").out)["lesson"]
    assert (given["solution"], given["why"]) == (lesson.solution, lesson.why)


@pytest.mark.parametrize("verb", ["check", "hint", "solution", "quit"])
def test_in_a_sandbox_without_a_lesson(vpcctl: Any, monkeypatch: pytest.MonkeyPatch, verb: str) -> None:
    monkeypatch.setattr(vpcctl_lib.sandbox, "is_inside", lambda: True)
    assert "start one: vpcctl lesson start 1" in vpcctl("lesson", verb).one_line()


def test_a_lesson_needs_a_sandbox_without_vpcs(prepared: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vpcctl_lib.sandbox, "is_inside", lambda: True)
    done = prepared("lesson", "start", "1")
    assert "this sandbox is not empty: it has VPC vpc1, VPC vpc2, VPC vpc3" in done.one_line()
    assert "lesson.json" not in str(prepared.files())


def test_a_damaged_file_is_reported(vpcctl: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(vpcctl_lib.sandbox, "is_inside", lambda: True)
    vpcctl.folder.mkdir()
    file = vpcctl.folder / "lesson.json"
    for text in ("{", "[]", '{"lesson": 99}', '{"lesson": "x"}'):
        file.write_text(text)
        assert f"{file} can't be read" in vpcctl("lesson", "check").one_line()


def test_names_and_numbers_are_completed() -> None:
    from vpcctl_lib.cli.lesson import complete_lesson

    assert complete_lesson(None, None, "1") == ["1", *(str(number) for number in range(10, 17))]  # type: ignore[arg-type]
    assert complete_lesson(None, None, "na") == ["nat", "nat-gateways", "names"]  # type: ignore[arg-type]

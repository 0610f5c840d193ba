"""`vpcctl sandbox`: what it is asked for, and which sandboxes it lists; none is entered."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

import vpcctl_lib.sandbox
from vpcctl_lib.sandbox import Sandbox, Wish

Wishes = list[tuple[Wish, str | None]]
TWO = [Sandbox(7, "sandbox", "/a"), Sandbox(9, "lab", "/b")]


@pytest.fixture
def wishes(monkeypatch: pytest.MonkeyPatch) -> Wishes:
    """What would be entered, and which is joined."""
    found: Wishes = []
    monkeypatch.setattr(vpcctl_lib.sandbox, "enter", lambda wish: found.append((wish, None)) or 5)
    monkeypatch.setattr(vpcctl_lib.sandbox, "join", lambda wish, which: found.append((wish, which)) or 6)
    monkeypatch.setattr(vpcctl_lib.sandbox, "running", lambda: TWO)
    return found


def test_words_after_the_first_are_the_program_s(vpcctl: Any, wishes: Wishes) -> None:
    assert vpcctl("sandbox", "--keep", ".", "--name", "lab", "--", "ls", "--join", "-l").code == 5
    ((wish, joined),) = wishes
    assert (wish.argv, wish.name, joined) == (("ls", "--join", "-l"), "lab", None)
    assert wish.kept == (str(Path.cwd()),)


@pytest.mark.parametrize(("words", "which", "argv"), [
    (["--join"], "", ()), (["--join", "lab"], "lab", ()), (["--join", "9", "--", "ls"], "9", ("ls",)),
    (["--join", "--", "ls"], "", ("ls",)),
])
def test_one_that_runs_is_joined(vpcctl: Any, wishes: Wishes, words: list[str],
                                 which: str, argv: tuple[str, ...]) -> None:
    assert vpcctl("sandbox", *words).code == 6
    ((wish, joined),) = wishes
    assert (joined, wish.argv) == (which, argv)


def test_the_shell_gets_the_completion(vpcctl: Any, wishes: Wishes) -> None:
    vpcctl("sandbox")
    assert "_VPCCTL_COMPLETE=bash_complete" in wishes[0][0].completion("bash")
    assert wishes[0][0].completion("dash") == ""


@pytest.mark.usefixtures("wishes")
def test_those_that_run_are_listed(vpcctl: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    rows = [line.split() for line in vpcctl("sandbox", "--list").out.splitlines()]
    assert rows == [["PID", "NAME", "FOLDER"], ["7", "sandbox", "/a"], ["9", "lab", "/b"]]
    assert json.loads(vpcctl("sandbox", "--list", "--json").out)["sandboxes"][1] == {
        "pid": 9, "name": "lab", "folder": "/b"}
    monkeypatch.setattr(vpcctl_lib.sandbox, "running", list)
    assert "no sandbox of yours is running" in vpcctl("sandbox", "--list").err


@pytest.mark.parametrize(("words", "told"), [
    (["--name", "No.Such"], "can't be a host name"),
    (["--keep", "/no/such/folder"], "/no/such/folder"),
    (["--join", "--keep", "/"], "--keep is for a new sandbox"),
])
def test_what_can_t_be_is_refused(vpcctl: Any, wishes: Wishes, words: list[str],
                                  told: str) -> None:
    done = vpcctl("sandbox", *words)
    assert done.code == 2
    assert told in done.one_line()
    assert not wishes

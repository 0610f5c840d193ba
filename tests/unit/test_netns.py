"""The names of namespaces, though others make and delete theirs at the same time."""

from __future__ import annotations

import errno
import threading
from collections.abc import Sequence
from contextlib import nullcontext
from pathlib import Path

import pytest

from vpcctl_lib.kernel import netns, reader
from vpcctl_lib.kernel.reader import Kernel, Unreadable
from vpcctl_lib.kernel.run import Command, Outcome, Runner


def test_a_name_that_goes_while_we_look_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Listed, but not to be looked at any more.
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "there").symlink_to("/proc/self/ns/net")
    monkeypatch.setattr(netns, "NAMES", tmp_path)
    assert netns.names() == {"there"}


@pytest.fixture
def failing(monkeypatch: pytest.MonkeyPatch) -> Kernel:
    """Whatever is asked fails."""

    def fail(*_: object) -> None:
        raise OSError(errno.ENOBUFS, "No buffer space available")

    monkeypatch.setattr(reader, "answers", fail)
    monkeypatch.setattr(netns, "_entered", nullcontext)
    return Kernel(Failing())


class Failing(Runner):
    """Every program fails."""

    def ask(self, argv: Sequence[str], namespace: str = "", stdin: str = "") -> Outcome:
        return Outcome(Command(tuple(argv)), 1, "", "no way", 0)


def test_what_goes_after_it_was_listed_has_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                   failing: Kernel) -> None:
    (tmp_path / "there").symlink_to("/proc/self/ns/net")
    monkeypatch.setattr(netns, "NAMES", tmp_path)
    assert "there" in failing.namespaces
    (tmp_path / "there").unlink()
    failing.look({"there"})
    assert (failing.namespaces, failing.links("there")) == (set(), [])


def test_what_is_there_and_does_not_answer_is_unreadable(tmp_path: Path,
                                                         monkeypatch: pytest.MonkeyPatch,
                                                         failing: Kernel) -> None:
    (tmp_path / "there").symlink_to("/proc/self/ns/net")
    monkeypatch.setattr(netns, "NAMES", tmp_path)
    failing.look({"there"})
    with pytest.raises(Unreadable, match="the links of there can't be read: No buffer space"):
        failing.links("there")
    with pytest.raises(Unreadable, match="the rules of there can't be read: iptables-save failed"):
        failing.chain("there", "filter", "INPUT")


def test_one_thread_enters_many_namespaces(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netns, "_entered", nullcontext)

    def enter() -> list[threading.Thread]:
        return [netns.within(name, threading.current_thread) for name in ("one", "other")]

    alone, together = enter(), netns.aside(enter)
    assert threading.main_thread() not in (*alone, *together)
    assert (len(set(alone)), len(set(together))) == (2, 1)


def test_what_fails_aside_fails_here() -> None:
    with pytest.raises(netns.Gone, match="no such"):
        netns.aside(lambda: netns.within("no such", threading.current_thread))

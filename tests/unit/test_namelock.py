"""The lock of `ip netns add`: for which commands it is taken, and how long it is waited for."""

from __future__ import annotations

import fcntl
import os
from pathlib import Path

import pytest

from vpcctl_lib.kernel import namelock, netns
from vpcctl_lib.kernel.run import Command


@pytest.mark.parametrize(("argv", "stdin", "names"), [
    (("ip", "netns", "add", "vpc1"), "", True),
    (("ip", "-batch", "-"), "link add a type dummy\nnetns add vpc1\n", True),
    (("ip", "netns", "del", "vpc1"), "", False),
    (("nft", "-f", "-"), "netns add vpc1\n", False),
])
def test_it_is_taken_for_an_ip_that_adds_namespaces(argv: tuple[str, ...], stdin: str, names: bool) -> None:
    assert Command(argv, stdin).names_namespaces == names


def test_a_lock_that_another_holds_is_done_without(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netns, "NAMES", tmp_path)
    monkeypatch.setattr(namelock, "SECONDS", 0.05)
    holder = os.open(tmp_path, os.O_RDONLY)
    fcntl.flock(holder, fcntl.LOCK_EX)
    with namelock.held() as before:
        assert before or os.uname().machine not in namelock.CALLS
    os.close(holder)


def test_a_lock_that_nobody_holds_is_held_meanwhile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netns, "NAMES", tmp_path)
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("", "", "", "", "x86_64")))
    other = os.open(tmp_path, os.O_RDONLY)
    with namelock.held(), pytest.raises(BlockingIOError):
        fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(other)


def test_on_a_machine_that_is_not_known_ip_locks_it_itself(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "uname", lambda: os.uname_result(("", "", "", "", "vax")))
    with namelock.held() as before:
        assert before is None

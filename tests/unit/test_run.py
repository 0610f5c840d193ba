"""Starting processes: one that gives no answer is ended, with all that it has started."""

from __future__ import annotations

import errno
import os
import threading
import time
from pathlib import Path

import pytest

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.kernel import run
from vpcctl_lib.kernel.run import Command, Runner


def test_a_tool_that_hangs_behind_a_wrapper_is_ended_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "TIMEOUT_SECONDS", 0.2)
    started = time.monotonic()
    outcome = Runner().change(Command(("sh", "-c", "sleep 5; true")))
    assert (outcome.status, outcome.reason()) == (-9, "no answer within 0 s")
    assert time.monotonic() - started < 3


def test_where_no_file_more_may_be_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> int:
        raise OSError(errno.EMFILE, os.strerror(errno.EMFILE))

    monkeypatch.setattr(os, "pidfd_open", refuse)
    assert Runner().change(Command(("cat",), "fed\n")).stdout == "fed\n"
    monkeypatch.setattr(os, "memfd_create", refuse)
    with pytest.raises(VpcctlError, match="can't start a program: Too many open files"):
        Runner().change(Command(("true",)))


def test_what_a_tool_leaves_behind_is_not_waited_for() -> None:
    started = time.monotonic()
    outcome = Runner().change(Command(("sh", "-c", "sleep 4 & echo done")))
    assert (outcome.status, outcome.stdout) == (0, "done\n")
    assert time.monotonic() - started < 3


STANDARD = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@pytest.mark.parametrize(("path", "searched"), [
    (None, STANDARD),
    ("", STANDARD),
    (":", STANDARD),
    (".:bin:../sbin:", STANDARD),
    ("/opt/bin::/opt/bin:.", f"/opt/bin:{STANDARD}"),
    ("/usr/bin:/bin", "/usr/bin:/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/sbin"),
])
def test_tools_are_looked_for_in_whole_paths(path: str | None, searched: str, tmp_path: Path,
                                             monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    planted = tmp_path / "sysctl"
    planted.write_text("#!/bin/sh\necho planted\n")
    planted.chmod(0o755)
    if path is None:
        monkeypatch.delenv("PATH")
    else:
        monkeypatch.setenv("PATH", path)
    assert run.search_path() == searched
    assert "planted" not in Runner().ask(("sysctl", "--version")).stdout
    assert Runner().ask(("sh", "-c", "echo $PATH")).stdout == f"{searched}\n"


def test_what_comes_before_a_start_happens_in_its_thread_and_in_no_copy_of_us() -> None:
    seen: list[tuple[int, bool]] = []

    def before() -> None:
        seen.append((os.getpid(), threading.current_thread() is threading.main_thread()))

    assert run._run(Command(("cat",), "fed\n"), False, before).stdout == "fed\n"
    assert seen == [(os.getpid(), False)]


def test_a_tool_is_a_file_that_may_be_run_in_the_first_folder_that_has_one(
        tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first, second, third = (tmp_path / name for name in "abc")
    (first / "tool").mkdir(parents=True)
    for folder, mode in ((second, 0o644), (third, 0o755)):
        folder.mkdir()
        (folder / "tool").touch(mode)
    monkeypatch.setenv("PATH", f"{first}:{second}:{third}")
    assert run.located("tool") == str(third / "tool")
    assert run.located(str(third / "tool")) == str(third / "tool")
    assert run.located(str(second / "tool")) is None
    assert not run.has("tool-that-nobody-has")

"""Ctrl-C waits where it would do harm, and is never lost."""

from __future__ import annotations

import signal
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext

import pytest

from vpcctl_lib.kernel import reader
from vpcctl_lib.kernel.interrupts import Interrupted, Interrupts, held
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.kernel.run import Runner


def test_a_signal_waits_for_the_end_of_the_block() -> None:
    done = []

    def work() -> None:
        with held():
            signal.raise_signal(signal.SIGINT)
            done.append("all")

    with pytest.raises(KeyboardInterrupt):
        work()
    assert done == ["all"]


def test_within_a_change_it_is_noted_as_any_other() -> None:
    with Interrupts() as interrupts:
        with held():
            signal.raise_signal(signal.SIGTERM)
        with pytest.raises(Interrupted):
            interrupts.check()


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGHUP])
def test_a_change_ignores_what_was_ignored_before(number: signal.Signals) -> None:
    old = signal.signal(number, signal.SIG_IGN)
    try:
        with Interrupts() as interrupts:
            signal.raise_signal(number)
            interrupts.check()
        assert signal.getsignal(number) is signal.SIG_IGN
    finally:
        signal.signal(number, old)


def test_in_a_thread_of_a_change_nothing_is_held() -> None:
    def task() -> bool:
        with held():
            return True

    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(task).result()


def test_term_still_ends_a_program_that_holds_it() -> None:
    script = ("import signal; from vpcctl_lib.kernel.interrupts import held\n"
              "with held(): signal.raise_signal(signal.SIGTERM); print('still here', flush=True)")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (-signal.SIGTERM, "still here\n")


def test_a_look_at_the_kernel_is_not_cut_short(monkeypatch: pytest.MonkeyPatch) -> None:
    asked = []

    def answers(readings: tuple[reader.Reading, ...]) -> list[list[dict[str, object]]]:
        signal.raise_signal(signal.SIGINT)
        asked.extend(readings)
        return [[] for _ in readings]

    monkeypatch.setattr(reader.netns, "names", lambda: frozenset("abcdefgh"))
    monkeypatch.setattr(reader.netns, "_entered", nullcontext)
    monkeypatch.setattr(reader, "answers", answers)
    with pytest.raises(KeyboardInterrupt):
        Kernel(Runner()).look(set("abcdefgh"))
    assert len(asked) == 16

"""Starting processes: one that gives no answer is ended, with all that it has started."""

from __future__ import annotations

import time

import pytest

from vpcctl_lib import run
from vpcctl_lib.run import Command, Runner


def test_a_tool_that_hangs_behind_a_wrapper_is_ended_with_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "TIMEOUT_SECONDS", 0.2)
    started = time.monotonic()
    outcome = Runner().change(Command(("sh", "-c", "sleep 5; true")))
    assert (outcome.status, outcome.reason()) == (-9, "no answer within 0 s")
    assert time.monotonic() - started < 3

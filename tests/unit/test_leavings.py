"""What goes from the state folder with a workload or its subnet, and the log that stays to tell why."""

from __future__ import annotations

from pathlib import Path

import pytest

from vpcctl_lib.engine.leavings import leavings, sweep, sweep_undone
from vpcctl_lib.engine.plan import Plan
from vpcctl_lib.engine.rehearsal import commands
from vpcctl_lib.engine.step import Step
from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.kernel.run import Runner
from vpcctl_lib.record.ledger import Entry, Verb
from vpcctl_lib.resources import Bridge, Namespace, Program

SUBNET = Namespace("vpc1-web", "vpcctl:vpc1/web")


def program(name: str, subnet: str = "web") -> Program:
    mark = f"vpc1/{subnet}/{name}"
    return Program(f"vpc1-{subnet}", mark, f"logs/{mark}.log", ("sleep", "9"))


WORKER, OTHER = program("worker"), program("other")


@pytest.fixture
def state(tmp_path: Path) -> Path:
    """A state folder with the logs of three workloads in two subnets, one of them with an older log."""
    for name in ("web/worker.log", "web/worker.log.1", "web/other.log", "db/late.log"):
        file = tmp_path / "logs/vpc1" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text("it can't bind its port\n")
    return tmp_path


def there(state: Path) -> list[str]:
    """All that is left, but for folders with something in them."""
    return sorted(str(path.relative_to(state)) for path in state.rglob("*")
                  if path.is_file() or not any(path.iterdir()))


def test_the_logs_of_a_workload_go_and_those_of_others_stay(state: Path) -> None:
    sweep(leavings([WORKER, Bridge("vpc1", "br-vpc1", "02:00:00:00:00:01")], state), state)
    assert there(state) == ["logs/vpc1/db/late.log", "logs/vpc1/web/other.log"]


def test_a_folder_goes_with_its_last_log(state: Path) -> None:
    sweep(leavings([WORKER, OTHER], state), state)
    assert there(state) == ["logs/vpc1/db/late.log"]
    sweep(leavings([program("late", "db")], state), state)
    assert there(state) == [], "nor is there an empty folder of logs"


def test_a_subnet_takes_all_its_logs_along(state: Path) -> None:
    sweep(leavings([SUBNET], state), state)
    assert there(state) == ["logs/vpc1/db/late.log"]


def test_what_left_nothing_is_no_trouble(state: Path) -> None:
    before = there(state)
    sweep(leavings([program("never-started"), Namespace("vpc1", "vpcctl:vpc1/nowhere")], state), state)
    assert there(state) == before


def test_a_log_that_can_t_be_removed_is_reported(state: Path) -> None:
    log = state / WORKER.log
    log.unlink()
    (log / "inside").mkdir(parents=True)
    with pytest.raises(VpcctlError, match=rf"^can't remove {log}: Is a directory$"):
        sweep(leavings([WORKER], state), state)


def test_the_log_of_what_failed_stays_to_tell_why(state: Path) -> None:
    log = state / WORKER.log
    assert sweep_undone(leavings([WORKER, OTHER], state), state, {log}) == [log]
    assert there(state) == ["logs/vpc1/db/late.log", "logs/vpc1/web/worker.log", "logs/vpc1/web/worker.log.1"]


def test_several_that_stay_are_named_in_order(state: Path) -> None:
    logs = [state / one.log for one in (OTHER, WORKER)]
    assert sweep_undone(leavings([WORKER, OTHER], state), state, dict.fromkeys(reversed(logs)).keys()) == logs


@pytest.mark.parametrize("text", ["", None])
def test_a_log_that_says_nothing_goes(state: Path, text: str | None) -> None:
    log = state / WORKER.log
    if text is None:
        log.unlink()
    else:
        log.write_text(text)
    assert sweep_undone(leavings([WORKER], state), state, {log}) == []
    assert there(state) == ["logs/vpc1/db/late.log", "logs/vpc1/web/other.log"]


def test_a_log_whose_subnet_goes_too_does_not_stay(state: Path) -> None:
    log = state / WORKER.log
    assert sweep_undone(leavings([SUBNET, WORKER], state), state, {log}) == []
    assert there(state) == ["logs/vpc1/db/late.log"]


def test_a_log_of_what_stays_is_not_touched(state: Path) -> None:
    assert sweep_undone(leavings([OTHER], state), state, {state / WORKER.log}) == []
    assert there(state) == ["logs/vpc1/db/late.log", "logs/vpc1/web/worker.log", "logs/vpc1/web/worker.log.1"]


def rehearsed(state: Path, gone: list[Program], made: list[Program] | None = None) -> list[str]:
    """What a dry run prints of the state folder."""
    after = tuple(map(Entry, made or ()))
    steps = [*(Step(Verb.UNMAKE, Entry(one), tuple, tuple) for one in gone),
             *(Step(Verb.MAKE, one, tuple, tuple) for one in after)]
    found = commands(Plan(tuple(steps), tuple(map(Entry, gone)), after), state, Runner())
    return [line.replace(f"{state}/", "") for line in found if not line.startswith("#")]


def test_a_dry_run_prints_which_logs_go_and_the_deepest_folder_first(state: Path) -> None:
    files = [f"logs/vpc1/{name}" for name in ("web/worker.log.1", "web/worker.log", "web/worker.log.fate",
                                              "db/late.log.1", "db/late.log", "db/late.log.fate")]
    assert rehearsed(state, [WORKER, program("late", "db")]) == [
        f"rm -f {' '.join(files)}",
        "rmdir --ignore-fail-on-non-empty logs/vpc1/web logs/vpc1/db logs/vpc1 logs"]


def test_what_is_made_anew_keeps_its_logs_in_a_dry_run_too(state: Path) -> None:
    assert rehearsed(state, [WORKER], [WORKER]) == []


def test_a_dry_run_of_nothing_prints_nothing(state: Path) -> None:
    assert commands(Plan((), (), ()), state, Runner()) == []

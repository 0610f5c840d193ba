"""What can't be told: the disk is full, or nobody reads on. A change is made whole or not at all."""

from __future__ import annotations

import pytest
from host import Host

CREATE = "vpcctl vpc create --name vpc1 --cidr 10.0.0.0/16"
FULL = "Error: can't write to standard output: No space left on device"


@pytest.mark.parametrize("option", ["", " --json"])
def test_a_change_that_can_t_be_told_is_made_and_said_to_be(host: Host, option: str) -> None:
    done = host.run("sh", "-c", f"{CREATE}{option} >/dev/full")
    assert (done.code, done.err) == (1, f"{FULL}; the command itself is done\n")
    assert host.do("status").out == "in sync\n"
    assert [vpc["name"] for vpc in host.do("vpc list --json").json["vpcs"]] == ["vpc1"]


@pytest.mark.parametrize("words", ["--dry-run", "--dry-run --json"])
def test_a_rehearsal_that_can_t_be_told_has_done_nothing(host: Host, words: str) -> None:
    done = host.run("sh", "-c", f"{CREATE} {words} >/dev/full")
    assert (done.code, done.err) == (1, f"{FULL}\n")


def test_an_apply_that_can_t_tell_its_plan_does_nothing(host: Host) -> None:
    file = host.write("net.yaml", "version: 1\nvpcs:\n  vpc1: {cidr: 10.0.0.0/16}\n")
    done = host.run("sh", "-c", f"vpcctl apply -f {file} >/dev/full")
    assert (done.code, done.err) == (1, f"{FULL}\n")
    assert host.do("vpc list --json").json["vpcs"] == []


@pytest.mark.parametrize("where", ["2>/dev/full", "2>&1 >/dev/null | true"])
def test_who_can_t_be_told_the_steps_of_a_change_does_not_break_it_off(host: Host, where: str) -> None:
    host.run("sh", "-c", f"{CREATE} -v {where}")
    assert host.do("status").out == "in sync\n"
    # Neither undone nor left for this command to finish.
    done = host.do("vpc create --name vpc1 --cidr 10.0.0.0/16")
    assert (done.out, done.err) == ("unchanged: VPC 'vpc1' already exists (10.0.0.0/16)\n", "")

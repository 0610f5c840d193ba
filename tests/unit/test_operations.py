"""Steps become few commands, and what a failed command says tells how far it came."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import pytest

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.kernel import netns
from vpcctl_lib.resources.nftables import Nft
from vpcctl_lib.resources.operation import Batch, Operation
from vpcctl_lib.resources.operations import (
    HOST,
    Ip,
    Iptables,
    Make,
    Remove,
    Sysctl,
    chain_lines,
    problems,
)


def batch(steps: Sequence[Operation]) -> Batch:
    """The command that carries them out."""
    made = steps[0].batch(steps)
    assert made
    return made


UP, ROUTE = ("link", "set", "lo", "up"), ("route", "add", "default", "dev", "lo")
THREE = batch(tuple(Ip("vpc1", ("link", "set", name, "up")) for name in "abc"))
TABLES = batch((Iptables("vpc1", "filter", "-A INPUT -j DROP"),
                Iptables("vpc1", "nat", "-A OUTPUT -j ACCEPT"),
                Iptables("vpc1", "filter", "-A OUTPUT -j DROP")))


def test_one_step_is_a_command_that_a_person_would_type() -> None:
    assert str(batch((Ip("vpc1", UP),)).command()) == "ip -n vpc1 link set lo up"
    assert str(batch((Ip(HOST, UP),)).command(carry_on=True)) == "ip link set lo up"


def test_several_steps_are_one_batch() -> None:
    command = batch((Ip(HOST, UP), Ip(HOST, ROUTE))).command()
    assert command.argv == ("ip", "-batch", "-")
    assert command.stdin == "link set lo up\nroute add default dev lo\n"
    assert str(THREE.command(carry_on=True)).startswith("ip -n vpc1 -force -batch - <<")


def test_a_kernel_without_ipv6_is_not_asked_for_it(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    made = batch((Ip(HOST, ("link", "set", "a", "up"), ipv6=("addrgenmode", "none")),))
    assert str(made.command()) == "ip link set a up addrgenmode none"
    monkeypatch.setattr(netns, "IPV6", str(tmp_path / "none"))
    assert str(made.command()) == "ip link set a up"


def test_settings_are_one_command_and_unknown_keys_are_passed_over() -> None:
    made = batch((Sysctl("a.b", "1"), Sysctl("c", "0")))
    assert str(made.command()) == "sysctl -q -e -w a.b=1 c=0"
    assert made.command(carry_on=True) == made.command()


def test_rules_are_one_restore_file_in_which_a_table_stands_once() -> None:
    command = TABLES.command()
    assert (command.argv, command.namespace) == (("iptables-restore", "-w", "--noflush"), "vpc1")
    assert command.stdin.splitlines() == [
        "*filter", "-A INPUT -j DROP", "-A OUTPUT -j DROP", "COMMIT", "*nat", "-A OUTPUT -j ACCEPT", "COMMIT"]


@pytest.mark.parametrize(("stderr", "done"), [
    ("RTNETLINK answers: File exists\nCommand failed -:1\n", set()),
    ("Cannot find device \"b\"\nCommand failed -:2\n", {0}),
    ("Command failed -:3\n", {0, 1}),
    ("Command failed -:99\n", {0, 1, 2}),
    ("Error: argument \"x\" is wrong\n", None),
])
def test_how_far_a_batch_of_ip_came(stderr: str, done: set[int] | None) -> None:
    assert THREE.done_before_failure(stderr) == done


@pytest.mark.parametrize(("stderr", "done"), [
    ("iptables-restore v1.8.9 (nf_tables): line 2: RULE_APPEND failed (No such file or directory)", set()),
    ("iptables-restore: line 3 failed", set()),
    ("Error occurred at line: 4\nTry `iptables-restore -h'", set()),
    ("iptables-restore: line 6 failed", {0, 2}),
    ("iptables-restore: line 7 failed", {0, 2}),
    ("another app is currently holding the xtables lock", None),
])
def test_a_restore_takes_effect_table_by_table(stderr: str, done: set[int] | None) -> None:
    assert TABLES.done_before_failure(stderr) == done


def test_settings_before_a_failure_may_all_have_been_made() -> None:
    assert batch((Sysctl("a", "1"), Sysctl("b", "1"))).done_before_failure("sysctl: no") == {0, 1}


@pytest.mark.parametrize("line", [
    'Cannot find device "s-public"', "RTNETLINK answers: No such process",
    "Error: ipv4: Address not found.", "Error: ipv4: Device not found.",
    "RTNETLINK answers: No such file or directory", "RTNETLINK answers: Cannot assign requested address",
    'Cannot remove namespace file "/run/netns/x": No such file or directory',
    "iptables: Bad rule (does a matching rule exist in that chain?).",
    "iptables: No chain/target/match by that name.",
])
def test_what_is_gone_already_is_no_problem_to_who_removes_it(line: str) -> None:
    assert problems(f"{line}\nCommand failed -:1\n") == ""


def test_other_problems_are_told_in_one_line() -> None:
    told = problems('Cannot find device "a"\nCommand failed -:1\nRTNETLINK answers: Device or resource busy\n'
                    "Command failed -:2\n\n  RTNETLINK answers: Operation not permitted\n")
    assert told == "it is in use (Device or resource busy); Operation not permitted"


def test_a_built_in_chain_gets_its_policy_and_is_emptied_first() -> None:
    assert chain_lines("OUTPUT", ["-j DROP"], "DROP") == [
        ":OUTPUT DROP [0:0]", "-F OUTPUT", "-A OUTPUT -j DROP"]
    assert chain_lines("INPUT", []) == [":INPUT ACCEPT [0:0]", "-F INPUT"]


def test_a_chain_of_our_own_is_never_taken_over() -> None:
    assert chain_lines("OURS", ["-j DROP"], fresh=True) == ["-N OURS", "-A OURS -j DROP"]
    assert chain_lines("OURS", ["-j DROP"]) == [":OURS - [0:0]", "-A OURS -j DROP"]


def test_folders_and_files_are_made_and_removed(tmp_path: Path) -> None:
    folder, file = tmp_path / "vpc1", tmp_path / "vpc1" / "resolv.conf"
    for _ in "twice":
        Make(folder).do()
        Make(file, "nameserver 8.8.8.8\n").do()
    assert file.read_text() == "nameserver 8.8.8.8\n"
    Remove(folder, folder=True).do()
    assert folder.is_dir(), "somebody's file is in it"
    for _ in "twice":
        Remove(file).do()
        Remove(folder, folder=True).do()
    assert not folder.exists()


def test_files_as_a_person_could_paste_them() -> None:
    assert str(Make(Path("/a"))) == "mkdir -p /a"
    assert str(Make(Path("/a"), "x\ny\n")) == "cat > /a <<'EOF'\nx\ny\nEOF"
    assert str(Remove(Path("/a"))) == "rm -f /a"
    assert str(Remove(Path("/a"), folder=True)) == "rmdir --ignore-fail-on-non-empty /a"


@pytest.mark.parametrize("word", ["", "a b", "a\nnetns exec b sh", "a\tb", 'a"', "a'", "a\\", "#a", "a\x1b",
                                  "a\x85b"])
def test_a_word_that_would_not_stay_one_is_refused(word: str) -> None:
    for steps in ((Ip("vpc1", ("link", "del", word)),), (Ip("vpc1", UP), Ip("vpc1", ("link", "del", word)))):
        with pytest.raises(VpcctlError, match="can't be passed to ip") as raised:
            batch(steps).command(carry_on=True)
        assert not set("\n\x1b") & set(raised.value.message)


@pytest.mark.parametrize("line", ["-A INPUT -j DROP\nCOMMIT", "-A INPUT\r", "-A INPUT -i \x1b", "-A INPUT\0"])
def test_a_rule_that_would_not_stay_one_is_refused(line: str) -> None:
    with pytest.raises(VpcctlError, match="can't be passed to iptables-restore"):
        batch((Iptables("vpc1", "filter", line),)).command()


def test_a_script_of_nft_is_one_command() -> None:
    made = batch((Nft("vpc1", "add table ip filter\n"), Nft("vpc1", "delete table ip filter\n")))
    assert str(made.command()) == \
        "ip netns exec vpc1 nft -f - <<'EOF'\nadd table ip filter\ndelete table ip filter\nEOF"
    assert made.done_before_failure("/dev/stdin:2:1-9: Error: Could not process rule") == set()

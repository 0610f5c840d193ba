"""What tools say, as words for a person: no `RTNETLINK answers`, no line of our own input."""

from __future__ import annotations

import re

import pytest

from vpcctl_lib.kernel.sayings import SAYINGS, advice, sentence

SAID = {
    "RTNETLINK answers: File exists\nCommand failed -:12\n": "it already exists",
    "RTNETLINK answers: No such process\nCommand failed -:1": "it is not there",
    "RTNETLINK answers: Exchange full": "the bridge has no free port (Exchange full)",
    "RTNETLINK answers: Device or resource busy\n": "it is in use (Device or resource busy)",
    "RTNETLINK answers: Network is unreachable": "nothing leads to its gateway (Network is unreachable)",
    "Error: Nexthop has invalid gateway.\nCommand failed -:2":
        "nothing leads to its gateway (Network is unreachable)",
    "RTNETLINK answers: Operation not supported": "this kernel has no such thing (Operation not supported)",
    'Cannot create namespace file "/run/netns/vpc1": No space left on device':
        'Cannot create namespace file "/run/netns/vpc1": No space left on device',
    "Error: argument \"x\" is wrong: Invalid handle": 'argument "x" is wrong: Invalid handle',
    "iptables-restore v1.8.9 (nf_tables): \nline 17: CHAIN_ADD failed (File exists): chain VPCCTL-GUARD":
        "line 17: CHAIN_ADD failed (File exists): chain VPCCTL-GUARD",
    "iptables-restore v1.8.9 (legacy): Couldn't load match `xx':No such file or directory\n\n"
    "Error occurred at line: 3\nTry `iptables-restore -h' or 'iptables-restore --help' for more information.":
        "Couldn't load match `xx':No such file or directory",
    "iptables-restore: line 3 failed\n": "the kernel refuses the rules; iptables-legacy does not say why",
    "sysctl: cannot stat /proc/sys/net/x: No such file or directory":
        "cannot stat /proc/sys/net/x: No such file or directory",
    "a\na\nb\n\n": "a; b", "Command failed -:3\n": "", "": "",
}


@pytest.mark.parametrize("said", SAID)
def test_in_words(said: str) -> None:
    assert sentence(said) == SAID[said]
    assert not re.search(r"RTNETLINK|Command failed|-:\d|Try `", sentence(said))


@pytest.mark.parametrize(("said", "hint"), [
    ("RTNETLINK answers: File exists", "rename or remove one of the two"), ("Exchange full", "1023 ports"),
    ("No space left on device", "df -i /run"), ("Operation not permitted", "sudo vpcctl"),
    ("Cannot find device \"x\"", "vpcctl restore"), ("Cannot allocate memory", "free -m"),
    ("Another app is currently holding the xtables lock", "fuser /run/xtables.lock"),
    ("iptables-restore: line 3 failed\n", "vpcctl restore"),
    ("RTNETLINK answers: No buffer space available", "gc_thresh3"), ("what is this", "")])
def test_what_helps(said: str, hint: str) -> None:
    assert hint in advice(said)
    assert "bridge takes" not in advice(said) or "Exchange full" in said


def test_each_has_a_hint() -> None:
    assert all(one.hint for one in SAYINGS)

"""What an error quotes of a file: all to who named it, nothing in the log, nothing of what a file names."""

from __future__ import annotations

from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest

from vpcctl_lib.model.topology import Subnet, Topology, Vpc
from vpcctl_lib.record.ledger import State

WORD = "hunter2SECRET"
TOPOLOGY = """\
version: 1
vpcs:
  vpc1:
    cidr: 10.0.0.0/16
    subnets:
      a:
        cidr: 10.0.1.0/24
        firewall: named
"""
WORDS = [text.replace("WORD", WORD) for text in (
    "root:$y$j9T$WORD$abc:19000:0:99999:7:::\nbin:*:1\n",
    "-----BEGIN KEY-----\nWORD\n",
    "WORD: 1\n",
    "default: WORD\n",
    "subnet: WORD\n",
    "subnet: WORD/24\n",
    "description: [WORD]\nWORD: 1\n",
    "ingress: WORD\n",
    "ingress: [WORD]\n",
    "ingress: [{WORD: 1}]\n",
    "ingress: [{protocol: tcp, action: allow, port: WORD}]\n",
    "ingress: [{protocol: tcp, action: allow, source: WORD}]\n",
    "description: \"WORD\\e\"\n",
    "description: !WORD x\n",
    "description: !WORD!x x\n",
    "description: *WORD\n",
    "%WORD x\n",
    "WORD: 1\nWORD: 2\n",
    "a: \"WORD\n",
    "WORD: \"\\q\"\n",
    "? [WORD]\n",
    "a: b: WORD\n",
    '{"WORD": 1, "WORD": 2}',
    '{"a": "WORD\\q"}',
    '{"a": WORD}',
    '["WORD"]',
    '"WORD"',
    'WORD: "\\ud800"\n',
    '{"WORD": "\\ud800"}',
    "WORD\0",
    "WORD: .inf\n",
)]
NUMBERS = [
    "subnet: 10.77.0.0/16\n",
    "subnet: 10.77.0.5/16\n",
    "subnet: 10.77.0.5\n",
    "default: 45077\n",
    "ingress: [{protocol: tcp, action: allow, port: '45077'}]\n",
    "ingress: [{protocol: tcp, action: allow, port: 45077-10}]\n",
    "ingress: [{protocol: tcp, action: allow, port: '45077:45078'}]\n",
    "ingress: [{protocol: tcp, action: allow, source: 45077}]\n",
    "ingress: [{protocol: tcp, action: allow, source: 10.77.0.5/16}]\n",
    "45077: 1\n",
    "[45077]\n",
]


@pytest.fixture(autouse=True)
def recorded(vpcctl: Any) -> None:
    """A VPC in the record, and so a folder for the log."""
    subnet = Subnet("web", IPv4Network("172.16.1.0/24"))
    vpcctl.folder.mkdir(exist_ok=True)
    vpcctl.store.save(State(Topology((Vpc("vpc2", IPv4Network("172.16.0.0/16"), subnets=(subnet,)),))))


def log_of(vpcctl: Any) -> str:
    return str((vpcctl.folder / "vpcctl.log").read_text())


@pytest.mark.parametrize("text", [*WORDS, *NUMBERS], ids=range(len(WORDS + NUMBERS)))
def test_nothing_of_a_file_that_another_file_names_is_shown(text: str, vpcctl: Any, tmp_path: Path) -> None:
    file, named = tmp_path / "network.yaml", tmp_path / "named"
    file.write_text(TOPOLOGY)
    named.write_text(text)
    for options in ([], ["--json"]):
        done = vpcctl("apply", "-f", str(file), *options)
        assert done.code == 2
        assert f"{file}, line 8: vpcs.vpc1.subnets.a.firewall: {named}" in done.out + done.err
        for told in (done.out, done.err, log_of(vpcctl)):
            assert not any(word in told for word in (WORD, WORD.lower(), "45077", "10.77.", "j9T")), told
    assert f"ended with 2: {file}, line 8: " in log_of(vpcctl)
    assert f": {named}" in log_of(vpcctl)


@pytest.mark.parametrize("text", WORDS, ids=range(len(WORDS)))
def test_a_file_that_the_person_named_is_quoted_to_them_and_not_in_the_log(text: str, vpcctl: Any,
                                                                           tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text(text)
    for words in (("apply", "-f", str(file)),
                  ("firewall", "apply", "--vpc", "vpc2", "--subnet", "web", "--policy", str(file))):
        done = vpcctl(*words)
        assert done.code == 2
        assert "(not shown)" not in done.one_line()
    assert WORD not in log_of(vpcctl)
    assert f"ended with 2: {file}" in log_of(vpcctl)


def test_the_person_who_named_a_file_sees_what_is_wrong_in_it(vpcctl: Any, tmp_path: Path) -> None:
    file = tmp_path / "network.yaml"
    file.write_text(TOPOLOGY.replace("a:", "Web:"))
    told = "line 6: vpcs.vpc1.subnets.Web: 'Web' can't be a subnet name"
    assert f"{file}, {told}" in vpcctl("apply", "-f", str(file)).err
    told = "line 6: vpcs.(not shown).subnets.(not shown): (not shown) can't be a subnet name"
    assert f"{file}, {told}" in log_of(vpcctl)

"""What `ip route get` answers in a batch, and the name servers that a VPC can ask."""

from __future__ import annotations

from ipaddress import IPv4Address, IPv4Network
from pathlib import Path

import pytest

from vpcctl_lib.kernel.run import Command, Outcome
from vpcctl_lib.kernel.ways import REFUSED, UNKNOWN, Hop, Question, Way, answers
from vpcctl_lib.model.topology import Vpc
from vpcctl_lib.uplink import resolvers
from vpcctl_lib.uplink.resolvers import reached, used

A, B, C = (Question(IPv4Address(f"10.0.0.{number}")) for number in (1, 2, 3))
ROUTE = '[{"dst":"default","gateway":"192.0.2.1","dev":"eth0","flags":[]}]\n'
HOPS = ('[{"dst":"10.0.0.0/8","table":"7","nexthops":[{"gateway":"192.0.2.1","dev":"eth0"},'
        '{"via":{"family":"inet6","host":"fe80::1"},"dev":"eth1"}]}]\n')
OWN = '[{"type":"local","dst":"10.0.0.3","dev":"lo","protocol":"kernel"}]\n'


def outcome(stdout: str, stderr: str = "") -> Outcome:
    return Outcome(Command(("ip",)), 1 if stderr else 0, stdout, stderr, 1.0)


def test_a_question_is_what_ip_takes() -> None:
    assert str(A) == "route get 10.0.0.1 fibmatch"
    assert str(Question(A.destination, B.destination, "vpc-a")) == \
        "route get 10.0.0.1 from 10.0.0.2 iif vpc-a fibmatch"


def test_what_failed_is_told_by_its_line() -> None:
    said = "RTNETLINK answers: No route to host\nCommand failed -:2\n"
    told = answers((A, B, C), outcome(ROUTE + OWN, said))
    assert told[A] == Way(hops=(Hop("eth0", "192.0.2.1"),))
    assert told[B] == Way(REFUSED, failure="No route to host")
    assert (told[C].kind, told[C].devices, told[C].network) == ("local", ("lo",), IPv4Network("10.0.0.3/32"))


def test_several_next_hops() -> None:
    way = answers((A,), outcome(HOPS))[A]
    assert way.devices == ("eth0", "eth1")
    assert [hop.gateway for hop in way.hops] == ["192.0.2.1", "fe80::1"]
    assert str(way) == "10.0.0.0/8 dev eth0 and eth1 table 7"


@pytest.mark.parametrize("printed", ["", "no JSON\n", '[{"dst":"x"}]\n', "[3]\n"])
def test_what_was_not_answered_is_not_known(printed: str) -> None:
    told = answers((A, B), outcome(ROUTE + printed, "boom"))
    assert (told[A].kind, told[B].kind) == ("unicast", UNKNOWN)
    assert "boom" in told[B].failure


@pytest.fixture
def files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setattr(resolvers, "FILE", tmp_path / "etc")
    monkeypatch.setattr(resolvers, "BEHIND_STUBS", (tmp_path / "systemd", tmp_path / "manager"))
    return tmp_path


OWN_ADDRESS = IPv4Address("192.0.2.2")


@pytest.mark.parametrize(("etc", "systemd", "manager", "found"), [
    ("nameserver 192.0.2.53\n", "nameserver 9.9.9.9\n", "", ["192.0.2.53"]),
    ("nameserver 127.0.0.53\n", "nameserver 9.9.9.9\n", "nameserver 8.8.8.8\n", ["9.9.9.9"]),
    ("nameserver 127.0.1.1\n", "", "nameserver 8.8.8.8\n", ["8.8.8.8"]),
    ("nameserver 192.0.2.2\nnameserver 1.1.1.1\n", "nameserver 9.9.9.9\n", "", ["1.1.1.1"]),
    ("nameserver 192.0.2.2\n", "", "", []), ("", "nameserver 9.9.9.9\n", "", ["9.9.9.9"]),
    ("nameserver 2001:db8::53\n", "nameserver 9.9.9.9\n", "", []),
    ("nameserver ::1\n", "nameserver 9.9.9.9\n", "", ["9.9.9.9"]),
    ("nameserver 1.1.1.1\nnameserver 1.1.1.1\nnameserver fe80::1%eth0\nnameserver x\n", "", "", ["1.1.1.1"])])
def test_the_host_s_own_file_says_who_is_asked(files: Path, etc: str, systemd: str, manager: str,
                                               found: list[str]) -> None:
    for name, text in (("etc", etc), ("systemd", systemd), ("manager", manager)):
        (files / name).write_text(text)
    assert [str(server) for server in used({OWN_ADDRESS})] == found


def test_a_name_server_that_no_question_gets_to_is_left_out() -> None:
    vpc = Vpc("vpc1", IPv4Network("10.0.0.0/16"))
    inside, elsewhere, fine, unknown = map(IPv4Address, ("10.0.9.9", "198.51.100.53", "9.9.9.9", "1.1.1.1"))
    ways = {elsewhere: Way(hops=(Hop("eth1"),)), fine: Way(hops=(Hop("eth0"),)),
            unknown: Way(UNKNOWN, failure="boom")}
    told = reached(vpc, "eth0", (inside, elsewhere, fine, unknown), ways)
    assert told.servers == (fine, unknown)
    assert ["own CIDR" in told.warnings[0], "behind eth1" in told.warnings[1]] == [True, True]
    nobody = reached(vpc, "eth0", (inside,), {})
    assert "names won't resolve" in nobody.warnings[-1]

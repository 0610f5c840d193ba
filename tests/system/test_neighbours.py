"""Real Docker, libvirt, Podman, firewalld, ufw, iptables-persistent and a VPN beside vpcctl, in both orders.

With real packets: nobody of theirs meets a VPC, their own traffic lives, the VPC's NAT too, and `status` says
what is so.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from host import CHECKOUT, INTERNET, UPLINK, Host
from neighbours import ALL, PAIRS, PERSISTENT, Neighbour, Street, missing
from probes import REACHED

DOCUMENT = CHECKOUT / "docs/neighbours.md"
PUBLIC, PRIVATE = "10.0.1.2", "10.0.2.2"


@pytest.fixture(params=ALL, ids=lambda neighbour: neighbour.name)
def neighbour(request: pytest.FixtureRequest) -> Neighbour:
    """A program that is there, or is skipped and listed at the end."""
    if lacks := missing(request.param):
        pytest.skip(f"beside other programs: {lacks}")
    return request.param


@pytest.fixture
def host(tmp_path: Path, neighbour: Neighbour) -> Iterator[Host]:
    """A host that has the program, which does not run yet."""
    street = Street(tmp_path, neighbour)
    try:
        yield street.host
    finally:
        street.close()


def make_vpcs(host: Host) -> None:
    """A VPC with services in both subnets and a way out, and another one beside it."""
    host.do("vpc create --name vpc1 --cidr 10.0.0.0/16")
    host.do("subnet add --vpc vpc1 --name public --cidr 10.0.1.0/24 --type public")
    host.do("subnet add --vpc vpc1 --name private --cidr 10.0.2.0/24")
    host.do("nat enable --vpc vpc1")
    host.do("vpc create --name vpc2 --cidr 10.9.0.0/16")
    host.do("subnet add --vpc vpc2 --name public --cidr 10.9.1.0/24 --type public")
    for namespace in ("vpc1-public", "vpc1-private"):
        host.listen(namespace, "80", "53/udp")


def bash(host: Host, script: str) -> None:
    """Run what a neighbour does, which has to succeed."""
    done = host.run("bash", "-ec", script)
    assert done.code == 0, done


def check_isolation(host: Host, neighbour: Neighbour) -> None:
    """Nobody meets a VPC but by its own ways."""
    host.reaches("vpc1-public", f"{PRIVATE}:80")
    host.none_reach(("vpc2-public", f"{PRIVATE}:80"), ("vpc2-public", PUBLIC), ("other", f"{PRIVATE}:80"),
                    ("vpc1-private", "8.8.8.8"))
    if neighbour.namespace:
        theirs = neighbour.namespace
        host.none_reach(*((theirs, f"{address}{port}") for address in (PUBLIC, PRIVATE, "10.9.1.2")
                          for port in ("", ":80", ":53/udp")))
        address = host.sh(f"ip -n {theirs} -4 -o addr show dev eth0").split()[3].partition("/")[0]
        # Not by the answer: a refusal may be the neighbour's own firewall's.
        host.sh("iptables -I INPUT -s 10.0.0.0/8", theirs)
        host.probe(*((ours, f"{address}{port}") for ours in ("vpc1-public", "vpc1-private", "vpc2-public")
                     for port in ("", ":80")), patience=0.5)
        assert "[0:0] -A INPUT -s 10.0.0.0/8" in host.sh("iptables-save -c; iptables -D INPUT 1", theirs)
    if neighbour.published:
        for ours in ("vpc1-public", "vpc1-private", "vpc2-public"):
            host.never_reaches(ours, f"{UPLINK}:{neighbour.published}")


def check_truth(host: Host) -> None:
    """`status` says "in sync" only where packets get out, and otherwise only what is so."""
    answers = host.probe(*(("vpc1-public", place) for place in INTERNET))
    out = [answer.verdict == REACHED for answer in answers]
    status = host.vpcctl("status", "--json").json["status"]
    causes = [cause for one in status["packets"] for cause in one["causes"]]
    assert all(out) or causes, "packets are lost, and it says that all is well"
    if all(out):
        assert {one["detail"] for one in status["findings"]} <= {"other rules stand before it"}, status
        assert not any(cause["sure"] for cause in causes), causes


def check(host: Host, neighbour: Neighbour) -> None:
    """Isolation, the neighbour's own traffic, and the words of `status`."""
    check_isolation(host, neighbour)
    bash(host, neighbour.alive)
    check_truth(host)


def check_restored(host: Host) -> None:
    """What is ours is as recorded, whatever others do to packets."""
    host.vpcctl("restore")
    assert host.vpcctl("status", "--json").json["status"]["findings"] == []


def set_up(host: Host, neighbour: Neighbour, first: str) -> None:
    """The other program and our VPCs, in that order or with ours first."""
    if first == "vpcctl":
        make_vpcs(host)
    bash(host, neighbour.start)
    if first != "vpcctl":
        make_vpcs(host)


@pytest.mark.parametrize("first", ["neighbour", "vpcctl"])
def test_beside(host: Host, neighbour: Neighbour, first: str) -> None:
    set_up(host, neighbour, first)
    check(host, neighbour)
    bash(host, neighbour.restart)
    check(host, neighbour)
    check_restored(host)
    check(host, neighbour)
    host.delete_all()
    bash(host, neighbour.alive)
    left = host.sh("{ iptables-save; ip link; } | grep -E 'VPCCTL|comment \"?vpcctl:|alias vpcctl:' || true")
    assert left == ""


@pytest.mark.parametrize("first", ["neighbours", "vpcctl"])
@pytest.mark.parametrize("neighbour", PAIRS, indirect=True, ids=lambda one: one.name)
def test_beside_two(host: Host, neighbour: Neighbour, first: str) -> None:
    """What firewalld flushes is reported until `restore`; after it, all holds."""
    set_up(host, neighbour, first)
    for _ in range(2):
        if "VPCCTL-GUARD" not in host.sh("iptables -t mangle -S PREROUTING"):
            found = host.vpcctl("status", "--json").json["status"]["findings"]
            assert any("VPCCTL-GUARD" in one["what"] for one in found), found
        check_truth(host)
        host.vpcctl("restore")
        check(host, neighbour)
        bash(host, neighbour.restart)
    check_restored(host)
    check(host, neighbour)
    host.delete_all()
    bash(host, neighbour.alive)


@pytest.mark.parametrize("neighbour", [one for one in ALL if one.remedy], ids=lambda one: one.name,
                         indirect=True)
def test_what_to_type_helps(host: Host, neighbour: Neighbour) -> None:
    """As docs/neighbours.md has it; after a restart of theirs, too."""
    documented = DOCUMENT.read_text()
    assert all(f"$ {line}\n" in documented for line in neighbour.remedy.splitlines())
    bash(host, neighbour.start)
    make_vpcs(host)
    bash(host, neighbour.remedy)
    host.reaches("vpc1-public", *INTERNET)
    assert host.do("status").out == "in sync\n"
    check_isolation(host, neighbour)
    bash(host, neighbour.restart)
    host.do("restore")
    host.reaches("vpc1-public", *INTERNET)
    assert host.do("status").out == "in sync\n"
    check(host, neighbour)


def blocks(title: str) -> list[list[str]]:
    """What is typed under a title of the document, with what is printed, a step a list of lines."""
    section = re.split(r"^## ", DOCUMENT.read_text(), flags=re.MULTILINE)
    text = next(part for part in section if part.lower().startswith(title.lower()))
    shown = "".join(re.findall(r"```console\n(.*?)```", text, re.DOTALL))
    return [step.splitlines() for step in re.split(r"^\$ ", shown, flags=re.MULTILINE)[1:]]


def type_in(host: Host, neighbour: Neighbour, line: str) -> list[str]:
    """What a line of the document prints; services have no systemd here, and are started by our own lines."""
    if line in (neighbour.starting, neighbour.starting.replace(" start ", " restart ")):
        bash(host, neighbour.start if line == neighbour.starting else neighbour.restart)
        return []
    return host.run("bash", "-c", f"exec 2>&1; PATH=/usr/bin:$PATH; {line}").out.splitlines()


def rewrite(title: str, session: list[list[str]]) -> None:
    """Put what was printed into the document."""
    new = "```console\n" + "".join(f"$ {line}\n" + "".join(f"{one}\n" for one in printed)
                                   for line, *printed in session) + "```"
    parts = re.split(r"^(?=## )", DOCUMENT.read_text(), flags=re.MULTILINE)
    DOCUMENT.write_text("".join(
        re.sub(r"```console\n.*?```", lambda _: new, part, flags=re.DOTALL)
        if part[3:].lower().startswith(title.lower()) else part for part in parts))


def test_the_document_is_true(host: Host, neighbour: Neighbour) -> None:
    """VPCCTL_REWRITE_GOLDEN=1 writes it anew: read the difference."""
    for line, *printed in blocks("# Beside"):
        assert type_in(host, neighbour, line) == printed, line
    written = blocks(neighbour.name)
    session = [[line, *type_in(host, neighbour, line)] for line, *_ in written]
    if os.environ.get("VPCCTL_REWRITE_GOLDEN"):
        rewrite(neighbour.name, session)
    else:
        assert session == written


@pytest.mark.parametrize("neighbour", [PERSISTENT], ids=lambda one: one.name, indirect=True)
def test_saved_rules_of_a_deleted_vpc_are_removed(host: Host, neighbour: Neighbour) -> None:
    make_vpcs(host)
    bash(host, neighbour.start)
    host.delete_all()
    bash(host, neighbour.restart)
    findings = host.vpcctl("status", "--json").json["status"]["findings"]
    assert {one["condition"] for one in findings} == {"unrecorded"}
    host.do("restore")
    assert host.do("status").out == "in sync\n"
    left = host.sh("iptables-save | grep -E 'VPCCTL|comment \"?vpcctl:' || true")
    assert left == ""

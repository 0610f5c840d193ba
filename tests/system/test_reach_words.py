"""What `reach` says of an address that nobody has, and of a program that listens where nobody can ask."""

from __future__ import annotations

from typing import Any

import pytest
from host import Host

SERVER = ("python3 -c 'import socket, time; s = socket.socket(); s.bind((\"{}\", 8080)); s.listen(); "
          "time.sleep(999)' >/dev/null 2>&1 & while ! grep -q :1F90 /proc/net/tcp; do sleep 0.05; done")


def blocked(host: Host, to: str, *words: str) -> Any:
    done = host.vpcctl("reach", "--from", "vpc1/public", "--to", to, *words, "--json")
    return done.json["reach"]["blocked_by"]


@pytest.mark.parametrize(("address", "told"), [
    ("10.0.9.9", "no subnet of VPC 'vpc1' contains it (public 10.0.1.0/24, private 10.0.2.0/24)"),
    ("10.0.2.77", "the only one in vpc1/private has 10.0.2.2")])
def test_an_address_that_nobody_has(address: str, told: str, vpc1: Host) -> None:
    found = blocked(vpc1, address)
    assert (found["code"], found["fix"]) == ("NO_NEIGHBOUR", None)
    assert found["rule"] == f"no machine has the address {address}: {told}"


def test_one_that_somebody_lost_is_not_called_so(vpc1: Host) -> None:
    vpc1.sh("ip addr flush dev eth0", "vpc1-private")
    found = blocked(vpc1, "vpc1/private")
    assert "no machine has the address" not in found["rule"]
    assert found["fix"] == "vpcctl restore"
    vpc1.do("restore")


@pytest.mark.parametrize(("address", "only"), [
    ("127.0.0.1", "but only on 127.0.0.1, which only vpc1-private itself can reach; "),
    ("10.0.2.9", "but only on 10.0.2.9; ")])
def test_a_program_that_listens_elsewhere(address: str, only: str, vpc1: Host) -> None:
    vpc1.sh("ip addr add 10.0.2.9/24 dev eth0", "vpc1-private")
    vpc1.sh(SERVER.format(address), "vpc1-private")
    found = blocked(vpc1, "vpc1/private", "--port", "8080", "--probe")
    assert (found["code"], found["fix"]) == ("NOTHING_LISTENS", None)
    assert only in found["rule"]
    assert "have it listen on 0.0.0.0 or 10.0.2.2" in found["rule"]
    vpc1.sh("ip addr del 10.0.2.9/24 dev eth0", "vpc1-private")


def test_where_nothing_listens_a_server_is_the_fix(vpc1: Host) -> None:
    found = blocked(vpc1, "vpc1/private", "--port", "8080", "--probe")
    assert found["rule"] == "nothing listens on tcp port 8080"
    assert found["fix"] == "vpcctl deploy webserver --vpc vpc1 --subnet private --port 8080"

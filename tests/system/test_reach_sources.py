"""Whose address the answer of a UDP program has: the kernel's choice, or the program's own."""

from __future__ import annotations

from typing import Any

import pytest
from host import Host
from probes import REACHED

SECOND = "10.0.2.9"
"""A second address of the machine that is asked."""


def asked(host: Host, address: str, protocol: str) -> Any:
    ends = ("--from", "vpc1/public", "--to", address, "--port", "53", "--protocol", protocol, "--json")
    return host.vpcctl("reach", *ends).json["reach"]


def agreed(host: Host, address: str, protocol: str) -> bool:
    """What reach says, which has to be what a packet does."""
    suffix = "/udp" if protocol == "udp" else ""
    (answer,) = host.probe(("vpc1-public", f"{address}:53{suffix}"), patience=0.5)
    report = asked(host, address, protocol)
    assert (report["verdict"] == "reachable") == (answer.verdict == REACHED), (report, answer)
    return answer.verdict == REACHED


@pytest.mark.parametrize("listens", ["0.0.0.0", SECOND])
def test_a_second_address_answers_only_where_the_program_listens_on_it(listens: str, vpc1: Host) -> None:
    vpc1.sh(f"ip addr add {SECOND}/24 dev eth0", "vpc1-private")
    # The guard lets no machine send from an address that is not its own.
    vpc1.sh("nft delete table bridge vpcctl; ip link set s-private type bridge_slave proxy_arp off", "vpc1")
    vpc1.listen("vpc1-private", "53", "53/udp", address=listens)
    assert agreed(vpc1, SECOND, "tcp")
    own = listens == SECOND
    assert agreed(vpc1, SECOND, "udp") == own
    if not own:
        blocked = asked(vpc1, SECOND, "udp")["blocked_by"]
        assert (blocked["code"], blocked["fix"]) == ("ANSWER_DIVERTED", None)
        assert blocked["rule"] == (
            f"the answer comes from 10.0.2.2, not from {SECOND}: a program that listens on 0.0.0.0 leaves "
            f"that to the kernel; have it listen on {SECOND}")
    vpc1.sh(f"ip addr del {SECOND}/24 dev eth0", "vpc1-private")
    vpc1.do("restore")


@pytest.mark.parametrize("listens", ["0.0.0.0", "10.0.2.2"])
def test_a_rule_by_source_is_passed_by_who_has_none_yet(listens: str, vpc1: Host) -> None:
    vpc1.sh("ip rule add from 10.0.2.2 blackhole", "vpc1-private")
    vpc1.listen("vpc1-private", "53", "53/udp", address=listens)
    assert not agreed(vpc1, "10.0.2.2", "tcp")
    assert agreed(vpc1, "10.0.2.2", "udp") == (listens == "0.0.0.0")
    vpc1.sh("ip rule del from 10.0.2.2 blackhole", "vpc1-private")

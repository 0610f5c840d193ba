"""`reach` in a VPC with more subnets than the kernel tells in one answer to `ip netns list-id`."""

from __future__ import annotations

from ipaddress import IPv4Network
from itertools import islice
from typing import Any

import pytest
from host import Host

SUBNETS = 200


def wide(**last: Any) -> dict[str, Any]:
    """A topology of one VPC; the last subnet has these keys as well."""
    cidrs = islice(IPv4Network("10.0.0.0/16").subnets(new_prefix=26), SUBNETS)
    subnets: dict[str, Any] = {f"s{number}": {"cidr": str(cidr)} for number, cidr in enumerate(cidrs)}
    subnets[f"s{SUBNETS - 1}"].update(last)
    return {"version": 1, "vpcs": {"a": {"cidr": "10.0.0.0/16", "subnets": subnets}}}


@pytest.mark.long
def test_the_last_of_many_subnets_is_followed_as_the_first(host: Host) -> None:
    host.do("apply -f", host.write("wide.yaml", wide()))
    last, its_address = f"a/s{SUBNETS - 1}", "10.0.49.194"
    host.reaches(f"a-s{SUBNETS - 1}", "10.0.0.66")
    assert host.do(f"reach --from {last} --to a/s1").out.endswith("\nreachable\n")
    assert host.do(f"reach --from a/s1 --to {last}").out.endswith("\nreachable\n")
    deny = {"ingress": [{"protocol": "icmp", "action": "deny"}]}
    host.do("apply -f", host.write("wide.yaml", wide(firewall=deny)))
    host.never_reaches("a-s1", its_address)
    report = host.vpcctl("reach", "--from", "a/s1", "--to", last, "--json").json["reach"]
    assert (report["verdict"], report["blocked_by"]["code"]) == ("unreachable", "FIREWALL_DENY")

"""Which sockets listen, out of the kernel's tables."""

from __future__ import annotations

from ipaddress import ip_address

from vpcctl_lib.model.policies import Protocol
from vpcctl_lib.reach.listeners import WAITING, parsed

HEAD = "  sl  local_address rem_address   st tx_queue rx_queue\n"
TCP = HEAD + """\
   0: 0100007F:1F90 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   1: 00000000:0050 00000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
   2: 0202000A:1F90 0201000A:8000 01 00000000:00000000 00:00000000 00000000     0        0 1 1 0 100 0 0 10 0
"""
TCP6 = HEAD + """\
   0: 00000000000000000000000001000000:1F90 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 1
   1: 00000000000000000000000000000000:0051 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 1
   2: 0000000000000000FFFF00000100007F:0052 00000000000000000000000000000000:0000 0A 0:0 00:0 0 0 0 1
"""


def found(table: str, port: int) -> list[str]:
    return [str(one) for one in parsed(table.splitlines()[1:], WAITING[Protocol.TCP], port)]


def test_addresses_stand_in_the_order_of_the_machine() -> None:
    assert found(TCP, 8080) == ["127.0.0.1"]
    assert found(TCP, 80) == ["0.0.0.0"]
    assert found(TCP, 81) == []


def test_ipv6_too() -> None:
    assert found(TCP6, 8080) == ["::1"]
    assert found(TCP6, 81) == ["::"]
    assert found(TCP6, 82) == ["127.0.0.1"]
    assert ip_address(found(TCP6, 8080)[0]).is_loopback

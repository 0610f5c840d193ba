"""Tables of iptables that root put to sleep by nft: their rules are there, and packets meet none."""

from __future__ import annotations

import pytest
from host import INTERNET, Host


def sleep(host: Host, table: str, namespace: str = "") -> None:
    host.sh(f"nft 'add table {table} {{ flags dormant; }}'", namespace)


def test_others_tables_asleep_are_no_obstacle_to_packets(vpc1: Host) -> None:
    """Neither nft's nor iptables': nothing is said of them."""
    vpc1.do("nat enable --vpc vpc1")
    vpc1.sh("nft 'add table inet mine;"
            " add chain inet mine f { type filter hook forward priority 0; policy drop; }';"
            "iptables -t raw -A PREROUTING -i vpc-vpc1 -j DROP")
    vpc1.never_reaches("vpc1-public", *INTERNET)
    said = vpc1.vpcctl("status").out
    assert "mine" in said
    assert "raw" in said
    sleep(vpc1, "inet mine")
    sleep(vpc1, "ip raw")
    vpc1.reaches("vpc1-public", *INTERNET)
    assert vpc1.do("status").out == "in sync\n"
    vpc1.sh("nft delete table inet mine; nft delete table ip raw")


@pytest.mark.parametrize("table", ["inet mine", "ip nat"])
def test_a_port_that_a_table_asleep_leads_elsewhere_is_free(vpc1: Host, table: str) -> None:
    rule = "PREROUTING -p tcp --dport 8080 -j DNAT --to 192.168.77.2:90"
    vpc1.sh(f"iptables -t nat -A {rule}" if table == "ip nat"
            else "nft 'add table inet mine; add chain inet mine n { type nat hook prerouting priority -110; }"
                 "; add rule inet mine n tcp dport 8080 dnat ip to 192.168.77.2:90'")
    add = "publish add --vpc vpc1 --subnet public --port 8080:80"
    vpc1.refused(add, says="already leads tcp port 8080 elsewhere")
    sleep(vpc1, table)
    vpc1.do(f"{add} --dry-run")
    vpc1.sh(f"iptables -t nat -D {rule}; nft add table ip nat" if table == "ip nat"
            else "nft delete table inet mine")

"""The article's five tests and its demo, command by command, with the program itself."""

from __future__ import annotations

import pytest
from host import INTERNET, Host


@pytest.fixture
def article(host: Host) -> Host:
    """A host on which the article's first commands have run."""
    host.sh("""
        vpcctl vpc create --name vpc1 --cidr 10.0.0.0/16
        vpcctl subnet add --vpc vpc1 --name public --cidr 10.0.1.0/24 --type public
        vpcctl subnet add --vpc vpc1 --name private --cidr 10.0.2.0/24 --type private
    """)
    return host


def test_1_intra_vpc_communication(article: Host) -> None:
    assert "3 received" in article.sh("ping -c 3 -i 0.1 10.0.2.2", "vpc1-public")
    article.reaches("vpc1-private", "10.0.1.2")


def test_2_nat_gateway(article: Host) -> None:
    article.never_reaches("vpc1-public", *INTERNET)
    article.sh("vpcctl nat enable --vpc vpc1 --interface eth0")
    assert "3 received" in article.sh("ping -c 3 -i 0.1 8.8.8.8", "vpc1-public")
    article.reaches("vpc1-public", *INTERNET)
    article.never_reaches("vpc1-private", *INTERNET)
    listed = article.sh("iptables -t nat -L -n -v").splitlines()
    ours = [line for line in listed if "MASQUERADE" in line and "10.0." in line]
    assert len(ours) == 1
    assert "10.0.1.0/24" in ours[0]


def test_3_vpc_isolation_and_4_vpc_peering(article: Host) -> None:
    article.sh("""
        vpcctl vpc create --name vpc2 --cidr 172.16.0.0/16
        vpcctl subnet add --vpc vpc2 --name public --cidr 172.16.1.0/24 --type public
    """)
    ping = article.inside("vpc1-public", "ping", "-c", "1", "172.16.1.2")
    assert ping.code == 1
    assert "Destination Net Unreachable" in ping.out
    article.never_reaches("vpc2-public", "10.0.1.2", "10.0.2.2")
    article.sh("vpcctl peer create --vpc1 vpc1 --vpc2 vpc2")
    assert "3 received" in article.sh("ping -c 3 -i 0.1 172.16.1.2", "vpc1-public")
    article.reaches("vpc2-public", "10.0.1.2", "10.0.2.2")
    assert "172.16.0.0/16 via 10.0.0.1 " in article.sh("ip route", "vpc1-public")


def test_5_firewall_rules(article: Host) -> None:
    article.sh("vpcctl deploy webserver --vpc vpc1 --subnet public --port 8080")
    assert "public" in article.sh("curl -s http://10.0.1.2:8080")
    article.reaches("", "10.0.1.2")
    policy = article.write("test-policy.json", {
        "subnet": "10.0.1.0/24",
        "ingress": [{"port": 8080, "protocol": "tcp", "action": "allow"},
                    {"port": 22, "protocol": "tcp", "action": "deny"}],
    })
    article.sh(f"vpcctl firewall apply --vpc vpc1 --subnet public --policy {policy}")
    assert "public" in article.sh("curl -s http://10.0.1.2:8080")
    article.never_reaches("", "10.0.1.2", "10.0.1.2:22", "10.0.1.2:8081")


def test_the_demo_and_its_cleanup(article: Host) -> None:
    article.sh("""
        IFACE=$(ip route | grep default | awk '{print $5}' | head -1)
        vpcctl nat enable --vpc vpc1 --interface $IFACE
        vpcctl deploy webserver --vpc vpc1 --subnet public --port 8080
        vpcctl deploy webserver --vpc vpc1 --subnet private --port 8081
        vpcctl vpc create --name vpc2 --cidr 172.16.0.0/16
        vpcctl subnet add --vpc vpc2 --name public --cidr 172.16.1.0/24 --type public
        vpcctl nat enable --vpc vpc2 --interface $IFACE
        vpcctl peer create --vpc1 vpc1 --vpc2 vpc2
    """)
    article.reaches("vpc1-public", "10.0.2.2:8081", "172.16.1.2", *INTERNET)
    article.reaches("vpc2-public", "10.0.1.2:8080", "10.0.2.2:8081", *INTERNET)
    assert "vpc1" in article.sh("tail -30 /var/lib/vpcctl/vpcctl.log; vpcctl vpc list")
    article.sh("vpcctl vpc delete --name vpc1; vpcctl vpc delete --name vpc2")
    assert sorted(article.sh("ls /run/netns").split()) == ["internet", "other", "vpc1-elsewhere"]
    assert "vpcctl" not in article.sh("iptables-save; ip link").replace("not-vpcctl", "")

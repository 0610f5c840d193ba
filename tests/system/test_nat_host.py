"""What NAT needs of the host: its settings are put back, its resolvers and its MTU are taken over."""

from __future__ import annotations

import pytest
from host import INTERNET, UPLINK, Host

FORWARDING = "net.ipv4.ip_forward"
STUB = "nameserver 127.0.0.53\noptions edns0\n"


def setting(host: Host, key: str) -> str:
    return host.sh(f"sysctl -n {key}").strip()


@pytest.mark.parametrize("found", ["0", "1"])
def test_forwarding_is_as_it_was_after_the_last_user(vpc2: Host, found: str) -> None:
    vpc2.sh(f"sysctl -qw {FORWARDING}={found} net.ipv4.conf.br-office.forwarding=1")
    before = vpc2.portrait()["sysctls"]
    vpc2.do("nat enable --vpc vpc1")
    vpc2.do("nat enable --vpc vpc2")
    vpc2.do("nat disable --vpc vpc1")
    assert setting(vpc2, FORWARDING) == "1", "still needed"
    vpc2.reaches("vpc2-public", *INTERNET)
    vpc2.do("nat disable --vpc vpc2")
    assert setting(vpc2, FORWARDING) == found
    assert vpc2.portrait()["sysctls"] == before
    vpc2.sh(f"sysctl -qw {FORWARDING}=0 net.ipv4.conf.br-office.forwarding=0; "
            "sysctl -qw net.ipv4.conf.all.accept_redirects=1")


@pytest.mark.parametrize("redirects", ["0", "1"])
def test_accept_redirects_is_put_back(vpc1: Host, redirects: str) -> None:
    key = "net.ipv4.conf.all.accept_redirects"
    vpc1.sh(f"sysctl -qw {key}={redirects}")
    vpc1.do("nat enable --vpc vpc1")
    vpc1.do("vpc delete --name vpc1")
    assert setting(vpc1, key) == redirects
    vpc1.sh(f"sysctl -qw {key}=1")


def test_a_value_that_somebody_turned_off_stays_off(vpc1: Host) -> None:
    vpc1.sh(f"sysctl -qw {FORWARDING}=1")
    vpc1.do("nat enable --vpc vpc1")
    vpc1.sh(f"sysctl -qw {FORWARDING}=0")
    vpc1.do("nat disable --vpc vpc1")
    assert setting(vpc1, FORWARDING) == "0"


def test_the_host_s_bridge_netfilter_is_never_touched(vpc1: Host) -> None:
    before = [line for line in vpc1.before["sysctls"] if "/bridge/" in line]
    vpc1.do("nat enable --vpc vpc1")
    assert [line for line in vpc1.portrait()["sysctls"] if "/bridge/" in line] == before


def test_resolvers_are_the_real_ones(vpc1: Host) -> None:
    vpc1.sh(f"printf '{STUB}' >/etc/resolv.conf; mkdir -p /run/systemd/resolve")
    vpc1.sh("echo nameserver 1.1.1.1 >/run/systemd/resolve/resolv.conf")
    vpc1.do("nat enable --vpc vpc1")
    listed = vpc1.sh("cat /etc/resolv.conf", "vpc1-public").splitlines()
    assert [line for line in listed if not line.startswith("#")] == ["nameserver 1.1.1.1"]
    page = vpc1.do("exec --vpc vpc1 --subnet public -- curl -s --max-time 5 http://example.com")
    assert UPLINK in page.out
    vpc1.sh("rm -r /run/systemd; echo nameserver 8.8.8.8 >/etc/resolv.conf")


@pytest.mark.parametrize("server", ["127.0.0.53", "127.0.0.1", UPLINK, "::1"])
def test_a_resolver_on_the_host_itself_is_not_handed_out(vpc1: Host, server: str) -> None:
    vpc1.sh(f"echo nameserver {server} >/etc/resolv.conf")
    done = vpc1.do("nat enable --vpc vpc1")
    assert "name server" in done.err
    assert server not in vpc1.sh("cat /etc/netns/vpc1-public/* || true")
    vpc1.reaches("vpc1-public", *INTERNET)
    vpc1.sh("echo nameserver 8.8.8.8 >/etc/resolv.conf")


def test_a_resolver_file_of_somebody_else_is_not_taken_over(vpc1: Host) -> None:
    vpc1.sh("mkdir /etc/netns/vpc1-public; echo nameserver 192.0.2.1 >/etc/netns/vpc1-public/resolv.conf")
    vpc1.refused("nat enable --vpc vpc1", says="/etc/netns/vpc1-public/resolv.conf already exists")
    vpc1.sh("rm -r /etc/netns/vpc1-public")


def transfer(host: Host, namespace: str, address: str, size: int = 3_000_000) -> list[str]:
    """Bytes that came through from there, and from here to there."""
    code = f"""if 1:
        import socket
        down = socket.create_connection(({address!r}, 9000), 5)
        down.sendall(b"SEND {size}")
        count = 0
        while part := down.recv(65536): count += len(part)
        up = socket.create_connection(({address!r}, 9000), 5)
        up.sendall(b"TAKE ")
        up.sendall(b"x" * {size})
        up.shutdown(socket.SHUT_WR)
        print(count, up.recv(100).decode())
    """
    return host.sh(f"timeout 20 python3 - <<'END'\n{code}\nEND\n", namespace).split()


NO_ICMP = "iptables -I OUTPUT -p icmp -j DROP; ip netns exec vpc1 iptables -I OUTPUT -p icmp -j DROP"


@pytest.mark.parametrize("lost", [":", NO_ICMP])
def test_an_uplink_with_a_small_mtu(vpc1: Host, lost: str) -> None:
    vpc1.sh("ip link set eth0 mtu 1400; ip -n internet link set sandbox mtu 1400")
    vpc1.listen("internet", "9000")
    vpc1.do("nat enable --vpc vpc1")
    vpc1.sh(lost)
    for where, namespace in (("vpc-vpc1", ""), ("uplink", "vpc1")):
        assert " mtu 1400 " in vpc1.sh(f"ip link show {where}", namespace)
    assert transfer(vpc1, "vpc1-public", "8.8.8.8") == ["3000000", "3000000"]
    vpc1.sh(lost.replace("-I", "-D"))
    vpc1.do("nat disable --vpc vpc1")
    assert " mtu 1500 " in vpc1.sh("ip link show vpc-vpc1")
    vpc1.sh("ip link set eth0 mtu 1500; ip -n internet link set sandbox mtu 1500")


def test_an_uplink_too_small_for_ipv6(vpc1: Host) -> None:
    vpc1.sh("ip link set eth0 mtu 1000")
    vpc1.do("nat enable --vpc vpc1")
    vpc1.reaches("vpc1-public", "8.8.8.8")
    assert vpc1.do("status").out == "in sync\n"
    vpc1.sh("ip -n vpc1 link set uplink mtu 1500")
    vpc1.do("restore")
    vpc1.do("nat disable --vpc vpc1")
    assert "inet6" not in vpc1.sh("ip address show dev vpc-vpc1")
    # With its size it lost all of IPv6.
    vpc1.sh("ip link set eth0 mtu 1500; ip link set eth0 addrgenmode none; ip -6 addr flush dev eth0; "
            "ip addr add 2001:db8::2/64 dev eth0 nodad; ip addr add fe80::2/64 dev eth0 nodad; "
            "ip route add ::/0 via 2001:db8::1")


@pytest.mark.parametrize(("mtu", "segment"), [("1500", "1448"), ("1400", "1348")])
def test_tcp_learns_of_it(vpc1: Host, mtu: str, segment: str) -> None:
    vpc1.sh(f"ip link set eth0 mtu {mtu}")
    vpc1.listen("internet", "9000")
    vpc1.do("nat enable --vpc vpc1")
    answer = vpc1.reaches("vpc1-public", "8.8.8.8:9000")[0].answer
    assert answer == f"internet sees {UPLINK} mss {segment}", "MSS of the SYN, less 12 for timestamps"
    vpc1.sh("ip link set eth0 mtu 1500")


def test_an_interface_may_be_called_by_its_other_name(vpc1: Host) -> None:
    vpc1.sh("ip link property add dev eth0 altname enp0s3")
    vpc1.do("nat enable --vpc vpc1 --interface enp0s3")
    vpc1.reaches("vpc1-public", "8.8.8.8")
    assert vpc1.do("status").out == "in sync\n"
    vpc1.sh("ip link property del dev eth0 altname enp0s3")

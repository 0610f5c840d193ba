"""Machines by the commands: added, listed, used and deleted; what neighbours in one subnet can't do."""

from __future__ import annotations

import json

import pytest
from frames import (
    ARP,
    END,
    EVERYBODY,
    IPV4,
    LLDP,
    REPLY,
    REQUEST,
    arp,
    ether,
    icmp,
    listen,
    names,
    send,
    udp,
)
from host import CHECKOUT, Host

from vpcctl_lib.model.naming import mac

WEB1, WEB2 = "vpc1-public.web1", "vpc1-public.web2"
GATEWAY, ROUTERS = "10.0.0.1", mac("vpc1")
OWN_MAC, WEB1_MAC, WEB2_MAC = "02:10:0a:00:01:02", "02:10:0a:00:01:04", "02:10:0a:00:01:05"
POLICY = {"ingress": [{"protocol": "icmp", "action": "allow", "source": "10.0.1.0/24"}], "default": "deny"}


@pytest.fixture
def crowd(vpc1: Host) -> Host:
    """Two machines more in the public subnet, and one in the private."""
    vpc1.do("instance add --vpc vpc1 --subnet public --name web1")
    vpc1.do("instance add --vpc vpc1 --subnet public --name web2 --address 10.0.1.5 --address 10.0.1.6")
    vpc1.do("instance add --vpc vpc1 --subnet private --name db1 --address 10.0.2.9")
    vpc1.do("deploy run --vpc vpc1 --subnet public --instance web1 --name worker -- sleep infinity")
    return vpc1


def test_what_is_listed_of_them(crowd: Host) -> None:
    found = crowd.do("instance list --vpc vpc1 --subnet public --json").json["instances"]
    ours = {"interface": "eth0", "container": None, "netns": None, "tap": None, "bandwidth": None}
    assert found == [
        {"vpc": "vpc1", "subnet": "public", "name": "web1", "namespace": WEB1, "address": "10.0.1.4",
         "addresses": ["10.0.1.4"], "mac": WEB1_MAC, "forwards": False, **ours, "groups": [],
         "state": "running", "workloads": ["worker"]},
        {"vpc": "vpc1", "subnet": "public", "name": "web2", "namespace": WEB2, "address": "10.0.1.5",
         "addresses": ["10.0.1.5", "10.0.1.6"], "mac": WEB2_MAC, "forwards": False, **ours, "groups": [],
         "state": "running", "workloads": []}]
    crowd.sh(f"ip netns del {WEB2}")
    lost = crowd.do("instance show --vpc vpc1 --subnet public --name web2 --json").json["instance"]
    assert lost["state"] == "missing"
    shown = crowd.do("instance show --vpc vpc1 --subnet public --name web1").out
    for command in ("ip -n vpc1-public.web1 addr show eth0", "ip -n vpc1 link show i-public.web1"):
        assert command in shown
        crowd.sh(command)
    subnet = crowd.do("subnet list --vpc vpc1 --json").json["subnets"][0]
    assert (subnet["instances"], subnet["workloads"]) == (["web1", "web2"], ["worker"])
    overview = crowd.do("vpc show --name vpc1 --json").json["vpc"]
    assert [one["name"] for one in overview["instances"]] == ["web1", "web2", "db1"]
    rows = crowd.do("instance list").out.splitlines()[1:]
    assert [row.split()[2] for row in rows] == ["web1", "web2", "db1"]


def test_commands_act_in_a_machine(crowd: Host) -> None:
    at = "--vpc vpc1 --subnet public --instance web2"
    assert crowd.do(f"exec {at} -- hostname -I").out.split() == ["10.0.1.5", "10.0.1.6"]
    crowd.do(f"deploy webserver {at} --port 80")
    (one,) = [one for one in crowd.do("deploy list --json").json["workloads"] if one["instance"] == "web2"]
    assert (one["name"], one["state"], one["url"]) == ("webserver-80", "running", "http://10.0.1.5:80")
    assert "10.0.1.5" in crowd.sh("curl -s http://10.0.1.5", WEB1)
    assert crowd.do(f"deploy logs {at} --name webserver-80 --json").json["log"]["instance"] == "web2"
    file = crowd.write("policy.json", POLICY)
    crowd.do(f"firewall apply --vpc vpc1 --subnet public --policy {file}")
    crowd.sh("ping -q -c 3 -i 0.1 10.0.1.5", WEB1)
    counted = [crowd.do(f"firewall show --vpc vpc1 --subnet public {which} --json").json["firewall"]
               for which in ("", "--instance web2")]
    assert [one["instance"] for one in counted] == [None, "web2"]
    assert [one["counters"]["ingress[0]"]["packets"] for one in counted] == [0, 1]
    pcap = crowd.scratch / "web2.pcap"
    crowd.start(WEB1, "ping", "-q", "-i", "0.2", "10.0.1.5")
    crowd.do(f"capture {at} -- -c 1 -w {pcap} icmp")
    assert "10.0.1.4 > 10.0.1.5" in crowd.sh(f"tcpdump -nr {pcap} 2>/dev/null")
    crowd.do(f"deploy stop {at} --name webserver-80")
    assert "webserver-80" not in crowd.do("deploy list").out


def heard(host: Host, namespace: str, device: str, sent: dict[str, bytes], last: bytes) -> list[str]:
    """The names of the frames of web1 that come there; the last one has to."""
    ear = listen(host, namespace, device)
    send(host, WEB1, [*sent.values(), last])
    return names(host, ear)


def datagram(target: str, source: str, name: str, hardware: tuple[str, str]) -> bytes:
    return ether(*hardware, IPV4, udp(source, target, (7, 7), name))


def spoofed(target: str, address: str) -> dict[str, bytes]:
    """What web1 might send in the name of web2, its neighbour in the subnet, or of nobody there."""
    straight = (WEB1_MAC, target)
    return {
        "its address": datagram(address, "10.0.1.5", "its address", straight),
        "its other address": datagram(address, "10.0.1.6", "its other address", straight),
        "its MAC": datagram(address, "10.0.1.4", "its MAC", (WEB2_MAC, target)),
        "both": datagram(address, "10.0.1.5", "both", (WEB2_MAC, target)),
        "a free address": datagram(address, "10.0.1.77", "a free address", straight),
        "the gateway": datagram(address, GATEWAY, "the gateway", straight),
        "ARP": ether(*straight, ARP, arp(REPLY, (WEB1_MAC, "10.0.1.5"), (target, address), "ARP")),
        "ARP of its MAC": ether(*straight, ARP, arp(REPLY, (WEB2_MAC, "10.0.1.4"), (target, address),
                                                    "ARP of its MAC")),
        "an error": ether(*straight, IPV4, icmp("10.0.1.4", address, 3, 3,
                                                udp(address, "10.0.1.5", (1, 2), "an error"))),
    }


@pytest.mark.parametrize(("namespace", "device", "target", "address"), [
    ("vpc1-public", "eth0", OWN_MAC, "10.0.1.2"), (WEB2, "eth0", WEB2_MAC, "10.0.1.5"),
    ("vpc1", "br-vpc1", ROUTERS, GATEWAY)], ids=["own", "web2", "router"])
def test_nothing_passes_in_a_neighbour_s_name(crowd: Host, namespace: str, device: str, target: str,
                                              address: str) -> None:
    honest = {"honest": datagram(address, "10.0.1.4", "honest", (WEB1_MAC, target))}
    last = datagram(address, "10.0.1.4", END, (WEB1_MAC, target))
    assert heard(crowd, namespace, device, {**spoofed(target, address), **honest}, last) == ["honest"]


def test_nobody_takes_over_where_a_neighbour_is(crowd: Host) -> None:
    def known() -> tuple[str, ...]:
        return tuple(crowd.sh(command, "vpc1") for command in ("bridge fdb show br br-vpc1 | sort",
                                                              "ip neigh show | sort"))

    before = known()
    send(crowd, WEB1, [
        ether(WEB1_MAC, EVERYBODY, ARP, arp(REQUEST, (WEB1_MAC, "10.0.1.5"), (EVERYBODY, "10.0.1.5"))),
        ether(WEB1_MAC, ROUTERS, ARP, arp(REPLY, (WEB1_MAC, "10.0.1.5"), (ROUTERS, GATEWAY))),
        ether(WEB2_MAC, ROUTERS, IPV4, udp("10.0.1.5", GATEWAY, (7, 7), "moved")),
        ether(WEB2_MAC, "01:80:c2:00:00:0e", LLDP, b"\2\7\4")])
    crowd.reaches("vpc1-public", "10.0.1.5", "10.0.1.6")
    assert known() == before


@pytest.mark.parametrize(("namespace", "device", "target", "address"), [
    ("vpc1-public", "eth0", OWN_MAC, "10.0.1.2"), ("vpc1", "br-vpc1", ROUTERS, GATEWAY)])
def test_a_machine_that_forwards_sends_others_packets_with_its_own_mac(
        crowd: Host, namespace: str, device: str, target: str, address: str) -> None:
    crowd.do("instance delete --vpc vpc1 --subnet public --name web1")
    crowd.do("instance add --vpc vpc1 --subnet public --name web1 --forwards")
    last = datagram(address, "10.0.1.4", END, (WEB1_MAC, target))
    passed = ["its address", "its other address", "a free address", "the gateway", "an error"]
    assert heard(crowd, namespace, device, spoofed(target, address), last) == passed
    assert crowd.sh("cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/conf/eth0/send_redirects",
                    WEB1).split() == ["1", "0"]
    assert crowd.sh("cat /proc/sys/net/ipv4/ip_forward", WEB2) == "0\n"
    assert crowd.do("status").out == "in sync\n"
    crowd.sh("echo 0 >/proc/sys/net/ipv4/ip_forward", WEB1)
    assert crowd.vpcctl("status").code == 1
    crowd.do("restore")
    crowd.sh("rm /var/lib/vpcctl/state.json /var/lib/vpcctl/state.json.bak")
    crowd.do("restore --from-kernel")
    found = crowd.do("instance list --vpc vpc1 --json").json["instances"]
    assert {one["name"]: one["forwards"] for one in found} == {"web1": True, "web2": False, "db1": False}


def test_forwarding_is_switched_in_place_by_a_file(crowd: Host) -> None:
    """Others keep their table of machines, and the machine its connections."""
    file = crowd.write("net.json", json.loads(crowd.do("export --json").out)["topology"])
    whole = json.loads(crowd.sh(f"cat {file}"))
    whole["vpcs"]["vpc1"]["subnets"]["public"]["instances"]["web1"]["forwards"] = True
    inode = crowd.sh(f"stat -Lc %i /run/netns/{WEB1}")
    done = crowd.do(f"apply -f {crowd.write('more.json', whole)}")
    assert done.out.startswith("~ machine vpc1/public/web1: forwards: ")
    assert crowd.sh("cat /proc/sys/net/ipv4/ip_forward", WEB1) == "1\n"
    assert crowd.do("status").out == "in sync\n"
    crowd.do(f"apply -f {file}")
    assert crowd.sh("cat /proc/sys/net/ipv4/ip_forward", WEB1) == "0\n"
    assert crowd.sh(f"stat -Lc %i /run/netns/{WEB1}") == inode
    last = datagram("10.0.1.2", "10.0.1.4", END, (WEB1_MAC, OWN_MAC))
    assert heard(crowd, "vpc1-public", "eth0", spoofed(OWN_MAC, "10.0.1.2"), last) == []


def test_a_bare_subnet_is_only_a_range(vpc1: Host) -> None:
    vpc1.do("subnet add --vpc vpc1 --name range --cidr 10.0.3.0/24 --bare")
    assert "vpc1-range" not in vpc1.sh("ip netns list")
    (view,) = [one for one in vpc1.do("subnet list --json").json["subnets"] if one["name"] == "range"]
    assert (view["namespace"], view["address"], view["instances"]) == (None, None, [])
    vpc1.refused("exec --vpc vpc1 --subnet range -- true", says="vpc1/range has no machine of its own")
    before = vpc1.state()["topology"]
    vpc1.sh("rm /var/lib/vpcctl/state.json /var/lib/vpcctl/state.json.bak")
    vpc1.do("restore --from-kernel")
    assert vpc1.state()["topology"]["vpcs"] == before["vpcs"]
    vpc1.do("instance add --vpc vpc1 --subnet range --name first")
    vpc1.reaches("vpc1-range.first", "10.0.0.1", "10.0.1.2")
    vpc1.reaches("vpc1-public", "10.0.3.4")
    assert "bare" in vpc1.do("graph").out
    vpc1.do("subnet delete --vpc vpc1 --name range")
    vpc1.never_reaches("vpc1-public", "10.0.3.4")


def test_a_machine_goes_alone_and_comes_back(crowd: Host) -> None:
    (one,) = crowd.do("deploy list --json").json["workloads"]
    done = crowd.do("instance delete --vpc vpc1 --subnet public --name web1")
    assert done.err == "vpcctl: its workloads end with it: worker\n"
    assert not crowd.alive(one["pid"])
    crowd.never_reaches("vpc1-public", "10.0.1.4")
    crowd.reaches("vpc1-public", "10.0.1.5", "10.0.2.9")
    assert crowd.do("status").out == "in sync\n"
    crowd.do("instance add --vpc vpc1 --subnet public --name other")
    crowd.reaches("vpc1-public", "10.0.1.4")
    other = crowd.do("instance show --vpc vpc1 --subnet public --name other --json").json["instance"]
    assert other["mac"] == WEB1_MAC, "the address decides"


def test_cleanup_removes_machines_without_a_record(crowd: Host) -> None:
    (one,) = crowd.do("deploy list --json").json["workloads"]
    crowd.sh("rm /var/lib/vpcctl/state.json /var/lib/vpcctl/state.json.bak")
    crowd.sh(f"{CHECKOUT}/cleanup.sh --yes")
    left = crowd.sh("ip netns list")
    assert not [space for space in (WEB1, WEB2, "vpc1-private.db1") if space in left]
    assert not crowd.alive(one["pid"])
    crowd.sh("rm -r /var/lib/vpcctl/logs")


def test_a_nearly_full_neighbour_table_is_told_before(crowd: Host) -> None:
    shim = crowd.scratch / "ip"
    real = crowd.sh("command -v ip").strip()
    shim.write_text('#!/bin/sh\ncase "$*" in *ntable*) echo \'[{"thresh3":1024,"entries":890}]\' ;;\n'
                    f'*) exec {real} "$@" ;; esac\n')
    shim.chmod(0o755)
    crowd.environment["PATH"] = f"{crowd.scratch}:{crowd.sh('printf %s $PATH')}"
    done = crowd.do("instance add --vpc vpc1 --subnet public --name web3")
    assert "neighbour table" in done.err
    assert "879 of 1,024" in done.err
    assert "gc_thresh3=8192" in done.err
    assert "neighbour table" in crowd.do("status").err
    # Permanent entries of others take no place either.
    crowd.sh("for n in $(seq 100 170); do ip neigh add 192.168.77.$n lladdr 02:00:00:00:00:01 dev eth0 nud "
             "permanent; done", "other")
    assert "neighbour table" not in crowd.do("status").err
    crowd.sh("ip neigh flush nud permanent dev eth0", "other")

"""DHCP for virtual machines behind taps, with real clients on the guest's side."""

from __future__ import annotations

import pytest
from host import Host
from pump import plugged
from test_dhcp import CLIENTS, DENY, TELL, got

SPACE, MAC, ADDRESS = "vpc1-private.vm", "02:10:0a:00:02:04", "10.0.2.4"
SITE, WHERE = "vpc1/private/vm", "--vpc vpc1 --subnet private --name vm"
KILL = ("for pid in $(ip netns pids vpc1); do grep -qs dnsmasq /proc/$pid/comm && kill -9 $pid; done; "
        "sleep 0.5")
COUNT = """nft -f - <<'END'
table netdev counted {
  chain frames { type filter hook ingress device "i-private.vm" priority -400; counter; }
}
END"""


def plug(host: Host, mac: str = MAC, tap: str = "vm0") -> int:
    """Give the namespace `guest` the other end of the tap."""
    return plugged(host, SPACE, mac, tap)


@pytest.fixture
def virtual(vpc1: Host) -> Host:
    """A machine with a tap, and a guest behind it that knows nothing but its MAC."""
    vpc1.do("dns enable --vpc vpc1")
    vpc1.do("dhcp enable --vpc vpc1 --ntp 10.0.1.2 --lease 12h")
    vpc1.do(f"instance attach {WHERE} --tap vm0")
    vpc1.sh(f"ip netns add guest; ip -n guest link set lo up; cat >/run/tell <<'EOF'\n{TELL}EOF\n"
            "chmod +x /run/tell")
    plug(vpc1)
    return vpc1


def tidy(host: Host) -> None:
    """What the clients leave."""
    host.do(f"instance detach {WHERE}")
    host.sh("ip netns del guest; rm -rf /run/told /run/tell /run/leases /run/dhclient.pid /run/dhcpcd*")


@pytest.mark.parametrize("client", CLIENTS)
def test_a_guest_gets_its_machine_s_address_again_and_again(virtual: Host, client: str) -> None:
    assert got(virtual, client, "guest") == ADDRESS
    if client == "udhcpc":
        assert virtual.sh("cat /run/told").split() == [
            ADDRESS, "255.255.0.0", "10.0.0.1", "169.254.169.253", "private.vpc1.internal",
            "private.vpc1.internal", "vpc1.internal", "10.0.1.2", "1500", "0.0.0.0/0", "10.0.0.1", "43200"]
    virtual.sh(KILL)
    assert got(virtual, client, "guest") == ADDRESS
    if client == "dhcpcd":
        # With nothing but what the client set, it gets everywhere, and is reached.
        virtual.listen("vpc1-public", "80")
        assert "vpc1-public" in virtual.reaches("guest", "10.0.1.2:80")[0].answer
        virtual.reaches("guest", "10.0.0.1", "169.254.169.253")
        virtual.listen("guest", "80")
        virtual.reaches("vpc1-public", f"{ADDRESS}:80", ADDRESS)
        assert virtual.inside("guest", "busybox", "nslookup", "public.vpc1.internal",
                              "169.254.169.253").code == 0
    assert virtual.do("status").out == "in sync\n"
    tidy(virtual)


def test_a_lease_is_renewed_and_no_policy_and_no_acl_is_asked(virtual: Host) -> None:
    """First by a unicast to the server, then by a broadcast from the address (RFC 2131, section 4.4.5)."""
    virtual.do("firewall apply --vpc vpc1 --subnet private --policy", virtual.write("deny.json", DENY))
    virtual.do("acl create --vpc vpc1 --name none")
    virtual.do("acl associate --vpc vpc1 --subnet private --name none")
    for client in CLIENTS:
        virtual.sh("ip -n guest addr flush dev eth0; ip -n guest route flush table main")
        assert got(virtual, client, "guest") == ADDRESS
    virtual.none_reach(("guest", "10.0.1.2"), ("vpc1-public", ADDRESS))
    virtual.sh("cat >/run/tell <<'EOF'\n#!/bin/sh\n"
               "[ $1 = deconfig ] || echo $1 $ip >>/run/told\n"
               "[ $1 = bound ] || exit 0\n"
               "ip addr replace $ip/32 dev eth0; ip route replace 10.0.0.1 dev eth0\nEOF\n"
               "rm -f /run/told; ip -n guest addr flush dev eth0")
    client = virtual.start("guest", "busybox", "udhcpc", "-i", "eth0", "-f", "-s", "/run/tell")
    virtual.wait_until(lambda: "bound" in virtual.run("cat", "/run/told").out, "it has its address")
    for count in (1, 2):
        virtual.sh(f"kill -USR1 {client}")
        renewed = f'[ $(grep -c "renew {ADDRESS}" /run/told) -ge {count} ]'
        virtual.sh(f"until {renewed}; do sleep 0.05; done")
        virtual.sh(KILL)
    virtual.stop(client)
    tidy(virtual)


@pytest.mark.parametrize("guarded", [True, False])
def test_a_guest_that_is_somebody_else_gets_nothing(virtual: Host, guarded: bool) -> None:
    """Its namespace lets only its own questions through, whether or not the ports are guarded."""
    if not guarded:
        virtual.sh("nft delete table bridge vpcctl", "vpc1")
    virtual.sh(COUNT, "vpc1")
    for mac in ("02:10:0a:00:02:02", "02:00:00:00:00:99"):
        virtual.sh(f"ip -n guest link set eth0 address {mac}")
        assert got(virtual, "udhcpc", "guest") == ""
    assert "packets 0 " in virtual.sh("nft list table netdev counted", "vpc1")
    virtual.sh(f"ip -n guest link set eth0 address {MAC}")
    assert got(virtual, "udhcpc", "guest") == ADDRESS
    assert "packets 0 " not in virtual.sh("nft list table netdev counted; nft delete table netdev counted",
                                          "vpc1")
    tidy(virtual)


def test_a_guest_gives_nobody_addresses(virtual: Host) -> None:
    """It hears no question of others, and its answers stay in its namespace."""
    virtual.sh("ip -n guest addr add 10.0.2.4/16 dev eth0; ip netns add lab; ip -n lab link set lo up")
    virtual.do("instance attach --vpc vpc1 --subnet public --name lab --netns /run/netns/lab")
    virtual.sh("ip -n lab addr flush dev eth0; ip -n lab route flush table main")
    virtual.start("guest", "dnsmasq", "-k", "-C", "/dev/null", "-x", "/run/rogue", "-u", "root", "-p", "0",
                  "--dhcp-range=10.0.2.100,10.0.2.120,255.255.0.0", "--dhcp-authoritative",
                  "--leasefile-ro", "--no-ping")
    virtual.sh("""nft -f - <<'END'
table ip heard { chain questions { type filter hook prerouting priority -400; udp dport 67 counter; }
}
END""", "guest")
    for _ in range(3):
        assert got(virtual, "udhcpc", "lab") == "10.0.1.4"
    virtual.do("dhcp disable --vpc vpc1")
    assert got(virtual, "udhcpc", "lab") == ""
    assert "packets 0 " in virtual.sh("nft list table ip heard", "guest")
    assert "netdev" not in virtual.sh("nft list tables", SPACE)
    virtual.do("instance detach --vpc vpc1 --subnet public --name lab")
    virtual.sh("ip netns del lab; rm -f /run/rogue")
    tidy(virtual)


LOSSES = {"table": "nft delete table netdev vpcctl", "rules": "nft flush chain netdev vpcctl answered",
          "tap": "ip link del vm0", "link": "ip link del eth0"}


@pytest.mark.parametrize("loss", LOSSES)
def test_what_is_lost_is_told_and_restored(virtual: Host, loss: str) -> None:
    virtual.sh(LOSSES[loss], SPACE)
    told = virtual.vpcctl("status")
    assert f"way of DHCP through {SPACE}" in told.out, told.out
    virtual.do("restore")
    assert virtual.do("status").out == "in sync\n"
    if loss == "tap":
        # The guest's card went with its tap.
        plug(virtual)
    assert got(virtual, "udhcpc", "guest") == ADDRESS
    tidy(virtual)


def test_dhcp_comes_to_a_guest_that_exists_and_moves_with_it(virtual: Host) -> None:
    before = virtual.do("export").out
    assert "tap: vm0" in before
    virtual.do("dhcp disable --vpc vpc1")
    assert got(virtual, "udhcpc", "guest") == ""
    virtual.sh(virtual.do("dhcp enable --vpc vpc1 --dry-run").out)
    assert got(virtual, "udhcpc", "guest") == ADDRESS
    virtual.do("restore")
    virtual.do(f"instance detach {WHERE}")
    virtual.sh("kill $(ip netns pids guest); while ip netns pids guest | grep -q .; do sleep 0.05; done")
    done = virtual.vpcctl("apply", "-f", "-", stdin=before.replace("tap: vm0", "tap: vm1"))
    assert done.code == 0, done
    plug(virtual, tap="vm1")
    assert got(virtual, "udhcpc", "guest") == ADDRESS
    # As a plain machine, it has no such way.
    done = virtual.vpcctl("apply", "-f", "-", stdin=before.replace("            tap: vm0\n", ""))
    assert done.code == 0, done
    assert "netdev" not in virtual.sh("nft list tables", SPACE)
    assert virtual.do("status").out == "in sync\n"
    virtual.do("instance delete --vpc vpc1 --subnet private --name vm")
    virtual.sh("ip netns del guest; rm -rf /run/told /run/tell")


def test_a_guest_that_asks_in_vain_is_told_where_ports_are_not_guarded(host: Host) -> None:
    nft = host.scratch / "nft"
    nft.write_text("#!/bin/sh\necho 'Error: Could not process rule: Operation not supported' >&2\nexit 1\n")
    nft.chmod(0o755)
    host.environment["PATH"] = f"{host.scratch}:{host.sh('printf %s $PATH')}"
    host.do("vpc create --name vpc1 --cidr 10.0.0.0/16")
    host.do("subnet add --vpc vpc1 --name private --cidr 10.0.2.0/24")
    host.do("dns enable --vpc vpc1")
    warned = f"vpcctl: {SITE} gets no address by DHCP: where ports are not guarded, nothing carries"
    assert warned not in host.do(f"instance attach {WHERE} --tap vm0").err
    for line in ("dhcp enable --vpc vpc1", "dhcp disable --vpc vpc1", "dhcp enable --vpc vpc1"):
        assert host.do(line).err.count(warned) == ("enable" in line)
    assert warned not in host.do("instance add --vpc vpc1 --subnet private --name plain").err, "said once"
    host.do(f"instance detach {WHERE}")
    assert f"Set {ADDRESS} in the guest" in host.do(f"instance attach {WHERE} --tap vm0").err
    assert any(SITE in note for note in host.do("status --json").json["status"]["notes"])
    del host.environment["PATH"]
    host.do("restore")
    assert host.do("status --json").json["status"]["notes"] == []
    host.sh(f"ip netns add guest; ip -n guest link set lo up; cat >/run/tell <<'EOF'\n{TELL}EOF\n"
            "chmod +x /run/tell")
    plug(host)
    assert got(host, "udhcpc", "guest") == ADDRESS
    tidy(host)

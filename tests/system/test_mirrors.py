"""Copies of a machine's packets: complete, at their target only, and never a way into anything."""

from __future__ import annotations

import json
import re
import sys

import pytest
import yaml
from host import Host
from test_taps import Guest

SOURCE, OTHER, TARGET, ASIDE = "vpc1-public.web1", "vpc1-public", "vpc1-private.sniffer", "vpc1-private"
MIRROR = "--vpc vpc1 --subnet public --instance web1 --to private/sniffer"
ADDRESS, GATEWAY = {SOURCE: "10.0.1.4", OTHER: "10.0.1.2", TARGET: "10.0.2.4", ASIDE: "10.0.2.2"}, "10.0.0.1"
PORT = "i-public.web1"
FOREIGN = "0e:00:00:00:00:01"


@pytest.fixture
def host(vpc1: Host) -> Host:
    vpc1.do("instance add --vpc vpc1 --subnet public --name web1")
    vpc1.do("instance add --vpc vpc1 --subnet private --name sniffer")
    return vpc1


OF_ITSELF = re.compile("listening on|tcpdump: |dropped privs")


class Capture:
    """tcpdump at a link, which prints a line for each packet, by default of those in a capture filter."""

    def __init__(self, host: Host, namespace: str, *words: str, device: str = "eth0") -> None:
        self.host, self.file = host, host.scratch / f"{namespace}-{device}.txt"
        self.file.unlink(missing_ok=True)
        self.pid = host.start(namespace, "tcpdump", "-lnne", "-i", device, *words, output=str(self.file))
        host.wait_until(lambda: self.file.exists() and "listening on" in self.file.read_text(), "it captures")

    def lines(self) -> list[str]:
        """What it has printed of packets."""
        return [line for line in self.file.read_text().splitlines() if line and not OF_ITSELF.match(line)]

    def stop(self) -> list[str]:
        """All that it has printed."""
        before = None
        while before != self.lines():
            before = self.lines()
            self.host.sh("sleep 0.4")
        self.host.stop(self.pid)
        return before or []


def decapsulated(host: Host, namespace: str, vni: int = 1) -> str:
    """The link of the target's own that takes the copies out of their VXLAN, as AWS describes it."""
    host.sh(f"ip link add copies type vxlan id {vni} local {ADDRESS[namespace]} dstport 4789\n"
            "ip link set copies up addrgenmode none", namespace)
    return "copies"


def packets(lines: list[str]) -> list[str]:
    """Who sent what to whom, and how long it is, without times.

    Without the kernel's own reports of its multicast addresses: it sends them when it likes (MLD, RFC 3810),
    also after the first of two captures has ended.
    """
    return sorted(re.sub(r"^\S+ ", "", line) for line in lines if "multicast listener report" not in line)


@pytest.mark.parametrize("ipv6", [False, True])
def test_the_copy_is_complete_and_only_at_its_target(host: Host, ipv6: bool) -> None:
    if ipv6:
        host.do("vpc set --name vpc1 --ipv6 auto")
    done = host.do(f"mirror create {MIRROR}")
    assert done.out == ("vpc1/private/sniffer gets a copy of the packets of vpc1/public/web1 "
                        "(VXLAN, UDP 4789, VNI 1)\n")
    there = Capture(host, TARGET, device=decapsulated(host, TARGET))
    here = Capture(host, SOURCE)
    elsewhere = [Capture(host, name, "udp", "port", "4789") for name in (OTHER, ASIDE)]
    target = address6(host, OTHER) if ipv6 else ADDRESS[OTHER]
    host.listen(OTHER, "80", "53/udp", address="::" if ipv6 else "0.0.0.0")  # noqa: S104
    brackets = f"[{target}]" if ipv6 else target
    host.reaches(SOURCE, target, f"{brackets}:80", f"{brackets}:53/udp")
    # As large as the link takes, and in fragments.
    host.sh(f"ping -c 3 -i 0.2 -s 1400 {target} && ping -c 2 -i 0.2 -s 4000 {target}", SOURCE)
    sent = packets(here.stop())
    assert len(sent) > 20
    assert packets(there.stop()) == sent
    assert [one.stop() for one in elsewhere] == [[], []]


def address6(host: Host, namespace: str) -> str:
    shown = json.loads(host.sh("ip -j -6 addr show dev eth0 scope global", namespace))
    return str(shown[0]["addr_info"][0]["local"])


def test_what_comes_from_outside_and_what_no_policy_lets_in(host: Host) -> None:
    host.do("nat enable --vpc vpc1")
    policy = host.write("none.json", {"ingress": [], "egress": [{"protocol": "icmp", "action": "allow"}]})
    host.do(f"firewall apply --vpc vpc1 --subnet public --policy {policy}")
    host.do(f"mirror create {MIRROR}")
    there = Capture(host, TARGET, device=decapsulated(host, TARGET))
    # Full packets of others, which the router forwards: none becomes too large on its way.
    assert "3 received" in host.sh("ping -M do -s 1472 -c 3 -i 0.2 8.8.8.8", SOURCE)
    # It arrives at the port, and is dropped behind it.
    host.never_reaches(OTHER, ADDRESS[SOURCE])
    # What the machine's own rules drop has never left it.
    host.never_reaches(SOURCE, "8.8.8.8:80")
    lines = there.stop()
    assert sum("> 8.8.8.8: ICMP echo request" in line for line in lines) == 3
    assert sum("8.8.8.8 > 10.0.1.4: ICMP echo reply" in line for line in lines) == 3
    assert any("10.0.1.2 > 10.0.1.4: ICMP echo request" in line for line in lines)
    assert not any("8.8.8.8.80:" in line for line in lines)


def test_what_a_network_acl_drops_on_its_way_in_is_not_copied(host: Host) -> None:
    host.do("acl create --vpc vpc1 --name edge")
    rules = host.write("acl.json", {"ingress": [], "egress": [
        {"number": 1, "protocol": "all", "action": "allow"}]})
    host.do(f"acl apply --vpc vpc1 --name edge --rules {rules}")
    host.do(f"mirror create {MIRROR}")
    host.do("acl associate --vpc vpc1 --subnet public --name edge")
    there = Capture(host, TARGET, device=decapsulated(host, TARGET))
    host.never_reaches(ASIDE, ADDRESS[SOURCE])
    host.never_reaches(SOURCE, ADDRESS[ASIDE])
    lines = there.stop()
    assert not any("10.0.2.2 > 10.0.1.4" in line for line in lines)
    # What the machine sends is copied before anything is asked.
    assert any("10.0.1.4 > 10.0.2.2: ICMP echo request" in line for line in lines)


def test_plain_copies_are_for_a_mac_that_nobody_has(host: Host) -> None:
    host.do(f"mirror create {MIRROR} --plain")
    there, here = Capture(host, TARGET), Capture(host, SOURCE)
    host.listen(OTHER, "80")
    host.reaches(SOURCE, ADDRESS[OTHER], f"{ADDRESS[OTHER]}:80")
    sent, copied = here.stop(), there.stop()
    assert all(f" > {FOREIGN}, " in line for line in copied)
    assert [re.sub(r" > \S+,", "", line) for line in packets(copied)] == \
        [re.sub(r" > \S+,", "", line) for line in packets(sent)]


BROADCAST = "ff:ff:ff:ff:ff:ff"


@pytest.mark.parametrize("plain", ["", " --plain"])
@pytest.mark.parametrize("to", ["own", BROADCAST])
def test_a_copy_is_no_way_into_the_machine_that_gets_it(host: Host, plain: str, to: str) -> None:
    """Frames that the guard drops, for the target's own MAC or for all, and for its address."""
    host.do(f"mirror create {MIRROR}{plain}")
    host.sh("""nft -f - <<'EOF'
table ip seen { chain in { type filter hook input priority -400; udp dport 7777 counter; }; }
EOF""", TARGET)
    mac = json.loads(host.sh("ip -j link show eth0", TARGET))[0]["address"] if to == "own" else to
    capture = Capture(host, TARGET)
    host.run("ip", "netns", "exec", SOURCE, sys.executable, "-c", forged(mac))
    lines = capture.stop()
    assert any("7777" in line for line in lines), lines
    assert "packets 0 " in host.sh("nft list table ip seen", TARGET)


def forged(mac: str) -> str:
    """A program that sends a UDP packet of somebody else's, for that MAC and for the target's address."""
    return f"""
import socket, struct
def total(data):
    sum_ = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    return ~(sum_ + (sum_ >> 16)) & 0xffff
source, target = (socket.inet_aton(one) for one in ("10.0.2.2", "{ADDRESS[TARGET]}"))
udp = struct.pack("!HHHH", 1, 7777, 12, 0) + b"sent"
head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(udp), 1, 0, 64, 17, 0) + source + target
head = head[:10] + struct.pack("!H", total(head)) + head[12:]
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as link:
    link.bind(("eth0", 0))
    frame = bytes.fromhex("{mac.replace(':', '')}") + bytes(6) + b"\\x08\\x00" + head + udp
    for _ in range(3):
        link.send(frame)
"""


def test_nothing_comes_out_of_a_copy_that_a_machine_makes_up(host: Host) -> None:
    """The router takes no VXLAN, neither from the target, which answers a packet, nor from others."""
    host.do(f"mirror create {MIRROR}")
    host.sh("ping -c 1 10.0.1.2", SOURCE)
    inner = bytes.fromhex("ffffffffffff0200000000010800") + bytes(46)
    send = (f"import socket\none = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)\none.bind(('', 4789))\n"
            f"one.sendto(bytes.fromhex('0800000000000100{inner.hex()}'), ('{GATEWAY}', 4789))\n")
    for space in (TARGET, SOURCE, ASIDE):
        host.run("ip", "netns", "exec", space, sys.executable, "-c", send)
    link = json.loads(host.sh("ip -n vpc1 -j -s link show copy1"))[0]["stats64"]
    assert link["rx"]["packets"] == 0
    assert link["tx"]["packets"] >= 2
    rule = "-A INPUT -p udp -m udp --dport 4789 -j DROP"
    assert host.sh("iptables -S INPUT", "vpc1").splitlines()[1] == rule
    counted = host.sh("iptables -nvxL INPUT 1", "vpc1").split()[0]
    assert int(counted) == 3


@pytest.mark.parametrize(("one", "other"), [("", ""), (" --plain", ""), (" --plain", " --plain")])
def test_machines_that_copy_each_other_make_no_circle(host: Host, one: str, other: str) -> None:
    host.do(f"mirror create {MIRROR}{one}")
    host.do(f"mirror create --vpc vpc1 --subnet private --instance sniffer --to public/web1{other}")
    # Nobody listens there, so that the machines answer what comes with errors.
    host.reaches(SOURCE, ADDRESS[OTHER])
    host.reaches(TARGET, ADDRESS[ASIDE])
    host.sh("sleep 0.5")
    before = [sent(host, number) for number in (1, 2)]
    host.sh("sleep 1.5")
    assert [sent(host, number) for number in (1, 2)] == before
    assert before == [2, 2]


def sent(host: Host, number: int) -> int:
    return int(json.loads(host.sh(f"ip -n vpc1 -j -s link show copy{number}"))[0]["stats64"]["tx"]["packets"])


def test_errors_about_copies_go_no_further(host: Host) -> None:
    """The target of one mirror is the source of the next: only its own packets are copied there."""
    host.do(f"mirror create {MIRROR}")
    host.do("mirror create --vpc vpc1 --subnet private --instance sniffer --to private")
    there = Capture(host, ASIDE, device=decapsulated(host, ASIDE, 2))
    host.reaches(SOURCE, ADDRESS[OTHER])
    host.reaches(TARGET, ADDRESS[OTHER])
    lines = there.stop()
    assert [line for line in lines if "10.0.2.4" not in line or "4789" in line] == []
    assert len(lines) == 2


MADE_UP = f"""
import socket, struct
router, machine = (socket.inet_aton(one) for one in ("{GATEWAY}", "{ADDRESS[TARGET]}"))
def summed(data, place):
    sum_ = sum(struct.unpack("!%dH" % (len(data) // 2), data))
    sum_ = (sum_ >> 16) + (sum_ & 0xffff)
    return data[:place] + struct.pack("!H", ~(sum_ + (sum_ >> 16)) & 0xffff) + data[place + 2:]
head = struct.pack("!BBHHHBBH", 0x45, 0, 1028, 1, 0, 64, 17, 0) + router + machine
copy = summed(head, 10) + struct.pack("!HHHH", 4789, 4789, 1008, 0) + bytes(1000)
error = summed(struct.pack("!BBHI", 3, 3, 0, 0) + copy, 2)
with socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_ICMP) as link:
    for _ in range(1000):
        link.sendto(error, ("{GATEWAY}", 0))
"""


def test_made_up_errors_about_copies_are_limited(host: Host) -> None:
    """They are not copied, as true ones are not, but they wait as all does that the machine sends."""
    host.do(f"mirror create {MIRROR}")
    host.do("mirror create --vpc vpc1 --subnet private --instance sniffer --to private")
    heard = [errors_at_the_router(host)]
    for rate in ("1mbit", "none"):
        host.do(f"instance set --vpc vpc1 --subnet private --name sniffer --bandwidth {rate}")
        assert host.do("status").out == "in sync\n"
        heard.append(errors_at_the_router(host))
    assert 900 < heard[0] <= 1000, heard
    assert 10 < heard[1] < 100, heard
    assert 900 < heard[2] <= 1000, heard
    assert sent(host, 2) == 0


def errors_at_the_router(host: Host) -> int:
    host.sh("iptables -t raw -I PREROUTING -p icmp --icmp-type 3/3", "vpc1")
    host.run("ip", "netns", "exec", TARGET, sys.executable, "-c", MADE_UP)
    host.sh("sleep 0.3")
    counted = host.sh("iptables -t raw -nvxL PREROUTING 1; iptables -t raw -D PREROUTING 1", "vpc1")
    return int(counted.split()[0])


def test_the_source_sees_and_changes_nothing(host: Host) -> None:
    before = [host.sh(one, SOURCE) for one in ("ip -d link; tc qdisc; ip route", "nft list ruleset")]
    host.do(f"mirror create {MIRROR}")
    assert [host.sh(one, SOURCE) for one in ("ip -d link; tc qdisc; ip route", "nft list ruleset")] == before
    there = Capture(host, TARGET, device=decapsulated(host, TARGET))
    host.sh("tc qdisc replace dev eth0 root pfifo; iptables -I OUTPUT -p udp --dport 4789 -j DROP", SOURCE)
    host.reaches(SOURCE, ADDRESS[OTHER])
    assert len(there.stop()) == 2
    host.sh("iptables -F; tc qdisc del dev eth0 root", SOURCE)


def test_a_limited_machine_a_namespace_of_others_and_a_virtual_machine(host: Host) -> None:
    host.do("instance attach --vpc vpc1 --subnet public --name lab --netns /run/netns/other --interface vpc0")
    host.do("instance attach --vpc vpc1 --subnet public --name vm --tap vm0")
    for number, name in enumerate(("web1", "lab", "vm"), 1):
        host.do(f"instance set --vpc vpc1 --subnet public --name {name} --bandwidth 10mbit")
        host.do(f"mirror create --vpc vpc1 --subnet public --instance {name} --to private/sniffer "
                f"--vni {number}")
    guest = Guest(host, mac="02:10:0a:00:01:06", address="10.0.1.6")
    there = Capture(host, TARGET, "udp", "port", "4789", "-T", "vxlan")
    host.reaches(SOURCE, ADDRESS[OTHER])
    host.reaches("other", ADDRESS[OTHER])
    assert guest.ask(f"ping {ADDRESS[OTHER]}") == "answered"
    told = "\n".join(there.stop())
    for number in (1, 2, 3):
        assert len(re.findall(rf"vni {number}\n", told)) >= 2, told
    guest.stop()
    # A virtual machine gets copies, too, but no plain ones.
    host.do("mirror create --vpc vpc1 --subnet public --to public/vm")
    host.refused("mirror create --vpc vpc1 --subnet private --to public/vm --plain", says="leave out --plain")


def test_what_can_not_be(host: Host) -> None:
    own = "mirror create --vpc vpc1 --subnet public --instance web1"
    host.refused(f"{own} --to public/web1", says="can't get a copy of its own packets")
    host.refused(f"{own} --to private/snifer", says="did you mean 'sniffer'?")
    host.refused(f"{own} --to nosuch/sniffer", says="subnet 'nosuch' does not exist")
    host.refused(f"{own} --to a/b/c", code=2, says="is not a machine of the VPC")
    host.refused(f"{own} --to private --vni 16777216", code=2)
    host.do(f"{own} --to private/sniffer --vni 7")
    host.refused(f"{own} --to private --vni 7", says="VNI 7 is that of the mirror of vpc1/public/web1")
    host.refused(f"{own} --to private/sniffer --plain", says="already gets a copy")
    again = host.do(f"{own} --to private/sniffer")
    assert again.out.startswith("unchanged: vpc1/private/sniffer already gets a copy")
    for words in ("instance delete --vpc vpc1 --subnet private --name sniffer",
                  "subnet delete --vpc vpc1 --name private"):
        host.refused(words, says="vpc1/private/sniffer gets a copy of the packets of vpc1/public/web1")
    host.refused("mirror delete --vpc vpc1 --subnet public", says="no machine gets a copy")
    host.do("mirror delete --vpc vpc1 --subnet public --instance web1")
    host.do("instance delete --vpc vpc1 --subnet private --name sniffer")
    assert "copy" not in host.sh("ip -n vpc1 link; tc -n vpc1 qdisc show | grep clsact || true")
    assert host.do("status").out == "in sync\n"


def test_a_source_that_goes_takes_its_mirrors_along(host: Host) -> None:
    host.do(f"mirror create {MIRROR}")
    host.do("instance delete --vpc vpc1 --subnet public --name web1")
    assert host.do("mirror list --json").json["mirrors"] == []
    assert "copy1" not in host.sh("ip -n vpc1 link")
    assert host.do("status").out == "in sync\n"


@pytest.mark.parametrize(("rules", "deaf"), [
    ([], True), ([{"protocol": "udp", "port": 4789, "action": "allow", "source": f"{GATEWAY}/32"}], False),
    ([{"protocol": "udp", "port": 4789, "action": "allow", "source": "10.0.1.0/24"}], True)])
def test_the_target_s_policy_decides_and_is_told_of(host: Host, rules: list[object], deaf: bool) -> None:
    policy = host.write("policy.json", {"ingress": rules})
    host.do(f"firewall apply --vpc vpc1 --subnet private --policy {policy}")
    told = host.do(f"mirror create {MIRROR}").err
    assert ("programs in vpc1/private/sniffer will get no copies: the policy of subnet 'private' lets no UDP "
            "4789 in from the router (10.0.0.1/32)" in told) == deaf
    there = Capture(host, TARGET, device=decapsulated(host, TARGET))
    wire = Capture(host, TARGET, "udp", "port", "4789")
    host.reaches(SOURCE, ADDRESS[OTHER])
    assert len(there.stop()) == (0 if deaf else 2)
    assert len(wire.stop()) >= 2


LOST = ("ip -n vpc1 link del copy1", "ip -n vpc1 link del copy2", "ip -n vpc1 link set copy1 down",
        f"tc -n vpc1 qdisc del dev {PORT} clsact", f"tc -n vpc1 filter del dev {PORT} egress",
        f"tc -n vpc1 filter del dev {PORT} ingress pref 20", "nft flush ruleset",
        f"tc -n vpc1 filter add dev {PORT} egress pref 5 protocol all u32 match u32 0 0 flowid 1:1",
        # Made by an older vpcctl, or by hand: limits come after it, and would never be met.
        f"tc -n vpc1 filter del dev {PORT} ingress pref 20; tc -n vpc1 filter add dev {PORT} ingress pref 20 "
        "protocol all handle ::1 u32 match u32 0 0 action mirred egress mirror dev copy1 "
        "action mirred egress mirror dev copy2",
        "ip -n vpc1 link del copy1; ip -n vpc1 link add copy1 type vxlan id 1 remote 10.0.2.2 dstport 4789",
        f"ip -n vpc1 link del {PORT}", "ip -n vpc1 link del i-private.sniffer")


@pytest.mark.parametrize("loss", LOST)
def test_what_is_lost_is_seen_and_put_back(host: Host, loss: str) -> None:
    host.do(f"mirror create {MIRROR}")
    host.do("mirror create --vpc vpc1 --subnet public --instance web1 --to private --plain")
    before = host.portrait()
    host.sh(loss, "vpc1" if loss.startswith("nft") else "")
    assert host.vpcctl("status").code == 1
    host.do("restore")
    assert host.do("status").out == "in sync\n"
    host.check_same(before)
    capture = Capture(host, ASIDE)
    host.reaches(SOURCE, ADDRESS[OTHER])
    assert len([line for line in capture.stop() if "0e:00:00:00:00:02" in line]) == 2


def test_what_the_kernel_knows_and_what_a_file_says(host: Host) -> None:
    host.do(f"mirror create {MIRROR} --vni 4711")
    host.do("mirror create --vpc vpc1 --subnet private --to public/web1 --plain")
    before = host.do("export").out
    subnets = yaml.safe_load(before)["vpcs"]["vpc1"]["subnets"]
    assert subnets["public"]["instances"]["web1"]["mirrors"] == [{"to": "private/sniffer", "vni": 4711}]
    assert subnets["private"]["mirrors"] == [{"to": "public/web1", "vni": 1, "plain": True}]
    host.sh("rm /var/lib/vpcctl/state.json*")
    host.do("restore --from-kernel")
    assert host.do("export").out == before
    assert host.do("status").out == "in sync\n"
    host.sh("rm -f /var/lib/vpcctl/state.json.bak*")
    file = host.write("net.yaml", before.replace("vni: 4711", "vni: 12"))
    told = host.do(f"apply -f {file}").out
    assert "~ mirror vpc1/public/web1/private/sniffer: VXLAN, UDP 4789, VNI 4711 becomes VXLAN, UDP 4789, " \
        "VNI 12" in told
    wrong = host.write("wrong.yaml", before.replace("to: private/sniffer", "to: private/nobody"))
    host.refused(f"apply -f {wrong}", says="machine 'nobody' does not exist in vpc1/private")


def test_reach_is_sure_of_it(host: Host) -> None:
    host.do(f"mirror create {MIRROR}")
    host.do("mirror create --vpc vpc1 --subnet private --instance sniffer --to public/web1")
    for way in ("--from vpc1/public/web1 --to vpc1/private/sniffer",
                "--from vpc1/private --to vpc1/public/web1"):
        assert host.do(f"reach {way}").out.endswith("reachable\n")

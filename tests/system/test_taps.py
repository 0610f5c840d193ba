"""Virtual machines behind taps: what a guest may send and get, by real packets (QEMU is elsewhere)."""

from __future__ import annotations

import shlex
import sys
from pathlib import Path
from typing import Any

import pytest
from host import CHECKOUT, Host, Result
from test_flow_logs import records, until, written

SPACE, FAR = "vpc1-public.vm", "172.16.1.2"
MAC, OTHERS_MAC = "02:10:0a:00:01:04", "02:10:0a:00:01:02"
ADDRESS, NEIGHBOUR, PRIVATE, GATEWAY = "10.0.1.4", "10.0.1.2", "10.0.2.2", "10.0.1.1"
STATE = "/var/lib/vpcctl/state.json"
WHERE = "--vpc vpc1 --subnet public --name vm"
COUNT = """nft -f - <<'END'
table %s counted {
  chain frames {
    type filter hook %s priority -400
    %s counter
  }
}
END"""
COUNTED = "nft list table %s counted; nft delete table %s counted"


class Guest:
    """A program behind the tap that does what it is told, until the host ends."""

    def __init__(self, host: Host, mac: str = MAC, address: str = ADDRESS, tap: str = "vm0") -> None:
        # Not in a folder that the portrait of the host reads.
        self.host, self.asked, self.folder = host, 0, host.scratch
        script = shlex.join((sys.executable, str(Path(__file__).with_name("guests.py")), tap, mac, address))
        host.sh(f"cd {self.folder}; rm -f ask said; mkfifo ask")
        self.pid = host.start(SPACE, "sh", "-c", f"cd {self.folder}; exec {script} <>ask >said 2>&1")
        host.wait_until(lambda: self.said() == ["ready"], "it has opened its tap")
        assert self.ask(f"arp {GATEWAY}") != "nobody"

    def said(self) -> list[str]:
        return self.host.run("cat", f"{self.folder}/said").out.splitlines()

    def ask(self, question: str) -> str:
        """What becomes of a packet that it sends."""
        self.asked += 1
        self.host.sh(f"echo {question} >{self.folder}/ask")
        self.host.wait_until(lambda: len(self.said()) > self.asked, question)
        return self.said()[-1]

    def stop(self) -> None:
        self.host.stop(self.pid)


def rule(port: object = None, protocol: str = "tcp", **end: str) -> dict[str, Any]:
    """A rule that allows something."""
    return {"protocol": protocol, "action": "allow", **({"port": port} if port else {}), **end}


def apply(host: Host, **policy: list[dict[str, Any]]) -> None:
    host.do("firewall apply --vpc vpc1 --subnet public --policy", host.write("policy.json", policy))


def asked(host: Host, question: str) -> Result:
    """What reach says."""
    return host.vpcctl("reach", *question.split())


@pytest.fixture
def virtual(vpc2: Host) -> Host:
    """A machine with a tap in a public subnet, beside two others and a peered VPC."""
    vpc2.do("nat enable --vpc vpc1")
    vpc2.do("peer create --vpc1 vpc1 --vpc2 vpc2")
    done = vpc2.do(f"instance attach {WHERE} --tap vm0")
    assert done.out == "machine 'vm' attached to vpc1/public (10.0.1.4, tap vm0)\n"
    assert f"ifname=vm0,script=no,downscript=no -device virtio-net-pci,netdev=n,mac={MAC}\n" in done.err
    for space in ("vpc1-public", "vpc1-private", "vpc2-public"):
        vpc2.listen(space, "80", "443")
    return vpc2


def test_a_guest_reaches_and_is_reached_as_any_machine(virtual: Host) -> None:
    guest = Guest(virtual)
    # Whoever it asks for: the namespace is everybody else.
    assert guest.ask("arp 10.0.0.1") == guest.ask("arp 10.0.2.2")
    for far in (NEIGHBOUR, PRIVATE, FAR, "8.8.8.8"):
        assert guest.ask(f"ping {far}") == "answered"
    assert guest.ask(f"tcp {PRIVATE} 80") == "answered"
    for space in ("vpc1-public", "vpc1-private", "vpc2-public", ""):
        virtual.reaches(space, ADDRESS, f"{ADDRESS}:80")
    virtual.never_reaches("internet", ADDRESS)
    assert virtual.do("status").out == "in sync\n"
    for question in (f"--from vpc1/private --to {ADDRESS} --port 80 --probe",
                     "--from vpc1/public/vm --to 8.8.8.8", "--from host --to vpc1/public/vm",
                     "--from vpc1/public/vm --to vpc1/private --port 80"):
        assert virtual.do(f"reach {question}").out.count("\nreachable") == 1
    assert asked(virtual, "--from vpc1/public/vm --to vpc1/private --port 81").code == 0
    virtual.do("peer delete --vpc1 vpc1 --vpc2 vpc2")
    assert guest.ask(f"ping {FAR}") == "silence"
    assert asked(virtual, f"--from vpc1/public/vm --to {FAR}").code == 1


def test_its_policy_decides_out_of_its_reach(virtual: Host) -> None:
    guest = Guest(virtual)
    apply(virtual, ingress=[rule(80)], egress=[rule(443)])
    virtual.reaches("vpc1-private", f"{ADDRESS}:80")
    virtual.never_reaches("vpc1-private", ADDRESS, f"{ADDRESS}:81")
    assert guest.ask(f"tcp {PRIVATE} 443") == "answered"
    assert guest.ask(f"tcp {PRIVATE} 80") == "silence"
    assert guest.ask(f"ping {PRIVATE}") == "silence"
    blocked = asked(virtual, "--from vpc1/public/vm --to vpc1/private --port 80 --json")
    found = blocked.json["reach"]["blocked_by"]
    assert (found["code"], found["where"]) == ("FIREWALL_DENY", SPACE)
    virtual.sh(f"export PATH={CHECKOUT}:$PATH; {found['fix']}")
    assert guest.ask(f"tcp {PRIVATE} 80") == "answered"
    shown = virtual.do("firewall show --vpc vpc1 --subnet public --instance vm --json").json["firewall"]
    assert shown["counters"]["ingress[0]"]["packets"] >= 1
    virtual.do("firewall clear --vpc vpc1 --subnet public")
    virtual.reaches("vpc1-private", ADDRESS)


def test_its_flows_have_records_out_of_its_reach(virtual: Host) -> None:
    """Accepted and refused, in both directions, to the packet where nothing answers."""
    guest = Guest(virtual)
    apply(virtual, ingress=[rule(80)], egress=[rule(443)])
    virtual.do(f"flow-log create {WHERE.replace('--name', '--instance')} --interval 1 --format json")
    for _ in range(2):
        assert guest.ask(f"tcp {PRIVATE} 443") == "answered"
        assert guest.ask(f"ping {PRIVATE}") == "silence"
    assert guest.ask(f"tcp {PRIVATE} 80") == "silence"
    virtual.reaches("vpc1-private", f"{ADDRESS}:80")
    assert virtual.inside("vpc1-private", "ping", "-c", "3", "-i", "0.2", "-W", "1", ADDRESS).code == 1
    out = ("vpc1/public/vm", "egress", ADDRESS, PRIVATE)
    into = ("vpc1/public/vm", "ingress", PRIVATE, ADDRESS)
    what = WHERE.replace("--name", "--instance")
    refused = {(*out, 1, 0, "REJECT"): 2, (*out, 6, 80, "REJECT"): 1, (*into, 1, 0, "REJECT"): 3}
    found = written(virtual, *refused, (*out, 6, 443, "ACCEPT"), (*into, 6, 80, "ACCEPT"), what=what)
    assert {flow: many for flow, many in found.items() if flow[-1] == "REJECT"} == refused
    # The guest begins connections, and never answers the answer.
    assert found[(*out, 6, 443, "ACCEPT")] == 2
    asks = {one["ask"] for one in records(virtual, what)
            if (one["action"], one["dstport"]) == ("REJECT", 80)}
    assert asks == {f"vpcctl reach --from vpc1/public/vm --to {PRIVATE} --protocol tcp --port 80"}
    said = asked(virtual, asks.pop().removeprefix("vpcctl reach ") + " --json").json["reach"]
    assert (said["blocked_by"]["code"], said["blocked_by"]["where"]) == ("FIREWALL_DENY", SPACE)
    # What it sends with another's address is dropped before it is counted.
    assert guest.ask(f"ping {PRIVATE} from={NEIGHBOUR}") == "silence"
    before = len(records(virtual, what))
    until(lambda: len(records(virtual, what)) > before + 1, "no further record")
    assert NEIGHBOUR not in virtual.do(f"flow-log show {what}").out
    assert virtual.do("status").out == "in sync\n"


def test_groups_know_it_by_its_address(virtual: Host) -> None:
    guest = Guest(virtual)
    for name in ("web", "db"):
        virtual.do(f"group create --vpc vpc1 --name {name}")
    policy = virtual.write("db.json", {"ingress": [rule(80, source="group:web")]})
    virtual.do(f"group apply --vpc vpc1 --name db --policy {policy}")
    virtual.do("group join --vpc vpc1 --subnet private --name db")
    assert guest.ask(f"tcp {PRIVATE} 80") == "silence"
    virtual.do("group join --vpc vpc1 --subnet public --instance vm --name web")
    assert guest.ask(f"tcp {PRIVATE} 80") == "answered"
    virtual.never_reaches("vpc1-private", ADDRESS)
    policy = virtual.write("web.json", {"ingress": [rule(protocol="icmp", source="group:db")]})
    virtual.do(f"group apply --vpc vpc1 --name web --policy {policy}")
    virtual.reaches("vpc1-private", ADDRESS)
    virtual.never_reaches("vpc1-public", ADDRESS)


ATTACKS = {"another's address": f"ping {{}} from={NEIGHBOUR}",
           "an address of nobody": "ping {} from=10.0.1.77",
           "an address outside": "ping {} from=8.8.8.8", "the gateway's address": "ping {} from=10.0.0.1",
           "loopback": "ping {} from=127.0.0.1", "no address": "ping {} from=0.0.0.0",
           "a connection of another's": f"tcp {{}} 80 from={NEIGHBOUR}",
           "a tag of 802.1Q": "ping {} vlan=1",
           "IPv6": "ping {} type=34525"}


@pytest.mark.parametrize("guarded", [True, False])
def test_a_guest_sends_as_nobody_else(virtual: Host, guarded: bool) -> None:
    """Its own namespace holds it back, also where the bridge's ports are not guarded."""
    guest = Guest(virtual)
    if not guarded:
        virtual.sh("nft delete table bridge vpcctl", "vpc1")
    virtual.sh(COUNT % ("ip", "prerouting", f"iifname eth0 ip saddr != {ADDRESS}"), "vpc1-private")
    virtual.sh(COUNT % ("netdev", "ingress device i-public.vm", ""), "vpc1")
    for name, attack in ATTACKS.items():
        assert guest.ask(attack.format(PRIVATE)) == "silence", name
    assert "packets 0 " in virtual.sh(COUNTED % ("netdev", "netdev"), "vpc1")
    assert "packets 0 " in virtual.sh(COUNTED % ("ip", "ip"), "vpc1-private")
    for question in (f"arp {GATEWAY} from={NEIGHBOUR} mac={OTHERS_MAC}", f"arp {GATEWAY} from=10.0.1.77"):
        assert guest.ask(question) == "nobody"
    # Another's MAC is no use: what goes on has the machine's own.
    virtual.sh(COUNT % ("netdev", "ingress device i-public.vm", f"ether saddr != {MAC}"), "vpc1")
    assert guest.ask(f"ping {PRIVATE} mac={OTHERS_MAC}") == "answered"
    assert "packets 0 " in virtual.sh(COUNTED % ("netdev", "netdev"), "vpc1")
    # A frame that does leave is counted there.
    virtual.sh(COUNT % ("netdev", "ingress device i-public.vm", ""), "vpc1")
    assert guest.ask(f"ping {PRIVATE}") == "answered"
    assert "packets 1 " in virtual.sh(COUNTED % ("netdev", "netdev"), "vpc1")
    # What it claimed to be has taken no place in the table that all namespaces share.
    assert virtual.sh("ip -j neigh", SPACE).count('"dst"') == 2


def test_a_guest_finds_nothing_in_its_namespace(virtual: Host) -> None:
    guest = Guest(virtual)
    virtual.listen(SPACE, "80", "81")
    for address in ("10.0.0.1", GATEWAY, "127.0.0.1", "169.254.64.1", "169.254.169.254"):
        assert guest.ask(f"tcp {address} 81") in ("silence", "refused")
    assert virtual.sh("ip -6 -o addr", SPACE) == ""
    assert virtual.sh("ip -4 -o addr show scope global", SPACE) == ""


LOSSES = {"tap": "ip link del vm0", "link": "ip link set vm0 down", "route": "ip route del 10.0.1.4",
          "neighbour": "ip neigh del 10.0.1.4 dev vm0",
          "settings of": "sysctl -qw net.ipv4.conf.vm0.rp_filter=0",
          "settings of vm0": "sysctl -qw net.ipv4.neigh.vm0.proxy_delay=80",
          "not a tap": "ip link del vm0; ip link add vm0 type veth peer name vm9"}


@pytest.mark.parametrize("loss", LOSSES)
def test_what_is_lost_is_told_and_restored(virtual: Host, loss: str) -> None:
    virtual.sh(LOSSES[loss], SPACE)
    told = virtual.vpcctl("status")
    assert told.code == 1
    assert loss in told.out, told.out
    assert SPACE in told.out
    virtual.do("restore")
    assert virtual.do("status").out == "in sync\n"
    guest = Guest(virtual)
    assert guest.ask(f"ping {PRIVATE}") == "answered"
    assert guest.ask(f"ping {PRIVATE} from={NEIGHBOUR}") == "silence"


def test_a_guest_that_is_off_is_no_damage_but_out_of_reach(virtual: Host) -> None:
    assert virtual.do("status").out == "in sync\n"
    told = asked(virtual, "--from vpc1/private --to vpc1/public/vm --json")
    found = told.json["reach"]["blocked_by"]
    assert (found["code"], found["fix"]) == ("LINK_DOWN", None)
    assert found["rule"] == "no virtual machine has opened tap vm0"
    assert asked(virtual, "--from vpc1/public/vm --to vpc1/private").code == 1
    guest = Guest(virtual)
    virtual.do("reach --from vpc1/private --to vpc1/public/vm --probe")
    guest.stop()
    virtual.never_reaches("vpc1-private", ADDRESS)
    # The tap waits for the next one.
    assert Guest(virtual).ask(f"ping {PRIVATE}") == "answered"


def test_a_lost_record_has_it_again(virtual: Host) -> None:
    virtual.do("nat disable --vpc vpc1")
    apply(virtual, ingress=[rule(80)])
    before = virtual.do("export").out
    assert "            tap: vm0\n" in before
    virtual.sh(f"rm {STATE} {STATE}.bak")
    virtual.do("restore --from-kernel")
    assert virtual.do("export").out == before
    assert virtual.do("status").out == "in sync\n"
    Guest(virtual)
    virtual.reaches("vpc1-private", f"{ADDRESS}:80")


def applied(host: Host, text: str) -> None:
    done = host.vpcctl("apply", "-f", "-", stdin=text)
    assert done.code == 0, done
    assert host.do("status").out == "in sync\n"


def test_it_comes_by_a_file_and_goes(virtual: Host) -> None:
    before = virtual.do("export").out
    virtual.do(f"instance detach {WHERE}")
    assert virtual.run("ip", "-n", SPACE, "link").code != 0
    applied(virtual, before)
    assert virtual.do("export").out == before
    guest = Guest(virtual)
    assert guest.ask(f"ping {PRIVATE}") == "answered"
    # Another tap in its place.
    applied(virtual, before.replace("tap: vm0", "tap: vm1"))
    assert virtual.run("ip", "-n", SPACE, "link", "show", "vm0").code != 0
    assert Guest(virtual, tap="vm1").ask(f"ping {PRIVATE}") == "answered"
    # And a plain machine.
    applied(virtual, before.replace("            tap: vm0\n", ""))
    virtual.reaches(SPACE, PRIVATE)
    # In place, with its namespace: the routes that went with the address are there again.
    applied(virtual, before)
    assert Guest(virtual).ask(f"ping {PRIVATE}") == "answered"


def test_what_is_asked_must_make_sense(virtual: Host) -> None:
    new = "instance attach --vpc vpc1 --subnet public --name other"
    virtual.refused(f"{new} --tap eth0", code=2, says="'eth0' can't be the name of a tap")
    virtual.refused(f"{new} --tap eth0", code=2, says="it is the machine's link to the bridge")
    virtual.refused(f"{new} --tap vm0 --netns /run/netns/x", code=2, says="exactly one of")
    virtual.refused(f"{new} --tap vm0 --interface vpc0", code=2, says="--tap has no other link")
    virtual.refused(f"instance attach {WHERE} --tap vm1", says="attached to tap vm0, has 10.0.1.4")
    virtual.refused(f"instance add {WHERE}", says="attached to tap vm0")
    virtual.refused("deploy webserver --vpc vpc1 --subnet public --instance vm --port 80",
                    says="vpc1/public/vm is a virtual machine")
    assert virtual.do(f"instance attach {WHERE} --tap vm0").out == (
        "unchanged: machine 'vm' is already attached (10.0.1.4, tap vm0)\n")
    shown = virtual.do(f"instance show {WHERE} --json").json["instance"]
    assert (shown["tap"], shown["state"], shown["mac"], shown["forwards"]) == ("vm0", "running", MAC, False)
    for line in ("forwards: true", "workloads: {a: {run: [sleep, '1']}}", "netns: /run/netns/x"):
        text = virtual.do("export").out.replace("tap: vm0\n", f"tap: vm0\n            {line}\n")
        assert virtual.vpcctl("apply", "-f", "-", stdin=text).code == 2


def test_what_is_printed_can_be_pasted(virtual: Host) -> None:
    virtual.do(f"instance detach {WHERE}")
    virtual.sh(virtual.do(f"instance attach {WHERE} --tap vm0 --dry-run").out)
    guest = Guest(virtual)
    assert guest.ask(f"ping {PRIVATE}") == "answered"
    virtual.reaches("vpc1-private", ADDRESS)
    guest.stop()
    virtual.sh(f"ip netns del {SPACE}")
    virtual.do("restore")


@pytest.mark.parametrize("recorded", [True, False])
def test_cleanup_removes_it_and_its_namespace(virtual: Host, recorded: bool) -> None:
    pid = Guest(virtual).pid
    if not recorded:
        # Whether the host forwarded before NAT would be lost, too.
        virtual.do("nat disable --vpc vpc1")
        virtual.sh(f"rm {STATE} {STATE}.bak")
    virtual.sh(f"{CHECKOUT}/cleanup.sh --yes")
    assert not virtual.alive(pid)
    assert SPACE not in virtual.sh("ip netns list")
    virtual.sh("rm -rf /var/lib/vpcctl/logs /var/lib/vpcctl/state.json.cleaned")

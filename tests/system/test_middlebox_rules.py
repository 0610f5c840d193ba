"""What a machine forwards meets its rules as it comes in and as it goes out, as at an interface in AWS."""

from __future__ import annotations

import json
from typing import Any

import pytest
from host import CHECKOUT, INTERNET, Host

FAR = "172.16.1.2"
BOX = "--vpc vpc1 --subnet public --instance box"
STATE = "/var/lib/vpcctl/state.json"


def rule(port: object = None, protocol: str = "tcp", **end: str) -> dict[str, Any]:
    """A rule that allows something."""
    return {"protocol": protocol, "action": "allow", **({"port": port} if port else {}), **end}


@pytest.fixture
def box(vpc2: Host) -> Host:
    """A middlebox between a private subnet and all that is outside of the VPC."""
    vpc2.do("nat enable --vpc vpc1")
    vpc2.do("peer create --vpc1 vpc1 --vpc2 vpc2")
    vpc2.do("instance add --vpc vpc1 --subnet public --name box --forwards")
    vpc2.do("route-table create --vpc vpc1 --name by-box")
    for to in ("0.0.0.0/0", "172.16.0.0/16"):
        vpc2.do(f"route-table add-route --vpc vpc1 --name by-box --to {to} --via instance:public/box")
    vpc2.do("route-table associate --vpc vpc1 --subnet private --name by-box")
    for space in ("vpc1-private", "vpc2-public", "vpc1-public.box"):
        vpc2.listen(space, "80", "443", "53/udp")
    vpc2.reaches("vpc1-private", *INTERNET, FAR, f"{FAR}:80", f"{FAR}:53/udp")
    return vpc2


def apply(host: Host, **policy: list[dict[str, Any]]) -> None:
    host.do("firewall apply --vpc vpc1 --subnet public --policy", host.write("policy.json", policy))


def packets(host: Host, what: str, name: str) -> int:
    """The packets that a rule has matched, of those that a command shows."""
    _, shown = host.do(f"{what} --json").json.values()
    return int(shown["counters"][name]["packets"])


def refused_by_box(host: Host, question: str, direction: str) -> str:
    """What reach advises about a question to which the middlebox says no, in that direction."""
    told = host.vpcctl(*f"reach {question} --json".split())
    found = told.json["reach"]["blocked_by"]
    assert (told.code, found["code"], found["where"]) == (1, "FIREWALL_DENY", "vpc1-public.box")
    assert f"{direction}.default" in found["rule"]
    return f"export PATH={CHECKOUT}:$PATH; {found['fix']}"


def test_ingress_decides_what_comes_in_to_be_forwarded(box: Host) -> None:
    apply(box, ingress=[rule(80, source="10.0.2.0/24")])
    box.reaches("vpc1-private", f"{FAR}:80", INTERNET[1])
    box.never_reaches("vpc1-private", FAR, f"{FAR}:443", f"{FAR}:53/udp", INTERNET[0], INTERNET[2])
    # From the other side nothing begins: its packets come in by the same interface.
    box.never_reaches("vpc2-public", "10.0.2.2", "10.0.2.2:80", "10.0.2.2:53/udp")
    # What ends there meets the same rules.
    box.reaches("vpc1-private", "10.0.1.4:80")
    box.never_reaches("vpc1-private", "10.0.1.4", "10.0.1.4:443")
    box.never_reaches("vpc2-public", "10.0.1.4:80")
    fix = refused_by_box(box, f"--from vpc1/private --to {FAR} --port 443", "ingress")
    box.sh(fix)
    box.reaches("vpc1-private", f"{FAR}:443")
    assert box.do(f"reach --from vpc1/private --to {FAR} --port 443 --probe").code == 0


def test_egress_decides_what_goes_out_after_it(box: Host) -> None:
    apply(box, ingress=[rule(protocol="all")], egress=[rule(80, destination=f"{FAR}/32"),
                                                       rule(53, "udp"), rule(protocol="icmp",
                                                                             destination="10.0.2.0/24")])
    box.reaches("vpc1-private", f"{FAR}:80", f"{FAR}:53/udp", INTERNET[2])
    box.never_reaches("vpc1-private", FAR, f"{FAR}:443", INTERNET[0], INTERNET[1])
    box.reaches("vpc2-public", "10.0.2.2", "10.0.2.2:53/udp")
    box.never_reaches("vpc2-public", "10.0.2.2:80", "10.0.2.2:443")
    # What begins there meets the same rules; answers pass both.
    box.reaches("vpc1-public.box", f"{FAR}:80")
    for answer in box.probe(("vpc1-public.box", f"{FAR}:443"), ("vpc1-public.box", FAR), patience=0.5):
        assert answer.verdict != "reached"
    box.reaches("vpc1-private", "10.0.1.4:443")
    fix = refused_by_box(box, f"--from vpc1/private --to {FAR} --port 443", "egress")
    box.sh(fix)
    box.reaches("vpc1-private", f"{FAR}:443")


def test_many_rules_decide_the_same(box: Host) -> None:
    ingress, egress = ([rule(8000 + number, **{end: f"10.0.{number}.0/24"}) for number in range(150)]
                       for end in ("source", "destination"))
    apply(box, ingress=[*ingress, rule(80, source="10.0.2.2/32")], egress=[*egress, rule(80)])
    box.reaches("vpc1-private", f"{FAR}:80", "10.0.1.4:80", INTERNET[1])
    box.never_reaches("vpc1-private", f"{FAR}:443", FAR, "10.0.1.4:443")
    assert box.do("status").out == "in sync\n"


def test_groups_decide_with_their_members(box: Host) -> None:
    for name in ("web", "boxes", "far"):
        box.do(f"group create --vpc {'vpc2' if name == 'far' else 'vpc1'} --name {name}")
    everything = box.write("far.json", {"ingress": [rule(protocol="all")]})
    box.do(f"group apply --vpc vpc2 --name far --policy {everything}")
    box.do("group join --vpc vpc2 --subnet public --name far")
    policy = {"ingress": [rule(80, source="group:web"), rule(443, source="group:web")],
              "egress": [rule(80, destination="group:vpc2/far"), rule(443, destination="8.8.8.8/32")]}
    box.do("group apply --vpc vpc1 --name boxes --policy", box.write("boxes.json", policy))
    box.do(f"group join {BOX} --name boxes")
    box.never_reaches("vpc1-private", FAR, f"{FAR}:80", f"{FAR}:443", INTERNET[1])
    fix = refused_by_box(box, f"--from vpc1/private --to {FAR} --port 80", "ingress")
    assert fix.endswith("vpcctl group join --vpc vpc1 --subnet private --name web")
    box.sh(fix)
    box.reaches("vpc1-private", f"{FAR}:80")
    box.do(f"reach --from vpc1/private --to {FAR} --port 80 --probe")
    # A member of the group there, and nobody else; on the way in one rule, on the way out the other.
    box.never_reaches("vpc1-private", f"{FAR}:443", "172.16.2.2:80", INTERNET[1], FAR)
    for place in ("ingress[0]", "egress[0]"):
        assert packets(box, "group show --vpc vpc1 --name boxes", place) >= 1
    assert box.do("status").out == "in sync\n"
    box.do("group leave --vpc vpc2 --subnet public --name far")
    box.never_reaches("vpc1-private", f"{FAR}:80")
    box.do(f"group leave {BOX} --name boxes")
    box.reaches("vpc1-private", *INTERNET, f"{FAR}:443")


def test_a_program_s_own_rules_and_marks_stay(box: Host) -> None:
    """A firewall in the machine has `filter` and `nat` to itself, and its rules still count."""
    own = ("iptables -P FORWARD DROP; iptables -A FORWARD -m conntrack --ctstate ESTABLISHED -j ACCEPT; "
           "iptables -A FORWARD -p tcp --dport 80 -j ACCEPT; iptables -A INPUT -p tcp --dport 443 -j DROP; "
           "iptables -t nat -A PREROUTING -p tcp --dport 9000 -j REDIRECT --to-ports 80; "
           "nft add table ip own; nft add chain ip own pre '{ type filter hook prerouting priority -140; }'; "
           "nft add rule ip own pre udp dport 53 meta mark set 0x01000000 counter")
    box.sh(own, "vpc1-public.box")
    apply(box, ingress=[rule("80-9000"), rule(53, "udp")])
    box.reaches("vpc1-private", f"{FAR}:80", "10.0.1.4:80", "10.0.1.4:9000")
    box.never_reaches("vpc1-private", f"{FAR}:443", "10.0.1.4:443", f"{FAR}:53/udp")
    assert "packets 0 " not in box.sh("nft list table ip own", "vpc1-public.box")
    # The rules are asked for the port that the packet was sent to.
    apply(box, ingress=[rule(80)])
    box.reaches("vpc1-private", "10.0.1.4:80")
    box.never_reaches("vpc1-private", "10.0.1.4:9000")
    assert box.do("status").out == "in sync\n"


def test_counters_are_one_packet_s_each(box: Host) -> None:
    apply(box, ingress=[rule(80)], egress=[rule(80)])
    shown = f"firewall show {BOX}"
    box.reaches("vpc1-private", f"{FAR}:80")
    assert [packets(box, shown, f"{name}[0]") for name in ("ingress", "egress")] == [1, 1]
    box.reaches("vpc1-private", "10.0.1.4:80")
    assert [packets(box, shown, f"{name}[0]") for name in ("ingress", "egress")] == [2, 1]


LOSSES = {"the way to its rules": "iptables -t mangle -D PREROUTING 1",
          "the way out": "iptables -t mangle -F POSTROUTING",
          "a rule": "iptables -t mangle -D VPCCTL-IN 4",
          "everything": "iptables -t mangle -F; iptables -t mangle -X"}


@pytest.mark.parametrize("loss", LOSSES)
def test_lost_rules_are_told_and_restored(box: Host, loss: str) -> None:
    apply(box, ingress=[rule(80)], egress=[rule(80)])
    box.sh(LOSSES[loss], "vpc1-public.box")
    told = box.vpcctl("status")
    assert told.code == 1
    assert "vpc1-public.box" in told.out
    box.do("restore")
    assert box.do("status").out == "in sync\n"
    box.reaches("vpc1-private", f"{FAR}:80")
    box.never_reaches("vpc1-private", f"{FAR}:443", FAR)


OLDER = {"VPCCTL-IN": "INPUT", "VPCCTL-OUT": "OUTPUT"}


def as_before(host: Host) -> None:
    """The middlebox as an older vpcctl left it: its rules are for what ends and begins there only."""
    host.sh("rules=$(iptables -t mangle -S | sed -n 's/^-A VPCCTL-IN /-A INPUT /p; "
            "s/^-A VPCCTL-OUT /-A OUTPUT /p'); iptables -t mangle -F; iptables -t mangle -X; "
            "{ echo '*filter'; echo \"$rules\"; echo COMMIT; } | iptables-restore -n", "vpc1-public.box")
    record = host.state()
    for line in record["ledger"]:
        if line["kind"] == "chain" and line["name"] in OLDER:
            line["table"], line["name"] = "filter", OLDER[line["name"]]
    record["ledger"] = [line for line in record["ledger"] if line.get("namespace") != "vpc1-public.box"
                        or line.get("name") not in ("PREROUTING", "POSTROUTING")]
    host.sh(f"cat >{STATE} <<'END'\n{json.dumps(record)}\nEND\n")


@pytest.mark.parametrize("mend", ["restore", "subnet add --vpc vpc1 --name late --cidr 10.0.9.0/24"])
def test_what_an_older_vpcctl_made_is_told_and_mended(box: Host, mend: str) -> None:
    apply(box, ingress=[rule(80)], egress=[rule(80)])
    as_before(box)
    box.reaches("vpc1-private", f"{FAR}:443")
    box.never_reaches("vpc1-private", "10.0.1.4:443")
    told = box.vpcctl("status")
    assert told.code == 1
    assert "chain VPCCTL-IN of table mangle in vpc1-public.box" in told.out
    box.do(mend)
    assert box.do("status").out == "in sync\n"
    assert box.sh("iptables-save -t filter | grep -c vpcctl || true", "vpc1-public.box") == "0\n"
    box.reaches("vpc1-private", f"{FAR}:80", "10.0.1.4:80")
    box.never_reaches("vpc1-private", f"{FAR}:443", "10.0.1.4:443")


@pytest.mark.parametrize("older", [False, True])
def test_a_lost_record_is_rebuilt_from_its_rules(box: Host, older: bool) -> None:
    """Here the middlebox alone tells the policy: groups decide about the other machine."""
    # Whether the host forwarded before NAT would be lost, too.
    box.do("nat disable --vpc vpc1")
    box.do("group create --vpc vpc1 --name others")
    box.do("group join --vpc vpc1 --subnet public --name others")
    apply(box, ingress=[rule(80)], egress=[rule(80)])
    before = box.do("export").out
    if older:
        as_before(box)
    box.sh(f"rm {STATE} {STATE}.bak")
    done = box.do("restore --from-kernel")
    assert ("an older vpcctl's rules of 'vpc1/public/box' stay" in done.err) is older
    assert box.do("export").out == before
    assert box.do("status").out == "in sync\n"
    box.reaches("vpc1-private", f"{FAR}:80", "10.0.1.4:80")
    box.never_reaches("vpc1-private", f"{FAR}:443", "10.0.1.4:443")

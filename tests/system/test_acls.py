"""Network ACLs by real packets: what passes the edges of subnets, packet by packet, and what does not."""

from __future__ import annotations

import json
from typing import Any

import pytest
from host import INTERNET, Host

WEB1, WEB2, DB, FAR = "vpc1-front.web1", "vpc1-front.web2", "vpc1-back.db", "vpc2-far"
WEB1_ADDRESS, WEB2_ADDRESS, DB_ADDRESS, FAR_ADDRESS = "10.0.1.4", "10.0.1.5", "10.0.2.9", "172.16.1.2"
ROUTER = "10.0.0.1"
NETWORK: dict[str, Any] = {"version": 2, "vpcs": {
    "vpc1": {"cidr": "10.0.0.0/16", "nat": True, "acls": {"edge": {"ingress": [], "egress": []}}, "subnets": {
        "front": {"cidr": "10.0.1.0/24", "type": "public", "bare": True, "instances": {
            "web1": {"address": WEB1_ADDRESS}, "web2": {"address": WEB2_ADDRESS}}},
        "back": {"cidr": "10.0.2.0/24", "bare": True, "instances": {"db": {"address": DB_ADDRESS}}}}},
    "vpc2": {"cidr": "172.16.0.0/16", "subnets": {"far": {"cidr": "172.16.1.0/24"}}}},
    "peerings": [["vpc1", "vpc2"]]}
EDGE = "--vpc vpc1 --name edge"
STATE = "/var/lib/vpcctl/state.json"


def rule(number: int, protocol: str, port: object = "", far: str = "",
         action: str = "allow") -> dict[str, Any]:
    """A rule; its far end is under a key that depends on the direction."""
    return {"number": number, "protocol": protocol, "action": action, **({"port": port} if port else {}),
            **({"far": far} if far else {})}


def acl(ingress: list[dict[str, Any]], egress: list[dict[str, Any]]) -> dict[str, Any]:
    """A file's content."""
    def written(rules: list[dict[str, Any]], key: str) -> list[dict[str, Any]]:
        return [{key if name == "far" else name: value for name, value in one.items()} for one in rules]

    return {"ingress": written(ingress, "source"), "egress": written(egress, "destination")}


OPEN = [rule(100, "any")]
ANSWERS = [rule(100, "tcp", "1024-65535")]


@pytest.fixture
def tiers(host: Host) -> Host:
    """Two subnets, a way out, and a peered VPC; the ACL is at the edge of the one with the database."""
    host.do("apply -f -", stdin=json.dumps(NETWORK))
    host.listen(DB, "80", "5432", "53/udp", "54/udp")
    host.listen(WEB1, "80")
    host.listen(FAR, "80")
    return host


def with_rules(host: Host, ingress: list[dict[str, Any]], egress: list[dict[str, Any]],
               name: str = "edge") -> Any:
    file = host.write("acl.json", acl(ingress, egress))
    return host.do(f"acl apply --vpc vpc1 --name {name} --rules {file}")


def associate(host: Host, subnet: str = "back", name: str = "edge") -> None:
    host.do(f"acl associate --vpc vpc1 --subnet {subnet} --name {name}")


def test_a_new_one_denies_everything_but_within_its_subnet(tiers: Host) -> None:
    tiers.reaches(WEB1, DB_ADDRESS)
    associate(tiers, "front")
    tiers.none_reach((WEB1, DB_ADDRESS), (DB, WEB1_ADDRESS), (WEB1, FAR_ADDRESS), (FAR, WEB1_ADDRESS),
                     ("", WEB1_ADDRESS), *((WEB1, target) for target in INTERNET))
    tiers.reaches(WEB2, WEB1_ADDRESS, f"{WEB1_ADDRESS}:80", ROUTER)
    tiers.reaches(DB, ROUTER)
    assert tiers.do("status").out == "in sync\n"
    done = tiers.do("acl dissociate --vpc vpc1 --subnet front")
    assert done.out == "subnet 'vpc1/front' has no network ACL\n"
    assert tiers.do("acl dissociate --vpc vpc1 --subnet front").out.startswith("unchanged: ")
    tiers.reaches(WEB1, DB_ADDRESS, *INTERNET)


def test_answers_need_a_rule_of_their_own(tiers: Host) -> None:
    associate(tiers)
    with_rules(tiers, [rule(100, "tcp", 80)], [])
    tiers.never_reaches(WEB1, f"{DB_ADDRESS}:80")
    done = tiers.do(f"acl show {EDGE} --json").json["acl"]["counters"]
    assert (done["ingress 100"]["packets"] > 0, done["egress *"]["packets"] > 0) == (True, True)
    with_rules(tiers, [rule(100, "tcp", 80)], ANSWERS)
    tiers.reaches(WEB1, f"{DB_ADDRESS}:80")
    tiers.none_reach((WEB1, f"{DB_ADDRESS}:5432"), (WEB1, DB_ADDRESS), (WEB1, f"{DB_ADDRESS}:53/udp"),
                     (DB, f"{WEB1_ADDRESS}:80"))


def test_the_lowest_number_decides(tiers: Host) -> None:
    associate(tiers)
    with_rules(tiers, [rule(200, "tcp", "1-9999"), rule(90, "tcp", 80, WEB1_ADDRESS, "deny"),
                       rule(100, "tcp", 5432, WEB2_ADDRESS, "deny")], OPEN)
    tiers.none_reach((WEB1, f"{DB_ADDRESS}:80"), (WEB2, f"{DB_ADDRESS}:5432"))
    tiers.reaches(WEB2, f"{DB_ADDRESS}:80")
    tiers.reaches(WEB1, f"{DB_ADDRESS}:5432")


def test_what_is_routed_meets_it_as_what_is_switched(tiers: Host) -> None:
    """The host, the internet and a peer: in and out."""
    associate(tiers, "front")
    with_rules(tiers, [rule(100, "tcp", 80, "172.16.0.0/16"), rule(110, "tcp", "1024-65535", "8.8.8.8"),
                       rule(120, "icmp", far="169.254.0.0/16")],
               [rule(100, "tcp", "1024-65535", "172.16.0.0/16"), rule(110, "tcp", 80, "8.8.8.8"),
                rule(120, "icmp", far="169.254.0.0/16")])
    tiers.reaches(FAR, f"{WEB1_ADDRESS}:80")
    tiers.reaches(WEB1, "8.8.8.8:80")
    tiers.reaches("", WEB1_ADDRESS)
    tiers.none_reach((FAR, WEB1_ADDRESS), (WEB1, f"{FAR_ADDRESS}:80"), (WEB1, "8.8.8.8"),
                     (WEB1, "8.8.8.8:53/udp"), ("", f"{WEB1_ADDRESS}:80"), (DB, f"{WEB1_ADDRESS}:80"))


def test_a_nat_gateway_is_behind_the_acl_of_its_subnet(tiers: Host) -> None:
    """What goes out through it leaves a private subnet, enters a public one, and leaves that."""
    tiers.do("nat-gateway create --vpc vpc1 --subnet front --name gw")
    tiers.do("route-table add-route --vpc vpc1 --name main --to 0.0.0.0/0 --via nat:gw")
    tiers.reaches(DB, *INTERNET)
    associate(tiers, "front")
    tiers.none_reach(*((DB, target) for target in INTERNET))
    with_rules(tiers, [rule(1, "tcp", 80, "10.0.2.0/24"), rule(2, "tcp", "1024-65535", "8.8.8.8")],
               [rule(1, "tcp", 80, "8.8.8.8"), rule(2, "tcp", "1024-65535", "10.0.2.0/24")])
    tiers.reaches(DB, "8.8.8.8:80")
    tiers.none_reach((DB, "8.8.8.8"), (DB, "8.8.8.8:53/udp"))
    assert asked(tiers, "vpc1/back/db", "internet", "80")["verdict"] == "reachable"
    blocked = asked(tiers, "vpc1/back/db", "internet")["blocked_by"]
    assert (blocked["code"], blocked["rule"]) == ("ACL_DENY", "acl edge ingress rule *")


def test_an_elastic_address_is_behind_the_acl_of_its_machine(tiers: Host) -> None:
    tiers.do("eip pool add 198.51.100.0/24")
    address = tiers.do("eip allocate --json").json["eip"]["address"]
    tiers.do(f"eip associate --address {address} --vpc vpc1 --subnet front --instance web1")
    associate(tiers, "front")
    with_rules(tiers, [rule(100, "tcp", 80)], [])
    tiers.never_reaches("", f"{address}:80")
    with_rules(tiers, [rule(100, "tcp", 80)], ANSWERS)
    tiers.reaches("", f"{address}:80")
    tiers.never_reaches("", address)
    tiers.do(f"eip dissociate --address {address}")
    tiers.do(f"eip release --address {address}")
    tiers.do("eip pool delete 198.51.100.0/24")


def test_two_subnets_each_ask_their_own(tiers: Host) -> None:
    tiers.do("acl create --vpc vpc1 --name other")
    with_rules(tiers, OPEN, [rule(100, "tcp", 80)], "other")
    with_rules(tiers, [rule(100, "tcp", "1-9999")], ANSWERS)
    associate(tiers)
    associate(tiers, "front", "other")
    tiers.reaches(WEB1, f"{DB_ADDRESS}:80")
    tiers.never_reaches(WEB1, f"{DB_ADDRESS}:5432")
    with_rules(tiers, OPEN, [rule(100, "tcp", "80-5432")], "other")
    tiers.reaches(WEB1, f"{DB_ADDRESS}:5432")
    shown = tiers.do("acl list --json").json["acls"]
    assert [(one["name"], one["subnets"]) for one in shown] == [("edge", ["back"]), ("other", ["front"])]


BIG = ("import socket; s=socket.socket(type=2); s.settimeout(1); s.connect(('{}', {})); s.send(b'x' * 4000)\n"
       "try: print('answer' if s.recv(4000) else '')\nexcept OSError: print('nothing')")


def test_later_fragments_follow_the_first(tiers: Host) -> None:
    associate(tiers)

    def answer(port: int) -> str:
        return tiers.inside(WEB1, "python3", "-c", BIG.format(DB_ADDRESS, port)).out.strip()

    assert (answer(53), answer(54)) == ("nothing", "nothing")
    with_rules(tiers, [rule(100, "udp", 53)], OPEN)
    assert (answer(53), answer(54)) == ("answer", "nothing")
    # A rule that denies a port does not deny later fragments for others.
    with_rules(tiers, [rule(90, "udp", 53, action="deny"), rule(100, "udp")], OPEN)
    assert (answer(53), answer(54)) == ("nothing", "answer")
    with_rules(tiers, [rule(90, "udp", far=WEB1_ADDRESS, action="deny"), rule(100, "udp", 53)], OPEN)
    assert (answer(53), answer(54)) == ("nothing", "nothing")


def test_many_rules(tiers: Host) -> None:
    associate(tiers)
    many = [rule(number, "tcp", far=f"10.9.{number % 200}.{number % 250}", action="deny")
            for number in range(1000, 3000)]
    with_rules(tiers, [*many, rule(3000, "tcp", 5432, WEB2_ADDRESS, "deny"), rule(3001, "tcp")], ANSWERS)
    tiers.reaches(WEB1, f"{DB_ADDRESS}:80", f"{DB_ADDRESS}:5432")
    tiers.reaches(WEB2, f"{DB_ADDRESS}:80")
    tiers.none_reach((WEB2, f"{DB_ADDRESS}:5432"), (WEB1, DB_ADDRESS), (WEB1, f"{DB_ADDRESS}:53/udp"))
    assert tiers.do("status").out == "in sync\n"
    counted = tiers.do(f"acl show {EDGE} --json").json["acl"]["counters"]
    assert counted["ingress 3000"]["packets"] > 0
    with_rules(tiers, [rule(1, "icmp")], OPEN)
    tiers.reaches(WEB1, DB_ADDRESS)
    assert tiers.do("status").out == "in sync\n"


def test_a_change_has_no_moment_of_open_or_closed(tiers: Host) -> None:
    """What both lists allow is never lost, and what both deny never passes, however often they change."""
    associate(tiers)
    files = [tiers.write(f"acl{number}.json", acl(
        [rule(100, "icmp"), *(rule(200 + one, "tcp", 1000 + one) for one in range(number))], OPEN))
        for number in (1, 60, 150)]
    with_rules(tiers, [rule(100, "icmp")], OPEN)
    tiers.sh("nft -f - <<'EOF'\ntable ip arrived {\n chain count { type filter hook prerouting priority -400;"
             " udp dport 54 counter; icmp type echo-request counter; }\n}\nEOF", DB)
    flood = ("import socket, time\ns=socket.socket(type=2)\nend=time.time()+60\n"
             f"while time.time() < end: s.sendto(b'x', ('{DB_ADDRESS}', 54)); time.sleep(0.0005)")
    pid = tiers.start(WEB1, "python3", "-c", flood)
    output = tiers.scratch / "ping"
    ping = tiers.start(WEB2, "sh", "-c", f"exec ping -i 0.002 {DB_ADDRESS} >{output}")
    for file in files * 3:
        tiers.do(f"acl apply {EDGE} --rules {file}")
    tiers.do("instance add --vpc vpc1 --subnet back --name db2")
    tiers.sh(f"kill -INT {ping}; until grep -q loss {output}; do sleep 0.02; done")
    tiers.stop(pid)
    assert ", 0% packet loss" in output.read_text()
    counted = tiers.sh("nft list chain ip arrived count", DB)
    assert "udp dport 54 counter packets 0 " in counted
    tiers.sh("nft delete table ip arrived", DB)


def test_a_machine_that_comes_later_is_behind_it_at_once(tiers: Host) -> None:
    associate(tiers)
    with_rules(tiers, [rule(100, "icmp")], OPEN)
    tiers.do("instance add --vpc vpc1 --subnet back --name db2 --address 10.0.2.20")
    tiers.listen("vpc1-back.db2", "80")
    tiers.reaches(WEB1, "10.0.2.20")
    tiers.never_reaches(WEB1, "10.0.2.20:80")
    tiers.reaches(DB, "10.0.2.20:80")
    tiers.do("instance delete --vpc vpc1 --subnet back --name db2")
    assert tiers.do("status").out == "in sync\n"
    tiers.do("subnet add --vpc vpc1 --name more --cidr 10.0.3.0/24")
    associate(tiers, "more")
    tiers.reaches(WEB1, "10.0.3.2")
    tiers.do("subnet delete --vpc vpc1 --name more")
    assert tiers.do("status").out == "in sync\n"


def test_what_is_in_use_stays(tiers: Host) -> None:
    associate(tiers)
    associate(tiers, "front")
    tiers.refused(f"acl delete {EDGE}", says="network ACL 'edge' of VPC 'vpc1' is in use by front, back")
    tiers.refused("acl dissociate --vpc vpc1 --subnet back --name egde",
                  says="network ACL 'egde' does not exist")
    tiers.refused("acl associate --vpc vpc1 --subnet back --name egde", says="did you mean 'edge'?")
    tiers.do("acl create --vpc vpc1 --name other")
    tiers.refused("acl dissociate --vpc vpc1 --subnet back --name other",
                  says="has network ACL 'edge', not 'other'")
    for subnet in ("front", "back"):
        tiers.do(f"acl dissociate --vpc vpc1 --subnet {subnet} --name edge")
    assert tiers.do(f"acl delete {EDGE}").out == "network ACL 'edge' deleted from VPC 'vpc1'\n"
    tiers.do("acl delete --vpc vpc1 --name other")
    assert "vpcctl-acls" not in tiers.sh("nft list tables", "vpc1")
    tiers.reaches(WEB1, f"{DB_ADDRESS}:80")


@pytest.mark.parametrize(("content", "says"), [
    ({"ingress": [rule(0, "tcp")]}, "0 is not a rule's number"),
    ({"ingress": [rule(32767, "tcp")]}, "32767 is not a rule's number"),
    ({"ingress": [rule(1, "tcp"), rule(1, "udp")]}, "the rule before, [0], is number 1, too"),
    ({"ingress": [rule(1, "icmp", 8)]}, "takes no port"), ({"ingress": [rule(1, "sctp")]}, "is not one of"),
    ({"default": "allow"}, "a network ACL has no default"),
    ({"ingress": [{**rule(1, "tcp"), "destination": "10.0.0.0/8"}]}, "has no destination"),
    ({"egress": [{"protocol": "tcp", "action": "allow"}]}, "the rule has no number"),
])
def test_a_wrong_file_changes_nothing(tiers: Host, content: dict[str, Any], says: str) -> None:
    tiers.refused(f"acl apply {EDGE} --rules {tiers.write('acl.json', content)}", says=says, code=2)


def test_damage_is_seen_and_mended(tiers: Host) -> None:
    associate(tiers)
    with_rules(tiers, [rule(100, "tcp", 80)], ANSWERS)
    for damage, says in (
            ("nft delete table bridge vpcctl-acls", "missing"),
            ("nft flush chain bridge vpcctl-acls in-edge", "network ACLs in vpc1"),
            ("nft flush map bridge vpcctl-acls in", "its subnets differ (in)"),
            ("nft insert rule bridge vpcctl-acls out-edge return", "something in it is not vpcctl's"),
            ("nft add chain bridge vpcctl-acls mine '{ type filter hook forward priority 0; policy drop; }'",
             "something in it is not vpcctl's"),
            ("nft add table bridge vpcctl-acls '{ flags dormant; }'", "something in it is not vpcctl's"),
            ("nft flush ruleset", "guard of the ports in vpc1")):
        tiers.sh(damage, "vpc1")
        done = tiers.vpcctl("status")
        assert (done.code, says in done.out) == (1, True), (damage, done)
        tiers.do("restore")
        assert tiers.do("status").out == "in sync\n"
        tiers.reaches(WEB1, f"{DB_ADDRESS}:80")
        tiers.never_reaches(WEB1, f"{DB_ADDRESS}:5432")


def test_a_lost_record_is_rebuilt_with_it(tiers: Host) -> None:
    associate(tiers)
    tiers.do("acl create --vpc vpc1 --name spare")
    tiers.do("subnet add --vpc vpc1 --name range --cidr 10.0.7.0/24 --bare")
    associate(tiers, "range", "spare")
    with_rules(tiers, [rule(100, "tcp", 80), rule(7, "udp", "50-60", "10.0.1.0/24")], ANSWERS)
    before = tiers.do("export --json").json["topology"]["vpcs"]["vpc1"]
    tiers.sh(f"rm {STATE} {STATE}.bak")
    tiers.do("restore --from-kernel")
    after = tiers.do("export --json").json["topology"]["vpcs"]["vpc1"]
    assert after["acls"] == before["acls"]
    assert {name: one.get("acl") for name, one in after["subnets"].items()} == {
        "front": None, "back": "edge", "range": "spare"}
    assert tiers.do("status").out == "in sync\n"
    counted = tiers.do(f"acl show {EDGE} --json").json["acl"]["counters"]
    assert counted.keys() == {"ingress 7", "ingress 100", "ingress *", "egress 100", "egress *"}
    tiers.delete_all()
    tiers.sh(f"sysctl -qw net.ipv4.ip_forward=0; rm -f {STATE}*.lost-*")


def test_a_file_has_it_and_apply_says_what_changes(tiers: Host) -> None:
    network = json.loads(json.dumps(NETWORK))
    network["vpcs"]["vpc1"]["acls"]["edge"] = acl([rule(100, "tcp", 80)], ANSWERS)
    network["vpcs"]["vpc1"]["subnets"]["back"]["acl"] = "edge"
    said = tiers.do("apply -f -", stdin=json.dumps(network)).out
    assert "~ acl vpc1/edge: ingress: rules differ (0 → 1), egress: rules differ (0 → 1)" in said
    assert "~ subnet vpc1/back: network ACL: none → edge" in said
    tiers.reaches(WEB1, f"{DB_ADDRESS}:80")
    tiers.never_reaches(WEB1, f"{DB_ADDRESS}:5432")
    written = tiers.do("export").out
    assert tiers.do("apply -f -", stdin=written).out.startswith("unchanged: ")
    del network["vpcs"]["vpc1"]["acls"]
    wrong = tiers.vpcctl("apply", "-f", "-", stdin=json.dumps(network))
    assert (wrong.code, "network ACL 'edge' does not exist in VPC 'vpc1'" in wrong.err) == (1, True), wrong


def asked(host: Host, start: str, to: str, port: str = "") -> dict[str, Any]:
    ports = ("--port", port) if port else ()
    report: dict[str, Any] = host.vpcctl("reach", "--from", start, "--to", to, *ports, "--probe",
                                         "--json").json["reach"]
    assert report["probe"]["agrees"], report
    return report


def test_reach_explains_the_ephemeral_ports(tiers: Host) -> None:
    associate(tiers)
    with_rules(tiers, [rule(100, "tcp", 80)], [rule(100, "icmp")])
    blocked = asked(tiers, "vpc1/front/web1", "vpc1/back/db", "80")["blocked_by"]
    assert (blocked["code"], blocked["where"]) == ("ACL_DENY", "vpc1")
    assert blocked["rule"] == "acl edge egress rule *"
    assert blocked["why"] == "the answer is denied by acl `edge` egress rule `*`: open 1024–65535"
    tiers.paste(blocked["fix"])
    assert asked(tiers, "vpc1/front/web1", "vpc1/back/db", "80")["verdict"] == "reachable"
    tiers.reaches(WEB1, f"{DB_ADDRESS}:80")


@pytest.mark.parametrize(("start", "to", "port"), [
    ("vpc1/front/web1", "vpc1/back/db", "5432"), ("vpc1/back/db", "vpc1/front/web1", "80"),
    ("vpc1/front/web1", "internet", "80"), ("host", "vpc1/front/web1", "80"),
    ("vpc2/far", "vpc1/front/web1", ""), ("vpc1/front/web1", "vpc2/far", "80"),
    ("vpc1/front/web1", "vpc1/front/web2", ""),
])
def test_whatever_reach_proposes_opens_the_way(tiers: Host, start: str, to: str, port: str) -> None:
    """One rule after the other, until it is open; no number is left between the rules."""
    associate(tiers)
    associate(tiers, "front")
    with_rules(tiers, [rule(1, "any", far="10.0.0.0/8", action="deny"), rule(2, "icmp", far="10.9.0.0/16")],
               [rule(1, "tcp", action="deny"), rule(2, "icmp", far="10.9.0.0/16"),
                rule(32766, "udp", action="deny")])
    for _ in range(5):
        report = asked(tiers, start, to, port)
        if report["verdict"] == "reachable":
            break
        assert report["blocked_by"]["code"] == "ACL_DENY"
        tiers.paste(report["blocked_by"]["fix"])
    assert report["verdict"] == "reachable"


def test_reach_reads_the_kernel_and_not_the_record(tiers: Host) -> None:
    associate(tiers)
    with_rules(tiers, OPEN, OPEN)
    assert asked(tiers, "vpc1/front/web1", "vpc1/back/db", "80")["verdict"] == "reachable"
    tiers.sh("nft flush chain bridge vpcctl-acls in-edge; "
             "nft add rule bridge vpcctl-acls in-edge counter drop comment '\"* all any any deny\"'", "vpc1")
    blocked = asked(tiers, "vpc1/front/web1", "vpc1/back/db", "80")["blocked_by"]
    assert (blocked["code"], blocked["fix"]) == ("ACL_DENY", "vpcctl restore")
    tiers.sh("nft insert rule bridge vpcctl-acls in-edge ip saddr 10.9.9.9 drop", "vpc1")
    report = tiers.vpcctl("reach", "--from", "vpc1/front/web1", "--to", "vpc1/back/db",
                          "--json").json["reach"]
    assert (report["verdict"], "vpcctl-acls" in report["why"]) == ("unknown", True)
    tiers.do("restore")


def test_without_nft_it_is_refused_before_anything_is_touched(host: Host) -> None:
    host.write("nft", "#!/bin/sh\nexit 1\n")
    host.sh(f"chmod +x {host.scratch}/nft")
    host.environment["PATH"] = f"{host.scratch}:{host.sh('printf %s $PATH')}"
    host.do("vpc create --name vpc1 --cidr 10.0.0.0/16")
    done = host.refused("acl create --vpc vpc1 --name web", says="VPC 'vpc1' can't have network ACLs: nft ")
    assert "install nftables" in done.err
    del host.environment["PATH"]

"""Security groups by real packets: members get in, nobody else does, whoever joins, leaves or lies."""

from __future__ import annotations

import json
import os
import statistics
import time
from typing import Any

import pytest
from host import CHECKOUT, Host
from sixth import FAMILIES, by

LONG = bool(os.environ.get("VPCCTL_LONG"))
MEMBERS = 500 if LONG else 40
"""In namespaces of their own, each knowing all the others."""

WEB1, WEB2, OTHER = "vpc1-front.web1", "vpc1-front.web2", "vpc1-front.other"
DB, FAR = "vpc1-back.db", "vpc2-far"
DB_ADDRESS, SECOND, FAR_ADDRESS = "10.0.2.9", "10.0.2.10", "172.16.1.2"
PORTS = ("5432", "80", "53/udp", "9999")


def rule(port: object, source: str = "", protocol: str = "tcp") -> dict[str, Any]:
    """A rule that allows something to come in."""
    return {"protocol": protocol, "action": "allow", **({"port": port} if port else {}),
            **({"source": source} if source else {})}


NETWORK: dict[str, Any] = {"version": 2, "vpcs": {
    "vpc1": {"cidr": "10.0.0.0/16", "groups": {
        "web": {"ingress": [rule(80)]},
        "data": {"ingress": [rule(5432, "group:web"), rule(53, "group:vpc2/ops", "udp")]},
        "admin": {"ingress": [rule(None, "group:web", "icmp")]}},
        "subnets": {
            "front": {"cidr": "10.0.1.0/24", "bare": True, "instances": {
                "web1": {"address": ["10.0.1.4", "10.0.1.44"], "groups": ["web"]},
                "web2": {"address": "10.0.1.5"}, "other": {"address": "10.0.1.6"}}},
            "back": {"cidr": "10.0.2.0/24", "bare": True, "instances": {
                "db": {"address": [DB_ADDRESS, SECOND], "groups": ["data"]}}}}},
    "vpc2": {"cidr": "172.16.0.0/16", "groups": {"ops": {}}, "subnets": {
        "far": {"cidr": "172.16.1.0/24", "groups": ["ops"]}}}},
    "peerings": [["vpc1", "vpc2"]]}
FRONT = "--vpc vpc1 --subnet front --instance"


@pytest.fixture
def tiers(host: Host) -> Host:
    """Two machines before a database, groups for both, and a peered VPC."""
    host.do("apply -f -", stdin=json.dumps(NETWORK))
    host.listen(DB, *PORTS)
    return host


@pytest.fixture(params=FAMILIES)
def either(request: pytest.FixtureRequest, host: Host) -> Host:
    """The same, by each family."""
    host.do("apply -f -", stdin=json.dumps(NETWORK))
    found = by(request.param, host)
    found.listen(DB, *(port for port in PORTS if port != "53/udp"))
    # On all addresses, the kernel would choose from which of the two it answers.
    found.listen(DB, "53/udp", address=DB_ADDRESS)
    return found


def db(port: str, address: str = DB_ADDRESS) -> str:
    return f"{address}:{port}"


def kept_in(host: Host, space: str, *targets: str) -> None:
    """Its own rules do not let it send there."""
    for answer in host.probe(*((space, target) for target in targets)):
        assert "Operation not permitted" in answer.verdict


def with_policy(host: Host, group: str, policy: dict[str, Any], vpc: str = "vpc1") -> Any:
    return host.do(f"group apply --vpc {vpc} --name {group} --policy {host.write('group.json', policy)}")


def test_a_member_gets_in_and_nobody_else(either: Host) -> None:
    either.reaches(WEB1, db("5432"), db("5432", SECOND))
    either.none_reach((WEB2, db("5432")), (OTHER, db("5432")), (FAR, db("5432")), ("", db("5432")),
                     (WEB1, db("9999")), (WEB1, db("53/udp")), (WEB1, DB_ADDRESS))
    either.reaches(FAR, db("53/udp"))
    # What is begun from inside goes out, and its answers come in.
    either.listen(WEB2, "80")
    either.reaches(DB, "10.0.1.5:80", "10.0.1.6")
    either.never_reaches(DB, FAR_ADDRESS, "10.0.1.4:9999")
    either.listen(WEB1, "80", "81")
    either.reaches(OTHER, "10.0.1.4:80")
    either.never_reaches(OTHER, "10.0.1.4:81", "10.0.1.4")


def test_members_count_with_all_their_addresses(either: Host) -> None:
    for source in ("10.0.1.4", "10.0.1.44"):
        (answer,) = either.probe((WEB1, db("5432")), source=source)
        assert answer.verdict == "reached", source


def test_joining_and_leaving_by_packets(either: Host) -> None:
    either.never_reaches(WEB2, db("5432"))
    done = either.do(f"group join {FRONT} web2 --name web")
    assert "vpc1/front/web2 is now in a group" in done.err
    assert "it was open" in done.err
    assert either.do(f"group join {FRONT} web2 --name web").out.startswith("unchanged: ")
    either.reaches(WEB2, db("5432"))
    assert either.do("status").out == "in sync\n"
    left = either.do(f"group leave {FRONT} web2 --name web --json").json["member"]
    assert left == {"vpc": "vpc1", "subnet": "front", "instance": "web2", "groups": [], "changed": True}
    either.never_reaches(WEB2, db("5432"))
    either.reaches(OTHER, "10.0.1.5")
    assert either.do(f"group leave {FRONT} web2 --name web").out.startswith("unchanged: ")
    either.do("group leave --vpc vpc2 --subnet far --name ops")
    either.never_reaches(FAR, db("53/udp"))


def test_in_two_groups_what_any_of_them_allows(tiers: Host) -> None:
    tiers.never_reaches(WEB1, DB_ADDRESS)
    tiers.do("group join --vpc vpc1 --subnet back --instance db --name admin")
    tiers.reaches(WEB1, DB_ADDRESS, db("5432"))
    tiers.never_reaches(OTHER, DB_ADDRESS)
    with_policy(tiers, "admin", {"ingress": [rule(9999)], "egress": []})
    tiers.reaches(OTHER, db("9999"))
    # One group leaves open what goes out.
    tiers.reaches(DB, "10.0.1.5")
    with_policy(tiers, "data", {"ingress": [], "egress": [
        {"protocol": "icmp", "action": "allow", "destination": "group:web"}]})
    kept_in(tiers, DB, "10.0.1.5", "10.0.1.6")
    with_policy(tiers, "web", {"ingress": [rule(None, "group:data", "icmp")]})
    tiers.reaches(DB, "10.0.1.4")


def test_groups_decide_before_the_policy_of_a_subnet(either: Host) -> None:
    closed = either.write("closed.json", {"ingress": []})
    either.do(f"firewall apply --vpc vpc1 --subnet back --policy {closed}")
    either.do(f"firewall apply --vpc vpc1 --subnet front --policy {closed}")
    either.reaches(WEB1, db("5432"))
    either.never_reaches(OTHER, "10.0.1.5")
    left = either.do("group leave --vpc vpc1 --subnet back --instance db --name data")
    assert "the policy of its subnet decides" in left.err
    either.never_reaches(WEB1, db("5432"))
    shown = either.do("firewall show --vpc vpc1 --subnet back --instance db --json").json["firewall"]
    assert (shown["groups"], shown["policy"]["ingress"]) == ([], [])
    either.do("firewall clear --vpc vpc1 --subnet back")
    either.reaches(OTHER, db("5432"), db("9999"))


def test_who_lies_about_its_address_gets_nowhere(either: Host) -> None:
    either.no_forgery_arrives(OTHER, db("5432"), source="10.0.1.4", at=DB, witness=WEB1)


def test_a_machine_of_its_own_is_in_groups_too(tiers: Host) -> None:
    tiers.do("subnet add --vpc vpc1 --name own --cidr 10.0.3.0/24")
    tiers.do("group join --vpc vpc1 --subnet own --name web")
    tiers.reaches("vpc1-own", db("5432"))
    file = tiers.do("export --json").json["topology"]
    assert file["vpcs"]["vpc1"]["subnets"]["own"]["groups"] == ["web"]
    assert tiers.do("subnet list --vpc vpc1 --json").json["subnets"][-1]["groups"] == ["web"]


def test_a_machine_can_be_added_to_groups(tiers: Host) -> None:
    tiers.refused(f"instance add {FRONT.replace('--instance', '--name')} web3 --group wep",
                  says="group 'wep' does not exist in VPC 'vpc1'")
    tiers.do("instance add --vpc vpc1 --subnet front --name web3 --group web --group admin")
    tiers.reaches("vpc1-front.web3", db("5432"))
    again = tiers.do("instance add --vpc vpc1 --subnet front --name web3 --group admin --group web")
    assert again.out.startswith("unchanged: ")
    done = tiers.refused("instance add --vpc vpc1 --subnet front --name web3 --group web",
                         says="already exists in vpc1/front, has 10.0.1.7, and is in admin, web")
    assert "Hint: change its groups: vpcctl group join --vpc vpc1 --subnet front --instance web3" in done.err
    shown = tiers.do("instance show --vpc vpc1 --subnet front --name web3 --json").json["instance"]
    assert shown["groups"] == ["admin", "web"]
    tiers.do("instance delete --vpc vpc1 --subnet front --name web3")
    tiers.do("instance add --vpc vpc1 --subnet front --name stranger --address 10.0.1.7")
    tiers.never_reaches("vpc1-front.stranger", db("5432"))


def test_counters_are_sums_over_the_members(tiers: Host) -> None:
    tiers.do("instance add --vpc vpc1 --subnet back --name db2 --address 10.0.2.20 --group data")
    tiers.listen("vpc1-back.db2", "5432")
    tiers.reaches(WEB1, db("5432"))
    tiers.reaches(WEB1, db("5432", "10.0.2.20"), db("5432", SECOND))
    shown = tiers.do("group show --vpc vpc1 --name data --json").json["group"]
    assert shown["members"] == ["vpc1/back/db", "vpc1/back/db2"]
    assert shown["counters"]["ingress[0]"]["packets"] == 3
    one = tiers.do("firewall show --vpc vpc1 --subnet back --instance db2 --json").json["firewall"]
    assert [(group["name"], group["counters"]["ingress[0]"]["packets"]) for group in one["groups"]] == [
        ("data", 1)]
    # Rules that stay keep what they have counted.
    policy = {"ingress": [*NETWORK["vpcs"]["vpc1"]["groups"]["data"]["ingress"], rule(9999)]}
    with_policy(tiers, "data", policy)
    assert tiers.do("group show --vpc vpc1 --name data --json").json["group"]["counters"]["ingress[0]"][
        "packets"] == 3
    tiers.sh("ip netns del vpc1-back.db2")
    lost = tiers.do("group show --vpc vpc1 --name data")
    assert "namespace vpc1-back.db2 is recorded, but missing" in lost.err


def test_open_connections_stay_and_no_new_one_begins(tiers: Host) -> None:
    """Those that are still allowed, and those that are not: as with a policy, and as in AWS."""
    talk = ("import socket,sys; s=socket.create_connection(('10.0.2.9', 7000)); print(s.recv(9), flush=True);"
            "sys.stdin.readline(); s.sendall(b'on'); print(s.recv(9), flush=True)")
    tiers.start(DB, "python3", "-uc", "import socket; l=socket.create_server(('', 7000));\n"
                "while True: c, _ = l.accept(); c.sendall(b'hello'); c.sendall(c.recv(9) or b'-')")
    with_policy(tiers, "data", {"ingress": [rule(7000, "group:web"), rule(5432, "group:web")]})
    fifo, out = tiers.scratch / "fifo", tiers.scratch / "out"
    os.mkfifo(fifo)
    tiers.wait_until(lambda: bool(tiers.sh("ss -Hltn sport = 7000", DB)), "it listens")
    tiers.start(WEB1, "sh", "-c", f"exec python3 -uc \"$1\" <{fifo} >{out}", "sh", talk)
    with fifo.open("w") as pipe:
        tiers.wait_until(lambda: out.exists() and "hello" in out.read_text(), "it is connected")
        done = with_policy(tiers, "data", {"ingress": [rule(5432, "group:web")]})
        assert "connections that are open now stay open until they end" in done.err
        tiers.never_reaches(WEB1, db("7000"))
        pipe.write("\n")
        pipe.flush()
        tiers.wait_until(lambda: "on" in out.read_text(), "the open one goes on")
    wider = with_policy(tiers, "data", {"ingress": [rule(5432, "group:web"), rule(80)]})
    assert "stay open" not in wider.err


@pytest.mark.parametrize("leaves", [False, True])
def test_who_gets_the_address_of_a_deleted_machine_has_none_of_its_connections(
        tiers: Host, leaves: bool) -> None:
    with_policy(tiers, "data", {"ingress": [rule(54, "group:web", "udp")]})
    tiers.start(DB, "python3", "-uc", "import socket; s=socket.socket(type=2); s.bind(('', 54))\n"
                "while True: s.sendto(*s.recvfrom(9))")
    tiers.wait_until(lambda: bool(tiers.sh("ss -Hlun sport = 54", DB)), "it listens")
    talk = ("import socket; s=socket.socket(type=2); s.bind(('', 5000)); s.settimeout(1)\n"
            "s.sendto(b'it', ('10.0.2.9', 54))\n"
            "try: print(s.recv(9))\nexcept TimeoutError: print('nothing')")
    assert "it" in tiers.run("ip", "netns", "exec", WEB1, "python3", "-c", talk).out
    if leaves:
        tiers.do(f"group leave {FRONT} web1 --name web")
    tiers.do(f"instance delete {FRONT.replace('--instance', '--name')} web1")
    tiers.do(f"instance add {FRONT.replace('--instance', '--name')} late --address 10.0.1.4")
    assert tiers.run("ip", "netns", "exec", "vpc1-front.late", "python3", "-c", talk).out == "nothing\n"


def test_reach_names_the_group_and_its_fix_helps(tiers: Host) -> None:
    tiers.never_reaches(WEB2, db("5432"))
    asked = ("reach", "--from", "vpc1/front/web2", "--to", "vpc1/back/db", "--port", "5432", "--json")
    blocked = tiers.vpcctl(*asked).json["reach"]["blocked_by"]
    assert blocked["code"] == "FIREWALL_DENY"
    assert blocked["why"] == "db's group 'data' allows tcp port 5432 from group 'web'; web2 is not in it"
    assert blocked["fix"] == "vpcctl group join --vpc vpc1 --subnet front --instance web2 --name web"
    said = tiers.vpcctl(*asked[:-1]).out
    assert f"Why:   {blocked['why']}" in said
    tiers.paste(blocked["fix"])
    assert tiers.vpcctl(*asked, "--probe").json["reach"]["probe"]["agrees"]
    tiers.reaches(WEB2, db("5432"))


@pytest.mark.parametrize(("start", "to", "port", "says"), [
    ("vpc1/front/other", "vpc1/back/db", "9999", "db is in 'data', and no ingress rule there allows"),
    ("vpc1/front/other", "vpc1/front/web1", "81", "web1 is in 'web', and no ingress rule there allows"),
    ("vpc2/far", "vpc1/back/db", "5432", "group 'web'; vpc2/far is not in it"),
    ("vpc1/back/db", "vpc1/front/web1", "80", ""),
    ("vpc1/front/web1", "vpc2/far", "80", "vpc2/far is in 'ops', and no ingress rule there allows"),
])
def test_whatever_reach_proposes_opens_the_way(tiers: Host, start: str, to: str, port: str,
                                               says: str) -> None:
    asked = ("reach", "--from", start, "--to", to, "--port", port, "--json")
    report = tiers.vpcctl(*asked).json["reach"]
    if not says:
        assert report["verdict"] == "reachable"
        return
    assert says in report["blocked_by"]["why"]
    tiers.paste(report["blocked_by"]["fix"])
    assert tiers.vpcctl(*asked).json["reach"]["verdict"] == "reachable"


def test_reach_says_what_closes_an_exit(tiers: Host) -> None:
    with_policy(tiers, "web", {"egress": [{"protocol": "tcp", "port": 5432, "action": "allow",
                                           "destination": "group:data"}]})
    tiers.reaches(WEB1, db("5432"))
    kept_in(tiers, WEB1, "10.0.1.6")
    asked = ("reach", "--from", "vpc1/front/web1", "--to", "vpc1/front/other", "--json")
    blocked = tiers.vpcctl(*asked).json["reach"]["blocked_by"]
    assert blocked["where"] == WEB1
    assert blocked["why"] == "web1 is in 'web', and no egress rule there allows icmp to other"
    tiers.paste(blocked["fix"])
    tiers.reaches(WEB1, "10.0.1.6")


def test_more_groups_than_there_are_bits(tiers: Host) -> None:
    """Twenty for one port: a number of the rule stands in the mark, not a bit of the group."""
    names = [f"g{number}" for number in range(20)]
    network = json.loads(json.dumps(NETWORK))
    vpc = network["vpcs"]["vpc1"]
    vpc["groups"] |= {name: {} for name in names}
    vpc["groups"]["data"] = {"ingress": [rule(5432, f"group:{name}") for name in (*names, "web")]}
    instances = vpc["subnets"]["front"]["instances"]
    instances["web1"]["groups"] = ["g19"]
    instances["web2"]["groups"] = ["g3", "g17"]
    tiers.do("apply -f -", stdin=json.dumps(network))
    tiers.reaches(WEB1, db("5432"))
    tiers.reaches(WEB2, db("5432"))
    tiers.never_reaches(OTHER, db("5432"))
    counted = tiers.do("group show --vpc vpc1 --name data --json").json["group"]["counters"]
    assert {tag for tag, one in counted.items() if one["packets"]} == {"ingress[19]", "ingress[3]"}


def test_many_rules_and_groups_together(tiers: Host) -> None:
    many = [rule(port, f"10.9.{port % 200}.0/24") for port in range(1000, 1200)]
    with_policy(tiers, "data", {"ingress": [*many, rule(5432, "group:web"), rule("9990-9999", "10.0.1.6")]})
    tiers.reaches(WEB1, db("5432"))
    tiers.reaches(OTHER, db("9999"))
    tiers.none_reach((OTHER, db("5432")), (WEB1, db("9999")))
    assert tiers.do("status").out == "in sync\n"


def test_what_is_in_use_stays(tiers: Host) -> None:
    tiers.refused("group delete --vpc vpc1 --name data",
                  says="group 'data' of VPC 'vpc1' is in use: its members are vpc1/back/db")
    tiers.do(f"group leave {FRONT} web1 --name web")
    tiers.refused("group delete --vpc vpc1 --name web", says="its name is in the rules of data (ingress[0]), "
                  "admin (ingress[0])")
    tiers.do("group leave --vpc vpc2 --subnet far --name ops")
    tiers.refused("group delete --vpc vpc2 --name ops", says="in the rules of vpc1/data (ingress[1])")
    with_policy(tiers, "data", {})
    with_policy(tiers, "admin", {})
    for vpc, name in (("vpc1", "web"), ("vpc2", "ops")):
        assert tiers.do(f"group delete --vpc {vpc} --name {name}").out == (
            f"group '{name}' deleted from VPC '{vpc}'\n")
    assert [one["name"] for one in tiers.do("group list --json").json["groups"]] == ["data", "admin"]


def test_without_the_peering_a_rule_matches_nobody(tiers: Host) -> None:
    done = tiers.do("peer delete --vpc1 vpc1 --vpc2 vpc2")
    assert "ingress[1] of group 'data' of VPC 'vpc1' matches nobody now" in done.err
    assert tiers.do("group show --vpc vpc1 --name data --json").json["group"]["stale"] == ["ingress[1]"]
    assert tiers.do("status").out == "in sync\n"
    file = tiers.write("data.json", {"ingress": [rule(22, "group:vpc2/ops")]})
    tiers.refused(f"group apply --vpc vpc1 --name data --policy {file}",
                  says="VPCs 'vpc1' and 'vpc2' are not peered")
    written = tiers.do("export").out
    tiers.do("peer create --vpc1 vpc1 --vpc2 vpc2")
    tiers.reaches(FAR, db("53/udp"))
    tiers.do("vpc delete --name vpc2")
    assert tiers.do("group show --vpc vpc1 --name data --json").json["group"]["stale"] == ["ingress[1]"]
    again = tiers.do("apply -f -", stdin=written)
    assert "matches nobody" not in again.err, "it did before, too"


def test_a_flush_and_a_lost_table_are_seen_and_mended(tiers: Host) -> None:
    for damage, says in (("iptables -F", "chain INPUT"), ("nft delete table ip vpcctl", "groups' members in"),
                         ("nft flush set ip vpcctl group-web", "group web: 2 of its 2 addresses missing"),
                         ("nft add element ip vpcctl group-web { 10.0.1.6 }", "of its 2 addresses missing"),
                         ("nft insert rule ip vpcctl incoming accept", "its rules differ")):
        tiers.sh(damage, DB)
        found = tiers.vpcctl("status")
        assert found.code == 1
        assert says in found.out, found.out
        tiers.do("restore")
        assert tiers.do("status").out == "in sync\n"
        tiers.reaches(WEB1, db("5432"))
        tiers.never_reaches(OTHER, db("5432"))
    tiers.sh("nft delete table ip vpcctl", "vpc1")
    assert "list of the groups in vpc1" in tiers.vpcctl("status").out
    tiers.sh("ip netns del vpc1-back.db")
    tiers.do("restore")
    tiers.listen(DB, *PORTS)
    tiers.reaches(WEB1, db("5432"))
    tiers.never_reaches(OTHER, db("5432"))


def test_a_lost_record_has_groups_and_members_again(tiers: Host) -> None:
    before = tiers.do("export").out
    tiers.sh("rm /var/lib/vpcctl/state.json /var/lib/vpcctl/state.json.bak")
    done = tiers.do("restore --from-kernel")
    assert "descriptions in group 'data' of VPC 'vpc1' are unknown" in done.err
    assert tiers.do("export").out == before
    assert tiers.do("status").out == "in sync\n"


def test_what_is_printed_can_be_pasted(tiers: Host) -> None:
    """Each printed change does the same as the change itself."""
    other = tiers.write("other.json", {"ingress": [rule(80, "group:web"), rule(5432, "group:web")]})
    for line in (f"group join {FRONT} web2 --name web",
                 f"group apply --vpc vpc1 --name data --policy {other}",
                 f"group leave {FRONT} web1 --name web"):
        printed = tiers.do(f"{line} --dry-run").out
        tiers.sh(printed)
        pasted = tiers.portrait()
        tiers.do(line)
        changes = pasted, tiers.portrait()
        assert tiers.do("status").out == "in sync\n", line
        assert changes[0].keys() == changes[1].keys()
    tiers.reaches(WEB2, db("5432"), db("80"))
    tiers.never_reaches(WEB1, db("5432"))


def test_export_and_apply_give_the_same_back(tiers: Host) -> None:
    written = tiers.do("export").out
    assert "unchanged" in tiers.do("apply -f -", stdin=written).out
    tiers.delete_all()
    tiers.do("apply -f -", stdin=written)
    assert tiers.do("export").out == written


def rules_of(host: Host, spaces: list[str]) -> str:
    """The rules of iptables in these namespaces, without their counters."""
    return host.sh("for one in " + " ".join(spaces) + "; do ip netns exec $one iptables-save | "
                   "grep -v '^[#:]'; done")


def test_one_member_more_touches_no_rule(host: Host, capsys: pytest.CaptureFixture[str]) -> None:
    """Its time, with so many members in as many namespaces, each of which knows all others."""
    instances = {f"m{number}": {"groups": ["web"]} for number in range(MEMBERS - 1)}
    network = {"version": 2, "vpcs": {"vpc1": {"cidr": "10.0.0.0/16", "groups": {
        "web": {"ingress": [rule(80, "group:web"), rule(443)]}}, "subnets": {
            "many": {"cidr": "10.0.16.0/20", "bare": True, "instances": instances},
            "back": {"cidr": "10.0.1.0/24"}}}}}
    host.do("apply --json -f -", stdin=json.dumps(network))
    spaces = [f"vpc1-many.m{number}" for number in range(MEMBERS - 1)]
    host.do("instance add --vpc vpc1 --subnet many --name last")
    before = rules_of(host, spaces)
    times = []
    host.listen(spaces[0], "80")
    for _ in range(3):
        start = time.monotonic()
        host.do("group join --vpc vpc1 --subnet many --instance last --name web")
        times.append(time.monotonic() - start)
        assert rules_of(host, spaces) == before
        host.reaches("vpc1-many.last", "10.0.16.4:80")
        host.do("group leave --vpc vpc1 --subnet many --instance last --name web")
        assert rules_of(host, spaces) == before
        host.never_reaches("vpc1-many.last", "10.0.16.4:80")
    with capsys.disabled():
        print(f"\nmember {MEMBERS} joins in {statistics.median(times):.2f} s")


def test_where_ports_are_not_guarded_no_rule_names_a_group(host: Host) -> None:
    """A member is known by its addresses, which anybody there could take; CIDRs are as good as ever."""
    nft = host.scratch / "nft"
    nft.write_text("#!/bin/sh\necho 'Error: Could not process rule: Operation not supported' >&2\nexit 1\n")
    nft.chmod(0o755)
    host.environment["PATH"] = f"{host.scratch}:{host.sh('printf %s $PATH')}"
    network = json.loads(json.dumps(NETWORK))
    refused = host.vpcctl("apply", "-f", host.write("network.json", network))
    assert refused.code == 1
    assert "ports are not guarded here" in refused.err
    assert refused.out == "", "no plan of what is not done"
    assert host.do("vpc list --json").json["vpcs"] == []
    network["vpcs"]["vpc1"]["groups"] = {"web": {}, "data": {"ingress": [rule(5432, "10.0.1.4")]}}
    for subnet in network["vpcs"]["vpc1"]["subnets"].values():
        # A subnet's CIDR is known then only by the one address of a machine.
        del subnet["bare"]
        for one in subnet["instances"].values():
            one["address"] = one["address"][0] if isinstance(one["address"], list) else one["address"]
    host.do("apply -f", host.write("network.json", network))
    file = host.write("group.json", {"ingress": [rule(5432, "group:web")]})
    host.refused(f"group apply --vpc vpc1 --name data --policy {file}",
                 says="group 'data' of VPC 'vpc1' can't name group 'web' (ingress[0])")
    host.listen(DB, *PORTS)
    host.reaches(WEB1, db("5432"))
    host.never_reaches(OTHER, db("5432"))
    assert host.do("status --json").json["status"]["in_sync"]
    host.sh("rm /var/lib/vpcctl/state.json /var/lib/vpcctl/state.json.bak")
    done = host.do("restore --from-kernel")
    assert "the groups of 'vpc1/back/db' are unknown: its rules stay as they are" in done.err
    host.reaches(WEB1, db("5432"))
    host.never_reaches(OTHER, db("5432"))


def test_what_root_in_a_member_breaks_is_its_own(tiers: Host) -> None:
    """Another machine joins whatever has become of the table here, and the way out is open to nobody else."""
    tiers.do("instance add --vpc vpc1 --subnet back --name db2 --address 10.0.2.20 --group data")
    tiers.listen("vpc1-back.db2", "5432")
    tiers.sh("nft delete table ip vpcctl", DB)
    tiers.do(f"group join {FRONT} web2 --name web")
    tiers.reaches(WEB2, db("5432"), db("5432", "10.0.2.20"))
    assert tiers.do("status").out == "in sync\n"
    tiers.sh("iptables -F; nft flush ruleset", DB)
    tiers.never_reaches(OTHER, db("5432", "10.0.2.20"))
    tiers.do("restore")
    tiers.never_reaches(OTHER, db("5432"))


def test_the_emergency_script_leaves_nothing_of_them(tiers: Host) -> None:
    tiers.sh(f"{CHECKOUT}/cleanup.sh --yes; rm /var/lib/vpcctl/*.cleaned")
    tiers.stop(*tiers._pids)
    tiers.check_same(tiers.before)


EVERYBODY = {"vpc1/front/web1": (WEB1, "10.0.1.4"), "vpc1/front/web2": (WEB2, "10.0.1.5"),
             "vpc1/front/other": (OTHER, "10.0.1.6"), "vpc1/back/db": (DB, DB_ADDRESS),
             "vpc2/far": (FAR, FAR_ADDRESS)}


def test_reach_says_what_packets_do(tiers: Host) -> None:
    """Between all machines, on ports that some groups allow, and with an exit that one group closes."""
    with_policy(tiers, "web", {"ingress": [rule(80), rule(5432, "group:data")], "egress": [
        {"protocol": "tcp", "port": "80-5432", "action": "allow", "destination": "group:data"},
        {"protocol": "tcp", "port": 80, "action": "allow", "destination": "group:vpc2/ops"}]})
    ops = {"ingress": [rule(80, "group:vpc1/web"), rule("5000-6000", "10.0.2.0/24")]}
    with_policy(tiers, "ops", ops, "vpc2")
    tiers.do("group join --vpc vpc1 --subnet front --instance web2 --name admin")
    for space, _ in EVERYBODY.values():
        if space != DB:
            tiers.listen(space, "80", "5432")
    for to, (_, address) in EVERYBODY.items():
        for port in ("80", "5432"):
            found = tiers.vpcctl("reach", "--to", to, "--port", port, "--json").json["reach"]
            senders = [space for name, (space, _) in EVERYBODY.items() if name != to]
            answers = tiers.probe(*((space, f"{address}:{port}") for space in senders), patience=0.5)
            assert [one["verdict"] == "reachable" for one in found] == [
                answer.verdict == "reached" for answer in answers], (to, port, found, answers)

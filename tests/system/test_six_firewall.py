"""Policies, groups and network ACLs over IPv6: what must not pass in IPv4 does not pass there either."""

from __future__ import annotations

import json
from typing import Any

import pytest
from host import CHECKOUT, REACHED, SILENCE, Host

WEB1, WEB2, OTHER = "vpc1-front.web1", "vpc1-front.web2", "vpc1-front.other"
DB, OWN, FAR = "vpc1-back.db", "vpc1-back", "vpc2-far"
FRONT6, BACK6, FAR6 = "fd01:0:0:101::", "fd01:0:0:102::", "fd02:0:0:101::"
WEB1_6, WEB2_6, OTHER_6, DB_6, OWN_6, FAR_6 = (f"{part}{number}" for part, number in (
    (FRONT6, 4), (FRONT6, 5), (FRONT6, 6), (BACK6, 9), (BACK6, 2), (FAR6, 2)))
DB_4 = "10.0.2.9"
PORTS = ("80", "81", "443", "5432", "53/udp", "54/udp")
STATE = "/var/lib/vpcctl/state.json"


def allow(protocol: str, port: object = None, source: str = "") -> dict[str, Any]:
    """A rule that allows something to come in."""
    return {"protocol": protocol, "action": "allow", **({"port": port} if port else {}),
            **({"source": source} if source else {})}


NETWORK: dict[str, Any] = {"version": 2, "vpcs": {
    "vpc1": {"cidr": "10.0.0.0/16", "ipv6": "fd01:0:0:100::/56", "groups": {
        "web": {"ingress": [allow("tcp", 80)]},
        "data": {"ingress": [allow("tcp", 5432, "group:web"), allow("udp", 53, "group:vpc2/ops")]},
        "admin": {"ingress": [allow("icmpv6", None, "group:web")]}},
        "acls": {"edge": {"ingress": [], "egress": []}}, "subnets": {
            "front": {"cidr": "10.0.1.0/24", "ipv6": f"{FRONT6}/64", "bare": True, "instances": {
                "web1": {"address": ["10.0.1.4", "10.0.1.44"]}, "web2": {"address": "10.0.1.5"},
                "other": {"address": "10.0.1.6"}}},
            "back": {"cidr": "10.0.2.0/24", "ipv6": f"{BACK6}/64", "instances": {"db": {"address": DB_4}}}}},
    "vpc2": {"cidr": "172.16.0.0/16", "ipv6": "fd02:0:0:100::/56", "groups": {"ops": {}}, "subnets": {
        "far": {"cidr": "172.16.1.0/24", "ipv6": f"{FAR6}/64"}}}},
    "peerings": [["vpc1", "vpc2"]]}


@pytest.fixture
def tiers(host: Host) -> Host:
    """Two dual-stack VPCs that are peered; a database that listens in both families."""
    host.do("apply -f -", stdin=json.dumps(NETWORK))
    serve(host, DB)
    return host


def serve(host: Host, space: str, *ports: str) -> None:
    """The same ports in both families."""
    for address in ("0.0.0.0", "::"):  # noqa: S104 - in a namespace of its own
        host.listen(space, *(ports or PORTS), address=address)


def at(address: str, *ports: str) -> list[str]:
    """The targets there: `` is a ping."""
    return [f"[{address}]:{port}" if port and ":" in address else f"{address}:{port}" if port else address
            for port in ports]


def open_ones(host: Host, space: str, address: str) -> list[str]:
    """The ports that answer, and `` if it answers a ping; the others have to be silent."""
    every = ["", *PORTS]
    answers = host.probe(*((space, target) for target in at(address, *every)), patience=0.5)
    assert {answer.verdict for answer in answers} <= {REACHED, SILENCE}, answers
    return [port for port, answer in zip(every, answers, strict=True) if answer.verdict == REACHED]


def apply(host: Host, subnet: str = "back", **policy: Any) -> None:
    host.do(f"firewall apply --vpc vpc1 --subnet {subnet} --policy {host.write('policy.json', policy)}")
    assert host.do("status").out == "in sync\n"


def group(host: Host, name: str, **policy: Any) -> None:
    host.do(f"group apply --vpc vpc1 --name {name} --policy {host.write('group.json', policy)}")


def test_without_rules_all_is_open(tiers: Host) -> None:
    for space in (WEB1, FAR, ""):
        assert open_ones(tiers, space, DB_6) == ["", *PORTS], space


def test_a_rule_is_for_the_families_that_it_names(tiers: Host) -> None:
    apply(tiers, ingress=[allow("tcp", 80), allow("tcp", 81, "0.0.0.0/0"), allow("tcp", 443, "::/0"),
                          allow("icmp"), allow("udp", 53, WEB2_6), allow("udp", 54, "10.0.1.5")])
    assert open_ones(tiers, WEB2, DB_6) == ["80", "443", "53/udp"]
    assert open_ones(tiers, OTHER, DB_6) == ["80", "443"]
    assert open_ones(tiers, WEB2, DB_4) == ["", "80", "81", "54/udp"]
    tiers.do("firewall allow --vpc vpc1 --subnet back --protocol icmpv6 --source", f"{FRONT6}/64")
    assert open_ones(tiers, OTHER, DB_6) == ["", "80", "443"]
    assert open_ones(tiers, FAR, DB_6) == ["80", "443"]


def test_a_policy_closes_both_families_at_once(tiers: Host) -> None:
    for rules in ([], [allow("tcp", 80, "10.0.0.0/8")], [allow("icmp")]):
        apply(tiers, ingress=rules)
        for space in (WEB1, OWN, FAR, ""):
            assert open_ones(tiers, space, DB_6) == [], (space, rules)
    apply(tiers, ingress=[{"protocol": "all", "action": "deny", "source": f"{FRONT6}/64"}], default="allow")
    assert open_ones(tiers, WEB1, DB_6) == []
    assert open_ones(tiers, FAR, DB_6) == open_ones(tiers, WEB1, DB_4) == ["", *PORTS]


def test_what_goes_out_is_closed_as_well(tiers: Host) -> None:
    serve(tiers, WEB1, "80", "81")
    apply(tiers, ingress=[allow("all")], egress=[
        {"protocol": "tcp", "port": 80, "action": "allow", "destination": f"{FRONT6}/64"}])
    tiers.reaches(DB, *at(WEB1_6, "80"))
    for target in at(WEB1_6, "81", "") + at("10.0.1.4", "80") + at(FAR_6, ""):
        (answer,) = tiers.probe((DB, target), patience=0.5)
        assert "Operation not permitted" in answer.verdict or answer.verdict == SILENCE, target
    # Answers go out.
    assert open_ones(tiers, WEB1, DB_6) == ["", *PORTS]


def test_many_rules_decide_as_few(tiers: Host) -> None:
    many = [allow("tcp", 1000 + number, f"fd77:0:0:{number:x}::/64") for number in range(300)]
    apply(tiers, ingress=[*many, allow("tcp", "80-81", f"{FRONT6}/64"), allow("udp", 53, WEB2_6),
                          {"protocol": "all", "action": "deny"}])
    assert "VPCCTL-IN-" in tiers.sh("ip6tables-save", DB)
    assert open_ones(tiers, WEB2, DB_6) == ["80", "81", "53/udp"]
    assert open_ones(tiers, OTHER, DB_6) == ["80", "81"]
    assert open_ones(tiers, FAR, DB_6) == open_ones(tiers, WEB1, DB_4) == []


def test_path_mtu_is_learned_past_every_policy(tiers: Host) -> None:
    """The error comes from the router, whom no rule allows anything (RFC 4890)."""
    apply(tiers, ingress=[], egress=[allow("tcp", 80)])
    serve(tiers, FAR, "80")
    tiers.sh("ip link set pcx-vpc1 mtu 1280", "vpc2")
    tiers.sh("ip link set pcx-vpc2 mtu 1280", "vpc1")
    taken = tiers.sh(f"printf 'TAKE ' >/tmp/x; head -c 60000 /dev/zero >>/tmp/x; "
                     f"timeout 10 bash -c 'exec 3<>/dev/tcp/{FAR_6}/80; cat /tmp/x >&3; echo sent'", DB)
    assert "sent" in taken
    assert "mtu 1280" in tiers.sh(f"ip -6 route get {FAR_6}", DB)


def test_members_of_a_group_and_nobody_else(tiers: Host) -> None:
    tiers.do("group join --vpc vpc1 --subnet back --instance db --name data")
    assert open_ones(tiers, WEB1, DB_6) == []
    tiers.do("group join --vpc vpc1 --subnet front --instance web1 --name web")
    for source in (WEB1_6, f"{FRONT6}2c"):
        (answer,) = tiers.probe((WEB1, f"[{DB_6}]:5432"), source=source)
        assert answer.verdict == REACHED, source
    assert open_ones(tiers, WEB1, DB_6) == open_ones(tiers, WEB1, DB_4) == ["5432"]
    counted = tiers.do("group show --vpc vpc1 --name data --json").json["group"]["counters"]
    assert counted["ingress[0]"]["packets"] == 4, "those of both families"
    for space in (WEB2, OTHER, OWN, FAR, ""):
        assert open_ones(tiers, space, DB_6) == [], space
    tiers.do("group join --vpc vpc2 --subnet far --name ops")
    assert open_ones(tiers, FAR, DB_6) == ["53/udp"]
    assert tiers.do("status").out == "in sync\n"
    tiers.do("group join --vpc vpc1 --subnet back --instance db --name admin")
    assert open_ones(tiers, WEB1, DB_6) == ["", "5432"]
    # The rule for ICMPv6 says nothing of IPv4.
    assert open_ones(tiers, WEB1, DB_4) == ["5432"]
    tiers.do("group leave --vpc vpc1 --subnet front --instance web1 --name web")
    tiers.do("peer delete --vpc1 vpc1 --vpc2 vpc2")
    assert open_ones(tiers, WEB1, DB_6) == []
    tiers.none_reach((FAR, DB_6), (FAR, f"[{DB_6}]:53/udp"))


def test_a_member_more_changes_no_rule(tiers: Host) -> None:
    tiers.do("group join --vpc vpc1 --subnet back --instance db --name data")
    before = tiers.sh("ip6tables-save | grep ^-A", DB)
    shown = tiers.do("--dry-run group join --vpc vpc1 --subnet front --instance web2 --name web").out
    inside = [part for part in shown.split("ip netns exec ") if part.startswith(DB)]
    assert f"add element ip6 vpcctl group-web {{ {WEB2_6} }}" in shown
    assert not any("tables" in part for part in inside)
    tiers.do("group join --vpc vpc1 --subnet front --instance web2 --name web")
    assert tiers.sh("ip6tables-save | grep ^-A", DB) == before
    assert open_ones(tiers, WEB2, DB_6) == ["5432"]


def acl(number: int, protocol: str, key: str, far: str = "", port: object = None,
        action: str = "allow") -> dict[str, Any]:
    return {"number": number, "protocol": protocol, "action": action, **({key: far} if far else {}),
            **({"port": port} if port else {})}


def with_acl(host: Host, ingress: list[dict[str, Any]], egress: list[dict[str, Any]]) -> None:
    file = host.write("acl.json", {"ingress": ingress, "egress": egress})
    host.do(f"acl apply --vpc vpc1 --name edge --rules {file}")
    host.do("acl associate --vpc vpc1 --subnet back --name edge")
    assert host.do("status").out == "in sync\n"


def test_an_acl_stands_at_the_edge_and_not_inside(tiers: Host) -> None:
    with_acl(tiers, [], [])
    for space in (WEB1, FAR, ""):
        assert open_ones(tiers, space, DB_6) == [], space
    tiers.none_reach((DB, WEB1_6), (DB, FAR_6))
    assert open_ones(tiers, OWN, DB_6) == ["", *PORTS]
    tiers.reaches(DB, OWN_6, "fd01:0:0:100::1")


def test_an_acl_is_stateless_and_of_its_family(tiers: Host) -> None:
    answers = acl(100, "tcp", "destination", f"{FRONT6}/64", "1024-65535")
    with_acl(tiers, [acl(100, "tcp", "source", f"{FRONT6}/64", 80)], [])
    assert open_ones(tiers, WEB1, DB_6) == []
    with_acl(tiers, [acl(100, "tcp", "source", f"{FRONT6}/64", 80), acl(110, "all", "source", "10.0.0.0/8")],
             [answers, acl(110, "icmp", "destination")])
    assert open_ones(tiers, WEB1, DB_6) == ["80"]
    assert open_ones(tiers, FAR, DB_6) == []
    assert open_ones(tiers, WEB1, DB_4) == [""]
    shown = tiers.do("acl show --vpc vpc1 --name edge --json").json["acl"]["counters"]
    assert all(shown[f"ingress {number}"]["packets"] > 0 for number in (100, 110, "*"))
    with_acl(tiers, [acl(100, "icmpv6", "source"), acl(110, "udp", "source", "::/0")],
             [acl(90, "udp", "destination", FAR_6, None, "deny"), acl(100, "all", "destination", "::/0")])
    assert open_ones(tiers, WEB1, DB_6) == ["", "53/udp", "54/udp"]
    assert open_ones(tiers, FAR, DB_6) == [""]
    assert open_ones(tiers, WEB1, DB_4) == []


def test_an_acl_of_many_rules(tiers: Host) -> None:
    many = [acl(number, "udp", "source", f"fd77:0:0:{number:x}::/64", number, "deny")
            for number in range(1, 200)]
    with_acl(tiers, [*many, acl(200, "udp", "source", f"{FRONT6}/64", 53),
                     acl(300, "tcp", "source", "", 80)], [acl(1, "all", "destination")])
    assert open_ones(tiers, WEB1, DB_6) == ["80", "53/udp"]
    assert open_ones(tiers, FAR, DB_6) == ["80"]


def test_later_fragments_pass_where_the_first_may(tiers: Host) -> None:
    """Of a packet for a closed port the first fragment is lost, so that the others come to nothing."""
    with_acl(tiers, [acl(100, "udp", "source", f"{FRONT6}/64", 53)], [acl(100, "all", "destination")])
    big = ("python3 -c \"import socket; s = socket.socket(socket.AF_INET6, socket.SOCK_DGRAM);"
           f" s.settimeout(1); s.sendto(b'x' * 4000, ('{DB_6}', PORT)); print(s.recv(99))\" 2>&1 || :")
    assert "sees" in tiers.sh(big.replace("PORT", "53"), WEB1)
    assert "timed out" in tiers.sh(big.replace("PORT", "54"), WEB1)
    with_acl(tiers, [acl(100, "tcp", "source")], [acl(100, "all", "destination")])
    assert "timed out" in tiers.sh(big.replace("PORT", "53"), WEB1)


def test_a_vpc_that_gets_ipv6_later_has_its_rules_in_it_from_the_start(host: Host) -> None:
    plain = json.loads(json.dumps(NETWORK))
    for vpc in plain["vpcs"].values():
        del vpc["ipv6"]
        for subnet in vpc["subnets"].values():
            del subnet["ipv6"]
    host.do("apply -f -", stdin=json.dumps(plain))
    serve(host, DB)
    rules = [allow("tcp", 80), allow("tcp", 443, f"{FRONT6}/64"), allow("tcp", 81, "0.0.0.0/0")]
    apply(host, ingress=rules)
    before = host.state()["topology"]["vpcs"][0]["subnets"][1]["policy"]
    assert "ip6tables" not in host.do("--dry-run firewall clear --vpc vpc1 --subnet back").out
    host.sh(f"rm {STATE} {STATE}.bak")
    host.do("restore --from-kernel")
    found = host.state()["topology"]["vpcs"][0]["subnets"][1]["policy"]
    # Of IPv4, everybody is everybody.
    del before["ingress"][2]["network"]
    assert found == before
    apply(host, ingress=rules)
    host.do("vpc set --name vpc1 --ipv6 fd01:0:0:100::/56")
    address = host.sh("ip -6 -o addr show dev eth0 scope global", DB).split()[3].partition("/")[0]
    host.reaches(WEB1, f"[{address}]:80")
    host.none_reach(*((WEB1, target) for target in at(address, "", "81", "5432", "53/udp")))
    host.do("vpc set --name vpc1 --no-ipv6")
    assert "-A" not in host.sh("ip6tables-save", DB)
    assert host.do("status").out == "in sync\n"


def test_all_of_it_is_found_without_a_record(tiers: Host) -> None:
    apply(tiers, ingress=[allow("tcp", 80), allow("tcp", 81, "0.0.0.0/0"), allow("tcp", 443, "::/0"),
                          allow("icmpv6", None, f"{FRONT6}/64"), allow("icmp")],
          egress=[{"protocol": "all", "action": "allow", "destination": "::/0"}])
    tiers.do("group join --vpc vpc1 --subnet front --instance web1 --name admin")
    with_acl(tiers, [acl(100, "icmpv6", "source"), acl(110, "udp", "source", "fd00::/8")],
             [acl(90, "all", "destination")])
    before = tiers.state()["topology"]["vpcs"]
    tiers.sh(f"rm {STATE} {STATE}.bak")
    tiers.do("restore --from-kernel")
    assert tiers.do("status").out == "in sync\n"
    after = tiers.state()["topology"]["vpcs"]
    for old, new in zip(before, after, strict=True):
        assert {one["name"]: one.get("policy") for one in old["subnets"]} \
            == {one["name"]: one.get("policy") for one in new["subnets"]}
        assert (old.get("groups"), old.get("acls")) == (new.get("groups"), new.get("acls"))


def test_what_somebody_changes_is_seen_and_put_back(tiers: Host) -> None:
    apply(tiers, ingress=[allow("tcp", 80)])
    tiers.do("group join --vpc vpc1 --subnet front --instance web1 --name admin")
    with_acl(tiers, [acl(100, "all", "source")], [acl(100, "all", "destination")])
    for space, change, told in (
            (DB, "ip6tables -I INPUT -j ACCEPT", "chain INPUT of table filter of ip6tables in vpc1-back.db"),
            (DB, "ip6tables -F", "chain INPUT of table filter of ip6tables in vpc1-back.db"),
            (WEB1, "nft flush chain ip6 vpcctl incoming", "groups' members of IPv6 in vpc1-front.web1"),
            (WEB1, f"nft add element ip6 vpcctl group-web '{{ {WEB2_6} }}'",
             "groups' members of IPv6 in vpc1-front.web1"),
            ("vpc1", "nft add rule bridge vpcctl-acls in-edge.six accept", "network ACLs in vpc1")):
        tiers.sh(change, space)
        assert told in tiers.vpcctl("status").out, change
        tiers.do("restore")
        assert tiers.do("status").out == "in sync\n", change
    assert open_ones(tiers, WEB2, DB_6) == ["80"]


def test_an_attached_namespace_loses_all_of_it(tiers: Host) -> None:
    """In a namespace that somebody else made, the rules stand beside its owner's, and go without a trace."""
    tiers.sh("ip netns add guest")
    tiers.do("instance attach --vpc vpc1 --subnet back --name guest --netns /run/netns/guest --group data")
    name, address = "vpc1-back.guest", ""
    address = tiers.sh("ip -6 -o addr show dev eth0 scope global", name).split()[3].partition("/")[0]
    serve(tiers, name, "5432", "80")
    tiers.do("group join --vpc vpc1 --subnet front --instance web1 --name web")
    tiers.reaches(WEB1, f"[{address}]:5432")
    tiers.none_reach((WEB1, f"[{address}]:80"), (WEB2, f"[{address}]:5432"), (FAR, address))
    assert "VPCCTL-IN" in tiers.sh("ip6tables-save -t mangle", name)
    tiers.do("instance detach --vpc vpc1 --subnet back --name guest")
    left = tiers.sh("ip6tables-save; iptables-save; nft list tables", "guest")
    assert "VPCCTL" not in left
    assert "vpcctl" not in left
    tiers.sh("ip netns delete guest")


def test_the_emergency_cleanup_releases_it(tiers: Host) -> None:
    tiers.sh("ip netns add guest")
    tiers.do("instance attach --vpc vpc1 --subnet back --name guest --netns /run/netns/guest --group data")
    done = tiers.sh(f"{CHECKOUT}/cleanup.sh --yes")
    assert "nft delete table ip6 vpcctl" in done
    tiers.sh(f"rm {STATE}.cleaned")
    left = tiers.sh("ip6tables-save; iptables-save; nft list tables", "guest")
    assert "VPCCTL" not in left
    assert "vpcctl" not in left
    tiers.sh("ip netns delete guest")


def test_connections_that_are_older_than_the_policy_go_on(tiers: Host) -> None:
    talk = ("import socket, time; s = socket.create_connection(('{}', 80)); s.sendall(b'HOLD '); s.recv(99);"
            " print('on', flush=True); time.sleep(4); s.sendall(b'again'); print(s.recv(99).decode())")
    output = f"{tiers.scratch}/talk"
    tiers.start(WEB2, "python3", "-c", talk.format(DB_6), output=output)
    tiers.wait_until(lambda: "on" in tiers.sh(f"cat {output}"), "the connection")
    apply(tiers, ingress=[allow("udp", 53)])
    tiers.none_reach((WEB2, f"[{DB_6}]:80"))
    tiers.wait_until(lambda: "again" in tiers.sh(f"cat {output}"), "what it says later")


def test_a_policy_that_denies_in_one_family_only_is_warned_of(tiers: Host) -> None:
    deny = {"protocol": "tcp", "port": 80, "action": "deny"}
    both = [{**deny, "source": "10.0.1.0/24"}, {**deny, "source": f"{FRONT6}/64"}]
    for rules, is_warned in ((both[:1], True), (both, False), ([deny], False)):
        file = tiers.write("policy.json", {"ingress": rules, "default": "allow"})
        told = tiers.do(f"firewall apply --vpc vpc1 --subnet back --policy {file}").err
        assert ("ingress[0] of the policy of vpc1/back deny IPv4 only" in told) is is_warned
    other = tiers.do("group join --vpc vpc1 --subnet back --instance db --name web").err
    assert "deny IPv4 only" not in other

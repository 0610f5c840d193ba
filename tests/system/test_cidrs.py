"""A VPC with several CIDRs: all of them are its own, wherever one is."""

from __future__ import annotations

import pytest
import yaml
from host import INTERNET, REFUSED, Host
from test_connections import DOWNLOAD, STREAM, grows, served

ADD = "vpc set --name vpc1 --add-cidr 10.77.0.0/16"
REMOVE = "vpc set --name vpc1 --remove-cidr 10.77.0.0/16"
FAR, FAR_PRIVATE = "10.77.1.2", "10.77.2.2"
FLUSH = """iptables-save | grep -ve '--comment "*vpcctl:' -e VPCCTL- | iptables-restore
ip route del 10.77.0.0/16; ip -n vpc1 route del 10.77.0.0/16; ip -n vpc1-public route del 10.77.0.0/16
ip netns exec vpc1 iptables -F"""
SEEN = "table ip seen { chain c { type filter hook forward priority 0; counter; }; }"
REBOOT = """for name in vpc1 vpc2; do ip link del vpc-$name; done
for name in $(ls /run/netns | grep ^vpc[12]); do [ $name = vpc1-elsewhere ] || ip netns del $name; done"""


@pytest.fixture
def wide(vpc1: Host) -> Host:
    """Two subnets in each of two CIDRs, a peer, a stranger, NAT, and services."""
    vpc1.do("nat enable --vpc vpc1")
    for name, cidr in (("vpc2", "172.16"), ("vpc3", "10.3")):
        vpc1.do(f"vpc create --name {name} --cidr {cidr}.0.0/16")
        vpc1.do(f"subnet add --vpc {name} --name public --cidr {cidr}.1.0/24 --type public")
    vpc1.do("nat enable --vpc vpc3")
    vpc1.do("peer create --vpc1 vpc1 --vpc2 vpc2")
    vpc1.do(ADD)
    add_far(vpc1)
    return vpc1


def add_far(host: Host) -> None:
    host.do("subnet add --vpc vpc1 --name far --cidr 10.77.1.0/24 --type public")
    host.do("subnet add --vpc vpc1 --name far-private --cidr 10.77.2.0/24")


def seen(host: Host, space: str) -> int:
    """How many packets a machine has sent on for others."""
    return int(host.sh("nft list table ip seen", space).partition("packets ")[2].split()[0])


def forget(host: Host) -> None:
    """Of a rebuilt record: what the host's ip_forward was is known by our jump alone."""
    host.delete_all()
    host.sh("sysctl -qw net.ipv4.ip_forward=0; rm -f /var/lib/vpcctl/state.json*.lost-*")


def serve(host: Host) -> None:
    for space in ("vpc1-public", "vpc1-private", "vpc1-far", "vpc1-far-private", "vpc2-public"):
        host.listen(space, "80", "53/udp")


def check_ways(host: Host) -> None:
    """All ways there are, and those that there must not be."""
    near = ("10.0.1.2", "10.0.2.2")
    for space in ("vpc1-public", "vpc1-private"):
        host.reaches(space, "10.0.0.1", FAR, f"{FAR}:80", FAR_PRIVATE, f"{FAR_PRIVATE}:53/udp")
    for space in ("vpc1-far", "vpc1-far-private"):
        host.reaches(space, "10.0.0.1", *near, "10.0.2.2:80", "10.0.2.2:53/udp", FAR, FAR_PRIVATE)
        host.reaches(space, "172.16.1.2", "172.16.1.2:80", "172.16.0.1")
    host.reaches("vpc2-public", FAR, f"{FAR}:80", f"{FAR_PRIVATE}:53/udp", "10.0.1.2")
    host.reaches("", FAR, f"{FAR_PRIVATE}:80", "10.0.1.2")
    host.reaches("vpc1-far", *INTERNET)
    host.never_reaches("vpc1-far-private", *INTERNET)
    host.never_reaches("vpc3-public", FAR, f"{FAR}:80", FAR_PRIVATE, "10.0.1.2")
    host.none_reach(("vpc1-far", "10.3.1.2"), ("vpc1-far-private", "10.3.1.2"), ("vpc1-far", "10.3.0.1"))
    # Nobody there: the packet neither leaves the VPC, nor comes to another.
    host.none_reach(("vpc1-public", "10.77.9.9"), ("vpc2-public", "10.77.9.9"))


def test_machines_in_any_of_them_reach_all_that_the_others_reach(wide: Host) -> None:
    serve(wide)
    check_ways(wide)
    assert wide.do("status").out == "in sync\n"


def test_a_peer_sees_their_own_address_and_errors_come_back(wide: Host) -> None:
    serve(wide)
    assert FAR in wide.reaches("vpc1-far", "172.16.1.2:80")[0].answer
    answers = wide.probe(*((space, f"{FAR}:99/udp") for space in ("", "vpc2-public", "vpc1-public")),
                         ("vpc1-far", "8.8.8.8:99/udp"), ("vpc1-far", "172.16.1.2:99/udp"))
    assert {answer.verdict for answer in answers} == {REFUSED}


def test_nobody_else_sends_with_their_addresses(wide: Host) -> None:
    serve(wide)
    wide.no_forgery_arrives("vpc3-public", "172.16.1.2:53/udp", source=FAR, at="vpc2-public",
                            witness="vpc1-far")
    wide.no_forgery_arrives("vpc2-public", f"{FAR}:53/udp", source="10.77.2.2", at="vpc1-far",
                            witness="vpc2-public")


def test_packets_between_them_are_switched(wide: Host) -> None:
    assert [answer.ttl for answer in wide.reaches("vpc1-public", FAR, "10.0.2.2")] == [64, 64]


def test_they_come_and_go_in_place(wide: Host) -> None:
    wide.do("subnet delete --vpc vpc1 --name far")
    wide.do("subnet delete --vpc vpc1 --name far-private")
    pids = [wide.start(space, "python3", "-c", STREAM, "9000") for space in ("internet", "vpc2-public")]
    ways = []
    for space, address in (("internet", "8.8.8.8"), ("vpc2-public", "172.16.1.2")):
        served(wide, space)
        ways.append(str(wide.scratch / space))
        pids.append(wide.start("vpc1-public", "python3", "-c", DOWNLOAD, address, "9000", ways[-1]))
    for file in ways:
        wide.wait_until(lambda file=file: wide.run("test", "-s", file).code == 0, "the download begins")
    with_two = wide.portrait()
    assert wide.do(REMOVE).out == "VPC 'vpc1' now has 10.0.0.0/16\n"
    assert "10.77" not in wide.sh("ip route; ip -n vpc1 route; ip -n vpc2 route; ip -n vpc1-public route;"
                                  "iptables-save; ip netns exec vpc1 iptables-save")
    wide.none_reach(("vpc1-public", "10.77.0.1"), ("", FAR))
    done = wide.do(ADD)
    assert done.out == "VPC 'vpc1' now has 10.0.0.0/16, 10.77.0.0/16\n"
    assert wide.do(ADD).out == "unchanged: VPC 'vpc1' has 10.0.0.0/16, 10.77.0.0/16\n"
    wide.check_same(with_two)
    for file in ways:
        grows(wide, file)
        grows(wide, file)
    wide.stop(*pids)
    add_far(wide)
    serve(wide)
    check_ways(wide)


@pytest.mark.parametrize("damage", [FLUSH, REBOOT], ids=["flush", "reboot"])
def test_what_is_lost_is_restored(wide: Host, damage: str) -> None:
    wide.sh(damage)
    assert wide.vpcctl("status").code == 1
    wide.do("restore")
    serve(wide)
    check_ways(wide)
    assert wide.do("status").out == "in sync\n"


def test_a_lost_record_is_rebuilt(wide: Host) -> None:
    wide.do("vpc set --name vpc1 --add-cidr 192.168.4.0/22")
    exported = wide.do("export").out
    before = wide.portrait()
    wide.sh("rm /var/lib/vpcctl/state.json*")
    wide.do("restore --from-kernel")
    assert wide.do("export").out == exported
    wide.check_same(before)
    forget(wide)


def test_an_intact_record_gets_what_only_the_kernel_has(wide: Host) -> None:
    older = wide.sh("cat /var/lib/vpcctl/state.json")
    wide.do("vpc set --name vpc1 --add-cidr 192.168.4.0/22")
    wide.do("subnet add --vpc vpc1 --name late --cidr 192.168.5.0/24 --type public")
    newest = wide.do("export").out
    wide.write("older", older)
    wide.sh(f"cp {wide.scratch}/older /var/lib/vpcctl/state.json")
    told = wide.do("restore --from-kernel")
    assert "CIDR 192.168.4.0/22 of vpc1" in told.out + told.err
    assert wide.do("export").out == newest
    wide.reaches("vpc1-far", "192.168.5.2")


def test_a_file_says_the_same_and_changes_it_in_place(wide: Host) -> None:
    exported = yaml.safe_load(wide.do("export").out)
    assert exported["vpcs"]["vpc1"]["cidrs"] == ["10.77.0.0/16"]
    held = wide.state()
    file = wide.write("network.json", exported)
    assert wide.do(f"apply -f {file}").out.startswith("unchanged")
    exported["vpcs"]["vpc1"]["cidrs"].append("192.168.4.0/22")
    more = wide.write("more.json", exported)
    assert wide.do(f"apply -f {more}").out.startswith("~ vpc vpc1: also 192.168.4.0/22\n")
    serve(wide)
    check_ways(wide)
    assert wide.do(f"apply -f {file}").out.startswith("~ vpc vpc1: no longer 192.168.4.0/22\n")
    assert wide.state() == held
    wide.delete_all()
    wide.do(f"apply -f {file}")
    assert yaml.safe_load(wide.do("export").out)["vpcs"]["vpc1"]["cidrs"] == ["10.77.0.0/16"]
    serve(wide)
    check_ways(wide)


def test_a_file_moves_one_from_a_vpc_to_another(vpc1: Host) -> None:
    vpc1.do("vpc create --name vpc2 --cidr 172.16.0.0/16")
    vpc1.do("vpc set --name vpc2 --add-cidr 10.77.0.0/16")
    vpcs = yaml.safe_load(vpc1.do("export").out)
    vpcs["vpcs"]["vpc1"]["cidrs"] = vpcs["vpcs"]["vpc2"].pop("cidrs")
    vpc1.do(f"apply -f {vpc1.write('moved.json', vpcs)}")
    add_far(vpc1)
    vpc1.reaches("", FAR)
    assert vpc1.do("status").out == "in sync\n"


def test_route_tables_nat_gateways_and_middleboxes_know_all_of_them(wide: Host) -> None:
    wide.do("nat-gateway create --vpc vpc1 --subnet far --name nat1")
    wide.do("route-table add-route --vpc vpc1 --name main --to 0.0.0.0/0 --via nat:nat1")
    serve(wide)
    for space in ("vpc1-private", "vpc1-far-private"):
        wide.reaches(space, *INTERNET)
    wide.reaches("vpc1-far", *INTERNET)
    wide.reaches("vpc1-public", f"{FAR_PRIVATE}:80")
    wide.reaches("vpc1-far-private", "10.0.2.2:80", "172.16.1.2")
    wide.reaches("vpc2-public", f"{FAR_PRIVATE}:80", "10.0.2.2:80")
    wide.do("instance add --vpc vpc1 --subnet far --name box --forwards")
    wide.do("route-table create --vpc vpc1 --name app")
    wide.do("route-table add-route --vpc vpc1 --name app --to 0.0.0.0/0 --via instance:far/box")
    wide.do("route-table associate --vpc vpc1 --subnet private --name app")
    wide.sh(f"nft -f - <<'EOF'\n{SEEN}\nEOF", "vpc1-far.box")
    wide.reaches("vpc1-private", FAR, f"{FAR_PRIVATE}:80", "10.0.1.2")
    for space in ("vpc1-far", "vpc1-far-private", "vpc1-public"):
        wide.reaches(space, "10.0.2.2", "10.0.2.2:80")
    assert seen(wide, "vpc1-far.box") == 0
    wide.reaches("vpc1-private", "172.16.1.2", "172.16.1.2:80", *INTERNET)
    wide.reaches("vpc2-public", "10.0.2.2:80")
    assert seen(wide, "vpc1-far.box") > 0
    shown = wide.do("route-table list").out
    assert shown.count("10.77.0.0/16  ") == 5
    assert wide.do("status").out == "in sync\n"
    before, exported = wide.portrait(), wide.do("export").out
    wide.sh("rm /var/lib/vpcctl/state.json*")
    wide.do("restore --from-kernel")
    assert wide.do("export").out == exported
    wide.check_same(before)
    forget(wide)


def test_a_middlebox_sees_what_goes_to_a_peers_further_cidr_and_the_answers(wide: Host) -> None:
    wide.do("subnet add --vpc vpc2 --name inner --cidr 172.16.2.0/24")
    wide.do("instance add --vpc vpc2 --subnet public --name box --forwards")
    wide.do("route-table create --vpc vpc2 --name app")
    wide.do("route-table add-route --vpc vpc2 --name app --to 10.77.0.0/16 --via instance:public/box")
    wide.do("route-table associate --vpc vpc2 --subnet inner --name app")
    serve(wide)
    wide.listen("vpc2-inner", "80")
    wide.sh(f"nft -f - <<'EOF'\n{SEEN.replace('counter', 'ip saddr 10.77.0.0/16 counter')}\nEOF",
            "vpc2-public.box")
    wide.reaches("vpc2-inner", f"{FAR}:80")
    answers = seen(wide, "vpc2-public.box")
    assert answers > 0
    wide.reaches("vpc1-far", "172.16.2.2:80")
    assert seen(wide, "vpc2-public.box") > answers
    wide.none_reach(("vpc2-inner", "10.0.1.2"))


def test_a_part_of_a_peers_further_cidr_is_a_destination(wide: Host) -> None:
    serve(wide)
    wide.do("route-table create --vpc vpc2 --name part")
    wide.do("route-table add-route --vpc vpc2 --name part --to 10.77.1.0/24 --via peer:vpc1")
    wide.do("route-table associate --vpc vpc2 --subnet public --name part")
    wide.reaches("vpc2-public", f"{FAR}:80")
    wide.none_reach(("vpc2-public", FAR_PRIVATE), ("vpc2-public", "10.0.1.2"))
    wide.refused("route-table add-route --vpc vpc2 --name part --to 10.78.0.0/16 --via peer:vpc1",
                 says="10.78.0.0/16 is not in the CIDR of VPC 'vpc1' (10.0.0.0/16, 10.77.0.0/16)")


def test_ports_of_the_host_and_elastic_addresses_lead_into_them(wide: Host) -> None:
    serve(wide)
    wide.do("publish add --vpc vpc1 --subnet far-private --port 8080:80")
    wide.do("eip pool add 198.51.100.0/28")
    wide.do("eip allocate")
    wide.do("eip associate --address 198.51.100.0 --vpc vpc1 --subnet far")
    for space in ("internet", "", "vpc1-public", "vpc1-far", "vpc3-public"):
        wide.reaches(space, "198.51.100.0:80")
        assert wide.reaches(space, "203.0.113.2:8080")[0].answer.startswith("vpc1-far-private ")
    wide.reaches("vpc1-far", *INTERNET)
    assert wide.do("status").out == "in sync\n"


def test_beside_a_vpc_with_the_same_one_nat_takes_two_steps(wide: Host) -> None:
    """Then the host has a route to none of its CIDRs."""
    told = wide.do("vpc create --name twin --cidr 10.20.0.0/16")
    assert told.err == ""
    wide.do("vpc delete --name twin")
    network = {"version": 2, "vpcs": {"twin": {"cidr": "10.20.0.0/16", "cidrs": ["10.77.0.0/16"], "nat": True,
               "subnets": {"a": {"cidr": "10.20.1.0/24", "type": "public"},
                           "b": {"cidr": "10.77.1.0/24", "type": "public"},
                           "c": {"cidr": "10.77.2.0/24"}}}}}
    told = wide.do(f"apply -f {wide.write('twin.json', network)}")
    assert "10.77.0.0/16 overlaps VPC 'vpc1' (10.77.0.0/16): the host has a route to the first" in told.err
    serve(wide)
    wide.listen("twin-c", "80")
    check_ways(wide)
    assert wide.reaches("twin-a", f"{FAR_PRIVATE}:80")[0].answer.startswith("twin-c ")
    for space in ("twin-a", "twin-b"):
        wide.reaches(space, *INTERNET)
    wide.none_reach(("twin-c", "8.8.8.8"), ("", "10.20.1.2"))
    assert "10.20.0.0/16" not in wide.sh("ip route")
    assert wide.do("status").out == "in sync\n"
    wide.do("vpc delete --name vpc1")
    wide.reaches("", "10.20.1.2", "10.77.1.2")
    for space in ("twin-a", "twin-b"):
        wide.reaches(space, *INTERNET)


def test_what_can_not_be_one(wide: Host) -> None:
    for cidr, words in (
            ("10.0.128.0/17", "10.0.128.0/17 overlaps the VPC's own CIDR 10.0.0.0/16"),
            ("172.16.0.0/20", "172.16.0.0/20 overlaps VPC 'vpc2' (172.16.0.0/16)"),
            ("10.3.0.0/20", "overlaps VPC 'vpc3' (10.3.0.0/16), and the host has a route to each of the two"),
            ("203.0.113.0/24", "203.0.113.0/24 overlaps the host's route to 203.0.113.0/24 (dev eth0)")):
        wide.refused(f"vpc set --name vpc1 --add-cidr {cidr}", says=words)
        wide.refused(f"vpc set --name vpc1 --add-cidr {cidr} --dry-run", says=words)
    for cidr, words in (("10.78.0.0/29", "too small for a VPC"), ("10.78.0.0", "has no prefix length"),
                        ("10.78.0.1/16", "has host bits set"), ("169.254.0.0/16", "can't be a private")):
        wide.refused(f"vpc set --name vpc1 --add-cidr {cidr}", code=2, says=words)
    wide.refused("vpc set --name vpc1", code=2, says="there is nothing to set")
    wide.refused("vpc set --name vpc9 --add-cidr 10.78.0.0/16", says="VPC 'vpc9' does not exist")


def test_what_can_not_be_removed(wide: Host) -> None:
    wide.refused(REMOVE, says="10.77.0.0/16 of VPC 'vpc1' is in use: by subnet far, far-private\n"
                              "Hint: delete it first: vpcctl subnet delete --vpc vpc1 --name far\n")
    wide.refused("vpc set --name vpc1 --remove-cidr 10.0.0.0/16",
                 says="10.0.0.0/16 is the first CIDR of VPC 'vpc1', and can't be removed")
    wide.refused("vpc set --name vpc1 --remove-cidr 10.79.0.0/16", says="VPC 'vpc1' has no CIDR 10.79.0.0/16")
    exported = yaml.safe_load(wide.do("export").out)
    del exported["vpcs"]["vpc1"]["cidrs"]
    wide.refused(f"apply -f {wide.write('less.json', exported)}", code=2,
                 says="vpcs.vpc1.subnets.far.cidr: 10.77.1.0/24 is not inside the VPC's CIDR 10.0.0.0/16")


def test_peers_and_their_peers_must_not_have_it(wide: Host) -> None:
    wide.do("peer create --vpc1 vpc2 --vpc2 vpc3")
    # The host has no route to VPCs that overlap one of its own, so that only the peerings speak against it.
    for name, cidr in (("vpc4", "203.0.113.0/25"), ("vpc5", "10.5.0.0/16")):
        wide.do(f"vpc create --name {name} --cidr {cidr}", *(["--allow-overlap"] if name == "vpc4" else []))
    wide.do("peer create --vpc1 vpc2 --vpc2 vpc4")
    wide.refused("vpc set --name vpc4 --add-cidr 172.16.0.0/20",
                 says="'vpc4' (172.16.0.0/20) and 'vpc2' (172.16.0.0/16) overlap: they can't be peered")
    wide.refused("vpc set --name vpc4 --add-cidr 10.77.0.0/20",
                 says="'vpc2' is peered with 'vpc1' (10.77.0.0/16), which overlaps 'vpc4' (10.77.0.0/20)")
    wide.refused("vpc set --name vpc4 --add-cidr 10.3.0.0/20",
                 says="'vpc2' is peered with 'vpc3' (10.3.0.0/16)")


def test_a_route_into_it_speaks_against_it(wide: Host) -> None:
    wide.do("route-table add-route --vpc vpc1 --name main --to 10.80.5.0/24 --via blackhole")
    for cidr in ("10.80.0.0/16", "10.80.5.0/24"):
        wide.refused(f"vpc set --name vpc1 --add-cidr {cidr}",
                     says="route table 'main' of VPC 'vpc1' leads 10.80.5.0/24 to blackhole")
    wide.do("vpc set --name vpc1 --add-cidr 10.80.5.0/25")
    wide.refused("route-table add-route --vpc vpc1 --name main --to 10.77.3.0/24 --via blackhole",
                 says="10.77.3.0/24 is inside the VPC's CIDR 10.77.0.0/16, which is always local")
    wide.refused("route-table delete-route --vpc vpc1 --name main --to 10.77.0.0/16",
                 says="the route to 10.77.0.0/16 is local, and stays")


def test_reach_knows_all_of_them_both_ways(wide: Host) -> None:
    serve(wide)
    wide.listen("vpc3-public", "80")
    ways = ["vpc1/far", "vpc1/far-private", "vpc1/public", "vpc2/public", "vpc3/public"]
    for start in [*ways, "host"]:
        for end in [one for one in ways if one != start]:
            asked = wide.vpcctl("reach", "--from", start, "--to", end, "--port", "80", "--json",
                                "--probe").json["reach"]
            assert asked.get("probe") is None or asked["probe"]["agrees"] is not False, asked
            stranger = "vpc3/public" in (start, end) and "host" not in (start, end)
            assert (asked["verdict"] == "unreachable") == stranger, (start, end, asked)
            if stranger:
                assert asked["blocked_by"]["code"] == "NOT_PEERED"
    out = wide.vpcctl("reach", "--from", "vpc1/far-private", "--to", "8.8.8.8", "--json").json["reach"]
    assert out["blocked_by"]["code"] == "PRIVATE_SUBNET"
    nobody = wide.vpcctl("reach", "--from", "vpc1/public", "--to", "10.77.9.9", "--json").json["reach"]
    assert "no subnet of VPC 'vpc1' contains it" in nobody["blocked_by"]["rule"]


def test_it_is_shown_everywhere(wide: Host) -> None:
    assert "vpc1  10.0.0.0/16, 10.77.0.0/16  10.0.0.1" in wide.do("vpc list").out
    shown = wide.do("vpc show --name vpc1").out
    assert "CIDR:      10.0.0.0/16, 10.77.0.0/16\n" in shown
    assert "Addresses: 131072: 1024 in subnets, 130048 free" in shown
    assert "10.0.0.0/16, 10.77.0.0/16" in wide.do("vpc show --name vpc2").out
    assert "vpc1  10.0.0.0/16, 10.77.0.0/16  vpc2" in wide.do("peer list").out
    seen = wide.do("vpc list --json").json["vpcs"][0]
    assert (seen["cidr"], seen["cidrs"]) == ("10.0.0.0/16", ["10.77.0.0/16"])
    assert {"destination": "10.77.0.0/16", "target": "local"} in seen["routes"]
    for kind in ("tree", "mermaid", "dot", "svg", "json"):
        assert "10.77.0.0/16" in wide.do(f"graph --format {kind}").out


def test_dry_run_can_be_pasted(wide: Host) -> None:
    """Both the one that adds it and the one that removes it."""
    wide.do("subnet delete --vpc vpc1 --name far")
    wide.do("subnet delete --vpc vpc1 --name far-private")
    with_it, lines = wide.portrait(), {}
    for change in (REMOVE, ADD):
        lines[change] = wide.do(f"{change} --dry-run").out
        wide.do(change)
    for change in (REMOVE, ADD):
        wide.sh(lines[change])
    wide.check_same(with_it)

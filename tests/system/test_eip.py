"""Elastic addresses by real packets: both ways, from everywhere, moved, with overlapping VPCs."""

from __future__ import annotations

import time

import pytest
from host import CANARY, CHECKOUT, UPLINK, Host

CLEANUP = CHECKOUT / "cleanup.sh"
POOL, FIRST, SECOND = "198.51.100.0/28", "198.51.100.1", "198.51.100.2"
WORLD = "203.0.113.1"
OUTSIDE = "8.8.8.8:80"
OTHERS = f"iptables -F; iptables -X; iptables -t nat -F; sed -n '/^iptables-restore/,/^END/p' {CANARY} | sh"
"""Makes others' rules again."""

ONLY_OUTSIDE = {"ingress": [{"protocol": "tcp", "port": 80, "action": "allow", "source": source}
                            for source in (f"{WORLD}/32", "8.8.8.8/32")]}


def seen(host: Host, namespace: str, *targets: str) -> list[str]:
    """Who answers, and whom they see."""
    return [one.answer for one in host.reaches(namespace, *targets)]


@pytest.fixture
def elastic(vpc2: Host) -> Host:
    """Two VPCs with NAT; a machine of the first has an elastic address, and its neighbour has none."""
    vpc2.do("nat enable --vpc vpc1")
    vpc2.do("nat enable --vpc vpc2")
    vpc2.do("instance add --vpc vpc1 --subnet public --name web1")
    vpc2.do(f"eip pool add {POOL}")
    vpc2.do(f"eip allocate --address {FIRST}")
    vpc2.do(f"eip associate --address {FIRST} --vpc vpc1 --subnet public --instance web1")
    vpc2.listen("vpc1-public.web1", "80", "53/udp")
    return vpc2


def test_both_ways(elastic: Host) -> None:
    web, names = seen(elastic, "internet", f"{FIRST}:80", f"{FIRST}:53/udp")
    assert "vpc1-public.web1" in web
    assert WORLD in web
    assert WORLD in names
    elastic.reaches("internet", FIRST)
    assert f"your address: {FIRST}" in seen(elastic, "vpc1-public.web1", OUTSIDE)[0]
    assert f"your address: {UPLINK}" in seen(elastic, "vpc1-public", OUTSIDE)[0]
    elastic.reaches("vpc1-public.web1", "8.8.8.8", "8.8.8.8:53/udp")
    # The host has the address nowhere, and the machine's own stays closed.
    assert FIRST not in elastic.sh("ip -br addr")
    elastic.sh("ip -n internet route add 10.0.0.0/8 via 203.0.113.2")
    elastic.never_reaches("internet", "10.0.1.4:80", "10.0.1.2:80")
    elastic.sh("ip -n internet route del 10.0.0.0/8 via 203.0.113.2")
    assert elastic.probe(("internet", f"{FIRST}:81"))[0].verdict == "refused"
    assert elastic.do("status").out == "in sync\n"


def test_from_inside(elastic: Host) -> None:
    elastic.do(f"eip allocate --address {SECOND}")
    elastic.do(f"eip associate --address {SECOND} --vpc vpc2 --subnet public")
    elastic.listen("vpc2-public", "80")
    assert "169.254.64.0" in seen(elastic, "", f"{FIRST}:80")[0]
    for target in (f"{FIRST}:80", f"{SECOND}:80"):
        assert f"sees {UPLINK}" in seen(elastic, "vpc1-public", target)[0]
        assert f"sees {FIRST}" in seen(elastic, "vpc1-public.web1", target)[0]
        assert f"sees {SECOND}" in seen(elastic, "vpc2-public", target)[0]
        elastic.never_reaches("vpc1-private", target)
        elastic.never_reaches("vpc2-private", target)
    # Metadata services and the host's own ports stay closed, whatever address one has.
    elastic.listen("", "8000")
    elastic.never_reaches("vpc1-public.web1", "169.254.169.254:80", f"{UPLINK}:8000", "169.254.64.0:8000")


@pytest.mark.parametrize("policy", ["ACCEPT", "DROP"])
def test_whatever_the_host_s_policy_and_its_source_check(elastic: Host, policy: str) -> None:
    elastic.sh(f"iptables -P FORWARD {policy}; sysctl -qw net.ipv4.conf.all.rp_filter=1")
    for sender in ("internet", "", "vpc1-public", "vpc1-public.web1", "vpc2-public"):
        elastic.reaches(sender, f"{FIRST}:80")
    assert f"your address: {FIRST}" in seen(elastic, "vpc1-public.web1", OUTSIDE)[0]
    elastic.sh("iptables -P FORWARD ACCEPT; sysctl -qw net.ipv4.conf.all.rp_filter=0")


def test_the_policy_decides_by_the_client_s_address(elastic: Host) -> None:
    elastic.do("firewall apply --vpc vpc1 --subnet public --policy", elastic.write("p", ONLY_OUTSIDE))
    elastic.reaches("internet", f"{FIRST}:80")
    elastic.never_reaches("vpc2-public", f"{FIRST}:80")
    elastic.never_reaches("", f"{FIRST}:80")
    elastic.never_reaches("internet", f"{FIRST}:53/udp", FIRST)


def test_it_moves_at_once(elastic: Host) -> None:
    elastic.listen("vpc1-public", "80", "53/udp")
    elastic.listen("vpc2-public", "80", "53/udp")
    client = "import socket\ns=socket.socket(2,2);s.settimeout(9);s.bind(('',7777));" \
             f"s.connect(('{FIRST}',53));s.send(b'hello');print(s.recv(99).decode())"
    assert "web1" in elastic.sh(f'python3 -c "{client}"', "internet")
    for place, name in (("--vpc vpc1 --subnet public", "vpc1-public"),
                        ("--vpc vpc2 --subnet public", "vpc2-public")):
        elastic.do(f"eip associate --address {FIRST} {place}")
        begun = time.monotonic()
        assert name in seen(elastic, "internet", f"{FIRST}:80")[0]
        # The same ends: tracking would know them for half a minute.
        assert f"{name} " in elastic.sh(f'python3 -c "{client}"', "internet")
        assert time.monotonic() - begun < 1
        assert f"your address: {FIRST}" in seen(elastic, name, OUTSIDE)[0]
    assert f"your address: {UPLINK}" in seen(elastic, "vpc1-public.web1", OUTSIDE)[0]
    elastic.do(f"eip dissociate --address {FIRST}")
    elastic.never_reaches("internet", f"{FIRST}:80")
    assert elastic.do("status").out == "in sync\n"


def test_the_neighbours_outside_are_told(elastic: Host) -> None:
    elastic.sh(f"ip -n internet neigh replace {FIRST} lladdr 02:00:00:00:00:99 dev sandbox nud reachable")
    elastic.sh("ip netns exec internet sysctl -qw net.ipv4.conf.sandbox.arp_accept=1")
    elastic.do(f"eip associate --address {FIRST} --vpc vpc2 --subnet public")
    elastic.listen("vpc2-public", "80")
    begun = time.monotonic()
    assert "vpc2-public" in seen(elastic, "internet", f"{FIRST}:80")[0]
    assert time.monotonic() - begun < 1
    elastic.sh(f"ip -n internet neigh del {FIRST} dev sandbox || true")


def test_overlapping_vpcs(vpc1: Host) -> None:
    vpc1.do("vpc create --name twin --cidr 10.0.0.0/16 --allow-overlap")
    vpc1.do("subnet add --vpc twin --name public --cidr 10.0.1.0/24 --type public")
    vpc1.do(f"eip pool add {POOL} --interface eth0")
    for vpc, address in (("vpc1", FIRST), ("twin", SECOND)):
        vpc1.do(f"nat enable --vpc {vpc}")
        vpc1.do(f"eip allocate --address {address}")
        vpc1.do(f"eip associate --address {address} --vpc {vpc} --subnet public")
        vpc1.listen(f"{vpc}-public", "80")
    for sender in ("internet", "", "vpc1-public", "twin-public"):
        one, other = seen(vpc1, sender, f"{FIRST}:80", f"{SECOND}:80")
        assert "vpc1-public" in one
        assert "twin-public" in other
    assert f"your address: {SECOND}" in seen(vpc1, "twin-public", OUTSIDE)[0]
    before = vpc1.do("export").out
    vpc1.sh("rm /var/lib/vpcctl/state.json*")
    vpc1.do("restore --from-kernel")
    assert vpc1.do("export").out == before
    assert vpc1.do("status").out == "in sync\n"
    vpc1.delete_all()
    vpc1.sh("sysctl -qw net.ipv4.ip_forward=0 net.ipv4.conf.all.accept_redirects=1")


def test_a_machine_without_a_way_out_gets_one_that_does_not_work(vpc1: Host) -> None:
    vpc1.do(f"eip pool add {POOL}")
    vpc1.do("eip allocate")
    (eip,) = vpc1.do("eip list --json").json["eips"]
    place = "--vpc vpc1 --subnet private"
    told = vpc1.do(f"eip associate --address {eip['address']} {place}").err
    assert "does not work for vpc1/private: vpc1/private is private" in told
    vpc1.listen("vpc1-private", "80")
    vpc1.never_reaches("internet", f"{eip['address']}:80")
    # What `reach` offers makes it work, step by step.
    for step in ("subnet set", "nat enable"):
        found = vpc1.vpcctl("reach", "--from", "internet", "--to", "vpc1/private", "--port", "80",
                            "--json").json
        fix = found["reach"]["blocked_by"]["fix"]
        assert fix.startswith(f"vpcctl {step}"), found
        vpc1.do(fix.removeprefix("vpcctl "))
    vpc1.reaches("internet", f"{eip['address']}:80")
    vpc1.do("nat disable --vpc vpc1")
    vpc1.never_reaches("internet", f"{eip['address']}:80")
    assert vpc1.do("status").out == "in sync\n"


def asked(host: Host, line: str) -> dict[str, str]:
    """What `reach` says is in the way."""
    found: dict[str, str] = host.vpcctl(*f"reach {line} --port 80 --json".split()).json["reach"]["blocked_by"]
    return found


def test_answers_need_a_route_to_the_internet_as_in_aws(vpc1: Host) -> None:
    """A published port answers anyway; an elastic address by its subnet's route table."""
    vpc1.do("nat enable --vpc vpc1")
    vpc1.do("nat-gateway create --vpc vpc1 --subnet public --name nat1")
    vpc1.do("route-table create --vpc vpc1 --name out")
    vpc1.do("route-table add-route --vpc vpc1 --name out --to 0.0.0.0/0 --via nat:nat1")
    vpc1.do("route-table associate --vpc vpc1 --subnet private --name out")
    vpc1.do(f"eip pool add {POOL}")
    vpc1.do(f"eip allocate --address {FIRST}")
    told = vpc1.do(f"eip associate --address {FIRST} --vpc vpc1 --subnet private").err
    assert told.endswith("once its route table 'out' leads to the internet: vpcctl route-table add-route "
                         "--vpc vpc1 --name out --to CIDR --via internet\n")
    vpc1.listen("vpc1-private", "80")
    out = "vpcctl route-table add-route --vpc vpc1 --name out --to {}/32 --via internet"
    # Without a route to anywhere on the internet, the address does not work at all.
    for target in (FIRST, "vpc1/private"):
        assert asked(vpc1, f"--from internet --to {target}")["fix"] == out.format("8.8.8.8")
    assert asked(vpc1, f"--from internet --to {FIRST}")["code"] == "PRIVATE_SUBNET"
    vpc1.do("nat disable --vpc vpc1")
    vpc1.do("subnet set --vpc vpc1 --name private --type public")
    found = asked(vpc1, f"--from internet --to {FIRST}")
    assert (found["code"], found["fix"]) == ("NO_NAT", "vpcctl nat enable --vpc vpc1")
    vpc1.do("nat enable --vpc vpc1")
    vpc1.do("route-table associate --vpc vpc1 --subnet private --name out")
    # With one, a client elsewhere gets no answer, or one with another source.
    vpc1.do("route-table add-route --vpc vpc1 --name out --to 9.0.0.0/8 --via internet")
    for sender, name, client in (("internet", "internet", "8.8.8.8"), ("vpc1-public", "vpc1/public", UPLINK)):
        question = (sender, f"{FIRST}:80")
        source = "8.8.8.8" if sender == "internet" else ""
        assert vpc1.probe(question, source=source)[0].verdict != "reached"
        found = asked(vpc1, f"--from {name} --to {FIRST}")
        assert (found["code"], found["fix"]) == ("ANSWER_DIVERTED", out.format(client))
        vpc1.do(found["fix"].removeprefix("vpcctl "))
        assert vpc1.probe(question, source=source)[0].verdict == "reached"
        assert vpc1.do(f"reach --from {name} --to {FIRST} --port 80").out.endswith("reachable\n")
    # The machine itself comes by the NAT gateway, whose address is the host's.
    vpc1.reaches("vpc1-private", f"{FIRST}:80")
    vpc1.do("route-table delete-route --vpc vpc1 --name out --to 0.0.0.0/0")
    found = asked(vpc1, f"--from internet --to {FIRST}")
    assert found is None
    vpc1.do("route-table delete-route --vpc vpc1 --name out --to 8.8.8.8/32")
    found = asked(vpc1, f"--from internet --to {FIRST}")
    assert (found["code"], found["fix"]) == \
        ("NO_ROUTE", "vpcctl route-table add-route --vpc vpc1 --name out --to 0.0.0.0/0 --via internet")
    vpc1.do(found["fix"].removeprefix("vpcctl "))
    vpc1.reaches("internet", f"{FIRST}:80")


def test_what_is_refused(elastic: Host) -> None:
    for line, says in (
            (f"eip pool delete {POOL}", f"pool {POOL} is in use: {FIRST}"),
            ("eip pool add 10.0.5.0/24", "overlaps VPC 'vpc1'"),
            ("eip pool add 198.51.100.8/29", f"overlaps pool {POOL}"),
            ("eip pool add 203.0.113.64/28 --interface eth7", "is not an interface of this host"),
            ("eip allocate --address 192.0.2.1", "is in no pool"),
            (f"eip release --address {FIRST}", "is in use: vpc1/public/web1 has it"),
            (f"eip associate --address {SECOND} --vpc vpc1 --subnet public", "is not allocated"),
            (f"eip associate --address {FIRST} --vpc vpc1 --subnet public --instance web9", "does not exist"),
            ("vpc create --name vpc3 --cidr 198.51.100.0/24 --allow-overlap",
             f"pool {POOL} overlaps VPC 'vpc3'")):
        elastic.refused(line, code=2 if "eth7" in line else 1, says=says)
    elastic.do("eip pool add 203.0.113.0/29")
    assert elastic.do("eip allocate --json").json["eip"]["address"] == "198.51.100.0"
    # The host and its gateway have .1 and .2, and .0 is their network's.
    elastic.refused("eip allocate --address 203.0.113.2", says="belongs to the host or its network")
    elastic.refused("eip allocate --address 203.0.113.1", says="belongs to the host or its network")
    elastic.do("eip allocate --address 203.0.113.3")
    # The host may get one later; then it would not come to the machine.
    elastic.sh("ip addr add 198.51.100.0/32 dev eth0")
    elastic.refused("eip associate --address 198.51.100.0 --vpc vpc1 --subnet public",
                    says="belongs to the host")
    elastic.sh("ip addr del 198.51.100.0/32 dev eth0")
    # By a file, too: the host would lose its way out.
    for address in ("203.0.113.1", "203.0.113.2"):
        file = elastic.write("own.json", {"version": 2, "vpcs": {}, "eips": {address: "vpc1/public"}})
        elastic.refused(f"apply -f {file}", says=f"{address} belongs to the host or its network")


def test_an_address_that_the_host_gets_later_is_named(elastic: Host) -> None:
    elastic.sh(f"ip addr add {FIRST}/32 dev eth0")
    found = elastic.vpcctl("status")
    assert found.code == 1
    assert f"the host itself has that address; take it away: ip addr del {FIRST}/32 dev eth0" in found.out
    # It is not ours to remove.
    elastic.refused("restore", says="the host itself has that address")
    elastic.sh(f"ip addr del {FIRST}/32 dev eth0")
    assert elastic.do("status").out == "in sync\n"
    elastic.reaches("internet", f"{FIRST}:80")


def test_somebody_else_s_answer_for_an_address_stays_his(elastic: Host) -> None:
    elastic.sh(f"ip neigh add proxy {SECOND} dev eth0")
    elastic.do(f"eip allocate --address {SECOND}")
    elastic.refused(f"eip associate --address {SECOND} --vpc vpc1 --subnet public",
                    says=f"the host already answers for {SECOND} on eth0: somebody else uses it")
    # In a subnet where it does not work yet, it does no harm.
    elastic.do(f"eip associate --address {SECOND} --vpc vpc1 --subnet private")
    elastic.refused("subnet set --vpc vpc1 --name private --type public", says=f"ip neigh del proxy {SECOND}")
    elastic.do(f"eip dissociate --address {SECOND}")
    assert SECOND in elastic.sh("ip neigh show proxy")
    elastic.sh(f"ip neigh del proxy {SECOND} dev eth0")
    elastic.do(f"eip associate --address {SECOND} --vpc vpc1 --subnet public")
    assert SECOND in elastic.sh("ip neigh show proxy")
    elastic.do(f"eip dissociate --address {SECOND}")
    assert SECOND not in elastic.sh("ip neigh show proxy")


def test_an_address_that_the_host_has_does_not_begin_to_work(elastic: Host) -> None:
    elastic.do(f"eip allocate --address {SECOND}")
    elastic.do(f"eip associate --address {SECOND} --vpc vpc1 --subnet private")
    elastic.sh(f"ip addr add {SECOND}/32 dev eth0")
    elastic.refused("subnet set --vpc vpc1 --name private --type public",
                    says=f"{SECOND} belongs to the host or its network")
    elastic.sh(f"ip addr del {SECOND}/32 dev eth0")
    elastic.do("subnet set --vpc vpc1 --name private --type public")


def test_a_route_to_the_internet_in_the_main_table_is_enough(elastic: Host) -> None:
    """As in AWS's default VPC, whose only table is the main one."""
    elastic.do(f"eip allocate --address {SECOND}")
    elastic.do(f"eip associate --address {SECOND} --vpc vpc1 --subnet private")
    elastic.listen("vpc1-private", "80")
    elastic.never_reaches("internet", f"{SECOND}:80")
    elastic.do("route-table add-route --vpc vpc1 --name main --to 0.0.0.0/0 --via internet")
    elastic.reaches("internet", f"{SECOND}:80")
    assert f"your address: {SECOND}" in seen(elastic, "vpc1-private", OUTSIDE)[0]
    assert elastic.do(f"reach --from internet --to {SECOND} --port 80").out.endswith("reachable\n")
    elastic.do("nat-gateway create --vpc vpc1 --subnet private --name nat1")
    assert elastic.do("status").out == "in sync\n"
    told = elastic.do("route-table delete-route --vpc vpc1 --name main --to 0.0.0.0/0").err
    assert "NAT gateway 'nat1' of VPC 'vpc1' has no way out: subnet 'private' is private" in told
    assert f"{SECOND} does not work for vpc1/private" in told
    elastic.never_reaches("internet", f"{SECOND}:80")


def test_the_list_says_which_work(elastic: Host) -> None:
    for number in (2, 3):
        elastic.do(f"eip allocate --address 198.51.100.{number}")
    elastic.do(f"eip associate --address {SECOND} --vpc vpc1 --subnet private")
    told = elastic.do("eip list")
    assert [line.split()[-1] for line in told.out.splitlines()] == ["STATE", "works", "idle", "free"]
    assert f"{SECOND} does not work for vpc1/private: vpc1/private is private" in told.err


def test_a_pool_that_is_cut_again_says_how(elastic: Host) -> None:
    file = elastic.write("t.yaml", {"version": 2, "eip_pools": {"198.51.100.0/29": "eth0"},
                                    "eips": {FIRST: None}, "vpcs": {}})
    elastic.refused("apply -f", file,
                    says=f"pool 198.51.100.0/29 overlaps pool {POOL}, which stays: the file does not name it")
    assert "--prune" in elastic.vpcctl("apply", "-f", file).err
    elastic.do("apply --prune -f", file)
    assert elastic.do("eip pool list --json").json["pools"][0]["cidr"] == "198.51.100.0/29"


def test_a_machine_that_goes_leaves_it_free(elastic: Host) -> None:
    assert f"{FIRST} is free now" in elastic.do("instance delete --vpc vpc1 --subnet public --name web1").err
    (eip,) = elastic.do("eip list --json").json["eips"]
    assert (eip["address"], eip["associated"]) == (FIRST, None)
    elastic.do(f"eip associate --address {FIRST} --vpc vpc2 --subnet public")
    assert f"{FIRST} is free now" in elastic.do("vpc delete --name vpc2").err
    assert elastic.do("status").out == "in sync\n"


@pytest.mark.parametrize("damage", [
    "iptables -F", "iptables -t nat -F", "iptables -t mangle -F", "iptables -F VPCCTL-ELASTIC",
    f"ip neigh del proxy {FIRST} dev eth0", f"ip route del {FIRST}", "sysctl -qw net.ipv4.ip_forward=0",
    "ip netns exec vpc1 iptables -t nat -F PREROUTING", "ip netns exec vpc1 iptables -t nat -F POSTROUTING",
    "ip netns del vpc1", "ip netns del vpc1-public.web1",
])
def test_restore_after_damage(elastic: Host, damage: str) -> None:
    elastic.sh(damage)
    assert elastic.vpcctl("status").code == 1
    elastic.do("restore")
    elastic.do("status")
    if damage.endswith("web1"):
        elastic.listen("vpc1-public.web1", "80", "53/udp")
    for sender in ("internet", "", "vpc1-public"):
        elastic.reaches(sender, f"{FIRST}:80", f"{FIRST}:53/udp")
    assert f"your address: {FIRST}" in seen(elastic, "vpc1-public.web1", OUTSIDE)[0]
    if damage in ("iptables -F", "iptables -t nat -F"):
        elastic.delete_all()
        elastic.sh(OTHERS)


def test_a_file_makes_it_and_export_has_it(vpc1: Host) -> None:
    topology = {"version": 2, "vpcs": {"vpc1": {"cidr": "10.0.0.0/16", "nat": True, "subnets": {
        "public": {"cidr": "10.0.1.0/24", "type": "public", "instances": {"web1": {}}},
        "private": {"cidr": "10.0.2.0/24"}}}}, "eip_pools": {POOL: "eth0"},
        "eips": {FIRST: "vpc1/public/web1", SECOND: None}}
    file = vpc1.write("t.json", topology)
    assert f"+ eip {FIRST}" in vpc1.do("apply -f", file).out
    vpc1.listen("vpc1-public.web1", "80")
    vpc1.reaches("internet", f"{FIRST}:80")
    assert vpc1.do("apply -f", file).out.startswith("unchanged")
    exported = vpc1.do("export").out
    vpc1.do(f"eip dissociate --address {FIRST}")
    vpc1.do("apply -f", vpc1.write("e.yaml", exported))
    assert vpc1.do("export").out == exported
    topology["eips"] = {FIRST: "vpc1/public/web2"}
    wrong = vpc1.vpcctl("apply", "-f", vpc1.write("w.json", topology))
    assert wrong.code == 1
    assert "machine 'web2' does not exist in vpc1/public" in wrong.err
    assert vpc1.do("export").out == exported


def test_a_lost_record_is_rebuilt(elastic: Host) -> None:
    elastic.do(f"eip allocate --address {SECOND}")
    elastic.do("eip pool add 203.0.113.64/28")
    elastic.do("eip allocate --address 203.0.113.64")
    elastic.do("eip associate --address 203.0.113.64 --vpc vpc1 --subnet private")
    before = {name: elastic.do(f"{name} list --json").json for name in ("eip", "eip pool")}
    elastic.sh("rm /var/lib/vpcctl/state.json*")
    elastic.do("restore --from-kernel")
    assert elastic.do("status").out == "in sync\n"
    for name, found in before.items():
        key = "eips" if name == "eip" else "pools"
        now = elastic.do(f"{name} list --json").json[key]
        assert sorted(now, key=str) == sorted(found[key], key=str)
    elastic.delete_all()
    elastic.sh("sysctl -qw net.ipv4.ip_forward=0 net.ipv4.conf.all.accept_redirects=1")


def test_reach_says_what_packets_do(elastic: Host) -> None:
    elastic.do("firewall apply --vpc vpc1 --subnet public --policy", elastic.write("p", ONLY_OUTSIDE))
    senders = {"internet": "internet", "host": "", "vpc1/public": "vpc1-public",
               "vpc1/public/web1": "vpc1-public.web1", "vpc1/private": "vpc1-private",
               "vpc2/public": "vpc2-public"}
    for damage in ("true", f"ip neigh del proxy {FIRST} dev eth0", f"ip route del {FIRST}",
                   "iptables -F VPCCTL-ELASTIC", "ip netns exec vpc1 iptables -t nat -F PREROUTING"):
        elastic.sh(f"{damage}; ip -n internet neigh flush all")
        answers = elastic.probe(*((namespace, f"{FIRST}:80") for namespace in senders.values()), patience=1.0)
        for start, sent in zip(senders, answers, strict=True):
            told = elastic.vpcctl("reach", "--from", start, "--to", FIRST, "--port", "80", "--json").json
            assert (told["reach"]["verdict"] == "reachable") == (sent.verdict == "reached"), \
                (damage, start, sent, told)
        if damage != "true":
            fix = elastic.vpcctl("reach", "--from", "internet", "--to", "vpc1/public/web1", "--port", "80",
                                 "--json").json["reach"]["blocked_by"]["fix"]
            assert fix == "vpcctl restore"
            elastic.do("restore")
        # A question for its MAC that nobody answered may still be open.
        elastic.sh("ip -n internet neigh flush all")
        elastic.reaches("internet", f"{FIRST}:80")
    elastic.do("firewall clear --vpc vpc1 --subnet public")
    assert elastic.do("reach --from vpc1/public/web1 --to internet").out.endswith("reachable\n")
    assert elastic.do("reach --from internet --to vpc1/public/web1").out.endswith("reachable\n")


def test_beside_published_ports_and_docker_s_nat(elastic: Host) -> None:
    elastic.sh("iptables -t nat -A POSTROUTING -j MASQUERADE")
    elastic.listen("vpc1-public", "80")
    elastic.do("publish add --vpc vpc1 --subnet public --port 8080:80")
    assert WORLD in seen(elastic, "internet", f"{FIRST}:80")[0]
    assert f"your address: {FIRST}" in seen(elastic, "vpc1-public.web1", OUTSIDE)[0]
    assert WORLD in seen(elastic, "internet", f"{UPLINK}:8080")[0]
    # A machine with an elastic address may use the ports, too, and is seen by it.
    assert f"sees {FIRST}" in seen(elastic, "vpc1-public.web1", f"{UPLINK}:8080")[0]
    assert f"sees {UPLINK}" in seen(elastic, "vpc2-public", f"{UPLINK}:8080")[0]
    elastic.do("publish delete --port 8080")
    elastic.reaches("internet", f"{FIRST}:80")
    assert elastic.do("status").out == "in sync\n"
    elastic.sh("iptables -t nat -D POSTROUTING -j MASQUERADE")


def test_nobody_can_forge_it(elastic: Host) -> None:
    elastic.sh(f"ip addr add {FIRST}/32 dev eth0", "vpc1-public")
    elastic.no_forgery_arrives("vpc1-public", "8.8.8.8", OUTSIDE, source=FIRST, at="internet",
                               witness="vpc1-public.web1")
    elastic.sh(f"ip addr del {FIRST}/32 dev eth0", "vpc1-public")


def test_cleanup_leaves_nothing(elastic: Host) -> None:
    elastic.sh(f"{CLEANUP} --yes; rm /var/lib/vpcctl/state.json.cleaned")
    assert elastic.sh("ip neigh show proxy") == ""


@pytest.mark.parametrize("named", [True, False])
def test_an_address_that_no_machine_has(elastic: Host, named: bool) -> None:
    """Also where the outside can't be read, from which such packets only come back."""
    if not named:
        elastic.sh("ip netns delete internet")
    for number in (3, 4):
        elastic.do(f"eip allocate --address 198.51.100.{number}")
    elastic.do("eip associate --address 198.51.100.3 --vpc vpc1 --subnet private")
    free = {
        SECOND: ("NO_NEIGHBOUR", f"elastic address {SECOND} is not allocated",
                 f"vpcctl eip allocate --address {SECOND}"),
        "198.51.100.3": ("PRIVATE_SUBNET", "198.51.100.3 does not work: vpc1/private is private",
                         "vpcctl subnet set --vpc vpc1 --name private --type public"),
        "198.51.100.4": ("NO_NEIGHBOUR", "elastic address 198.51.100.4 is associated with no machine", None)}
    for address, told in free.items():
        for start in ("internet", "host", "vpc1/public", "vpc1/public/web1"):
            blocked = elastic.vpcctl("reach", "--from", start, "--to", address, "--port", "80",
                                     "--json").json["reach"]["blocked_by"]
            assert (blocked["code"], blocked["rule"], blocked["fix"]) == told, (start, address)
        elastic.never_reaches("", f"{address}:80")
        elastic.never_reaches("vpc1-public", f"{address}:80")
    if not named:
        elastic.sh('ip netns attach internet "$(pgrep -P 1 -o)"')

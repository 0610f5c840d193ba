"""What is read back from the kernel may be a stranger's: root in a subnet names and marks as he likes."""

from __future__ import annotations

import pytest
from host import CHECKOUT, Host, losing

STATE = "/var/lib/vpcctl/state.json"
LOSE = f"rm {STATE} {STATE}.bak"
WHOLE_HOST_AGAIN = f"sysctl -qw net.ipv4.ip_forward=0; rm -f {STATE}*.lost-*"
ESC = "\x1b"
POLICY = {"ingress": [{"port": 80, "protocol": "tcp", "action": "allow"}], "egress": [], "default": "deny"}
ALIAS = """
import socket, struct, sys
# RTM_NEWLINK of link 1 (lo) with IFLA_IFALIAS, which may hold any byte but 0.
alias = bytes.fromhex(sys.argv[1])
attribute = struct.pack("HH", 4 + len(alias), 20) + alias + bytes(-len(alias) % 4)
body = struct.pack("BxHiII", 0, 0, 1, 0, 0) + attribute
with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0) as netlink:
    netlink.send(struct.pack("IHHII", 16 + len(body), 16, 1 | 4, 1, 0) + body)
    sys.exit(-struct.unpack("i", netlink.recv(4096)[16:20])[0])
"""

WEIRD_TABLE = """
table ip filter {
    set some { type ipv4_addr; flags interval; elements = { 192.0.2.0/24 } }
    chain INPUT { type filter hook input priority 0; policy accept; ip saddr @some accept; }
    chain other { meta mark set numgen inc mod 2; }
}
"""


def alias(host: Host, namespace: str, text: bytes) -> None:
    """Give lo of a namespace any alias, as root in there can."""
    done = host.inside(namespace, "python3", "-c", ALIAS, text.hex())
    assert done.code == 0, done


def plain(host: Host, *words: str, code: int) -> str:
    """All that a command prints, in which nothing may steer a terminal."""
    done = host.vpcctl(*words)
    told = done.out + done.err
    assert done.code == code, done
    assert "Traceback" not in told
    assert not [c for c in told if ord(c) < 32 and c not in "\n\t"], told
    return told


ALIASES = (
    b"x\x1by", b'vpcctl:a"b', b"vpcctl:a'b\\'\\", b"vpcctl:a\nb", b"\x01\x7f\x9b\r\xff\xfe",
    b'","ifname":"x"}]', b"vpcctl:vpc2/public", b"vpcctl:vpc2", "\u202e\u2028".encode(),
    b"v" * 255)


def test_an_alias_may_be_anything(vpc2: Host) -> None:
    for text in ALIASES:
        alias(vpc2, "vpc1-public", text)
        told = plain(vpc2, "status", code=1)
        assert "link lo in vpc1-public" in told, text
        assert plain(vpc2, "reach", "--from", "vpc1/public", "--to", "vpc1/private", code=0)
        vpc2.sh("iptables -F VPCCTL-FORWARD")
        plain(vpc2, "restore", code=0)
        assert vpc2.do("status").out == "in sync\n", text
        assert ESC not in vpc2.sh("cat /var/lib/vpcctl/vpcctl.log")


def test_what_others_name_is_shown_and_steers_nothing(vpc2: Host) -> None:
    link = f"x{ESC}[31mred"
    vpc2.sh(f"ip link add '{link}' type bridge; ip link set '{link}' alias 'vpcctl:{ESC}]0;owned'",
            "vpc1-public")
    told = plain(vpc2, "status", code=1)
    assert "x\\x1b[31mred in vpc1-public" in told
    assert "vpcctl:\\x1b]0;owned" in told
    cleanup = vpc2.run("sh", str(CHECKOUT / "cleanup.sh"), "--dry-run")
    assert cleanup.code == 0
    assert "x\\033[31mred" in cleanup.out
    assert ESC not in cleanup.out + cleanup.err
    script = f"printf '{ESC}]0;owned\\n'; exec sleep 86400"
    vpc2.do("deploy run --vpc vpc2 --subnet public --name w -- sh -c", script)
    shown = ("deploy", "logs", "--vpc", "vpc2", "--subnet", "public", "--name", "w")
    vpc2.wait_until(lambda: "owned" in vpc2.do(" ".join(shown)).out, "the workload has written")
    assert plain(vpc2, *shown, code=0) == "\\x1b]0;owned\n"
    for words in (("deploy", "list"), ("vpc", "show", "--name", "vpc2")):
        assert "\\x1b]0;owned" in plain(vpc2, *words, code=0)
    assert ESC not in vpc2.sh("cat /var/lib/vpcctl/vpcctl.log")


def test_wiped_marks_are_put_back(vpc2: Host) -> None:
    vpc2.sh("for link in lo eth0; do ip link set $link alias ''; done", "vpc1-public")
    done = vpc2.vpcctl("status")
    assert (done.code, "its alias is none" in done.out, "foreign" in done.out) == (1, True, False)
    vpc2.do("restore")
    assert vpc2.do("status").out == "in sync\n"


def test_another_s_namespace_of_that_name_is_still_foreign(vpc1: Host) -> None:
    vpc1.sh("ip netns del vpc1-public; ip netns add vpc1-public; "
            "ip -n vpc1-public link add eth7 type bridge; "
            "while ip -n vpc1 link show s-public; do sleep 0.02; done >/dev/null 2>&1")
    assert "it does not bear vpcctl's mark" in vpc1.vpcctl("status").out
    vpc1.refused("restore", says="is not the one vpcctl made")
    vpc1.sh("ip netns del vpc1-public")
    vpc1.do("restore")


@pytest.fixture
def guarded(vpc2: Host) -> Host:
    """Two VPCs, with a policy in one subnet."""
    vpc2.do("firewall apply --vpc vpc1 --subnet public --policy", vpc2.write("policy.json", POLICY))
    return vpc2


def flushed(host: Host) -> None:
    host.sh("iptables -F VPCCTL-FORWARD; ip -n vpc2 link set s-private down")


def is_mended(host: Host) -> bool:
    return host.run("iptables", "-C", "VPCCTL-FORWARD", "-i", "vpc-vpc2", "-m", "comment", "--comment",
                    "vpcctl:vpc2", "-j", "REJECT", "--reject-with", "icmp-net-unreachable").code == 0 \
        and "LOWER_UP" in host.sh("ip -n vpc2 link show s-private")


def test_a_table_that_iptables_can_t_read_is_told_of_and_made_anew(guarded: Host) -> None:
    guarded.sh("nft delete table ip filter", "vpc1-public")
    guarded.inside("vpc1-public", "nft", "-f", "-", stdin=WEIRD_TABLE)
    flushed(guarded)
    done = guarded.vpcctl("status", "--json")
    assert done.code == 1
    assert [one for one in done.json["status"]["findings"] if one["condition"] == "unreadable"] == [
        {"condition": "unreadable", "what": "namespace vpc1-public", "detail":
         "its table filter can't be read: nft made something in it that iptables can't show"}]
    shown = guarded.do("firewall show --vpc vpc1 --subnet public")
    assert ("?" in shown.out, "the table filter of vpc1-public can't be read" in shown.err) == (True, True)
    guarded.do("firewall apply --vpc vpc2 --subnet public --policy", guarded.write("policy.json", POLICY))
    guarded.do("restore")
    assert guarded.do("status").out == "in sync\n"
    assert is_mended(guarded)
    assert "numgen" not in guarded.sh("nft list ruleset", "vpc1-public")


def test_without_nft_all_else_is_mended(guarded: Host) -> None:
    guarded.sh("nft delete table ip filter", "vpc1-public")
    guarded.inside("vpc1-public", "nft", "-f", "-", stdin=WEIRD_TABLE)
    flushed(guarded)
    # A file that may not be run is no tool (which(1)).
    nft = guarded.sh("realpath $(command -v nft)").strip()
    guarded.sh(f"touch /run/none; mount -n --bind /run/none {nft}")
    done = guarded.vpcctl("restore")
    assert done.code == 1
    assert "namespace vpc1-public: its table filter can't be read" in done.err
    assert is_mended(guarded)
    guarded.sh(f"umount -n {nft}; rm /run/none")
    guarded.do("restore")
    assert guarded.do("status").out == "in sync\n"


def test_a_table_that_its_owner_keeps_is_left_and_all_else_is_mended(guarded: Host) -> None:
    guarded.sh("nft delete table ip filter", "vpc1-public")
    owner = guarded.start("vpc1-public", "sh", "-c", "{ echo 'table ip filter { flags owner; }'; "
                          "sleep 86400; } | nft -i")
    guarded.wait_until(lambda: "owner" in guarded.sh("nft list ruleset", "vpc1-public"), "the table is owned")
    flushed(guarded)
    done = guarded.vpcctl("restore")
    assert done.code == 1
    assert "iptables-restore failed in vpc1-public" in done.err
    assert is_mended(guarded)
    guarded.stop(owner)
    guarded.sh("for pid in $(ip netns pids vpc1-public); do kill $pid; done")
    guarded.wait_until(lambda: not guarded.sh("ip netns pids vpc1-public"), "its owner has gone")
    guarded.do("restore")
    assert guarded.do("status").out == "in sync\n"


def test_a_namespace_whose_links_can_t_be_read_is_one_finding(guarded: Host) -> None:
    fault = {"FAULT_KIND": "mute", "FAULT_AT": "0", "FAULT_SPACE": "vpc1-public",
             "FAULT_DIR": str(guarded.scratch)}
    flushed(guarded)
    done = guarded.faulty("status", "--json", **fault)
    unreadable = [one for one in done.json["status"]["findings"] if one["condition"] == "unreadable"]
    assert [one["what"] for one in unreadable] == ["namespace vpc1-public"]
    done = guarded.faulty("restore", **fault)
    assert done.code == 1
    assert "namespace vpc1-public: its links can't be read" in done.err
    assert is_mended(guarded)
    # Nothing is left to do, and still not all is known.
    assert guarded.faulty("restore", **fault).code == 1
    assert guarded.faulty("reach", "--from", "vpc2/public", "--to", "vpc2/private", **fault).code == 0
    told = guarded.faulty("reach", "--from", "vpc1/public", "--to", "vpc1/private", **fault)
    assert (told.code, "unknown: vpc1-public: it can't be read" in told.out) == (1, True)
    for command in ("vpc show --name vpc1", "firewall show --vpc vpc1 --subnet public", "subnet list"):
        assert guarded.faulty(*command.split(), **fault).code == 0
    assert guarded.faulty("vpc", "delete", "--name", "vpc2", **fault).code == 0


def test_a_subnet_dressed_up_as_a_vpc_is_not_believed(vpc2: Host) -> None:
    """The host would get an address of its choosing, on a cable that leads to it."""
    vpc2.sh("ip link set lo alias vpcctl:vpc1-public; ip link add br-vpc1-public type bridge; "
            "ip link set br-vpc1-public alias vpcctl:vpc1-public; "
            "ip addr add 10.99.0.1/24 dev br-vpc1-public; "
            "ip link add uplink type bridge; ip link set uplink alias vpcctl:vpc1-public up; "
            "ip addr add 1.1.1.1/31 dev uplink", "vpc1-public")
    before = vpc2.sh("ip route; ip route get 1.1.1.1")
    vpc2.sh(LOSE)
    vpc2.do("restore --from-kernel")
    assert vpc2.sh("ip route; ip route get 1.1.1.1") == before
    assert [vpc["name"] for vpc in vpc2.do("vpc list --json").json["vpcs"]] == ["vpc1", "vpc2"]
    vpc2.sh("ip link del uplink; ip link del br-vpc1-public", "vpc1-public")
    vpc2.sh(WHOLE_HOST_AGAIN)
    assert vpc2.do("status").out == "in sync\n"


@pytest.mark.parametrize("text", [
    b"vpcctl:vpc1/x\nnetns exec vpc1-public touch /run/pwned\n", b"vpcctl:vpc1/../../x", b"vpcctl:",
    b"vpcctl:/", b"vpcctl:vpc1/private", b"vpcctl:a+b+c", b"vpcctl:vpc1 x", b"\x1b"], ids=repr)
def test_no_mark_of_a_subnet_s_own_is_believed(vpc2: Host, text: bytes) -> None:
    alias(vpc2, "vpc1-public", text)
    before = vpc2.do("export").out
    vpc2.sh(LOSE)
    plain(vpc2, "restore", "--from-kernel", code=0)
    assert vpc2.run("test", "-e", "/run/pwned").code == 1
    assert vpc2.do("status").out == "in sync\n"
    assert vpc2.do("export").out.replace("type: public", "type: private") == \
        before.replace("type: public", "type: private")
    vpc2.sh(WHOLE_HOST_AGAIN)


@pytest.mark.parametrize(("address", "says"), [
    ("10.0.0.2/16", "its own namespace has addresses of private, third"),
    ("10.0.2.2/24", "its own namespace has addresses of private"),
    ("192.168.0.2/24", "its address is missing"), ("10.0.1.7/24", "its address is missing"),
    ("1.1.1.1/32", "its address is missing")])
def test_a_subnet_that_lies_of_its_addresses_gets_none_of_others(vpc2: Host, address: str, says: str) -> None:
    vpc2.do("subnet add --vpc vpc1 --name third --cidr 10.0.3.0/24")
    vpc2.sh(f"ip addr flush dev eth0; ip addr add {address} dev eth0", "vpc1-public")
    # Else the router's own table tells.
    vpc2.sh("nft delete table bridge vpcctl", "vpc1")
    vpc2.sh(LOSE)
    done = vpc2.do("restore --from-kernel")
    assert f"subnet 'vpc1/public' can't be rebuilt: {says}" in done.err
    cidrs = {subnet["name"]: subnet["cidr"] for subnet in vpc2.do("subnet list --json").json["subnets"]
             if subnet["vpc"] == "vpc1"}
    assert "public" not in cidrs
    assert cidrs["third"] == "10.0.3.0/24"
    # Of two that have each other's, neither is known.
    assert ("private" in cidrs) == (address != "10.0.2.2/24")
    for name in {"public", "private"} - cidrs.keys():
        vpc2.sh(losing(f"vpc1-{name}", "vpc1", f"s-{name}"))
    vpc2.sh(WHOLE_HOST_AGAIN)


@pytest.mark.parametrize("address", ["10.0.2.2/24", "10.0.0.2/16", "1.1.1.1/32"])
def test_where_the_router_s_guard_tells_all_cidrs_no_subnet_is_asked(vpc2: Host, address: str) -> None:
    vpc2.sh(f"ip addr flush dev eth0; ip addr add {address} dev eth0", "vpc1-public")
    vpc2.sh(LOSE)
    assert "known" not in vpc2.do("restore --from-kernel").err
    found = [(one["cidr"], one["type"]) for one in vpc2.do("subnet list --json").json["subnets"]
             if one["vpc"] == "vpc1"]
    assert found == [("10.0.1.0/24", "public"), ("10.0.2.0/24", "private")]
    vpc2.sh(f"ip addr del {address} dev eth0", "vpc1-public")
    vpc2.reaches("vpc1-private", "10.0.1.2")
    vpc2.sh(WHOLE_HOST_AGAIN)


def test_where_the_router_tells_a_cidr_the_subnet_is_not_asked(vpc2: Host) -> None:
    vpc2.do("nat enable --vpc vpc1")
    vpc2.sh("nft delete table bridge vpcctl", "vpc1")
    vpc2.sh("ip addr flush dev eth0; ip addr add 10.0.2.2/24 dev eth0", "vpc1-public")
    vpc2.sh(LOSE)
    done = vpc2.do("restore --from-kernel")
    assert "the CIDRs of private in VPC 'vpc1' come from their own namespaces" in done.err
    assert "can't be rebuilt" not in done.err
    assert [one["cidr"] for one in vpc2.do("subnet list --json").json["subnets"] if one["vpc"] == "vpc1"] == [
        "10.0.1.0/24", "10.0.2.0/24"]
    vpc2.sh("ip addr del 10.0.2.2/24 dev eth0", "vpc1-public")
    vpc2.do("nat disable --vpc vpc1")
    vpc2.sh(WHOLE_HOST_AGAIN)


def test_one_mark_twice_is_an_error_that_names_both(vpc2: Host) -> None:
    vpc2.sh("ip -n vpc1 link add s-forged type bridge; "
            "ip -n vpc1 link set s-forged alias vpcctl:vpc1/private; "
            f"cp {STATE} /run/kept; {LOSE}")
    vpc2.refused("restore --from-kernel", says="links s-private and s-forged in vpc1 both bear the mark "
                 "vpcctl:vpc1/private")
    vpc2.sh(f"ip -n vpc1 link del s-forged; mv /run/kept {STATE}")


def test_a_link_marked_by_others_is_left_as_it_is(vpc2: Host) -> None:
    vpc2.sh("ip link add stranger type bridge; ip link set stranger alias vpcctl:vpc9; "
            "ip -n vpc1 link add stranger type bridge; "
            "ip -n vpc1 link set stranger alias 'vpcctl:vpc1/Nine 9'")
    vpc2.sh(LOSE)
    done = vpc2.do("restore --from-kernel")
    for place, mark in (("on the host", "vpc9"), ("in vpc1", "vpc1/Nine 9")):
        assert f"link stranger {place} bears the mark vpcctl:{mark}, but vpcctl did not make it" in done.err
    assert [vpc["name"] for vpc in vpc2.do("vpc list --json").json["vpcs"]] == ["vpc1", "vpc2"]
    vpc2.sh(f"ip link del stranger; ip -n vpc1 link del stranger; {WHOLE_HOST_AGAIN}")


def test_a_policy_that_vpcctl_did_not_write_is_not_recorded(guarded: Host) -> None:
    guarded.sh("iptables -R INPUT 4 ! -s 10.0.0.0/8 -p sctp -m comment --comment 'vpcctl:ingress[0]' "
               "-j ACCEPT", "vpc1-public")
    rules = guarded.sh("iptables -S INPUT", "vpc1-public")
    guarded.sh(LOSE)
    done = guarded.do("restore --from-kernel")
    assert "the policy of 'vpc1/public' can't be rebuilt: ingress[0] is not as vpcctl writes it" in done.err
    assert guarded.sh("iptables -S INPUT", "vpc1-public") == rules
    guarded.do("firewall apply --vpc vpc1 --subnet public --policy", guarded.write("policy.json", POLICY))
    assert guarded.do("status").out == "in sync\n"
    guarded.sh(WHOLE_HOST_AGAIN)

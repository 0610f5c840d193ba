"""Policies in force: what passes and what does not, packet by packet."""

from __future__ import annotations

from typing import Any

import pytest
from host import REACHED, SILENCE, Host

PUBLIC, PRIVATE = "10.0.1.2", "10.0.2.2"


def allow(**rule: Any) -> dict[str, Any]:
    return {"protocol": "tcp", "action": "allow", **rule}


def deny(**rule: Any) -> dict[str, Any]:
    return {"protocol": "tcp", "action": "deny", **rule}


def apply(host: Host, subnet: str = "public", vpc: str = "vpc1", **policy: Any) -> None:
    file = host.write("policy.json", policy)
    host.do(f"firewall apply --vpc {vpc} --subnet {subnet} --policy {file}")
    assert host.do("status").out == "in sync\n"


def open_ones(host: Host, namespace: str, *targets: str) -> list[str]:
    """Those of the targets that answer; the others have to be silent."""
    answers = host.probe(*((namespace, target) for target in targets), patience=0.5)
    assert {answer.verdict for answer in answers} <= {REACHED, SILENCE}, answers
    return [target for target, answer in zip(targets, answers, strict=True) if answer.verdict == REACHED]


@pytest.fixture
def serving(vpc1: Host) -> Host:
    """Services on many ports of both subnets."""
    vpc1.listen("vpc1-public", "22", "80", "443", "8000", "8050", "8100", "8101", "53/udp", "80/udp")
    vpc1.listen("vpc1-private", "80", "443", "53/udp")
    return vpc1


ALL = tuple(f"{PUBLIC}{port}" for port in ("", ":22", ":80", ":443", ":8000", ":8050", ":8100", ":8101",
                                           ":53/udp", ":80/udp"))


def test_without_a_policy_all_is_open(serving: Host) -> None:
    assert open_ones(serving, "vpc1-private", *ALL) == list(ALL)


def test_once_applied_the_default_is_deny(serving: Host) -> None:
    apply(serving, ingress=[])
    assert open_ones(serving, "vpc1-private", *ALL) == []
    assert open_ones(serving, "", *ALL) == []


def test_the_default_may_be_allow(serving: Host) -> None:
    apply(serving, ingress=[deny(port=22)], default="allow")
    opened = [target for target in ALL if not target.endswith(":22")]
    assert open_ones(serving, "vpc1-private", *ALL) == opened


def test_a_rule_opens_what_it_names(serving: Host) -> None:
    cases: tuple[tuple[dict[str, Any], list[str]], ...] = (
        (allow(port=80), [":80"]),
        (allow(port="8000-8100"), [":8000", ":8050", ":8100"]),
        (allow(port=53, protocol="udp"), [":53/udp"]),
        ({"protocol": "icmp", "action": "allow"}, [""]),
        ({"protocol": "udp", "action": "allow"}, [":53/udp", ":80/udp"]),
        (allow(), [":22", ":80", ":443", ":8000", ":8050", ":8100", ":8101"]),
        ({"protocol": "all", "action": "allow"}, [target.removeprefix(PUBLIC) for target in ALL]))
    for rule, opened in cases:
        apply(serving, ingress=[rule])
        assert open_ones(serving, "vpc1-private", *ALL) == [PUBLIC + port for port in opened], rule


def test_the_first_match_wins(serving: Host) -> None:
    apply(serving, ingress=[deny(port=8050), allow(port="8000-8100"), allow(port=80), deny(port=80)])
    assert open_ones(serving, "vpc1-private", *ALL) == [PUBLIC + port for port in (":80", ":8000", ":8100")]


def test_by_source(serving: Host) -> None:
    for source, ok in (("10.0.2.0/24", True), ("10.0.3.0/24", False), ("10.0.2.2/32", True),
                       ("169.254.64.0/32", False), ("10.0.0.0/16", True), ("0.0.0.0/0", True)):
        apply(serving, ingress=[allow(port=80, source=source)])
        assert open_ones(serving, "vpc1-private", f"{PUBLIC}:80") == ([f"{PUBLIC}:80"] if ok else []), source


def test_it_holds_for_the_host_and_for_peers_too(vpc2: Host) -> None:
    vpc2.listen("vpc1-public", "80", "443")
    vpc2.do("peer create --vpc1 vpc1 --vpc2 vpc2")
    apply(vpc2, ingress=[allow(port=80, source="172.16.1.0/24"), allow(port=443, source="169.254.64.0/32")])
    web = (f"{PUBLIC}:80", f"{PUBLIC}:443")
    assert open_ones(vpc2, "vpc2-public", *web) == [web[0]]
    assert open_ones(vpc2, "vpc2-private", *web) == []
    assert open_ones(vpc2, "vpc1-private", *web) == []
    assert open_ones(vpc2, "", *web) == [web[1]]


def test_answers_to_what_goes_out_come_back(serving: Host) -> None:
    serving.do("nat enable --vpc vpc1")
    apply(serving, ingress=[])
    out = (PRIVATE, f"{PRIVATE}:80", f"{PRIVATE}:53/udp", "8.8.8.8", "8.8.8.8:80", "8.8.8.8:53/udp")
    assert open_ones(serving, "vpc1-public", *out) == list(out)
    assert open_ones(serving, "vpc1-private", *ALL) == []


def test_loopback_stays_open(serving: Host) -> None:
    apply(serving, ingress=[], egress=[])
    assert open_ones(serving, "vpc1-public", "127.0.0.1:80", f"{PUBLIC}:80", "127.0.0.1") == [
        "127.0.0.1:80", f"{PUBLIC}:80", "127.0.0.1",
    ]


def out_of_public(host: Host, *targets: str) -> list[str]:
    """Those that answer the public subnet; a packet that its own firewall drops fails with EPERM."""
    answers = host.probe(*(("vpc1-public", target) for target in targets), patience=0.5)
    return [target for target, answer in zip(targets, answers, strict=True) if answer.verdict == REACHED]


def test_egress(serving: Host) -> None:
    out = (PRIVATE, f"{PRIVATE}:80", f"{PRIVATE}:443", f"{PRIVATE}:53/udp", "10.0.0.1")
    apply(serving, ingress=[], egress=[allow(port=443), {"protocol": "icmp", "action": "allow",
                                                          "destination": "10.0.0.1/32"}])
    assert out_of_public(serving, *out) == [f"{PRIVATE}:443", "10.0.0.1"]
    apply(serving, egress=[deny(port=443)], default="allow")
    assert out_of_public(serving, *out) == [target for target in out if not target.endswith(":443")]
    apply(serving, ingress=[])
    assert out_of_public(serving, *out) == list(out), "a missing egress leaves outgoing traffic open"


def test_closed_egress_lets_answers_out(serving: Host) -> None:
    apply(serving, ingress=[allow(port=80)], egress=[])
    assert open_ones(serving, "vpc1-private", *ALL) == [f"{PUBLIC}:80"]
    assert out_of_public(serving, f"{PRIVATE}:80", PRIVATE) == []


def test_egress_by_destination(serving: Host) -> None:
    serving.do("nat enable --vpc vpc1")
    apply(serving, egress=[allow(port=80, destination="8.8.8.8/32")])
    assert out_of_public(serving, "8.8.8.8:80", "1.1.1.1:80", f"{PRIVATE}:80") == ["8.8.8.8:80"]


def test_one_subnet_s_policy_is_not_another_s(serving: Host) -> None:
    apply(serving, ingress=[])
    assert open_ones(serving, "vpc1-public", f"{PRIVATE}:80", PRIVATE) == [f"{PRIVATE}:80", PRIVATE]
    assert open_ones(serving, "", f"{PRIVATE}:80") == [f"{PRIVATE}:80"]
    apply(serving, "private", ingress=[allow(port=443)])
    assert open_ones(serving, "", f"{PRIVATE}:80", f"{PRIVATE}:443") == [f"{PRIVATE}:443"]
    assert open_ones(serving, "", *ALL) == []


def test_odd_packets_pass_no_open_port(serving: Host) -> None:
    """A FIN with ACK fits no connection, but the answer to it would tell a scanner of the open port."""
    apply(serving, ingress=[allow(port=80)])
    code = f"""if 1:
        import socket, struct
        raw = socket.socket(socket.AF_INET, socket.SOCK_RAW, socket.IPPROTO_TCP)
        raw.settimeout(0.5)
        for port in (80, 81):
            head = struct.pack("!HHIIBBHHH", 40000, port, 1, 1, 5 << 4, 17, 1024, 0, 0)
            ends = socket.inet_aton("{PRIVATE}") + socket.inet_aton("{PUBLIC}")
            total = sum(struct.unpack("!16H", ends + struct.pack("!BBH", 0, 6, 20) + head))
            total = (total >> 16) + (total & 0xffff)
            head = head[:16] + struct.pack("!H", ~(total + (total >> 16)) & 0xffff) + head[18:]
            raw.sendto(head, ("{PUBLIC}", 0))
        try: print("answered", raw.recv(100))
        except TimeoutError: print("silence")
    """
    assert serving.sh(f"python3 - <<'END'\n{code}\nEND\n", "vpc1-private") == "silence\n"

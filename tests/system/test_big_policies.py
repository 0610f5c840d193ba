"""Ten thousand rules: soon in force, all or nothing, with the verdicts and counters of their plain order."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from typing import Any

import pytest
from host import CHECKOUT, REACHED, SILENCE, Host

from benchmarks import policies

RULES = 10_000
SECONDS, BYTES = 3.0, 1e9
NAMED = "--vpc vpc1 --subnet public"
SHOW = f"firewall show {NAMED} --json"
PORTS = (22, 80, 443, 1500, 1501, 1502, 1503, 1504, 6000, 8000)
PUBLIC, PRIVATE = "10.0.1.2", "10.0.2.2"
PEAK = """if 1:
    import resource, subprocess, sys
    subprocess.run(sys.argv[1:], check=True, stdout=subprocess.DEVNULL)
    print(resource.getrusage(resource.RUSAGE_CHILDREN).ru_maxrss)
"""


def other(number: int) -> dict[str, Any]:
    """A rule that no packet of these tests matches."""
    source = f"11.{number // 250}.{number % 250}.0/24"
    return {"port": 1000 + number % 5000, "protocol": ("tcp", "udp")[number % 2], "source": source,
            "action": ("allow", "deny")[number % 5 == 0], "description": f"number {number}"}


def alike(count: int) -> list[dict[str, Any]]:
    """Rules of one kind."""
    return [other(number) for number in range(count)]


def mixed(count: int) -> list[dict[str, Any]]:
    """Rules for sources, for ports and for both in any order, which only blocks make short."""
    rules = policies.document(policies.policy("hosts, ports or both, any protocol", count))["ingress"]
    return [other(number) if rule.get("port") in (53, *PORTS) else rule for number, rule in enumerate(rules)]


Fill = Callable[[int], list[dict[str, Any]]]
both = pytest.mark.parametrize("fill", [alike, mixed])
slow = pytest.mark.slow
"""Of two tests of ten thousand rules, each has the other kind in the default run."""


def big(count: int = RULES, fill: Fill = alike) -> dict[str, Any]:
    """Among very many: overlapping ports and sources, allowed and denied, the earlier one in force."""
    rules = fill(count)
    rules[100] = {"port": "1500-1502", "protocol": "tcp", "action": "allow"}
    rules[200] = {"port": 1501, "protocol": "tcp", "action": "deny"}
    rules[300] = {"port": 1503, "protocol": "tcp", "action": "deny", "source": f"{PRIVATE}/32"}
    rules[400] = {"port": "1503-1504", "protocol": "tcp", "action": "allow", "source": "10.0.0.0/16"}
    rules[500] = {"protocol": "icmp", "action": "allow", "source": "10.0.2.0/24"}
    rules[600] = {"port": 53, "protocol": "udp", "action": "allow"}
    rules[-1] = {"port": 80, "protocol": "tcp", "action": "allow"}
    return {"ingress": rules}


def outgoing(count: int, fill: Fill = alike) -> list[dict[str, Any]]:
    """Such rules for what goes out."""
    return [{"destination" if key == "source" else key: value for key, value in rule.items()}
            for rule in fill(count)]


def put(host: Host, policy: dict[str, Any], name: str = "big.json") -> str:
    file = host.write(name, policy)
    host.do(f"firewall apply {NAMED} --policy {file}")
    return file


def opened(host: Host, namespace: str = "vpc1-private") -> list[str]:
    """What answers of all that listens."""
    targets = [PUBLIC, f"{PUBLIC}:53/udp", f"{PUBLIC}:80/udp", *(f"{PUBLIC}:{port}" for port in PORTS)]
    answers = host.probe(*((namespace, target) for target in targets), patience=0.5)
    assert {answer.verdict for answer in answers} <= {REACHED, SILENCE}, answers
    return [target.removeprefix(PUBLIC) for target, answer in zip(targets, answers, strict=True)
            if answer.verdict == REACHED]


def chains(host: Host) -> list[str]:
    listing = host.sh("iptables-save -t filter", "vpc1-public")
    return [line for line in listing.splitlines() if line.startswith(":VPCCTL")]


@pytest.fixture
def serving(vpc1: Host) -> Host:
    """Services on many ports."""
    vpc1.listen("vpc1-public", "53/udp", "80/udp", *map(str, PORTS))
    return vpc1


@pytest.mark.parametrize("fill", [pytest.param(alike, marks=slow), mixed])
def test_packets_meet_the_first_rule_that_matches_and_are_counted_there(serving: Host, fill: Fill) -> None:
    put(serving, big(fill=fill))
    assert opened(serving) == ["", ":53/udp", ":80", ":1500", ":1501", ":1502", ":1504"]
    assert opened(serving, "") == [":53/udp", ":80", ":1500", ":1501", ":1502"], "the host is 169.254.64.0"
    shown = serving.do(SHOW).json["firewall"]
    assert len(shown["counters"]) == RULES + 1
    counted = {name for name, count in shown["counters"].items() if count["packets"]}
    assert counted == {*(f"ingress[{number}]" for number in (100, 300, 400, 500, 600, RULES - 1)),
                       "ingress.default"}
    assert shown["counters"]["ingress[100]"] == {"packets": 6, "bytes": 360}
    assert serving.do(f"firewall show {NAMED}").out.count("\n") >= RULES


def is_soon(taken: list[float]) -> bool:
    """Whether one took as long as it may, since others may be at work on this machine."""
    crowd = max(1.0, os.getloadavg()[0] / (os.cpu_count() or 1))
    return any(seconds < SECONDS * crowd for seconds in taken)


@pytest.mark.long
@pytest.mark.parametrize("fill", [alike, pytest.param(mixed, marks=slow)])
def test_soon_in_force_and_in_little_memory(vpc1: Host, fill: Fill) -> None:
    file = vpc1.write("big.json", big(fill=fill))
    taken: list[float] = []
    while len(taken) < 3 and not is_soon(taken):
        started = time.monotonic()
        vpc1.do(f"firewall apply {NAMED} --policy {file}")
        taken.append(time.monotonic() - started)
        assert vpc1.do("status").out == "in sync\n"
        vpc1.do(f"firewall clear {NAMED}")
    assert is_soon(taken), taken
    words = ("firewall", "apply", *NAMED.split(), "--policy", file)
    peak = vpc1.run(sys.executable, "-c", PEAK, sys.executable, str(CHECKOUT / "vpcctl"), *words)
    assert int(peak.out) * 1024 < BYTES


def test_chains_come_and_go_with_the_policy(serving: Host) -> None:
    before = serving.portrait()
    put(serving, big())
    many = chains(serving)
    assert len(many) > 100
    put(serving, big(1000), "smaller.json")
    assert 10 < len(chains(serving)) < len(many)
    assert opened(serving) == ["", ":53/udp", ":80", ":1500", ":1501", ":1502", ":1504"]
    put(serving, {"ingress": big()["ingress"][-1:]}, "small.json")
    assert chains(serving) == []
    assert opened(serving) == [":80"]
    put(serving, big(1000), "smaller.json")
    serving.do(f"firewall clear {NAMED}")
    serving.check_same(before)


@both
def test_outgoing_traffic_too(serving: Host, fill: Fill) -> None:
    serving.listen("vpc1-private", "80", "443")
    rules = outgoing(500, fill)
    rules[250] = {"port": 443, "protocol": "tcp", "action": "allow", "destination": "10.0.2.0/24"}
    put(serving, {"ingress": [], "egress": rules})
    answers = serving.probe(("vpc1-public", f"{PRIVATE}:443"), ("vpc1-public", f"{PRIVATE}:80"), patience=0.5)
    assert [answer.verdict == REACHED for answer in answers] == [True, False]
    assert serving.do(SHOW).json["firewall"]["counters"]["egress[250]"]["packets"] == 1


def test_all_or_nothing(serving: Host) -> None:
    put(serving, big(1000))
    wrong = big()
    wrong["ingress"][7000]["port"] = 70000
    file = serving.write("wrong.json", wrong)
    serving.refused(f"firewall apply {NAMED} --policy {file}", code=2, says="ingress[7000].port")
    assert opened(serving) == ["", ":53/udp", ":80", ":1500", ":1501", ":1502", ":1504"]


@both
def test_what_is_missing_is_told_and_restored(serving: Host, fill: Fill) -> None:
    put(serving, big(1000, fill))
    name = chains(serving)[3].split()[0].removeprefix(":")
    serving.sh(f"iptables -F {name}", "vpc1-public")
    done = serving.vpcctl("status")
    assert done.code == 1
    assert name in done.out
    serving.do("restore")
    assert serving.do("status").out == "in sync\n"
    serving.sh("iptables -F; iptables -X", "vpc1-public")
    serving.do("restore")
    assert opened(serving) == ["", ":53/udp", ":80", ":1500", ":1501", ":1502", ":1504"]


def test_other_commands_hardly_notice(vpc1: Host) -> None:
    put(vpc1, big())
    text = json.dumps(vpc1.state()["ledger"])
    assert len(text) < 250_000, "the ledger has its chains packed"
    assert vpc1.do("subnet add --vpc vpc1 --name late --cidr 10.0.9.0/24").code == 0
    again = vpc1.do(f"firewall apply {NAMED} --policy", vpc1.write("again.json", big()))
    assert again.out.startswith("unchanged")


@both
def test_reach_finds_its_way_and_the_rule(serving: Host, fill: Fill) -> None:
    put(serving, big(1000, fill))
    ask = "reach --from vpc1/private --to vpc1/public --json --port"
    assert serving.do(f"{ask} 1500").json["reach"]["verdict"] == "reachable"
    done = serving.vpcctl(*f"{ask} 1503".split())
    stopped = done.json["reach"]["blocked_by"]
    assert stopped["code"] == "FIREWALL_DENY"
    assert "vpcctl:ingress[300]" in stopped["rule"]
    assert "vpcctl firewall apply" in stopped["fix"], "a rule of ours is changed by its policy"


@both
def test_a_lost_record_is_told_by_the_chains(serving: Host, fill: Fill) -> None:
    policy = {**big(1000, fill), "egress": outgoing(100)}
    policy["ingress"].append({**policy["ingress"][200], "description": "no packet gets here"})
    put(serving, policy)
    before = serving.do(SHOW).json["firewall"]["policy"]
    serving.sh("rm -f /var/lib/vpcctl/state.json*")
    serving.do("restore --from-kernel")
    assert serving.do("status").out == "in sync\n"
    after = serving.do(SHOW).json["firewall"]["policy"]
    for rule in (*before["ingress"], *before["egress"]):
        rule.pop("description", None)
    assert after == before

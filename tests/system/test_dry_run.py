"""What --dry-run prints, pasted into a root shell of another host, makes what the command itself makes."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from host import Host
from portrait import Portrait

MADE = ("vpc create --name vpc1 --cidr 10.0.0.0/16",
        "subnet add --vpc vpc1 --name public --cidr 10.0.1.0/24 --type public",
        "subnet add --vpc vpc1 --name private --cidr 10.0.2.0/24",
        "vpc create --name vpc2 --cidr 172.16.0.0/16")
FULL = (*MADE, "nat enable --vpc vpc1", "peer create --vpc1 vpc1 --vpc2 vpc2",
        "firewall apply --vpc vpc1 --subnet public --policy {policy}",
        "deploy webserver --vpc vpc1 --subnet public",
        "deploy run --vpc vpc1 --subnet private --name worker -- sleep infinity")
CASES: dict[str, tuple[tuple[str, ...], str]] = {
    "vpc create": ((), MADE[0]),
    "subnet add": (MADE[:1], MADE[1]),
    "subnet add after NAT": ((MADE[0], "nat enable --vpc vpc1"), MADE[1]),
    "nat enable": (MADE, "nat enable --vpc vpc1"),
    "nat disable": (FULL, "nat disable --vpc vpc1"),
    "peer create": (MADE, FULL[5]),
    "peer delete": (FULL, "peer delete --vpc1 vpc1 --vpc2 vpc2"),
    "firewall apply": (MADE, FULL[6]),
    "firewall allow": (MADE, "firewall allow --vpc vpc1 --subnet public --protocol tcp --port 80"),
    "firewall deny": (FULL, "firewall deny --vpc vpc1 --subnet private --protocol icmp"),
    "firewall clear": (FULL, "firewall clear --vpc vpc1 --subnet public"),
    "deploy webserver": (MADE, FULL[7]),
    "deploy run": (MADE, FULL[8]),
    "deploy stop": (FULL, "deploy stop --vpc vpc1 --subnet private --name worker"),
    "subnet delete": (FULL, "subnet delete --vpc vpc1 --name public"),
    "flow-log create": (MADE, "flow-log create --vpc vpc1 --interval 600"),
    "mirror create": (MADE, "mirror create --vpc vpc1 --subnet public --to private"),
    "instance set": (MADE, "instance set --vpc vpc1 --subnet public --bandwidth 100mbit"),
    "flow-log delete": ((*MADE, "flow-log create --vpc vpc1"), "flow-log delete --vpc vpc1"),
    "vpc delete": (FULL, "vpc delete --name vpc1"),
}
POLICY = {"ingress": [{"port": 8080, "protocol": "tcp", "action": "allow"}], "egress": []}


@pytest.fixture
def hosts(tmp_path: Path) -> Iterator[list[Host]]:
    """Two hosts of this test's own; on the second, commands are typed that the record knows nothing of."""
    found: list[Host] = []
    try:
        for name in ("one", "other"):
            (tmp_path / name).mkdir()
            found.append(Host(tmp_path / name))
        yield found
    finally:
        for host in found:
            host.end()


def made(host: Host, lines: tuple[str, ...]) -> None:
    for line in lines:
        host.do(filled(host, line))


def filled(host: Host, line: str) -> str:
    return line.format(policy=host.write("policy.json", POLICY))


def comparable(portrait: Portrait) -> Portrait:
    """Without pids, each host's own folder, the request of the command that waited for the web server, and
    when a collector of flow logs has read."""
    settled = dict(portrait)
    settled["processes"] = sorted(re.sub(r"^\d+ | --keep \S+", "", line) for line in portrait["processes"])
    settled["files"] = [re.sub(r"(\.(log|saved) \d+) .*", r"\1", line, flags=re.DOTALL)
                        for line in portrait["files"]]
    return settled


@pytest.mark.parametrize("case", CASES)
def test_pasted_it_does_the_same(hosts: list[Host], case: str) -> None:
    before, line = CASES[case]
    real, pasted = hosts
    made(real, before)
    made(pasted, before)
    real.do(filled(real, line))
    untouched = pasted.portrait()
    words = filled(pasted, line).split(" -- ")
    script = pasted.do(f"{words[0]} --dry-run" + "".join(f" -- {rest}" for rest in words[1:])).out
    pasted.check_same(untouched)
    assert "# state: " in script.splitlines()[-1]
    done = pasted.run("bash", stdin=script)
    assert "command not found" not in done.err, done.err
    assert "syntax error" not in done.err, done.err
    if "deploy" in case or "flow-log" in case:
        pasted.wait_until(lambda: settles(real, pasted), f"processes as on the other host: {done}")
    wanted, found = comparable(real.portrait()), comparable(pasted.portrait())
    for part in wanted.keys() | found.keys():
        assert wanted.get(part) == found.get(part), f"{part}: {done}"


def settles(one: Host, other: Host) -> bool:
    return comparable(one.portrait())["processes"] == comparable(other.portrait())["processes"]


def test_a_workload_that_ignores_term_is_killed(hosts: list[Host]) -> None:
    host = hosts[0]
    made(host, MADE)
    stubborn = "trap '' TERM; while true; do sleep 1; done"
    host.do("deploy run --vpc vpc1 --subnet public --name deaf --stop-timeout 1s --", "sh", "-c",
            stubborn)
    host.start("vpc1-public", "sleep", "infinity")
    script = host.do("deploy stop --vpc vpc1 --subnet public --name deaf --dry-run").out
    host.run("bash", stdin=script)
    # The other process of the namespace lives on.
    left = host.sh("ip netns pids vpc1-public").split()
    assert [host.sh(f"cat /proc/{pid}/comm").strip() for pid in left] == ["sleep"]


def test_nothing_to_do_prints_nothing(hosts: list[Host]) -> None:
    host = hosts[0]
    made(host, MADE[:1])
    assert host.do(f"{MADE[0]} --dry-run").out == ""
    assert host.do(f"{MADE[0]} --dry-run --json").json["commands"] == []


@pytest.mark.parametrize("case", ["subnet add", "peer create", "mirror create", "instance set",
                                  "flow-log create"])
def test_pasted_it_is_ours_and_not_in_the_record(hosts: list[Host], case: str) -> None:
    """The command itself takes over nothing; it says how what was typed gets into the record."""
    host, (before, line) = hosts[0], CASES[case]
    made(host, before)
    host.run("bash", stdin=host.do(f"{line} --dry-run").out)
    refused = host.vpcctl(*line.split())
    assert refused.code == 1
    assert "bears vpcctl's mark, but is not in the record" in refused.err
    assert "Hint: adopt it: vpcctl restore --from-kernel; or remove it" in refused.err
    adopted = host.do("restore --from-kernel")
    assert "marked as vpcctl's" not in adopted.err
    assert host.do(line).out.startswith("unchanged: ")
    assert host.do("status").out == "in sync\n"

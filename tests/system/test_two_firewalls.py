"""Hosts with both kinds of iptables: rules go where the host's own are, and stay there to their end."""

from __future__ import annotations

import re
from collections.abc import Iterator

import pytest
from host import INTERNET, Host

DOCKER = ("iptables-legacy -P FORWARD DROP; iptables-legacy -N DOCKER; "
          "iptables-legacy -A FORWARD -j DOCKER")
NO_DOCKER = "iptables-legacy -P FORWARD ACCEPT; iptables-legacy -F; iptables-legacy -X"
BUILD = ("vpc create --name vpc1 --cidr 10.0.0.0/16",
         "subnet add --vpc vpc1 --name public --cidr 10.0.1.0/24 --type public",
         "subnet add --vpc vpc1 --name private --cidr 10.0.2.0/24", "nat enable --vpc vpc1")
POLICY = {"ingress": [{"port": 80, "protocol": "tcp", "action": "allow"}]}


def marks(host: Host, tool: str) -> int:
    """How many lines of ours it holds, on the host and in our namespaces; others' look-alikes don't count."""
    script = f"""{tool}-save; for n in $(ip netns list | cut -d' ' -f1 | grep ^vpc1); do
                 ip netns exec $n {tool}-save; done"""
    ours = re.compile(r"VPCCTL-(FORWARD|INPUT)\b|br-vpc1|vpcctl:(host|vpc1)\b")
    return sum(bool(ours.search(line)) for line in host.sh(script).splitlines())


@pytest.fixture
def docker(host: Host) -> Iterator[Host]:
    """A host whose Docker holds its rules in the older one, though `iptables` is the newer, and is empty."""
    assert "nf_tables" in host.sh("iptables --version")
    others = host.sh("iptables-nft-save")
    host.sh(DOCKER)
    host.sh("iptables-nft-save | sed '/^-/d; /^:.* -/d' | iptables-nft-restore")
    yield host
    host.do("vpc delete --name vpc1")
    assert marks(host, "iptables-legacy") == marks(host, "iptables-nft") == 0
    host.sh(NO_DOCKER)
    host.run("sh", "-c", "iptables-nft-restore", stdin=others)


def test_rules_go_where_the_host_has_its_own(docker: Host) -> None:
    assert "iptables-legacy-restore" in docker.do("vpc create --name x --cidr 10.9.0.0/16 --dry-run").out
    docker.do(BUILD[0])
    for line in BUILD[1:]:
        docker.do(line)
    assert marks(docker, "iptables-nft") == 0
    docker.reaches("vpc1-public", *INTERNET)
    docker.never_reaches("vpc1-private", *INTERNET)
    assert docker.do("status").out == "in sync\n"
    docker.listen("vpc1-private", "80", "81")
    docker.do("firewall apply --vpc vpc1 --subnet private --policy", docker.write("policy.json", POLICY))
    docker.reaches("vpc1-public", "10.0.2.2:80")
    docker.never_reaches("vpc1-public", "10.0.2.2:81")
    shown = docker.do("firewall show --vpc vpc1 --subnet private --json").json["firewall"]["counters"]
    assert shown["ingress[0]"]["packets"] == 1
    assert marks(docker, "iptables-nft") == 0
    docker.sh("iptables-legacy -F VPCCTL-FORWARD; iptables-legacy -t nat -F POSTROUTING")
    assert docker.vpcctl("status").code == 1
    docker.do("restore")
    docker.reaches("vpc1-public", *INTERNET)


def test_what_somebody_flushed_in_the_older_one_is_no_obstacle(docker: Host) -> None:
    for line in BUILD:
        docker.do(line)
    docker.sh("iptables-legacy -t nat -F POSTROUTING")
    docker.do("nat disable --vpc vpc1")
    docker.sh("iptables-legacy -D FORWARD 1; iptables-legacy -F VPCCTL-FORWARD; "
              "iptables-legacy -X VPCCTL-FORWARD")
    docker.do("vpc delete --name vpc1")
    docker.do(BUILD[0])


def test_a_lost_record_is_rebuilt_from_the_one_that_holds_the_marks(docker: Host) -> None:
    for line in BUILD[:3]:
        docker.do(line)
    docker.sh("rm /var/lib/vpcctl/state.json*")
    docker.do("restore --from-kernel")
    assert docker.state()["topology"]["iptables"] == "legacy"
    assert marks(docker, "iptables-nft") == 0
    assert docker.do("status").out == "in sync\n"


def test_where_both_hold_rules_it_is_told(host: Host) -> None:
    host.sh(DOCKER)
    told = host.do(BUILD[0])
    assert "both kinds of iptables have rules here" in told.err
    assert marks(host, "iptables-legacy") == 0
    status = host.do("status")
    assert (status.out, "iptables-legacy-save" in status.err) == ("in sync\n", True)
    assert host.do("status --json").json["status"]["notes"]
    host.sh(NO_DOCKER)
    assert host.do("status").err == ""


def test_what_was_chosen_stays_when_the_other_comes_into_use(host: Host) -> None:
    host.do(BUILD[0])
    host.sh("iptables-legacy -A INPUT -i nowhere -j DROP")
    for line in BUILD[1:]:
        host.do(line)
    assert marks(host, "iptables-legacy") == 0
    host.reaches("vpc1-public", *INTERNET)
    host.do("vpc delete --name vpc1")
    assert marks(host, "iptables-nft") == 0
    host.sh("iptables-legacy -F INPUT")


def test_a_host_that_turns_to_the_other_one_still_knows_where_ours_are(host: Host) -> None:
    for line in BUILD:
        host.do(line)
    for tool in ("iptables", "iptables-restore", "iptables-save"):
        older = tool.replace("iptables", "iptables-legacy")
        (host.scratch / tool).symlink_to(host.sh(f"command -v {older}").strip())
    path = f"{host.scratch}:{host.sh('echo $PATH').strip()}"
    assert host.do("status", PATH=path).out == "in sync\n"
    host.do("subnet add --vpc vpc1 --name more --cidr 10.0.3.0/24 --type public", PATH=path)
    host.reaches("vpc1-more", *INTERNET)
    assert marks(host, "iptables-legacy") == 0
    host.do("vpc delete --name vpc1", PATH=path)
    assert marks(host, "iptables-nft") == 0

"""A subnet that becomes public or private where it is."""

from __future__ import annotations

from typing import Any

import pytest
import yaml
from host import INTERNET, Host
from test_connections import DOWNLOAD, STREAM, grows, served

POLICY = {"ingress": [{"protocol": "icmp", "action": "allow"},
                      {"port": 8080, "protocol": "tcp", "action": "allow"}]}


@pytest.fixture
def used(vpc1: Host) -> Host:
    """A host whose private subnet has a policy and a workload, and a VPC with NAT."""
    vpc1.do("nat enable --vpc vpc1")
    vpc1.do("firewall apply --vpc vpc1 --subnet private --policy", vpc1.write("policy.json", POLICY))
    vpc1.do("deploy webserver --vpc vpc1 --subnet private --port 8080")
    return vpc1


def what_stays(host: Host) -> Any:
    """What no change of type may touch."""
    (subnet,) = [one for one in host.do("subnet list --json").json["subnets"] if one["name"] == "private"]
    subnet = {key: value for key, value in subnet.items() if key != "type"}
    inside = host.sh("ip -j addr show eth0; ip route; iptables-save -c | grep -v '^#' | sed 's/\\[.*\\] //'",
                     "vpc1-private")
    return subnet, inside, host.do("deploy list --json").json


def by_file(host: Host, kind: str) -> str:
    """The same change by `apply`."""
    exported = yaml.safe_load(host.do("export").out)
    exported["vpcs"]["vpc1"]["subnets"]["private"]["type"] = kind
    return host.do(f"apply -f {host.write('network.json', exported)}").out


def test_a_subnet_becomes_public_and_private_again_in_place(used: Host) -> None:
    before = what_stays(used)
    used.never_reaches("vpc1-private", *INTERNET)
    done = used.do("subnet set --vpc vpc1 --name private --type public")
    assert done.out == "subnet 'private' of VPC 'vpc1' is now public\n"
    used.reaches("vpc1-private", *INTERNET)
    assert what_stays(used) == before
    assert used.do("subnet set --vpc vpc1 --name private --type public").out == \
        "unchanged: subnet 'private' of VPC 'vpc1' is already public\n"
    closed = used.do("subnet set --vpc vpc1 --name private --type private --json").json
    assert closed["subnet"]["type"] == "private"
    used.never_reaches("vpc1-private", *INTERNET)
    used.reaches("vpc1-public", "10.0.2.2", "10.0.2.2:8080", *INTERNET)
    assert what_stays(used) == before
    assert used.do("status").out == "in sync\n"


def test_a_file_does_the_same(used: Host) -> None:
    before = what_stays(used)
    by_file(used, "public")
    used.reaches("vpc1-private", *INTERNET)
    by_file(used, "private")
    used.never_reaches("vpc1-private", *INTERNET)
    assert what_stays(used) == before


@pytest.mark.parametrize("name", ["vpc1", "twin"])
def test_connections_inside_stay_and_those_to_the_internet_end(vpc1: Host, name: str) -> None:
    """Also where the host can't tell the subnets of a VPC apart, as its CIDR is another's too."""
    vpc1.do("nat enable --vpc vpc1")
    if name == "twin":
        vpc1.do("vpc create --name twin --cidr 10.0.0.0/16")
        vpc1.do("subnet add --vpc twin --name public --cidr 10.0.1.0/24 --type public")
        vpc1.do("subnet add --vpc twin --name private --cidr 10.0.2.0/24 --type public")
        vpc1.do("nat enable --vpc twin")
    pids = [vpc1.start(space, "python3", "-c", STREAM, "9000") for space in ("internet", f"{name}-private")]
    for space in ("internet", f"{name}-private"):
        served(vpc1, space)
    near, out = (str(vpc1.scratch / file) for file in ("near", "out"))
    ways = ((near, "10.0.2.2"), (out, "8.8.8.8"))
    pids += [vpc1.start(f"{name}-public", "python3", "-c", DOWNLOAD, address, "9000", file)
             for file, address in ways]
    for file, _ in ways:
        vpc1.wait_until(lambda file=file: vpc1.run("test", "-s", file).code == 0, "the download begins")
        grows(vpc1, file)
    vpc1.do(f"subnet set --vpc {name} --name public --type private")
    vpc1.wait_until(lambda: size(vpc1, out) == size(vpc1, out), "nothing comes any more")
    still = size(vpc1, out)
    grows(vpc1, near)
    grows(vpc1, near)
    assert size(vpc1, out) == still
    vpc1.never_reaches(f"{name}-public", *INTERNET)
    vpc1.stop(*pids)


def size(host: Host, file: str) -> int:
    return int(host.sh(f"stat -c %s {file}"))


def test_reach_tells_the_command_and_it_keeps_what_there_is(used: Host) -> None:
    before = what_stays(used)
    asked = used.vpcctl("reach", "--from", "vpc1/private", "--to", "internet", "--json").json["reach"]
    way = next(one for one in asked if one["verdict"] == "unreachable") if isinstance(asked, list) else asked
    assert way["blocked_by"]["fix"] == "vpcctl subnet set --vpc vpc1 --name private --type public"
    used.do(way["blocked_by"]["fix"].removeprefix("vpcctl "))
    used.reaches("vpc1-private", *INTERNET)
    assert what_stays(used) == before


def test_a_wrong_name_or_type(vpc1: Host) -> None:
    vpc1.refused("subnet set --vpc vpc1 --name publik --type private", says="public")
    vpc1.refused("subnet set --vpc vpc1 --name public --type secret", code=2, says="private")
    vpc1.refused("subnet set --vpc vpc1 --name public", code=2, says="--type")

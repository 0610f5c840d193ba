"""No room on the disk of the state, to the last byte or the last inode: what takes things away needs none."""

from __future__ import annotations

import json

import pytest
from host import Host

FOLDER = "/var/lib/vpcctl"
POLICY = {"ingress": [{"port": 80, "protocol": "tcp", "action": "allow"}], "default": "deny"}

FILL = {
    "bytes": f"dd if=/dev/zero of={FOLDER}/filler.$n bs=4096 2>/dev/null || true; "
             f"! printf x > {FOLDER}/more.$n || [ ! -s {FOLDER}/more.$n ]; rm -f {FOLDER}/more.$n",
    "inodes": f"while true > {FOLDER}/filler.$n.$i; do i=$((i + 1)); done 2>/dev/null || true",
}
REPEAT = ("deploy stop --vpc b --subnet pub --name worker", "firewall clear --vpc b --subnet pub",
          "nat disable --vpc b", "subnet delete --vpc b --name pub", "vpc delete --name b")


@pytest.fixture
def network(host: Host) -> Host:
    """Two VPCs on a small disk."""
    host.sh(f"mount -o remount,size=1M,nr_inodes=64 {FOLDER}; rmdir /run/mount 2>/dev/null || true")
    policy = host.write("policy.json", POLICY)
    for number, vpc in enumerate("ab", 1):
        host.do(f"vpc create --name {vpc} --cidr 10.{number}.0.0/16")
        host.do(f"subnet add --vpc {vpc} --name pub --cidr 10.{number}.1.0/24 --type public")
        host.do(f"nat enable --vpc {vpc}")
    host.do("firewall apply --vpc b --subnet pub --policy", policy)
    host.do("deploy run --vpc b --subnet pub --name worker -- sleep infinity")
    return host


def fill(host: Host, what: str, turn: int = 0) -> None:
    """All that is left; whoever writes a byte, or makes a file, is refused then."""
    host.sh(f"n={turn} i=0; {FILL[what]}")
    refused = host.run("sh", "-c", f"printf x > {FOLDER}/probe && [ -s {FOLDER}/probe ]")
    assert refused.code != 0
    host.sh(f"rm -f {FOLDER}/probe")
    if what == "inodes":
        return
    assert host.sh(f"stat -f -c %f {FOLDER}") == "0\n"


def free(host: Host) -> None:
    host.sh(f"rm -f {FOLDER}/filler.*")


def spare(host: Host) -> int:
    return int(host.sh(f"stat -c %s {FOLDER}/.state.json.spare"))


@pytest.mark.parametrize("what", FILL)
def test_what_takes_away_needs_no_room_however_often_the_disk_is_filled(network: Host, what: str) -> None:
    for turn, line in enumerate(REPEAT):
        fill(network, what, turn)
        network.do(line)
        assert json.loads(network.sh(f"cat {FOLDER}/state.json.bak")) == network.state()
    assert [vpc["name"] for vpc in network.do("vpc list --json").json["vpcs"]] == ["a"]
    assert network.do("status").out == "in sync\n"
    free(network)


@pytest.mark.parametrize("what", FILL)
def test_the_other_vpc_can_be_changed_on_a_disk_that_one_filled(network: Host, what: str) -> None:
    fill(network, what)
    policy = network.write("other.json", POLICY)
    network.do("firewall apply --vpc a --subnet pub --policy", policy)
    for line in REPEAT:
        network.do(line)
    assert network.do("status").out == "in sync\n"
    free(network)


def test_the_room_that_was_given_up_is_taken_again(network: Host) -> None:
    fill(network, "bytes")
    network.do("deploy stop --vpc b --subnet pub --name worker")
    free(network)
    network.do("nat disable --vpc b")
    assert spare(network) >= 2 * len(network.sh(f"cat {FOLDER}/state.json")) + 16 * 1024


def test_what_needs_more_room_than_there_is_is_refused_and_changes_nothing(network: Host) -> None:
    rules = [{"port": port, "protocol": "tcp", "action": "allow", "source": f"10.9.{port % 250}.0/24",
              "description": f"{port} " * 20} for port in range(1, 2000)]
    policy = network.write("large.json", {"ingress": rules})
    fill(network, "bytes")
    network.refused("firewall apply --vpc a --subnet pub --policy", policy,
                    says="can't write /var/lib/vpcctl/state.json: No space left on device")
    network.do("vpc delete --name b")
    free(network)


def test_a_new_record_costs_one_file_more_and_only_once(network: Host) -> None:
    inode = network.sh(f"stat -c %i {FOLDER}/.state.json.spare")
    network.do("subnet add --vpc a --name more --cidr 10.1.2.0/24")
    network.do("subnet delete --vpc a --name more")
    assert network.sh(f"stat -c %i {FOLDER}/.state.json.spare") == inode

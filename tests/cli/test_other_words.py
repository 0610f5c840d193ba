"""Who comes from aws, docker, kubectl or ip is told the command to type, and one that works."""

from __future__ import annotations

import json
import shlex
from typing import Any

import pytest

from vpcctl_lib.cli import COMMANDS, root
from vpcctl_lib.cli.elsewhere import WORDS
from vpcctl_lib.cli.typed import tree

SAID = {
    "ps": "vpcctl deploy list", "run": "vpcctl deploy run --vpc NAME --subnet NAME --name NAME -- CMD...",
    "run --name x": "vpcctl deploy run --vpc NAME --subnet NAME --name x -- CMD...",
    "logs web": "vpcctl deploy logs --vpc NAME --subnet NAME --name web",
    "docker ps": "vpcctl deploy list", "network ls": "vpcctl vpc list",
    "docker network create shop": "vpcctl vpc create --name shop --cidr CIDR",
    "network rm shop": "vpcctl vpc delete --name shop",
    "create-vpc": "vpcctl vpc create --name NAME --cidr CIDR",
    "create-vpc --cidr-block 10.0.0.0/16": "vpcctl vpc create --name NAME --cidr 10.0.0.0/16",
    "aws ec2 describe-vpcs": "vpcctl vpc list", "describe-subnets": "vpcctl subnet list",
    "create-subnet": "vpcctl subnet add --vpc NAME --name NAME --cidr CIDR",
    "delete-subnet --subnet-id x": "vpcctl subnet delete --vpc NAME --name NAME",
    "authorize-security-group-ingress --group-id sg-1":
        "vpcctl firewall apply --vpc NAME --subnet NAME --policy FILE",
    "revoke-security-group-ingress": "vpcctl firewall clear --vpc NAME --subnet NAME",
    "create-nat-gateway": "vpcctl nat enable --vpc NAME",
    "delete-nat-gateway": "vpcctl nat disable --vpc NAME",
    "attach-internet-gateway": "vpcctl nat enable --vpc NAME", "igw": "vpcctl nat enable --vpc NAME",
    "create-vpc-peering-connection": "vpcctl peer create --vpc1 NAME --vpc2 NAME",
    "describe-route-tables": "vpcctl vpc show --name NAME", "describe-instances": "vpcctl instance list",
    "run-instances": "vpcctl instance add --vpc NAME --subnet NAME --name NAME",
    "attach-network-interface": "vpcctl instance attach --vpc NAME --subnet NAME --name NAME",
    "detach-network-interface": "vpcctl instance detach --vpc NAME --subnet NAME --name NAME",
    "terminate-instances": "vpcctl instance delete --vpc NAME --subnet NAME --name NAME",
    "instance create": "the verb is add: vpcctl instance add", "vms": "vpcctl instance",
    "create-flow-logs": "vpcctl flow-log create --vpc NAME", "describe-flow-logs": "vpcctl flow-log list",
    "delete-flow-logs": "vpcctl flow-log delete --vpc NAME",
    "create-network-acl": "vpcctl acl create --vpc NAME --name NAME",
    "describe-network-acls": "vpcctl acl list", "nacl": "vpcctl acl create",
    "associate-vpc-cidr-block": "vpcctl vpc set --name NAME",
    "disassociate-vpc-cidr-block": "vpcctl vpc set --name NAME",
    "replace-network-acl-association": "vpcctl acl associate --vpc NAME --subnet NAME --name NAME",
    "create-network-acl-entry": "vpcctl acl apply --vpc NAME --name NAME --rules FILE",
    "security-group": "vpcctl firewall apply", "sg": "vpcctl firewall apply",
    "get pods": "vpcctl deploy list", "kubectl get vpcs": "vpcctl vpc list",
    "describe vpc prod": "vpcctl vpc show --name prod", "kubectl apply -f x.yaml": "vpcctl apply -f x.yaml",
    "delete vpc prod": "vpcctl vpc delete --name prod",
    "create vpc prod 10.0.0.0/16": "vpcctl vpc create --name prod --cidr 10.0.0.0/16",
    "ip netns exec x ls -l": "vpcctl exec --vpc NAME --subnet NAME -- x ls -l", "ip route": "vpcctl vpc show",
    "ip link": "vpcctl vpc show --name NAME", "ip addr": "vpcctl vpc show --name NAME",
    "ssh": "vpcctl exec", "tcpdump": "vpcctl capture", "traceroute": "vpcctl reach --to TARGET",
    "subnet create": "the verb is add: vpcctl subnet add --vpc NAME --name NAME --cidr CIDR",
    "subnet create --vpc a": "the verb is add: vpcctl subnet add --vpc a --name NAME --cidr CIDR",
    "vpc rm prod": "the verb is delete: vpcctl vpc delete --name prod", "vpc ls": "vpcctl vpc list",
    "vpc describe prod": "vpcctl vpc show --name prod",
    "nat create": "the verb is enable", "peer add": "create",
    "firewall list": "the verb is show", "deploy ps": "the verb is list", "vpc creat": "the verb is create",
    "statsu": "did you mean 'status'?", "blorb": "use one of: acl, apply, capture",
    "vpc blorb": "use one of: create",
}


@pytest.mark.parametrize("typed", SAID)
def test_a_command_of_another_program(typed: str, vpcctl: Any) -> None:
    done = vpcctl(*typed.split())
    assert done.code == 2
    assert SAID[typed] in done.one_line()
    assert "Hint: " in done.err


def test_every_word_leads_to_a_command() -> None:
    known = tree(root)
    assert not set(WORDS) & {"help"}
    for ours in set(WORDS.values()):
        noun, _, verb = ours.partition(" ")
        assert noun in COMMANDS
        assert not verb or verb in known[noun], ours


STANDING = {
    "vpc show prod": "vpcctl vpc show --name prod", "nat enable vpc1": "vpcctl nat enable --vpc vpc1",
    "vpc create prod 10.0.0.0/16": "vpcctl vpc create --name prod --cidr 10.0.0.0/16",
    "vpc create 10.0.0.0/16 prod": "vpcctl vpc create --name prod --cidr 10.0.0.0/16",
    "vpc create prod --cidr 10.0.0.0/16": "vpcctl vpc create --name prod --cidr 10.0.0.0/16",
    "subnet add a/b 10.0.0.0/24": "vpcctl subnet add --vpc a --name b --cidr 10.0.0.0/24",
    "subnet add a b 10.0.0.0/24 --type public":
        "vpcctl subnet add --vpc a --name b --cidr 10.0.0.0/24 --type public",
    "peer create a b": "vpcctl peer create --vpc1 a --vpc2 b",
    "exec a/b -- ls -l": "vpcctl exec --vpc a --subnet b -- ls -l",
    "exec a/b ls -l": "vpcctl exec --vpc a --subnet b -- ls -l",
    "deploy run a/b w -- sleep 3": "vpcctl deploy run --vpc a --subnet b --name w -- sleep 3",
    "deploy stop web": "vpcctl deploy stop --vpc NAME --subnet NAME --name web",
    "apply x.yaml": "vpcctl apply --file x.yaml",
    "firewall show vpc1 public": "vpcctl firewall show --vpc vpc1 --subnet public",
}


@pytest.mark.parametrize("typed", STANDING)
def test_a_value_that_stands_alone(typed: str, prepared: Any) -> None:
    done = prepared(*typed.split())
    assert done.code == 2
    assert f"write: {STANDING[typed]}\n" in done.one_line()
    assert "stands alone" in done.err


def test_what_is_odd_in_a_value_is_quoted(prepared: Any) -> None:
    told = prepared("vpc", "show", "a b;id").one_line()
    assert shlex.split(told.split("write: ")[1]) == ["vpcctl", "vpc", "show", "--name", "a b;id"]


@pytest.mark.parametrize(("typed", "told"), [
    ("vpc create --name a", "write: vpcctl vpc create --name a --cidr CIDR; see: vpcctl vpc create --help"),
    ("reach --from a/b", "write: vpcctl reach --from a/b --to TARGET"),
    ("exec --vpc a --subnet b", "write: vpcctl exec --vpc a --subnet b -- CMD..."),
    ("vpc create --name a --cidr", "see: vpcctl vpc create --help"),
    ("vpc list extra", "write: vpcctl vpc list"),
])
def test_what_is_missing(typed: str, told: str, vpcctl: Any) -> None:
    done = vpcctl(*typed.split())
    assert done.code == 2
    assert told in done.one_line()


@pytest.mark.parametrize("typed", ["--json vpc list", "vpc --json list", "vpc list --json"])
def test_json_may_stand_before_the_command(typed: str, prepared: Any) -> None:
    done = prepared(*typed.split())
    assert done.code == 0
    assert [one["name"] for one in json.loads(done.out)["vpcs"]] == ["vpc1", "vpc2", "vpc3"]


def test_and_so_may_a_rehearsal(prepared: Any) -> None:
    line = ("vpc", "create", "--name", "new", "--cidr", "10.7.0.0/16")
    assert prepared("--dry-run", *line).out == prepared(*line, "--dry-run").out


@pytest.mark.parametrize(("typed", "same"), [
    ("help", "--help"), ("help vpc", "vpc --help"), ("help subnet add", "subnet add --help"),
    ("vpc help", "vpc --help"), ("vpc help create", "vpc create --help")])
def test_help_is_a_word_too(typed: str, same: str, vpcctl: Any) -> None:
    assert vpcctl(*typed.split()) == vpcctl(*same.split())
    assert vpcctl(*typed.split()).code == 0


def test_what_follows_is_not_touched(prepared: Any) -> None:
    """A command's own words may be `help` or `--json`."""
    done = prepared("exec", "--vpc", "vpc9", "--subnet", "x", "--", "help", "--json")
    assert done.err.startswith("Error: VPC 'vpc9' does not exist")

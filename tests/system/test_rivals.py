"""What stands in the way is named, with its owner and the command that removes it."""

from __future__ import annotations

import shlex

import pytest
from host import Host, Result


def told(done: Result) -> tuple[str, str]:
    """The error and the hint, none of which is a tool's own jargon."""
    assert done.code == 1
    assert "RTNETLINK" not in done.err
    assert "Command failed" not in done.err
    error, hint = done.err.splitlines()
    return error.removeprefix("Error: "), hint.removeprefix("Hint: ")


@pytest.mark.parametrize(("line", "before", "says"), [
    ("nat enable --vpc vpc1", "ip -n vpc1 route add default via 169.254.64.0",
     "route default via 169.254.64.0 dev uplink in vpc1 already exists, and vpcctl did not make it: it leads "
     "via 169.254.64.0 dev uplink, made by ip route add"),
    ("subnet add --vpc vpc1 --name late --cidr 10.0.9.0/24",
     "ip -n vpc1 link add s-late type bridge && ip -n vpc1 link set s-late alias mine",
     "cable s-late in vpc1 to eth0 in vpc1-late already exists, and vpcctl did not make it: a bridge with "
     "the alias 'mine'"),
], ids=["route", "link"])
def test_in_a_router(line: str, before: str, says: str, vpc1: Host) -> None:
    vpc1.sh(before)
    error, hint = told(vpc1.vpcctl(*line.split()))
    assert error == says
    removal = hint.partition("remove it: ")[2]
    vpc1.sh(removal)
    vpc1.do(line)
    assert vpc1.do("status").out == "in sync\n"


def test_on_the_host(host: Host) -> None:
    host.sh("ip link add vpc-new type bridge && ip link set vpc-new alias 'of the office'")
    error, hint = told(host.vpcctl("vpc", "create", "--name", "new", "--cidr", "10.0.0.0/16"))
    assert error == ("link 'vpc-new' already exists, and vpcctl did not make it: it is a bridge with the "
                     "alias 'of the office'")
    assert host.sh(hint.partition("to see what made it: ")[2])
    host.sh("ip link del vpc-new")


def test_a_namespace_in_use(host: Host) -> None:
    host.sh("ip netns add new")
    pid = host.start("new", "sleep", "infinity")
    error, _ = told(host.vpcctl("vpc", "create", "--name", "new", "--cidr", "10.0.0.0/16"))
    assert error == (f"network namespace 'new' already exists, and vpcctl did not make it: sleep (pid {pid}) "
                     "runs in it")
    host.sh(f"kill {pid}; ip netns del new")


def test_a_chain_with_rules_of_somebody_else(host: Host) -> None:
    host.sh("iptables -t mangle -N VPCCTL-GUARD; iptables -t mangle -A VPCCTL-GUARD -j RETURN")
    error, hint = told(host.vpcctl("vpc", "create", "--name", "new", "--cidr", "10.0.0.0/16"))
    assert "VPCCTL-GUARD" in error
    assert "already exists, and vpcctl did not make it" in error
    assert shlex.split(hint.partition("remove it: ")[2])[0] == "iptables"
    host.do("restore")
    assert "RETURN" in host.sh("iptables -t mangle -S VPCCTL-GUARD"), "what is not ours stays"
    host.sh("iptables -t mangle -F VPCCTL-GUARD; iptables -t mangle -X VPCCTL-GUARD")


def test_a_chain_that_was_flushed(host: Host) -> None:
    host.sh("iptables -t mangle -N VPCCTL-GUARD")
    error, hint = told(host.vpcctl("vpc", "create", "--name", "new", "--cidr", "10.0.0.0/16"))
    assert "VPCCTL-GUARD" in error
    assert "an earlier VPC left it, and it is not recorded" in error
    assert "vpcctl restore" in hint
    host.do("restore")
    assert host.run("iptables", "-t", "mangle", "-S", "VPCCTL-GUARD").code != 0

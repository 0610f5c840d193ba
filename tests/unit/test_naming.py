"""Names: what a person may choose, what the kernel gets, and that no two things get the same."""

from __future__ import annotations

from ipaddress import IPv4Network

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpcctl_lib.errors import BadInput, VpcctlError
from vpcctl_lib.model import kinds, naming
from vpcctl_lib.model.topology import Subnet, Topology, Vpc

names = st.from_regex(r"[a-z][a-z0-9-]{0,29}[a-z0-9]?", fullmatch=True).filter(lambda n: not n.endswith("-"))
prefixes = st.sampled_from(("br-", "vpc-", "s-", "pcx-"))


def vpc(name: str, *subnets: str) -> Vpc:
    network = IPv4Network("10.0.0.0/16")
    parts = network.subnets(new_prefix=24)
    return Vpc(name, network, subnets=tuple(map(Subnet, subnets, parts)))


@given(names)
def test_a_name_is_returned_as_it_is(name: str) -> None:
    assert naming.check_name(name, "VPC") == name


@pytest.mark.parametrize("name", [
    "", "-", "a-", "1a", "-a", "A", "aB", "a_b", "a.b", "a b", " a", "a\n", "a/b", "../x", ";rm -rf /", "ä",
    "\N{CYRILLIC SMALL LETTER A}", "a" * 32, "a\x00", "${IFS}", "a١",
])
def test_a_name_refused(name: str) -> None:
    with pytest.raises(BadInput, match="can't be a subnet name") as caught:
        naming.check_name(name, "subnet")
    assert "\n" not in caught.value.message
    assert "beginning with a letter" in caught.value.hint


def test_a_name_of_31_characters_is_not_too_long() -> None:
    assert naming.check_name("a" * 31, "VPC")


@given(prefixes, names)
def test_the_kernel_takes_every_device(prefix: str, name: str) -> None:
    device = naming.device(prefix, name)
    assert len(device) <= naming.DEVICE_LENGTH
    assert device.startswith(prefix)
    assert (naming.altname(prefix, name) or device) == prefix + name


def test_a_short_name_stays_readable() -> None:
    assert naming.device("vpc-", "prod-europe") == "vpc-prod-europe"
    assert naming.altname("vpc-", "prod-europe") == ""


def test_long_names_that_begin_alike_differ() -> None:
    east, west = "production-europe-east", "production-europe-west"
    assert naming.device("vpc-", east) != naming.device("vpc-", west)
    assert naming.altname("vpc-", east) == "vpc-production-europe-east"


def test_a_hashed_name_stays_the_same_from_release_to_release() -> None:
    assert naming.device("br-", "production-europe-east") == "br-a9cff8a15375"


@given(names)
def test_a_bridge_has_a_fixed_local_unicast_address(name: str) -> None:
    octets = [int(octet, 16) for octet in naming.mac(name).split(":")]
    assert len(octets) == 6
    assert octets[0] & 0b11 == 0b10
    assert naming.mac(name) == naming.mac(name)
    assert naming.mac(name) != naming.mac(name + "x")


def test_marks() -> None:
    assert naming.owner("vpc1") == "vpcctl:vpc1"
    assert naming.owner("vpc1", "public") == "vpcctl:vpc1/public"
    assert naming.peering_owner("vpc1", "vpc2") == "vpcctl:vpc1+vpc2"


@given(names, names)
def test_the_longest_mark_fits_into_a_comment_and_an_alias(one: str, other: str) -> None:
    longest = max(naming.owner(one, other), naming.peering_owner(one, other), key=len)
    assert len(longest) < 255  # iptables: XT_MAX_COMMENT_LEN 256; the kernel: IFALIASZ 256


@pytest.mark.parametrize(("vpcs", "told"), [
    ((vpc("a", "b-c"), vpc("a-b", "c")), "subnet 'c' of VPC 'a-b' would have the same namespace a-b-c as "
                                         "subnet 'b-c' of VPC 'a'"),
    ((vpc("a", "b"), vpc("a-b")), "VPC 'a-b' would have the same namespace a-b as subnet 'b' of VPC 'a'"),
    ((vpc("a-b"), vpc("a", "b")), "subnet 'b' of VPC 'a' would have the same namespace a-b as VPC 'a-b'"),
])
def test_two_things_with_one_name_in_the_kernel(vpcs: tuple[Vpc, ...], told: str) -> None:
    with pytest.raises(VpcctlError, match=f"^{told}$"):
        kinds.check_collisions(Topology(vpcs))


@pytest.mark.parametrize(("prefix", "other"), [
    ("vpc-", lambda name: (vpc("production-europe-west"), vpc(name))),
    ("s-", lambda name: (vpc("v", "production-europe-west", name),)),
])
def test_a_name_that_is_the_hash_of_another(prefix: str, other: object) -> None:
    taken = naming.device(prefix, "production-europe-west").removeprefix(prefix)
    assert callable(other)
    with pytest.raises(VpcctlError, match=f"would have the same (link|port) {prefix}"):
        kinds.check_collisions(Topology(other(taken)))


def test_names_that_are_alike_and_do_not_collide() -> None:
    kinds.check_collisions(Topology((vpc("a", "b", "a"), vpc("b", "a", "b"), vpc("ab"), vpc("a-c"))))

"""What container runtimes ask the CNI plugin for, and the forms of its answers."""

from __future__ import annotations

import json
from dataclasses import replace
from ipaddress import IPv4Address, IPv4Network
from typing import Any

import pytest

from vpcctl_lib.model import topology
from vpcctl_lib.model.endpoints import Site
from vpcctl_lib.model.lookup import find_endpoint
from vpcctl_lib.model.names import Dns
from vpcctl_lib.model.topology import Machine, Nat, Subnet, SubnetType, Topology, Vpc
from vpcctl_lib.runtimes import cni_result as result
from vpcctl_lib.runtimes.cni import named
from vpcctl_lib.runtimes.cni_request import VERSIONS, Attachment, CniError, Request, Verb, parse, version_in

VARIABLES = {"CNI_COMMAND": "ADD", "CNI_CONTAINERID": "c1", "CNI_NETNS": "/run/netns/pod",
             "CNI_IFNAME": "eth0"}
CONFIGURATION = {"cniVersion": "1.1.0", "name": "net", "type": "vpcctl-cni", "vpc": "vpc1",
                 "subnet": "public"}
POD = Machine("pod", (IPv4Address("10.0.1.4"),), topology.Attachment(path="/run/netns/pod"))
PUBLIC = Subnet("public", IPv4Network("10.0.1.0/24"), SubnetType.PUBLIC, machines=(POD,))
NAT = Nat("eth0", resolvers=(IPv4Address("9.9.9.9"),))
NETWORK = Topology((Vpc("vpc1", IPv4Network("10.0.0.0/16"), nat=NAT, subnets=(PUBLIC,)),))
WHERE = find_endpoint(NETWORK, Site("vpc1", "public", "pod"))


def asked(configuration: Any = None, /, **variables: str) -> Request:
    """The request with other variables, and more in its configuration."""
    text = json.dumps({**CONFIGURATION, **(configuration or {})})
    return parse({**VARIABLES, **variables}, text)


def refused(configuration: Any = None, /, **variables: str) -> int:
    """The code with which a request is refused."""
    with pytest.raises(CniError) as caught:
        asked(configuration, **variables)
    return caught.value.number


def test_a_request_is_in_the_variables_and_the_configuration() -> None:
    found = asked()
    assert (found.verb, found.version, found.network) == (Verb.ADD, "1.1.0", "net")
    assert (found.vpc, found.subnet, found.addresses) == ("vpc1", "public", ())
    assert (found.attachment, found.namespace) == (Attachment("c1", "eth0"), "/run/netns/pod")


@pytest.mark.parametrize(("configuration", "arguments", "subnet", "addresses"), [
    ({"address": "10.0.1.9"}, "", "public", ["10.0.1.9"]),
    ({"address": ["10.0.1.9", "10.0.1.10/24"]}, "", "public", ["10.0.1.9", "10.0.1.10"]),
    ({"args": {"cni": {"vpcctl": {"subnet": "private", "address": "10.0.2.9"}}}}, "",
     "private", ["10.0.2.9"]),
    ({"args": {"cni": {"vpcctl": {"subnet": "private"}}}},
     "IgnoreUnknown=1;SUBNET=db;K8S_POD_NAME=x;IP=10.0.3.9", "db", ["10.0.3.9"]),
    ({"args": {"cni": {"vpcctl": {"vpc": "vpc2", "name": "x"}}}}, "VPC=vpc2", "public", []),
    ({"args": {"cni": {"other": {"subnet": "private"}}}}, "SUBNET=;ADDRESS=10.0.1.8", "public", ["10.0.1.8"]),
])
def test_a_container_s_own_wishes_come_before_the_network_s(configuration: Any, arguments: str, subnet: str,
                                                            addresses: list[str]) -> None:
    found = asked(configuration, CNI_ARGS=arguments)
    assert (found.subnet, list(map(str, found.addresses))) == (subnet, addresses)
    assert (found.vpc, found.network) == ("vpc1", "net"), "these are the network's alone"


@pytest.mark.parametrize(("configuration", "variables", "code"), [
    ({"cniVersion": "0.2.0"}, {}, 1), ({"cniVersion": "9.0.0"}, {}, 1), ({"cniVersion": ["1.1.0"]}, {}, 1),
    ({"cniVersion": "1.0.0"}, {"CNI_COMMAND": "GC"}, 1),
    ({"cniVersion": "0.3.1"}, {"CNI_COMMAND": "CHECK"}, 1),
    ({"cniVersion": "1.0.0"}, {"CNI_COMMAND": "STATUS"}, 1),
    ({}, {"CNI_COMMAND": "MAKE"}, 4), ({}, {"CNI_COMMAND": ""}, 4), ({}, {"CNI_CONTAINERID": ""}, 4),
    ({}, {"CNI_CONTAINERID": "-x"}, 4), ({}, {"CNI_CONTAINERID": "a/b"}, 4), ({}, {"CNI_IFNAME": ""}, 4),
    ({}, {"CNI_NETNS": ""}, 4), ({"vpc": ""}, {}, 7), ({"vpc": 7}, {}, 7), ({"subnet": ""}, {}, 7),
    ({"name": ""}, {}, 7), ({"address": "10.0.1"}, {}, 7), ({"groups": 3}, {}, 7), ({"groups": [3]}, {}, 7),
    ({}, {"CNI_COMMAND": "CHECK"}, 7), ({"name": "\ud800"}, {}, 7), ({"name": "a/b"}, {}, 7),
    ({"address": 7}, {}, 7), ({"address": {"10.0.1.9": 1}}, {}, 7), ({"address": [7]}, {}, 7),
    ({"cni.dev/valid-attachments": {"c1": "eth0"}}, {"CNI_COMMAND": "GC"}, 7),
    ({"cni.dev/valid-attachments": [{"ifname": "eth0"}]}, {"CNI_COMMAND": "GC"}, 7),
])
def test_what_is_wrong_has_its_code(configuration: Any, variables: dict[str, str], code: int) -> None:
    assert refused(configuration, **variables) == code


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "[" * 100_000])
def test_what_is_not_a_configuration(text: str) -> None:
    with pytest.raises(CniError) as caught:
        parse(VARIABLES, text)
    assert caught.value.number == 6
    assert version_in(text) == VERSIONS[-1]


def test_a_delete_needs_no_namespace_and_no_subnet() -> None:
    found = asked({"subnet": ""}, CNI_COMMAND="DEL", CNI_NETNS="")
    assert (found.verb, found.namespace) == (Verb.DEL, "")


def test_what_is_still_there_for_the_collection() -> None:
    one = {"containerID": "c1", "ifname": "eth0"}
    for key in ("cni.dev/valid-attachments", "cni.dev/attachments"):
        found = asked({key: [one]}, CNI_COMMAND="GC", CNI_CONTAINERID="", CNI_IFNAME="", CNI_NETNS="")
        assert found.valid == (Attachment("c1", "eth0"),)


def test_the_versions_are_told_in_the_caller_s() -> None:
    found = parse({"CNI_COMMAND": "VERSION"}, '{"cniVersion": "0.4.0"}')
    assert result.versions(found.version) == {
        "cniVersion": "0.4.0", "supportedVersions": ["0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0"]}
    assert parse({"CNI_COMMAND": "VERSION"}, "").version == "1.1.0"


@pytest.mark.parametrize("version", VERSIONS)
def test_an_answer_has_the_form_of_its_version(version: str) -> None:
    found = result.added(asked({"cniVersion": version}), NETWORK, WHERE)
    assert found["cniVersion"] == version
    (interface,), (ip,) = found["interfaces"], found["ips"]
    assert (interface["name"], interface["mac"], interface["sandbox"]) == (
        "eth0", "02:10:0a:00:01:04", "/run/netns/pod")
    assert ("mtu" in interface) == (version == "1.1.0")
    assert ip.pop("version", None) == (None if version >= "1.0.0" else "4")
    assert ip == {"address": "10.0.1.4/24", "gateway": "10.0.0.1", "interface": 0}
    assert found["routes"] == [{"dst": "10.0.0.0/16", "gw": "10.0.0.1"},
                               {"dst": "0.0.0.0/0", "gw": "10.0.0.1"}]
    assert found["dns"] == {"nameservers": ["9.9.9.9"]}
    named = replace(NETWORK, vpcs=tuple(replace(vpc, dns=Dns()) for vpc in NETWORK.vpcs))
    assert result.added(asked({"cniVersion": version}), named, WHERE)["dns"] == {
        "nameservers": ["169.254.169.253"], "search": ["public.vpc1.internal", "vpc1.internal"]}


def test_what_other_plugins_made_stays_in_the_answer() -> None:
    before = {"interfaces": [{"name": "lo"}], "ips": [{"address": "127.0.0.1/8", "interface": 0}],
              "routes": []}
    found = result.added(asked({"prevResult": before, "dns": {"search": ["x"]}}), NETWORK, WHERE)
    assert [one["name"] for one in found["interfaces"]] == ["lo", "eth0"]
    assert [one["interface"] for one in found["ips"]] == [0, 1]
    assert found["dns"] == {"search": ["x"]}


def test_a_machine_s_name_is_that_of_its_container_s_link() -> None:
    one = named("net", Attachment("c1", "eth0"))
    assert one == named("net", Attachment("c1", "eth0"))
    others = {named("net", Attachment("c1", "eth1")), named("net", Attachment("c2", "eth0")),
              named("other", Attachment("c1", "eth0"))}
    assert len({one, *others}) == 4
    assert all(len(name) <= 31 for name in others)
    assert named("net", Attachment("\ud800", "\udcff")).startswith("cni-"), "whatever a runtime forgot"


def test_in_go_an_empty_list_may_be_null() -> None:
    assert asked({"cni.dev/valid-attachments": None}, CNI_COMMAND="GC").valid == ()

"""netavark's plugin by its words and standard input, with namespaces as Podman makes them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from host import CHECKOUT, UPLINK, Host, Result

NETWORK = {"name": "app", "id": "2f259bab93aa", "driver": "vpcctl", "network_interface": "podman1",
           "subnets": [], "ipv6_enabled": False, "internal": False, "dns_enabled": True,
           "ipam_options": {"driver": "host-local"}, "options": {"vpc": "vpc1", "subnet": "public"}}
"""What Podman makes of `podman network create -d vpcctl --opt vpc=vpc1 --opt subnet=public app`."""


@pytest.fixture
def pods(vpc1: Host) -> Iterator[Host]:
    """Two namespaces without anything in them."""
    vpc1.sh("for pod in one two; do ip netns add $pod; ip -n $pod link set lo up; done")
    yield vpc1
    vpc1.delete_all()
    vpc1.sh("for pod in one two; do [ ! -e /run/netns/$pod ] || ip netns del $pod; done")


def call(host: Host, *words: str, **request: Any) -> Result:
    """What netavark does."""
    return host.run(str(CHECKOUT / "vpcctl-netavark"), *words, stdin=json.dumps(request))


def exchanged(pod: str, **more: Any) -> dict[str, Any]:
    """What it sends for a container."""
    given = {"container_id": f"id-{pod}", "container_name": pod, "port_mappings": None, "network": NETWORK}
    options = {"aliases": [pod], "interface_name": "eth0", "static_ips": None, "static_mac": None}
    return {**given, "network_options": {**options, **more}}


def set_up(host: Host, pod: str, **more: Any) -> Any:
    """The status block of what has to work."""
    found = call(host, "setup", f"/run/netns/{pod}", **exchanged(pod, **more))
    assert found.code == 0, found
    return found.json


def refused(host: Host, *words: str, **request: Any) -> str:
    """The error, in netavark's form."""
    found = call(host, *words, **request)
    assert found.code == 1, found
    told: dict[str, str] = found.json
    assert list(told) == ["error"]
    return told["error"]


def addresses(host: Host) -> dict[str, str]:
    """Those of the containers' machines, by the paths of their namespaces."""
    found = host.do("instance list --json").json["instances"]
    return {one["netns"]: one["address"] for one in found}


def test_a_network_is_created_for_a_subnet_that_exists(vpc1: Host) -> None:
    assert call(vpc1, "info").json["api_version"] == "1.0.0"
    made = call(vpc1, "create", **NETWORK).json
    kept = ("name", "id", "driver", "options")
    assert {key: made[key] for key in kept} == {key: NETWORK[key] for key in kept}
    assert (made["subnets"], made["ipam_options"], made["dns_enabled"]) == ([], {"driver": "none"}, False)
    wrong = {"vpc": "vpc1", "subnet": "publi"}
    assert "did you mean 'public'" in refused(vpc1, "create", **{**NETWORK, "options": wrong})
    assert "no option 'subnet'" in refused(vpc1, "create", **{**NETWORK, "options": {"vpc": "vpc1"}})
    typed = {**NETWORK["options"], "mtu": "9000"}  # type: ignore[dict-item]
    assert "no option 'mtu'" in refused(vpc1, "create", **{**NETWORK, "options": typed})
    pool = [{"subnet": "10.89.0.0/24", "gateway": "10.89.0.1"}]
    assert "without --subnet" in refused(vpc1, "create", **{**NETWORK, "subnets": pool})
    assert "without --ipv6" in refused(vpc1, "create", **{**NETWORK, "ipv6_enabled": True})
    assert "no subcommand 'update'" in refused(vpc1, "update")


def test_a_container_is_set_up_and_torn_down(pods: Host) -> None:
    found = set_up(pods, "one")
    assert found == {"dns_search_domains": [], "dns_server_ips": [], "interfaces": {"eth0": {
        "mac_address": "02:10:0a:00:01:04", "subnets": [{"gateway": "10.0.0.1", "ipnet": "10.0.1.4/24"}]}}}
    other = set_up(pods, "two", static_ips=["10.0.1.77"])
    assert other["interfaces"]["eth0"]["subnets"][0]["ipnet"] == "10.0.1.77/24"
    pods.reaches("one", "10.0.1.2", "10.0.1.77", "10.0.0.1")
    pods.reaches("vpc1-public", "10.0.1.4", "10.0.1.77")
    assert pods.do("status").out == "in sync\n"
    assert "already has eth0" in refused(pods, "setup", "/run/netns/one", **exchanged("one"))
    # As after a reboot: nothing was torn down, and Podman starts the same container.
    pods.sh("ip netns del one; ip netns add one; ip -n one link set lo up")
    assert set_up(pods, "one") == found
    assert call(pods, "teardown", "/run/netns/one", **exchanged("one")) == Result(0, "", "")
    assert call(pods, "teardown", "/run/netns/one", **exchanged("one")) == Result(0, "", "")
    pods.sh("ip netns del two")
    assert call(pods, "teardown", "/run/netns/two", **exchanged("two")).code == 0
    assert addresses(pods) == {}
    assert pods.sh("ip -n one -o link").count("\n") == 1, "only lo is left"


def test_its_groups_govern_it(pods: Host) -> None:
    pods.do("group create --vpc vpc1 --name web")
    policy = pods.write("web.json", {"ingress": [{"port": 80, "protocol": "tcp", "action": "allow"}]})
    pods.do("group apply --vpc vpc1 --name web --policy", policy)
    set_up(pods, "one", options={"groups": "web"})
    pods.listen("one", "80", "81")
    pods.reaches("vpc1-public", "10.0.1.4:80")
    pods.never_reaches("vpc1-public", "10.0.1.4:81")


def test_its_ports_are_published(pods: Host) -> None:
    mappings = [{"container_port": 80, "host_port": 8080, "host_ip": "", "protocol": "tcp", "range": 2}]
    found = call(pods, "setup", "/run/netns/one", **{**exchanged("one"), "port_mappings": mappings})
    assert found.code == 0, found
    pods.listen("one", "80", "81")
    pods.reaches("", f"{UPLINK}:8080", f"{UPLINK}:8081")


def test_what_a_container_can_not_have_is_refused(pods: Host) -> None:
    def said(**more: Any) -> str:
        return refused(pods, "setup", "/run/netns/one", **exchanged("one", **more))

    assert "10.0.1.2 already belongs" in said(static_ips=["10.0.1.2"])
    assert "without" not in said(static_mac="aa:bb:cc:dd:aa:00")
    assert "follows from its address" in said(static_mac="aa:bb:cc:dd:aa:00")
    assert "group 'web' does not exist" in said(options={"groups": "web"})
    assert "no option 'vpc'" in said(options={"vpc": "vpc2"})
    published = {**exchanged("one"), "port_mappings": [{"container_port": 80, "host_port": 0}]}
    assert "no port of the host is said" in refused(pods, "setup", "/run/netns/one", **published)
    assert "is not a network namespace" in refused(pods, "setup", "/run/netns/none", **exchanged("one"))
    assert "path of the container's namespace is missing" in refused(pods, "setup", **exchanged("one"))
    assert addresses(pods) == {}

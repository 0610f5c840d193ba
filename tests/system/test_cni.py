"""The CNI plugin by its variables and standard input, with namespaces as container runtimes make them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from host import CHECKOUT, Host, Result

CONFIGURATION = {"cniVersion": "1.1.0", "name": "net", "type": "vpcctl-cni", "vpc": "vpc1",
                 "subnet": "public"}


@pytest.fixture
def pods(vpc1: Host) -> Host:
    """Two namespaces without anything in them."""
    vpc1.sh("for pod in one two; do ip netns add $pod; ip -n $pod link set lo up; done")
    return vpc1


@pytest.fixture
def shared_pods(shared_vpc1: Host) -> Iterator[Host]:
    """The same, for cases that leave all as it was."""
    shared_vpc1.sh("for pod in one two; do ip netns add $pod; ip -n $pod link set lo up; done")
    yield shared_vpc1
    shared_vpc1.sh("ip netns del one; ip netns del two")


def call(host: Host, verb: str, pod: str = "one", /, more: Any = None, **variables: str) -> Result:
    """What a runtime does."""
    given = {"CNI_COMMAND": verb, "CNI_CONTAINERID": f"id-{pod}", "CNI_NETNS": f"/var/run/netns/{pod}",
             "CNI_IFNAME": "eth0", "CNI_PATH": "/opt/cni/bin", "CNI_ARGS": "IgnoreUnknown=1", **variables}
    text = json.dumps({**CONFIGURATION, **(more or {})})
    return host.cni(text, **given)


def done(host: Host, verb: str, pod: str = "one", /, more: Any = None, **variables: str) -> Any:
    """The answer to what has to work."""
    found = call(host, verb, pod, more, **variables)
    assert found.code == 0, found
    return json.loads(found.out) if found.out else None


def refused(host: Host, verb: str, pod: str = "one", /, more: Any = None, **variables: str) -> Any:
    """The error, which has to be a document of the specification."""
    found = call(host, verb, pod, more, **variables)
    assert found.code != 0, found
    error = json.loads(found.out)
    assert {"cniVersion", "code", "msg"} <= error.keys()
    return error


def machines(host: Host) -> dict[str, str]:
    """The addresses of those that runtimes added, by the paths of their namespaces."""
    found = host.do("instance list --json").json["instances"]
    return {one["netns"]: one["address"] for one in found}


def test_a_container_is_added_checked_and_deleted(pods: Host) -> None:
    assert done(pods, "VERSION")["supportedVersions"][-1] == "1.1.0"
    assert done(pods, "STATUS") is None
    added = done(pods, "ADD")
    assert added["interfaces"] == [{"name": "eth0", "mac": "02:10:0a:00:01:04", "mtu": 1500,
                                    "sandbox": "/var/run/netns/one"}]
    assert added["ips"] == [{"address": "10.0.1.4/24", "gateway": "10.0.0.1", "interface": 0}]
    other = done(pods, "ADD", "two", {"args": {"cni": {"vpcctl": {"subnet": "private"}}}},
                 CNI_ARGS="K8S_POD_NAME=x;IP=10.0.2.77")
    assert other["ips"][0]["address"] == "10.0.2.77/24"
    pods.reaches("one", "10.0.1.2", "10.0.2.77", "10.0.0.1")
    pods.reaches("two", "10.0.1.4")
    pods.reaches("vpc1-public", "10.0.1.4", "10.0.2.77")
    assert pods.do("status").out == "in sync\n"
    assert done(pods, "CHECK", "one", {"prevResult": added}) is None
    assert refused(pods, "ADD")["code"] == 101
    assert refused(pods, "CHECK", "one", {"prevResult": other})["code"] == 102
    pods.sh("ip -n one addr del 10.0.1.4/24 dev eth0")
    error = refused(pods, "CHECK", "one", {"prevResult": added})
    assert (error["code"], "10.0.1.4" in error["msg"]) == (102, True)
    pods.do("restore")
    done(pods, "DEL")
    assert machines(pods) == {"/var/run/netns/two": "10.0.2.77"}
    assert pods.sh("ip -n one -o link").count("\n") == 1, "only lo is left"
    done(pods, "DEL")
    assert refused(pods, "CHECK", "one", {"prevResult": added})["code"] == 102
    # The runtime has removed the namespace already, and no longer knows where it was, nor for which subnet.
    pods.sh("ip netns del two")
    done(pods, "DEL", "two", {"subnet": "public"}, CNI_NETNS="")
    assert machines(pods) == {}
    assert pods.do("status").out == "in sync\n"
    pods.sh("ip netns del one")


def test_a_container_that_starts_again_after_a_reboot_is_added_again(pods: Host) -> None:
    done(pods, "ADD")
    # A reboot takes all names; the same container has a new namespace then.
    pods.sh("ip netns del one")
    again = done(pods, "ADD", "one", CNI_NETNS="/run/netns/two")
    assert again["ips"][0]["address"] == "10.0.1.4/24"
    assert machines(pods) == {"/run/netns/two": "10.0.1.4"}
    pods.reaches("two", "10.0.1.2")
    assert refused(pods, "ADD", "one", CNI_NETNS="/run/netns/two")["code"] == 101
    done(pods, "DEL", "one", CNI_NETNS="/run/netns/two")
    pods.sh("ip netns del two")


@pytest.mark.parametrize("ips", [None, 7, "10.0.1.4/24", [None], [{"address": ["10.0.1.4/24"]}]])
def test_a_previous_result_may_be_anything(shared_pods: Host, ips: Any) -> None:
    done(shared_pods, "ADD")
    assert refused(shared_pods, "CHECK", "one", {"prevResult": {"ips": ips}})["code"] == 102
    done(shared_pods, "DEL")


def test_a_person_who_starts_it_gets_an_answer(host: Host) -> None:
    # Standard input stays open, as a terminal's does.
    plugin = f"timeout 20 {CHECKOUT}/vpcctl-cni"
    told = host.sh(f"mkfifo /run/in; exec 3<>/run/in; rm /run/in; {plugin} <&3 || true")
    assert json.loads(told)["details"] == "a container runtime starts this program"


def test_what_a_runtime_forgot_is_collected(pods: Host) -> None:
    done(pods, "ADD")
    done(pods, "ADD", "two")
    pods.do("instance add --vpc vpc1 --subnet public --name mine")
    pods.sh("ip netns del one")
    valid = [{"containerID": "id-two", "ifname": "eth0"}]
    done(pods, "GC", "two", {"cni.dev/valid-attachments": valid})
    assert machines(pods) == {"/var/run/netns/two": "10.0.1.5", None: "10.0.1.6"}
    done(pods, "GC", "two", {"name": "another", "cni.dev/valid-attachments": []})
    assert "/var/run/netns/two" in machines(pods), "another network's"
    done(pods, "GC", "two", {"cni.dev/valid-attachments": []})
    assert machines(pods) == {None: "10.0.1.6"}
    pods.sh("ip netns del two")


@pytest.mark.parametrize(("more", "variables", "code"), [
    ({"vpc": "vpc9"}, {}, 100), ({"subnet": "none"}, {}, 100), ({"address": "10.0.2.9"}, {}, 7),
    ({}, {"CNI_NETNS": "/var/run/netns/none"}, 3), ({}, {"CNI_NETNS": "/proc/self/ns/net"}, 100),
    ({}, {"CNI_IFNAME": "a.b"}, 7), ({}, {"CNI_IFNAME": "lo"}, 7), ({"cniVersion": "0.2.0"}, {}, 1),
    ({"groups": ["web"]}, {}, 100)])
def test_what_can_t_be_added_changes_nothing(shared_pods: Host, more: Any, variables: dict[str, str],
                                             code: int) -> None:
    before = shared_pods.portrait()
    error = refused(shared_pods, "ADD", "one", more, **variables)
    assert (error["code"], bool(error["msg"])) == (code, True), error
    shared_pods.check_same(before)


def test_whether_it_is_ready(pods: Host) -> None:
    assert refused(pods, "STATUS", "one", {"vpc": "vpc9"})["code"] == 50
    assert refused(pods, "STATUS", "one", {"subnet": "none"})["code"] == 50
    assert done(pods, "STATUS", "one", {"subnet": ""}) is None
    pods.sh("ip netns del one; ip netns del two")


@pytest.mark.parametrize("version", ["0.3.0", "0.3.1", "0.4.0", "1.0.0"])
def test_older_runtimes_are_answered_in_their_version(shared_pods: Host, version: str) -> None:
    added = done(shared_pods, "ADD", "one", {"cniVersion": version})
    assert added["cniVersion"] == version
    assert ("version" in added["ips"][0]) == (version < "1")
    assert refused(shared_pods, "GC", "one", {"cniVersion": version})["code"] == 1
    done(shared_pods, "DEL", "one", {"cniVersion": version, "prevResult": added})


def test_many_containers_are_added_at_once(pods: Host) -> None:
    text = pods.write("net.conf", CONFIGURATION)
    pods.sh(f"""
        for pod in one two; do
            CNI_COMMAND=ADD CNI_CONTAINERID=$pod CNI_NETNS=/run/netns/$pod CNI_IFNAME=eth0 \\
                {CHECKOUT}/vpcctl-cni <{text} >/run/answer.$pod & jobs="$jobs $!"
        done
        for job in $jobs; do wait $job; done""")
    answers = [json.loads(pods.sh(f"cat /run/answer.{pod}; rm /run/answer.{pod}")) for pod in ("one", "two")]
    assert sorted(one["ips"][0]["address"] for one in answers) == ["10.0.1.4/24", "10.0.1.5/24"]
    pods.reaches("one", "10.0.1.4", "10.0.1.5")
    pods.do("vpc delete --name vpc1")
    pods.sh("ip netns del one; ip netns del two")

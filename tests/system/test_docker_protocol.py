"""Docker's network driver by its protocol, with namespaces as dockerd makes and dresses them."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest
from host import CHECKOUT, Host
from neighbours import wait

PASSED = f"""
import os, socket
listener = socket.socket(socket.AF_UNIX)
listener.bind("/run/passed.sock")
listener.listen()
if listener.fileno() != 3:
    os.dup2(listener.fileno(), 3)
os.set_inheritable(3, True)
os.environ |= {{"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": "1"}}
os.execv("{CHECKOUT}/vpcctl-docker", ["vpcctl-docker"])
"""
"""As systemd starts what it has opened a socket for (sd_listen_fds(3))."""

NO_POOL = [{"AddressSpace": "null", "Pool": "0.0.0.0/0", "Gateway": "0.0.0.0/0"}]
OPTIONS = {"com.docker.network.generic": {"vpc": "vpc1", "subnet": "public"}}
FIRST = {"NetworkID": "n1", "EndpointID": "e1111111111111"}
IDLE = wait('[ -z "$(ps -o pid= --ppid $DRIVER)" ]')
"""All requests are done."""

MOVE = """
ip link set {device} netns {pod}
ip -n {pod} link set {device} name eth0 address {mac} up
ip -n {pod} addr add {address} dev eth0
ip -n {pod} route add 10.0.0.1/32 dev eth0 scope link
ip -n {pod} route add 10.0.0.0/16 via 10.0.0.1
ip -n {pod} route add default via 10.0.0.1
"""
"""What dockerd 20.10 does with what it is told at Join (AddInterface in libnetwork/osl)."""


@pytest.fixture
def driven(vpc1: Host) -> Iterator[Host]:
    """A host on which the driver listens."""
    driver = vpc1.start("", "/usr/bin/python3", "-c", PASSED)
    vpc1.wait_until(lambda: vpc1.run("test", "-S", "/run/passed.sock").code == 0, "it listens")
    assert "Implements" in asked(vpc1, "Plugin.Activate")
    vpc1.environment["DRIVER"] = str(driver)
    yield vpc1
    vpc1.stop(driver)
    vpc1.sh("rm -f /run/passed.sock /var/lib/vpcctl/docker.*; ip netns del pod 2>/dev/null || true")


def asked(host: Host, operation: str, **request: Any) -> Any:
    """The answer to a request."""
    found = host.run("curl", "-s", "-m", "30", "--unix-socket", "/run/passed.sock", "--data-binary", "@-",
                     f"http://x/{operation}", stdin=json.dumps(request))
    assert found.code == 0, found
    return json.loads(found.out)


def done(host: Host, operation: str, **request: Any) -> Any:
    """The answer to what has to work."""
    found = asked(host, f"NetworkDriver.{operation}", **request)
    assert "Err" not in found, found
    return found


def created(host: Host, **options: Any) -> Any:
    """The interface of an endpoint in a new network."""
    done(host, "CreateNetwork", NetworkID="n1", Options=OPTIONS, IPv4Data=NO_POOL, IPv6Data=[])
    return done(host, "CreateEndpoint", **FIRST, Options=options, Interface={})["Interface"]


def names(host: Host) -> list[str]:
    """Of attached machines."""
    return [one["name"] for one in host.do("instance list --json").json["instances"]]


def test_it_answers_as_docker_expects(driven: Host) -> None:
    assert asked(driven, "Plugin.Activate") == {"Implements": ["NetworkDriver", "IpamDriver"]}
    assert done(driven, "GetCapabilities")["Scope"] == "local"
    assert done(driven, "EndpointOperInfo", **FIRST) == {"Value": {}}
    assert done(driven, "Leave", **FIRST) == done(driven, "DeleteEndpoint", **FIRST) == {}
    line = "curl -s -m 9 --unix-socket /run/passed.sock -o /dev/null -w '%{http_code}' -d"
    assert driven.sh(f"{line} '{{}}' http://x/NetworkDriver.Nothing") == "404"
    assert driven.sh(f"{line} '[]' http://x/NetworkDriver.Join") == "200"
    refused = asked(driven, "NetworkDriver.Join", **FIRST, SandboxKey="/run/netns/pod")
    assert "does not know this endpoint" in refused["Err"] == refused["Error"]
    assert "does not know this network" in asked(driven, "NetworkDriver.CreateEndpoint", **FIRST)["Err"]


def test_docker_moves_our_link_and_the_rest_follows(driven: Host) -> None:
    link = created(driven)
    assert link == {"Address": "10.0.1.4/24", "MacAddress": "02:10:0a:00:01:04"}
    told = done(driven, "Join", **FIRST, SandboxKey="/run/netns/pod", Options={})
    assert told["Gateway"] == "10.0.0.1"
    device = told["InterfaceName"]["SrcName"]
    driven.sh("ip netns add pod; ip -n pod link set lo up\n" + MOVE.format(
        device=device, pod="pod", mac=link["MacAddress"], address=link["Address"]))
    driven.sh(wait(f"{CHECKOUT}/vpcctl instance list 2>/dev/null | grep -q docker-e11111111111"))
    driven.sh(wait("ip netns exec vpc1-public ping -c1 -W1 -q 10.0.1.4 >/dev/null"))
    driven.reaches("pod", "10.0.1.2", "10.0.2.2", "10.0.0.1")
    assert driven.do("status").out == "in sync\n"
    assert done(driven, "Leave", **FIRST) == {}
    assert names(driven) == []
    assert driven.sh("ip -n pod -o link").count("\n") == 1, "only lo is left"
    done(driven, "DeleteEndpoint", **FIRST)
    done(driven, "DeleteNetwork", NetworkID="n1")


def test_a_namespace_that_exists_is_attached_before_the_answer(driven: Host) -> None:
    """As Docker 28 asks, and as all versions ask for a container that runs."""
    driven.sh("ip netns add pod; ip -n pod link set lo up")
    created(driven, address="10.0.1.9", name="web")
    told = done(driven, "Join", **FIRST, SandboxKey="/run/netns/pod", Options={})
    assert told == {"DisableGatewayService": True}
    driven.reaches("pod", "10.0.1.2", "10.0.0.1")
    driven.reaches("vpc1-public", "10.0.1.9")
    assert driven.do("status").out == "in sync\n"
    # It is Docker's to take away: no file has it, and none takes it away.
    file = driven.write("network.yaml", driven.do("export").out)
    assert "docker-" not in driven.do("export").out
    assert names(driven) == ["docker-web"]
    driven.do("apply -f", file)
    assert names(driven) == ["docker-web"]
    driven.reaches("vpc1-public", "10.0.1.9")
    # As after a crash of dockerd: it tells of nothing, and makes another endpoint.
    driven.sh("ip netns del pod")
    again = {"NetworkID": "n1", "EndpointID": "e2"}
    done(driven, "CreateEndpoint", **again, Options={"address": "10.0.1.9", "name": "web"}, Interface={})
    assert names(driven) == []
    done(driven, "DeleteEndpoint", **again)


def test_a_container_that_never_starts_leaves_nothing(driven: Host) -> None:
    driven.sh(IDLE)
    before = driven.portrait()
    created(driven)
    done(driven, "Join", **FIRST, SandboxKey="/run/netns/pod", Options={})
    done(driven, "Leave", **FIRST)
    done(driven, "DeleteEndpoint", **FIRST)
    done(driven, "DeleteNetwork", NetworkID="n1")
    driven.sh("rm /var/lib/vpcctl/docker.json")
    driven.sh(IDLE)
    driven.check_same(before)


def test_addresses_are_given_and_taken_back(driven: Host) -> None:
    def pool(operation: str, **request: Any) -> Any:
        return asked(driven, f"IpamDriver.{operation}", **request)

    assert pool("GetDefaultAddressSpaces")["LocalDefaultAddressSpace"] == "vpcctl"
    found = pool("RequestPool", Pool="10.0.1.0/24", Options={})
    gateway = {"com.docker.network.gateway": "10.0.0.1/16"}
    assert found == {"PoolID": "vpc1/public", "Pool": "10.0.1.0/24", "Data": gateway}
    for options, says in (({"Pool": ""}, "needs the CIDR"), ({"Pool": "10.9.0.0/24"}, "no subnet has"),
                          ({"Pool": "10.0.1.0/24", "Options": {"vpc": "vpc2"}}, "no subnet has"),
                          ({"Pool": "10.0.1.0/24", "SubPool": "10.0.1.0/25"}, "leave --ip-range"),
                          ({"V6": True}, "no IPv6")):
        assert says in pool("RequestPool", **options)["Error"]  # type: ignore[arg-type]

    def given(address: str = "", kind: str = "") -> Any:
        options = {"RequestAddressType": kind} if kind else None
        answer = pool("RequestAddress", PoolID="vpc1/public", Address=address, Options=options)
        return answer.get("Address") or answer["Error"]

    assert given(kind="com.docker.network.gateway") == "10.0.0.1/16"
    assert "leave --gateway away" in given("10.0.1.7", "com.docker.network.gateway")
    assert [given(), given(), given("10.0.1.9"), given("10.0.1.9")] == [
        "10.0.1.4/24", "10.0.1.5/24", "10.0.1.9/24", "10.0.1.9/24"]
    assert "already belongs" in given("10.0.1.2")
    assert pool("ReleaseAddress", PoolID="vpc1/public", Address="10.0.1.4") == {}
    assert given() == "10.0.1.4/24"


PUBLISHED = "com.docker.network.portmap"


def refused(host: Host, says: str, number: str = "e2222222222222", **options: Any) -> None:
    """An endpoint of the same network can't be made."""
    found = asked(host, "NetworkDriver.CreateEndpoint", NetworkID="n1", EndpointID=number, Options=options,
                  Interface={})
    assert says in found.get("Err", ""), found


def test_an_endpoint_that_could_not_join_is_refused_at_once(driven: Host) -> None:
    created(driven, name="web", **{PUBLISHED: [{"Proto": 6, "Port": 80, "HostPort": 8080}]})
    driven.listen("", "8099")
    refused(driven, "machine 'docker-web' already exists in vpc1/public", name="web")
    for says, *ports in (("already leads to another machine", (80, 8080, "")),
                         ("already leads to another machine", (81, 8081, ""), (82, 8081, "")),
                         ("tcp port 8099 is already in use on the host", (80, 8099, "")),
                         ("8.8.8.8 is not an address of this host", (80, 8081, "8.8.8.8"))):
        refused(driven, says, **{PUBLISHED: [{"Proto": 6, "Port": port, "HostPort": at, "HostIP": ip}
                                             for port, at, ip in ports]})


def test_an_endpoint_that_docker_asks_for_again_is_the_same(driven: Host) -> None:
    told = created(driven, name="web")
    again = done(driven, "CreateEndpoint", **FIRST, Options={"name": "web"}, Interface={})["Interface"]
    assert again == told
    driven.sh("ip netns add pod")
    done(driven, "Join", **FIRST, SandboxKey="/run/netns/pod", Options={})
    refused(driven, "the endpoint already exists: vpc1/public/docker-web", FIRST["EndpointID"], name="web")
    assert names(driven) == ["docker-web"]
    done(driven, "Leave", **FIRST)
    done(driven, "DeleteEndpoint", **FIRST)

"""Docker's network driver with a real dockerd: containers join as they start, restart, and leave."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from host import CHECKOUT, UPLINK, Host
from neighbours import DOCKER, Street, missing, wait
from test_containers import IMAGE, bash, check_document, machines, make_vpc

SOCKET = "/run/docker/plugins/vpcctl.sock"
DRIVER = f"""
setsid {CHECKOUT}/vpcctl-docker >>/run/driver.log 2>&1 </dev/null &
echo $! >/run/driver.pid
""" + wait(f"curl -s --unix-socket {SOCKET} -d '{{}}' http://x/Plugin.Activate >/dev/null")
DOCKERD = """
setsid dockerd --storage-driver=vfs --exec-opt native.cgroupdriver=cgroupfs \\
    >>/run/dockerd.log 2>&1 </dev/null &
echo $! >/run/dockerd.pid
""" + wait("docker version >/dev/null 2>&1")
END = "kill {1} $(cat /run/{0}.pid); while kill -0 $(cat /run/{0}.pid) 2>/dev/null; do sleep 0.05; done\n"
CREATE = "docker network create -d vpcctl --ipam-driver null -o vpc=vpc1 -o subnet=public"
HTTPD = "bb /bin/busybox httpd -f -p 80 -h /"
PROGRAMS = replace(DOCKER, also=("busybox", "compose"))


@contextmanager
def dockered(tmp_path: Path, image: str = IMAGE) -> Iterator[Host]:
    """A host with dockerd, our driver and an image."""
    if lacks := missing(PROGRAMS):
        pytest.skip(f"beside other programs: {lacks}")
    place = Street(tmp_path, PROGRAMS)
    host = place.host
    try:
        host.environment["PATH"] = f"/usr/bin:{host.sh('printf %s $PATH')}"
        bash(host, f"{image}\n{DRIVER}\n{DOCKERD}\ndocker import /run/image.tar bb >/dev/null")
        yield host
        bash(host, END.format("dockerd", "") + END.format("driver", ""))
    finally:
        place.close()


@pytest.fixture
def docker(tmp_path: Path) -> Iterator[Host]:
    """The same with a VPC."""
    with dockered(tmp_path) as host:
        make_vpc(host)
        yield host


def addresses(host: Host) -> set[object]:
    """Those of attached machines; nothing else may be there."""
    found = machines(host).values()
    assert {one["state"] for one in found} <= {"attached"}, found  # type: ignore[index]
    return {one["address"] for one in found}  # type: ignore[index]


def joined(host: Host, count: int) -> str:
    """A line that waits until that many machines are attached."""
    return wait(f"[ $({CHECKOUT}/vpcctl instance list | grep -c ' attached ') = {count} ]")


def refused(host: Host, line: str) -> str:
    """What Docker says to what must fail."""
    done = host.run("bash", "-c", line)
    assert done.code != 0, done
    return done.err


def test_containers_join_leave_and_find_each_other(docker: Host) -> None:
    told = refused(docker, CREATE.replace("--ipam-driver null", "") + " app")
    assert "create the network with --ipam-driver null" in told
    assert "subnet 'pub' does not exist" in refused(docker, CREATE.replace("public", "pub") + " app")
    assert "group 'web' does not exist" in refused(docker, f"{CREATE} -o groups=web app")
    assert "no option 'cidr'" in refused(docker, f"{CREATE} -o cidr=1 app")
    bash(docker, f"{CREATE} app")
    for _ in range(5):
        bash(docker, "docker run --rm --network app bb /bin/ping -c1 -W5 -q 10.0.1.2")
    bash(docker, f"docker run -d --name web --network app {HTTPD}\n{joined(docker, 1)}")
    assert addresses(docker) == {"10.0.1.4"}
    docker.reaches("vpc1-public", "10.0.1.4", "10.0.1.4:80")
    bash(docker, "docker run --rm --network app bb /bin/busybox wget -q -O /dev/null http://web/bin/sh")
    bash(docker, "docker exec web ping -c1 -W2 8.8.8.8")
    # Docker puts its own rules before ours when it makes a network.
    docker.do("restore")
    assert docker.do("status").out == "in sync\n"
    shown = json.loads(bash(docker, "docker inspect web"))[0]["NetworkSettings"]["Networks"]["app"]
    assert (shown["IPAddress"], shown["MacAddress"]) == ("10.0.1.4", "02:10:0a:00:01:04")
    bash(docker, f"docker run -d --name port -p 81:80 --network app {HTTPD}\n{joined(docker, 2)}")
    docker.reaches("", f"{UPLINK}:81")
    assert "already leads to another" in refused(docker, f"docker run -d -p 81:80 --network app {HTTPD}")
    bash(docker, f"docker restart -t 0 port\n{joined(docker, 2)}")
    docker.reaches("", f"{UPLINK}:81")
    bash(docker, "docker rm -f port")
    taken = f"docker run -d --network name=app,driver-opt=address=10.0.1.4 {HTTPD}"
    assert "already belongs to" in refused(docker, taken)
    mac = f"docker run -d --mac-address 02:00:00:00:00:09 --network app {HTTPD}"
    assert "follows from its address" in refused(docker, mac)
    each = f"docker run -d --name $name --network app {HTTPD}"
    bash(docker, f"for name in one two three four; do {each} & done; wait")
    bash(docker, joined(docker, 5))
    assert addresses(docker) == {f"10.0.1.{number}" for number in range(4, 9)}
    docker.reaches("vpc1-public", *(f"10.0.1.{number}:80" for number in range(4, 9)))
    bash(docker, "docker rm -f web one two three four >/dev/null; docker network rm app >/dev/null")
    assert addresses(docker) == set()
    assert docker.do("status").out == "in sync\n"
    docker.do("vpc delete --name vpc1")


def test_a_running_container_is_connected_and_disconnected(docker: Host) -> None:
    bash(docker, f"{CREATE} app; docker run -d --name both bb /bin/busybox sleep 3600")
    before = bash(docker, "docker exec both ip addr; docker exec both ip route")
    bash(docker, "docker network connect app both")
    assert addresses(docker) == {"10.0.1.4"}
    docker.reaches("vpc1-public", "10.0.1.4")
    bash(docker, "docker exec both ping -c1 -W2 10.0.1.2; docker exec both ping -c1 -W2 8.8.8.8")
    docker.do("restore")
    assert docker.do("status").out == "in sync\n"
    bash(docker, "docker network disconnect app both")
    assert addresses(docker) == set()
    assert bash(docker, "docker exec both ip addr; docker exec both ip route") == before
    docker.do("vpc delete --name vpc1")


def test_restarts_of_all_of_them_keep_address_and_policy(docker: Host) -> None:
    docker.do("group create --vpc vpc1 --name web")
    policy = docker.write("web.json", {"ingress": [{"port": 80, "protocol": "tcp", "action": "allow"}]})
    docker.do("group apply --vpc vpc1 --name web --policy", policy)
    run = "docker run -d --restart always --network name=app"
    bash(docker, f"{CREATE} -o groups=web app\n{run} --name web {HTTPD}\n"
                 f"{run},driver-opt=address=10.0.1.40,driver-opt=name=fix --name fix {HTTPD}\n"
                 f"{joined(docker, 2)}")

    def check() -> None:
        bash(docker, joined(docker, 2))
        assert addresses(docker) == {"10.0.1.4", "10.0.1.40"}
        docker.reaches("vpc1-public", "10.0.1.4:80", "10.0.1.40:80")
        docker.never_reaches("vpc1-public", "10.0.1.4")

    check()
    bash(docker, "docker restart -t 0 web fix")
    check()
    bash(docker, END.format("driver", "-9") + DRIVER + "docker restart -t 0 web fix")
    check()
    bash(docker, END.format("dockerd", "") + DOCKERD)
    check()
    # As a crash of the host leaves it: nobody said that a container ended.
    bash(docker, END.format("driver", "") + END.format("dockerd", "-9")
         + "rm -f /run/docker.pid /var/run/docker.pid; ip netns del vpc1\n" + DRIVER + DOCKERD)
    check()
    bash(docker, "docker rm -f web fix >/dev/null; docker network rm app >/dev/null")
    assert addresses(docker) == set()
    docker.do("vpc delete --name vpc1")


def test_no_packet_passes_before_the_policy_stands(docker: Host) -> None:
    http = [{"port": 80, "protocol": "tcp", "action": "allow"}]
    policy = docker.write("policy.json", {"subnet": "10.0.1.0/24", "ingress": http, "egress": http})
    docker.do("firewall apply --vpc vpc1 --subnet public --policy", policy)
    bash(docker, f"{CREATE} app")
    count = "iptables -t raw -I PREROUTING -s 10.0.1.4 -p icmp"
    docker.sh(count, "vpc1-public")
    docker.sh("setsid ping -q -i 0.002 10.0.1.4 >/dev/null 2>&1 </dev/null & echo $! >/run/ping.pid",
              "vpc1-public")
    for _ in range(5):
        bash(docker, "docker run -d --name busy --network app bb /bin/sh -c "
                     f"'while :; do /bin/ping -c1 -W1 10.0.1.2; done'\n"
                     f"{joined(docker, 1)}")
        bash(docker, "docker rm -f busy")
    docker.sh("kill $(cat /run/ping.pid)")
    seen = docker.sh("iptables-save -t raw -c | sed -n 's/^.\\([0-9]*\\):.*-p icmp.*/\\1/p'", "vpc1-public")
    assert seen == "0\n"
    docker.do("vpc delete --name vpc1")


def test_addresses_are_chosen_as_in_docker(docker: Host) -> None:
    own = CREATE.replace("null", "vpcctl")
    assert "needs the CIDR" in refused(docker, f"{own} app")
    assert "no subnet has the CIDR 10.9.0.0/24" in refused(docker, f"{own} --subnet 10.9.0.0/24 app")
    bash(docker, f"{own} --subnet 10.0.1.0/24 app\n"
                 f"docker run -d --restart always --name nine --network app --ip 10.0.1.9 {HTTPD}\n"
                 f"docker run -d --restart always --name free --network app {HTTPD}\n{joined(docker, 2)}")
    assert addresses(docker) == {"10.0.1.4", "10.0.1.9"}
    assert "already belongs" in refused(docker, f"docker run --network app --ip 10.0.1.4 {HTTPD}")
    assert "is reserved" in refused(docker, f"docker run --network app --ip 10.0.1.3 {HTTPD}")
    docker.reaches("vpc1-public", "10.0.1.4:80", "10.0.1.9:80")
    # As a crash of the host leaves it.
    bash(docker, END.format("driver", "") + END.format("dockerd", "-9")
         + "rm -f /run/docker.pid /var/run/docker.pid; ip netns del vpc1\n" + DRIVER + DOCKERD
         + joined(docker, 2))
    docker.reaches("vpc1-public", "10.0.1.9:80")
    bash(docker, "docker rm -f nine free; docker network rm app")
    assert '"reserved": {}' in docker.sh("cat /var/lib/vpcctl/docker.json")
    docker.do("vpc delete --name vpc1")


def test_the_document_is_true(docker: Host) -> None:
    docker.do("vpc delete --name vpc1")
    check_document("Docker's network driver", lambda line: docker.run("bash", "-c", f"exec 2>&1; {line}").out)


COMPOSE = """
services:
  web:
    image: bb
    command: /bin/busybox httpd -f -p 80 -h /
    networks: [app]
  client:
    image: bb
    command: /bin/busybox sleep 3600
    networks: [app]
networks:
  app:
    driver: vpcctl
    driver_opts: {vpc: vpc1, subnet: public}
    ipam: {driver: "null"}
"""


def test_compose_uses_it(docker: Host) -> None:
    if docker.run("sh", "-c", "command -v docker-compose").code != 0:
        pytest.skip("beside other programs: no docker-compose")
    compose = f"docker-compose -p shop -f {docker.write('compose.yml', COMPOSE)}"
    bash(docker, f"{compose} up -d 2>&1\n{joined(docker, 2)}")
    assert addresses(docker) == {"10.0.1.4", "10.0.1.5"}
    fetch = "exec -T client /bin/busybox wget -q -O /dev/null http://web/bin/sh"
    bash(docker, f"{compose} {fetch}")
    bash(docker, f"{compose} restart -t 0 2>&1\n{joined(docker, 2)}\n{compose} {fetch}")
    bash(docker, f"{compose} down -t 0 2>&1")
    assert addresses(docker) == set()
    docker.do("vpc delete --name vpc1")

"""Real containers of Docker and Podman as machines: attached, restarted, restored and left as they were."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from host import CHECKOUT, Host
from neighbours import DOCKER, PODMAN, Neighbour, Street, missing, wait
from test_readme import differences, examples

DOCUMENT = CHECKOUT / "docs/containers.md"

IMAGE = """
mkdir -p /run/image/bin && cp "$(command -v busybox)" /run/image/bin/busybox
for name in sh ping ip; do ln -sf busybox /run/image/bin/$name; done
tar -C /run/image -cf /run/image.tar .
"""
DOCKERD = """
export PATH=/usr/bin:$PATH
setsid dockerd --storage-driver=vfs --exec-opt native.cgroupdriver=cgroupfs \\
    >>/run/dockerd.log 2>&1 </dev/null &
echo $! >/run/dockerd.pid
""" + wait("docker version >/dev/null 2>&1")
SETTINGS = """
printf '[network]\\nnetwork_backend="netavark"\\n[engine]\\ncgroup_manager="cgroupfs"\\n' \\
    >/etc/containers/containers.conf
printf '[storage]\\ndriver="vfs"\\nrunroot="/run/containers"\\ngraphroot="/var/lib/containers"\\n' \\
    >/etc/containers/storage.conf
"""
MORE = {"docker": "", "podman": "--cgroups=disabled --ulimit=host --cap-add=NET_RAW"}
AT = "--vpc vpc1 --subnet public"
ATTACH = f"instance attach {AT} --name web --container web"


@pytest.fixture(params=[DOCKER, PODMAN], ids=lambda neighbour: neighbour.name)
def runtime(request: pytest.FixtureRequest) -> Neighbour:
    """A runtime that is there, or is skipped and listed at the end."""
    if lacks := missing(request.param):
        pytest.skip(f"beside other programs: {lacks}")
    return replace(request.param, start=IMAGE + (DOCKERD if request.param is DOCKER else SETTINGS))


CONFLIST = f"""
mkdir -p /run/plugins /etc/cni/net.d
ln -s {CHECKOUT}/vpcctl-cni /run/plugins/vpcctl-cni
printf '[network]\\nnetwork_backend="cni"\\ncni_plugin_dirs=["/run/plugins"]\\n' \\
    >/etc/containers/containers.conf
printf '[engine]\\ncgroup_manager="cgroupfs"\\n' >>/etc/containers/containers.conf
rm -f /etc/cni/net.d/*
cat >/etc/cni/net.d/vpc1.conflist <<'END'
{{"cniVersion": "1.0.0", "name": "vpc1",
  "plugins": [{{"type": "vpcctl-cni", "vpc": "vpc1", "subnet": "public"}}]}}
END
"""


@pytest.fixture
def street(tmp_path: Path, runtime: Neighbour) -> Iterator[Host]:
    """A host on which the runtime works, with an image."""
    place = Street(tmp_path, runtime)
    host = place.host
    try:
        host.environment["PATH"] = f"/usr/bin:{host.sh('printf %s $PATH')}"
        bash(host, f"{runtime.start}\n{runtime.name} import /run/image.tar bb >/dev/null\n")
        yield host
        if runtime.name == "docker":
            bash(host, "kill $(cat /run/dockerd.pid)")
    finally:
        place.close()


@pytest.fixture
def host(street: Host, runtime: Neighbour) -> Iterator[Host]:
    """With two containers, one with only its loopback and one with the runtime's network, and a VPC."""
    run, more = f"{runtime.name} run -d", MORE[runtime.name]
    bash(street, f"{run} --name web {more} --network none bb /bin/busybox httpd -f -p 80 -h / >/dev/null\n"
                 f"{run} --name other {more} bb /bin/busybox sleep 3600 >/dev/null\n")
    make_vpc(street)
    yield street
    bash(street, f"{runtime.name} rm -f web other >/dev/null")


def make_vpc(host: Host) -> None:
    """With a way out."""
    host.do("vpc create --name vpc1 --cidr 10.0.0.0/16")
    host.do("subnet add --vpc vpc1 --name public --cidr 10.0.1.0/24 --type public")
    host.do("nat enable --vpc vpc1")


def bash(host: Host, script: str) -> str:
    """Run what a person types beside vpcctl, which has to succeed."""
    done = host.run("bash", "-ec", script)
    assert done.code == 0, done
    return done.out


def machines(host: Host) -> dict[str, object]:
    """What is listed of each."""
    return {one["name"]: one for one in host.do("instance list --json").json["instances"]}


def pings(host: Host, runtime: Neighbour, container: str, target: str) -> bool:
    """Whether a container gets an answer."""
    done = host.run(runtime.name, "exec", container, "/bin/ping", "-c1", "-W2", "-q", target)
    return done.code == 0


def test_a_container_joins_restarts_and_is_restored(host: Host, runtime: Neighbour) -> None:
    name = runtime.name
    # An address of IPv6 is tentative at first.
    settings = "sysctl -a 2>/dev/null | grep ^net.ip"
    seen = f"ip addr | sed s/.tentative//; ip route; iptables-save | grep ^-; {settings}"
    pid = f"$({name} inspect -f '{{{{.State.Pid}}}}' other)"
    inside = f"nsenter --net=/proc/{pid}/ns/net sh -c '{seen}'"
    before = bash(host, inside)
    done = host.do(ATTACH)
    assert done.out == f"machine 'web' attached to vpc1/public (10.0.1.4, eth0 of {name}:web)\n"
    assert "start the container with --dns" in done.err
    refused = host.vpcctl(*f"instance attach {AT} --name other --container other".split())
    assert (refused.code, "that network namespace already has a link 'eth0'" in refused.err) == (1, True)
    done = host.do(f"instance attach {AT} --name other --container other --interface vpc0")
    assert "its own default route stays" in done.err
    assert pings(host, runtime, "other", "10.0.1.4")
    assert pings(host, runtime, "web", "8.8.8.8")
    host.reaches("vpc1-public", "10.0.1.4", "10.0.1.4:80", "10.0.1.5")
    host.do(f"firewall allow {AT} --protocol icmp")
    host.never_reaches("vpc1-public", "10.0.1.4:80")
    assert host.do("status").out == "in sync\n"
    bash(host, f"{name} restart -t 0 web >/dev/null")
    found = host.vpcctl("status")
    assert (found.code, f"container '{name}:web' was restarted" in found.out) == (1, True)
    states = {one["name"]: one["state"] for one in host.do("instance list --json").json["instances"]}
    assert states == {"web": "gone", "other": "attached"}
    host.do("restore")
    assert host.do("status").out == "in sync\n"
    assert pings(host, runtime, "other", "10.0.1.4")
    host.never_reaches("vpc1-public", "10.0.1.4:80")
    bash(host, f"{name} stop -t 0 web")
    found = host.vpcctl("status")
    assert f"container 'web' of {name} does not run; start it: {name} start web" in found.out
    assert host.vpcctl("restore").code == 1
    host.do("subnet add --vpc vpc1 --name more --cidr 10.0.9.0/24")
    bash(host, f"{name} start web >/dev/null")
    host.do(ATTACH)
    assert host.do("status").out == "in sync\n"
    host.reaches("vpc1-public", "10.0.1.4")
    kept = machines(host)
    host.sh("rm /var/lib/vpcctl/state.json*")
    host.do("restore --from-kernel")
    assert machines(host) == kept
    assert host.do("status").out == "in sync\n"
    done = host.do("vpc delete --name vpc1")
    assert f"vpc1/public/web is unplugged: container {name}:web goes on without eth0" in done.err
    assert bash(host, f"{name} inspect -f '{{{{.State.Running}}}}' web other").split() == ["true", "true"]
    assert bash(host, inside) == before


def part_of(title: str) -> str:
    """A section of the document."""
    parts = re.split(r"^(?=## )", DOCUMENT.read_text(), flags=re.MULTILINE)
    return next(part for part in parts if part.startswith(f"## {title}\n"))


def check_document(title: str, printed: Callable[[str], str]) -> None:
    """VPCCTL_REWRITE_GOLDEN=1 writes it anew: read the difference."""
    text = part_of(title)
    shown = examples(text)
    real = [printed(one.command) for one in shown]
    if not os.environ.get("VPCCTL_REWRITE_GOLDEN"):
        found = differences(shown, real)
        assert not found, found
        return
    said = iter(f"$ {one.command}\n{output}" for one, output in zip(shown, real, strict=True))
    new = re.sub(r"```console\n(.*?)```", lambda block: "```console\n" + "".join(
        next(said) for _ in re.findall(r"^\$ ", block[1], re.MULTILINE)) + "```", text, flags=re.DOTALL)
    DOCUMENT.write_text(DOCUMENT.read_text().replace(text, new))


def test_the_document_is_true(street: Host, runtime: Neighbour) -> None:
    more = f"{runtime.name} run {MORE[runtime.name]}"

    def printed(line: str) -> str:
        line = line.replace(f"{runtime.name} run", more)
        return street.run("bash", "-c", f"exec 2>&1; {line}").out

    check_document(runtime.name.title(), printed)
    bash(street, f"{runtime.name} rm -f -t 0 web both >/dev/null 2>&1 || true")


@pytest.mark.parametrize("title", ["Other namespaces", "Virtual machines"])
def test_what_the_document_says_without_a_runtime_is_true(tmp_path: Path, title: str) -> None:
    host = Host(tmp_path)
    try:
        check_document(title, lambda line: host.run("bash", "-c", f"exec 2>&1; {line}").out)
    finally:
        host.end()


@pytest.mark.parametrize("runtime", [PODMAN], ids=lambda one: one.name, indirect=True)
def test_containers_join_by_themselves(street: Host, runtime: Neighbour) -> None:
    bash(street, CONFLIST)
    make_vpc(street)
    run = f"podman run -d --name web {MORE['podman']} --network vpc1"
    bash(street, f"{run} bb /bin/busybox sleep 3600 >/dev/null")
    (one,) = machines(street).values()
    assert one["address"] == "10.0.1.4"
    assert pings(street, runtime, "web", "8.8.8.8")
    street.reaches("vpc1-public", "10.0.1.4")
    assert street.do("status").out == "in sync\n"
    bash(street, "podman restart -t 0 web >/dev/null")
    assert pings(street, runtime, "web", "10.0.1.2")
    assert len(machines(street)) == 1
    assert street.do("status").out == "in sync\n"
    bash(street, "podman rm -f -t 0 web >/dev/null")
    assert not machines(street)
    street.do("vpc delete --name vpc1")

"""The three-tier application of docs/three-tier.md, with real nginx, PostgreSQL and Redis."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest
from host import CHECKOUT, Host
from neighbours import DOCKER, Neighbour, Street, missing, wait
from test_containers import bash
from test_docker_driver import DOCKERD, DRIVER, END
from test_readme import Example, differences, examples

DOCUMENT = CHECKOUT / "docs/three-tier.md"
APPLICATION = Neighbour("three-tier", "nginx", start="", restart="", alive="")
INSTALL = f"""
mount -t tmpfs tmpfs /srv
mkdir -p /var/lib/three-tier
mount -t tmpfs tmpfs /var/lib/three-tier
id postgres >/dev/null 2>&1 || echo postgres:x:65532:65534::/nonexistent:/bin/false >>/etc/passwd
cp -r {CHECKOUT}/docs/examples/three-tier /srv/
chmod -R a+rX /srv/three-tier
install -d -o postgres -m 0700 /var/lib/three-tier/db1 /var/lib/three-tier/db2
"""
"""What the page installs, and the user that the package of PostgreSQL would make."""

PLACES = {"shop-web.web1": ("10.30.1.4", 80), "shop-web.web2": ("10.30.1.5", 80),
          "shop-app.app1": ("10.30.2.4", 8000), "shop-data.db1": ("10.30.3.4", 5432),
          "shop-data.db2": ("10.30.3.5", 5432), "shop-data.cache": ("10.30.3.6", 6379)}
"""Each machine's namespace with the address and port of its service."""
WEB, APP = {"shop-web.web1", "shop-web.web2"}, {"shop-app.app1"}
DATABASES, CACHE = {"shop-data.db1", "shop-data.db2"}, {"shop-data.cache"}
ALLOWED = {**{place: WEB | APP for place in WEB}, **{place: WEB | DATABASES | CACHE for place in APP},
           **{place: WEB | DATABASES for place in DATABASES}, **{place: WEB for place in CACHE}}
"""Whose services each machine may connect to, as the page's picture shows it."""
PATIENCE = "3"
"""Seconds after which a connection counts as dropped; one that is allowed takes milliseconds."""
CONNECT = "(timeout {patience} bash -c '</dev/tcp/{address}/{port}' 2>/dev/null && echo {place}) &"
FIRST_ANSWER = wait("curl -fs -m 3 http://10.30.1.4/")


@contextmanager
def installed(scratch: Path, script: str, *programs: Neighbour) -> Iterator[Host]:
    """A host with the real programs, in which that script has put a page's files."""
    for program in (APPLICATION, *programs):
        if lacks := missing(program):
            pytest.skip(f"beside other programs: {lacks}")
    street = Street(scratch, replace(APPLICATION, also=tuple(program.name for program in programs)))
    try:
        street.host.sh(script)
        yield street.host
    finally:
        street.close()


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """A host on which the application's programs are installed."""
    with installed(tmp_path, INSTALL) as host:
        yield host


def typed(host: Host, example: Example) -> str:
    """What a command of the page prints, typed in the clone."""
    line = f"exec 2>&1; cd {CHECKOUT}; PATH={CHECKOUT}:$PATH\n{example.command}"
    return host.run("bash", "-c", line, LC_ALL="C.UTF-8").out


def test_the_page_shows_what_is_printed(host: Host) -> None:
    shown = examples(DOCUMENT.read_text())
    assert len(shown) >= 20
    found = differences(shown, [typed(host, example) for example in shown])
    assert not found, f"docs/three-tier.md shows something else than what is printed:\n{found}"


def connected(host: Host, namespace: str, but: str = "") -> set[str]:
    """Whose services answer there, of all others' but its own, which may have another name."""
    lines = [CONNECT.format(patience=PATIENCE, address=address, port=port, place=place)
             for place, (address, port) in PLACES.items() if place != (but or namespace)]
    return set(host.sh("\n".join([*lines, "wait"]), namespace).split())


def test_they_reach_whom_the_groups_name_and_nobody_else(host: Host) -> None:
    host.do(f"apply -f {CHECKOUT}/docs/examples/three-tier.yaml")
    host.sh(FIRST_ANSWER)
    for namespace, allowed in ALLOWED.items():
        assert connected(host, namespace) == allowed - {namespace}, namespace
        host.none_reach(*((namespace, f"{address}:22") for place, (address, _) in PLACES.items()
                          if place != namespace))
    host.do("vpc delete --name shop")


CONTAINERS = replace(DOCKER, also=("compose", "three-tier"))
COMPOSE = f"docker-compose -p shop -f {CHECKOUT}/docs/examples/three-tier/compose.yaml"
IMAGE = """
cd /run
mkdir -p root/tmp root/usr root/etc
cp /etc/passwd /etc/group root/etc/
chmod 1777 root/tmp
for part in bin sbin lib lib64; do ln -s usr/$part root/$part; done
tar -C root -c . | docker import - host
"""
"""As docs/three-tier.md makes the image."""


@pytest.fixture
def dock(tmp_path: Path) -> Iterator[Host]:
    """Such a host with dockerd and our driver."""
    if lacks := missing(CONTAINERS) or missing(APPLICATION):
        pytest.skip(f"beside other programs: {lacks}")
    street = Street(tmp_path, CONTAINERS)
    host = street.host
    try:
        host.sh(INSTALL)
        host.environment["PATH"] = f"/usr/bin:{host.sh('printf %s $PATH')}"
        if host.run("sh", "-c", "command -v docker-compose").code != 0:
            pytest.skip("beside other programs: no docker-compose")
        bash(host, f"{DRIVER}\n{DOCKERD}\n{IMAGE}")
        yield host
        bash(host, END.format("dockerd", "") + END.format("driver", ""))
    finally:
        street.close()


def test_the_same_with_containers(dock: Host) -> None:
    dock.do(f"apply -f {CHECKOUT}/docs/examples/three-tier/network.yaml")
    bash(dock, f"{COMPOSE} up -d 2>&1")
    dock.sh(FIRST_ANSWER)
    assert "hello" in dock.sh("curl -fsS -m 9 -d hello http://10.30.1.4/")
    dock.sh(wait("curl -fsS -m 3 http://10.30.1.5/ | grep -q hello"))

    def check() -> None:
        """Each container reaches whom its groups let it reach."""
        listed = dock.do("instance list --json").json["instances"]
        there = {one["address"]: one["namespace"] for one in listed if one["state"] == "attached"}
        assert len(there) == len(PLACES)
        for place, (address, _) in PLACES.items():
            assert connected(dock, there[address], but=place) == ALLOWED[place] - {place}, place

    check()
    bash(dock, "kill -9 $(docker inspect -f '{{.State.Pid}}' $(docker ps -qf name=db1))\n" + wait(
        "curl -fsS -m 3 -d again http://10.30.1.4/ | grep -q again"))
    check()
    bash(dock, f"{COMPOSE} down -t 5 2>&1")
    dock.do("vpc delete --name shop")

"""What the system tests share: a host of its own for each test."""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

# Test modules can't import each other's neighbours otherwise (pytest, "import modes", importlib).
sys.path.insert(0, str(Path(__file__).parent))

from host import Host  # noqa: E402
from portrait import Portrait  # noqa: E402

ROOTLESS = ("unshare", "--user", "--map-root-user") if os.geteuid() == 0 else ()
"""Only uid 0 is mapped there, as for a plain user."""


NOBODY = ("setpriv", "--reuid=65534", "--clear-groups", "--inh-caps=+dac_read_search",
          "--ambient-caps=+dac_read_search")
"""A user who is not root, but may read a checkout below a folder that is closed to others."""


@pytest.fixture
def nobody() -> tuple[str, ...]:
    """What to start a program with so that root does not run it."""
    # A plain user's root has no other user: there, whoever is in a user namespace of its own is not root.
    return NOBODY if os.geteuid() == 0 else ("unshare", "--user")


@pytest.fixture
def rootless() -> tuple[str, ...]:
    """What to start a host with so that it is a plain user's."""
    return ROOTLESS


VPC1 = {"vpc1": {"cidr": "10.0.0.0/16", "subnets": {
    "public": {"cidr": "10.0.1.0/24", "type": "public"}, "private": {"cidr": "10.0.2.0/24"}}}}
VPC2 = {"vpc2": {"cidr": "172.16.0.0/16", "subnets": {
    "public": {"cidr": "172.16.1.0/24", "type": "public"}, "private": {"cidr": "172.16.2.0/24"}}}}

MOST_TESTS = 25
"""A host has so many, so that what no portrait shows does not add up for ever."""


@pytest.fixture(scope="session")
def spare_hosts() -> Iterator[list[Host]]:
    """Hosts that the last test left as they were made, which takes longer than what most tests do on one."""
    found: list[Host] = []
    yield found
    for host in found:
        host.end()


@pytest.fixture
def make_host(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory,
              spare_hosts: list[Host]) -> Iterator[Callable[..., Host]]:
    """Makes hosts, each of which has to end as it began."""
    made: list[Host] = []

    def make(*prefix: str) -> Host:
        if spare_hosts and not prefix:
            made.append(spare_hosts.pop())
            made[-1].renew(tmp_path)
        else:
            made.append(Host(tmp_path, prefix, None if prefix else tmp_path_factory.getbasetemp()))
        return made[-1]

    yield make
    clean = []
    try:
        for host in made:
            host.check_clean()
            clean.append(host)
    finally:
        for host in made:
            if host in clean and host.kept and host.tests < MOST_TESTS:
                spare_hosts.append(host)
            else:
                host.end()


@pytest.fixture
def host(make_host: Callable[..., Host]) -> Host:
    """A host of this test's own."""
    return make_host()


@pytest.fixture
def vpc1(host: Host) -> Host:
    """A host with the article's first VPC: a public and a private subnet."""
    make_vpc1(host)
    return host


def make_vpc1(host: Host) -> None:
    """The article's first VPC: by one command, as it is made hundreds of times."""
    make(host, VPC1)


def make(host: Host, *vpcs: dict[str, Any]) -> None:
    """Networks as `vpc create` and `subnet add` would make them."""
    file = {"version": 1, "vpcs": {name: vpc for one in vpcs for name, vpc in one.items()}}
    done = host.vpcctl("apply", "-f", "-", stdin=json.dumps(file))
    assert done.code == 0, done


@pytest.fixture(scope="module")
def left_as_found() -> Iterator[list[tuple[Host, Portrait, Any]]]:
    """The host that the last case left as it found it, if it did; and what it looks like, with its record."""
    found: list[tuple[Host, Portrait, Any]] = []
    yield found
    for host, *_ in found:
        try:
            host.check_clean()
        finally:
            host.end()


@pytest.fixture
def shared_vpc1(left_as_found: list[tuple[Host, Portrait, Any]],
                tmp_path_factory: pytest.TempPathFactory) -> Iterator[Host]:
    """The same as `vpc1`, for many cases, each of which has to leave host and record as it found them.

    To make a host and its VPC takes longer than such a case. If one fails, the next gets another host.
    """
    if not left_as_found:
        host = Host(tmp_path_factory.mktemp("shared"))
        make_vpc1(host)
        left_as_found.append((host, host.portrait(), host.state()))
    host, before, record = left_as_found.pop()
    try:
        yield host
        host.check_same(before)
        assert host.state() == record
    except BaseException:
        host.end()
        raise
    left_as_found.append((host, before, record))


@pytest.fixture
def vpc2(vpc1: Host) -> Host:
    """The article's second VPC beside it, with a private subnet too."""
    make(vpc1, VPC2)
    return vpc1

"""What the unit tests share: a place for files, and a host on which nothing is ours yet."""

from __future__ import annotations

import socket
from collections.abc import Iterator
from pathlib import Path
from tempfile import TemporaryDirectory, mkdtemp
from typing import NoReturn

import pytest

from tests import memory as keeping
from vpcctl_lib.kernel import containers, netns, proc, run, users
from vpcctl_lib.resources import File, Folder, forwarders, hooks, ifb, processes, rate, vxlan
from vpcctl_lib.workloads import interpreter


@pytest.fixture(scope="session")
def memory() -> Iterator[Path]:
    """A folder for all tests, gone at the end."""
    with TemporaryDirectory(prefix="vpcctl-", dir=keeping.place) as folder:
        yield Path(folder)


@pytest.fixture
def tmp_path(memory: Path) -> Path:
    """A folder for the test alone; to name one, pytest's own fixture looks through those of all others."""
    return Path(mkdtemp(dir=memory))


def refused(command: run.Command, **_: object) -> NoReturn:
    """Nothing is asked of this machine, whose answers would take long, and differ from those of others."""
    raise AssertionError(f"a unit test asks this machine: {command}")


@pytest.fixture(scope="module")
def bare_host(memory: Path) -> Iterator[Path]:
    """Nothing of ours is there, and nothing of this machine is seen. Returns where its settings stand."""
    folder = Path(mkdtemp(dir=memory))
    values = folder / "net/ipv4"
    for name, value in {"ip_forward": "0", "conf/all/accept_redirects": "1", "conf/all/forwarding": "0",
                        "conf/eth0/forwarding": "0", "conf/docker0/forwarding": "1"}.items():
        (values / name).parent.mkdir(parents=True, exist_ok=True)
        (values / name).write_text(f"{value}\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(netns, "NAMES", folder / "netns")
        (folder / "dev").write_text("Inter-|\n face |\n    lo: 0\n  eth0: 0\n")
        patch.setattr(proc, "NETWORK", folder)
        patch.setattr(socket, "if_nameindex", lambda: [(1, "lo"), (2, "eth0")])
        patch.setattr(proc, "SYSCTLS", folder)
        patch.setattr(forwarders, "look", lambda *_, **__: forwarders.Seen())
        patch.setattr(Folder, "survey", lambda *_: {})
        patch.setattr(File, "survey", lambda *_: {})
        patch.setattr(users, "is_mapped", lambda _: True)
        patch.setattr(containers, "has", lambda _: False)
        for module in (hooks, ifb, rate, vxlan):
            patch.setattr(module, "check_able", lambda *_: None)
        patch.setattr(run, "_run", refused)
        patch.setattr(processes, "KEEPER", "/opt/vpcctl/vpcctl_lib/keeper/__main__.py")
        patch.setattr(processes.sys, "executable", "/usr/bin/python3")
        patch.setattr(interpreter, "web_server", lambda *words: ("python3", "-c", "…", *map(str, words)))
        patch.setattr(interpreter, "collector", lambda watched: ("python3", "-c", "…", watched))
        yield values

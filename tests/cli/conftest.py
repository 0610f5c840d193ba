"""What the tests of the command line share: it runs in this process, on a host that it can't change."""

from __future__ import annotations

import inspect
import json
import os
import socket
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from ipaddress import IPv4Address, IPv4Network
from pathlib import Path
from typing import Any
from unittest import mock

import click.testing
import pytest

import vpcctl_lib.sandbox
from vpcctl_lib.blueprint import blueprint
from vpcctl_lib.cli import root
from vpcctl_lib.engine.plan import difference
from vpcctl_lib.engine.transaction import Transaction
from vpcctl_lib.kernel import guarding, netns, proc, reader, run
from vpcctl_lib.kernel.reader import Reading
from vpcctl_lib.kernel.run import Command, Outcome
from vpcctl_lib.model.policies import Action, Policy, Ports, Protocol, Rule
from vpcctl_lib.model.topology import OWN, Machine, Nat, Peering, Subnet, SubnetType, Topology, Vpc
from vpcctl_lib.model.workloads import Workload
from vpcctl_lib.record.ledger import State
from vpcctl_lib.record.store import Store
from vpcctl_lib.resources import File, Folder, Namespace, forwarders
from vpcctl_lib.uplink import resolvers
from vpcctl_lib.workloads import interpreter

ROUTES = ('[{"dst": "default", "gateway": "192.0.2.1", "dev": "eth0"}, '
          '{"dst": "192.0.2.0/24", "dev": "eth0"}, '
          '{"dst": "10.99.0.0/16", "dev": "tun0"}, {"type": "local", "dst": "127.0.0.0/8", "dev": "lo"}]')
WAY_OUT = '[{"dst": "default", "gateway": "192.0.2.1", "dev": "eth0", "flags": []}]\n'
LINKS = ('[{"ifname": "lo", "mtu": 65536, "flags": ["UP"], "addr_info": []}, '
         '{"ifname": "eth0", "mtu": 1500, "flags": ["UP", "LOWER_UP"], '
         '"addr_info": [{"family": "inet", "local": "192.0.2.2", "prefixlen": 24}]}]')

WEB = Policy((Rule(Protocol.TCP, Action.ALLOW, Ports(80, 80), description="the [web]"),
              Rule(Protocol.TCP, Action.DENY, Ports(8000, 8100), IPv4Network("10.0.0.0/16"))))
PUBLIC = Subnet("public", IPv4Network("10.0.1.0/24"), SubnetType.PUBLIC, WEB,
                (Machine(workloads=(Workload("webserver-80", port=80),
                                    Workload("worker", ("sleep", "infinity")))),))
PREPARED = Topology(
    (Vpc("vpc1", IPv4Network("10.0.0.0/16"), nat=Nat("eth0", 1500, (IPv4Address("9.9.9.9"),)),
         subnets=(PUBLIC, Subnet("private", IPv4Network("10.0.2.0/24"), machines=(
             OWN, Machine("db", (IPv4Address("10.0.2.4"),)))))),
     Vpc("vpc2", IPv4Network("172.16.0.0/16"), 1, subnets=(Subnet("web", IPv4Network("172.16.1.0/24")),)),
     Vpc("vpc3", IPv4Network("192.168.0.0/24"), 2)),
    (Peering("vpc1", "vpc2"),), guarded=True, quotes=True, forwarding="0")


@dataclass(frozen=True)
class Done:
    """How a command ended, and what it printed where."""

    code: int
    out: str
    err: str

    def one_line(self) -> str:
        """The error, which is one line and perhaps a hint; nothing is on stdout."""
        told, *hints = self.err.splitlines()
        assert told.startswith("Error: "), self.err
        assert all(hint.startswith("Hint: ") for hint in hints), self.err
        assert len(hints) <= 1
        assert self.out == ""
        return self.err


class Vpcctl:
    """Runs commands with a state folder of their own."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.store = Store(folder)
        separate = {"mix_stderr": False} if "mix_stderr" in inspect.signature(
            click.testing.CliRunner).parameters else {}
        self._runner = click.testing.CliRunner(**separate)

    def __call__(self, *words: str, uid: int = 0, stdin: str = "", **environment: str) -> Done:
        """Run a command as that user; a traceback fails the test."""
        environment = {"VPCCTL_STATE_DIR": str(self.folder), **environment}
        with mock.patch.object(os, "geteuid", return_value=uid):
            result = self._runner.invoke(root, list(words), stdin, environment, prog_name="vpcctl")
        if result.exception is not None and not isinstance(result.exception, SystemExit):
            raise result.exception
        return Done(result.exit_code, result.stdout, result.stderr)

    def files(self) -> dict[str, bytes]:
        """All that is kept, but for the log and the lock."""
        return {str(path): path.read_bytes() for path in sorted(self.folder.rglob("*"))
                if path.is_file() and path.name not in ("vpcctl.log", "lock")}


def refuse(*words: object, **_: object) -> None:
    """Stands where the host would be changed."""
    raise AssertionError(f"the host would be changed: {words}")


def answer(command: Command, **_: object) -> Outcome:
    """What `ip -batch`, `nft -j list`, iptables-save and others say of the host; nothing else may run."""
    words = command.argv
    if words[0] == "ip" and "-batch" in words:
        return Outcome(command, 0, "".join(map(_way, command.stdin.splitlines())), "", 0.0)
    if words[:2] == ("unshare", "--net"):
        # What the kernel can, tried in a network of its own.
        return Outcome(command, 0, "", "", 0.0)
    if words[:3] == ("nft", "-j", "list"):
        return Outcome(command, 0, "", "", 0.0)
    if "ntable" in words:
        return Outcome(command, 0, "[]", "", 0.0)
    if "iptables-save" in words:
        return Outcome(command, 0, "", "", 0.0)
    raise AssertionError(f"the host would be changed: {command}")


def listed(readings: Iterable[Reading]) -> list[Any]:
    """What the host's kernel says of its links and routes."""
    known = {Reading.LINKS: LINKS, Reading.ROUTES: ROUTES, Reading.MAIN_ROUTES: ROUTES}
    return [json.loads(known[one]) for one in readings]


def _way(question: str) -> str:
    """What `ip route get` says: out of eth0, or down the cable of the VPC that has the address."""
    address = question.split()[2]
    cable = {"10": "vpc-vpc1", "172": "vpc-vpc2", "192": "vpc-vpc3"}.get(address.partition(".")[0])
    return f'[{{"dst": "{address}", "dev": "{cable}", "flags": []}}]\n' if cable else WAY_OUT


@pytest.fixture(scope="module")
def harmless(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Nothing of this machine is seen, nothing can be changed. Returns where its settings stand."""
    folder = tmp_path_factory.mktemp("host")
    settings = {"ip_forward": "0", "conf/all/accept_redirects": "1", "conf/all/forwarding": "1"}
    for name, value in settings.items():
        file = folder / "net/ipv4" / name
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(f"{value}\n")
    (folder / "resolv.conf").write_text("nameserver 9.9.9.9\n")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(run, "_run", answer)
        patch.setattr(reader, "answers", listed)
        patch.setattr(run, "_popen", refuse)
        patch.setattr(run, "start", refuse)
        patch.setattr(run, "fork", refuse)
        patch.setattr(run, "_located", lambda tool, path: f"/usr/sbin/{tool}")
        patch.setattr(guarding, "missing", lambda runner: "")
        patch.setattr(guarding, "reads_quotes", lambda runner: True)
        patch.setattr(Transaction, "apply", refuse)
        patch.setattr(vpcctl_lib.sandbox, "enter", lambda wish: 0)
        # Else this process would move into a sandbox that somebody runs on this machine, for good.
        patch.setattr(vpcctl_lib.sandbox, "join", lambda wish, which: 0)
        patch.setattr(vpcctl_lib.sandbox, "running", list)
        patch.setattr(netns, "NAMES", folder / "netns")
        (folder / "dev").write_text("Inter-|\n face |\n    lo: 0\n  eth0: 0\n")
        patch.setattr(proc, "NETWORK", folder)
        patch.setattr(proc, "SYSCTLS", folder)
        patch.setattr(socket, "if_nameindex", lambda: [(1, "lo"), (2, "eth0")])
        patch.setattr(resolvers, "FILE", folder / "resolv.conf")
        patch.setattr(forwarders, "look", lambda *_, **__: forwarders.Seen())
        patch.setattr(Folder, "survey", lambda *_: {})
        patch.setattr(File, "survey", lambda *_: {})
        patch.setattr(interpreter, "web_server", lambda *words: ("python3", "-c", "…", *map(str, words)))
        yield folder


@pytest.fixture
def vpcctl(harmless: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Vpcctl:
    """The command line where nothing is recorded."""
    monkeypatch.chdir(tmp_path)
    return Vpcctl(tmp_path / "state")


@pytest.fixture
def prepared(vpcctl: Vpcctl, monkeypatch: pytest.MonkeyPatch) -> Vpcctl:
    """The command line where a small network is recorded: two peered VPCs, and one that is empty."""
    vpcctl.folder.mkdir()
    ledger = difference((), blueprint(PREPARED)).after
    vpcctl.store.save(State(PREPARED, ledger))
    spaces = {entry.resource.name for entry in ledger if isinstance(entry.resource, Namespace)}
    monkeypatch.setattr(netns, "names", lambda: frozenset(spaces))
    return vpcctl

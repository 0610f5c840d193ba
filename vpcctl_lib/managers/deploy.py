"""Workloads in subnets."""

from __future__ import annotations

import socket
from collections.abc import Iterator, Mapping
from contextlib import closing
from dataclasses import replace
from enum import Enum
from pathlib import Path

from vpcctl_lib.errors import BadInput, VpcctlError
from vpcctl_lib.files.documents import shown
from vpcctl_lib.frozen import frozen
from vpcctl_lib.keeper.fate import Fate
from vpcctl_lib.kernel import netns, processes
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.kernel.users import check_user
from vpcctl_lib.managers.base import Change, Manager
from vpcctl_lib.model import endpoints, naming
from vpcctl_lib.model.endpoints import Endpoint, Site
from vpcctl_lib.model.lookup import find_endpoint, find_machine, find_subnet, find_vpc, nearest
from vpcctl_lib.model.topology import Topology
from vpcctl_lib.model.workloads import Workload
from vpcctl_lib.record.ledger import Entry
from vpcctl_lib.workloads import logs, members


class Life(Enum):
    """Whether a workload runs; restarting means between two runs."""

    RUNNING = "running"
    RESTARTING = "restarting"
    STOPPED = "stopped"
    UNKNOWN = "unknown"


@frozen
class Running:
    """A workload's current state: where, what, its pid while it runs, and its fate."""

    site: Site
    workload: Workload
    life: Life
    pid: int | None
    log: Path
    urls: tuple[str, ...] = ()
    """Where a web server answers: by IPv4, and by IPv6 if its machine has that."""

    fate: Fate | None = None
    leader: processes.Process | None = None
    """The process that ends with the workload: its keeper."""


class DeployManager(Manager):
    """Starts, lists and stops workloads."""

    def webserver(self, site: Site, workload: Workload) -> Change:
        """Start our small web server on a port; repeating it changes nothing."""
        return self._start(site, workload)

    def run(self, site: Site, workload: Workload) -> Change:
        """Start any long-running program; repeating it changes nothing."""
        naming.check_name(workload.name, "workload")
        for word in (*workload.argv, *workload.upkeep.env, workload.upkeep.workdir):
            _check_text(word)
        check_user(workload.user)
        return self._start(site, workload)

    def _start(self, site: Site, workload: Workload) -> Change:
        def decide(topology: Topology) -> Topology:
            where = find_endpoint(topology, site)
            if where.tap:
                raise VpcctlError(f"{site} is a virtual machine: its programs are those of its guest",
                                  "start them there, or add a machine of vpcctl's own: vpcctl instance add")
            if where.attached:
                raise VpcctlError(f"{site} is attached: its programs are those of {where.attached.source}",
                                  "start them there, or add a machine of vpcctl's own: vpcctl instance add")
            existing = next((one for one in where.workloads if one.name == workload.name), None)
            if existing is not None and existing != workload:
                raise VpcctlError(f"workload '{workload.name}' already exists in {site}, "
                                  "with another command or other options",
                                  "stop it first, or choose another name")
            running = self._find(site, workload.name)
            if running is not None and running.leader is not None:
                return topology
            self.remake(("program", f"{site}/{workload.name}"))
            if workload.port is not None:
                _check_port(where.namespace, workload.port)
            others = [other for other in where.workloads if other.name != workload.name]
            return _with_workloads(topology, site, (*others, workload))

        return self.change(decide)

    def _find(self, site: Site, name: str) -> Running | None:
        return next((one for one in self.list() if (one.site, one.workload.name) == (site, name)), None)

    def list(self, vpc_name: str | None = None) -> list[Running]:
        """All workloads, or those of one VPC."""
        state = self.state()
        if vpc_name is not None:
            find_vpc(state.topology, vpc_name)
        programs = {mark: entry for entry in state.ledger if (mark := entry.resource.workload)}
        return [running for running in self._running(state.topology, programs)
                if vpc_name in (None, running.site.vpc)]

    def _running(self, topology: Topology, programs: dict[str, Entry]) -> Iterator[Running]:
        kernel = Kernel(self.runner)
        for where in endpoints.everywhere(topology):
            for workload in where.workloads:
                entry = programs.get(f"{where.site}/{workload.name}")
                facts = entry.found if entry else {}
                leader = kernel.process(facts)
                pid = members.main(facts) if leader else None
                log = self._log(where.site, workload.name)
                yield Running(where.site, workload, _life(facts, leader, pid), pid, log,
                              _urls(where, workload), logs.fate(log), leader)

    def _log(self, site: Site, name: str) -> Path:
        return self.context.store.folder / f"logs/{site}/{name}.log"

    def find(self, site: Site, name: str) -> Running:
        """The workload of that name; VpcctlError with the nearest right name if there is none."""
        where = find_endpoint(self.state().topology, site)
        running = self._find(site, name)
        if running is None:
            raise VpcctlError(f"workload '{name}' does not exist in {site}",
                              nearest(name, [workload.name for workload in where.workloads],
                                      "see: vpcctl deploy list"))
        return running

    def logs(self, site: Site, name: str) -> str:
        """The workload's output, even of one that did not start, which left only its log."""
        log = self._log(site, name)
        find_endpoint(self.state().topology, site)
        if not naming.NAME.fullmatch(name) or not logs.is_written(log):
            log = self.find(site, name).log
        try:
            return logs.text(log)
        except OSError as error:
            raise VpcctlError(f"can't read {log}: {error.strerror}") from None

    def follow(self, site: Site, name: str) -> Iterator[bytes]:
        """The workload's output so far, then new output until it ends; sometimes empty."""
        running = self.find(site, name)
        process = running.leader
        try:
            with closing(logs.follow(running.log)) as parts:
                for part in parts:
                    yield part
                    if process is None or processes.look(process.pid) != process:
                        break
                yield next(parts)
        except OSError as error:
            raise VpcctlError(f"can't read {running.log}: {error.strerror}") from None

    def stop(self, site: Site, name: str) -> Change:
        """Stop and remove the workload, with its children and its log."""
        def has(topology: Topology) -> bool:
            vpc = topology.vpc(site.vpc)
            subnet = vpc.subnet(site.subnet) if vpc else None
            machine = subnet.machine(site.machine) if subnet else None
            return machine is not None and machine.workload(name) is not None

        def decide(topology: Topology) -> Topology:
            if not has(topology) and self.was_finished(has):
                return topology
            self.find(site, name)
            held = find_endpoint(topology, site).workloads
            return _with_workloads(topology, site, tuple(one for one in held if one.name != name))

        return self.change(decide)


def _with_workloads(topology: Topology, site: Site, workloads: tuple[Workload, ...]) -> Topology:
    vpc, subnet = find_subnet(topology, site.vpc, site.subnet)
    machine = replace(find_machine(subnet, site), workloads=workloads)
    return topology.with_vpc(vpc.with_subnet(subnet.with_machine(machine)))


def _life(facts: Mapping[str, str], leader: processes.Process | None, pid: int | None) -> Life:
    if leader is not None:
        return Life.RESTARTING if pid is None else Life.RUNNING
    return Life.UNKNOWN if processes.is_hidden(facts) else Life.STOPPED


def _urls(where: Endpoint, workload: Workload) -> tuple[str, ...]:
    if workload.port is None:
        return ()
    hosts = (str(where.address), *(f"[{address}]" for address in where.ipv6[:1]))
    return tuple(f"http://{host}:{workload.port}" for host in hosts)


def _check_port(namespace: str, port: int) -> None:
    """Refuse a port on which something already listens, in either family."""
    for family in (socket.AF_INET, socket.AF_INET6) if netns.exists(namespace) else ():
        _check_bindable(namespace, port, family)


def _check_bindable(namespace: str, port: int, family: socket.AddressFamily) -> None:
    if family == socket.AF_INET6 and not netns.have_ipv6():
        return
    with netns.within(namespace, lambda: socket.socket(family, socket.SOCK_STREAM)) as listener:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        if family == socket.AF_INET6:
            listener.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        try:
            listener.bind(("", port))
        except OSError as error:
            raise VpcctlError(f"port {port} is already in use in {namespace} ({error.strerror})",
                              f"choose another, or see what uses it: ip netns exec {namespace} ss -ltnp"
                              ) from None


def _check_text(word: str) -> None:
    """Refuse what a topology file can't contain, so that `export` can always write it."""
    try:
        word.encode()
    except UnicodeEncodeError:
        raise BadInput(f"{shown(word)} is not UTF-8 text", "put it in a script, and run that") from None

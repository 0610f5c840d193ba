"""The host as a whole: is it as recorded, and making it so again."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import NoReturn

from vpcctl_lib.blueprint import blueprint
from vpcctl_lib.engine.inspection import Finding, findings, inspect, kept_apart, owners
from vpcctl_lib.engine.plan import Faults, Plan, difference
from vpcctl_lib.engine.rebuild import Rebuilder
from vpcctl_lib.engine.rehearsal import commands
from vpcctl_lib.engine.strays import strays
from vpcctl_lib.engine.union import added, united
from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel import guarding, variants
from vpcctl_lib.kernel.interrupts import Interrupted, Interrupts
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.kernel.run import TOOLS, need
from vpcctl_lib.managers import packets, unit
from vpcctl_lib.managers.base import Change, Context, Manager, need_root
from vpcctl_lib.managers.deploy import DeployManager, Life, Running
from vpcctl_lib.managers.packets import Asked, Uplinks
from vpcctl_lib.model import naming
from vpcctl_lib.model.topology import Topology
from vpcctl_lib.record.ledger import Entry, State
from vpcctl_lib.resources import Condition, Fault, Resource
from vpcctl_lib.resources.operations import Make, Remove
from vpcctl_lib.uplink.packets import Passage
from vpcctl_lib.workloads import processes


@frozen
class Stranger:
    """A process in one of our namespaces that vpcctl did not start."""

    namespace: str
    pid: int
    program: str


@frozen
class Status:
    """The kernel held against the record."""

    findings: tuple[Finding, ...]
    strangers: tuple[Stranger, ...] = ()
    notes: tuple[str, ...] = ()
    packets: tuple[Passage, ...] = ()
    stopped: tuple[Running, ...] = ()
    """The workloads that do not run, each with how it ended."""

    @property
    def in_sync(self) -> bool:
        """Whether all is as recorded and no VPC's packets are known to be lost."""
        return not self.findings and not packets.lost(self.packets)


class HostManager(Manager):
    """Compares the kernel with the record, both ways, and makes it match again."""

    def __init__(self, context: Context, leader: Manager | None = None) -> None:
        """Nothing is known of the host yet."""
        super().__init__(context, leader)
        self._blind: Mapping[str, Fault] = {}
        self._failures: list[str] = []

    def status(self) -> Status:
        """What differs, nothing when in sync; who else is there; what else is worth knowing."""
        need_root()
        need("ip", "iptables")
        state = self.load()
        kernel = Kernel(self.runner)
        faults = inspect(kernel, state.ledger)
        found = findings(kernel, state.ledger, blueprint(state.topology), faults)
        asked = Asked(self.runner, self.host)
        uplinks = Uplinks(asked)
        found += packets.drift(state.topology, uplinks)
        passages = packets.look(asked, state.topology,
                                packets.faulty(state.topology, state.ledger, faults))
        notes = variants.warnings(self.context.runner, state.iptables) if state.iptables else []
        if state.topology.guarded is False:
            missing = guarding.missing(self.runner)
            notes.append(guarding.UNGUARDED.format(missing or "is there now: vpcctl restore"))
        if state.topology.quotes is False:
            notes.append(guarding.UNQUOTED)
        notes += dict.fromkeys(uplinks.warnings)
        stopped = (one for one in DeployManager(self.context).list() if one.life is Life.STOPPED)
        return Status(tuple(found), tuple(self._strangers(state)), tuple(notes), tuple(passages),
                      tuple(stopped))

    def _strangers(self, state: State) -> Iterator[Stranger]:
        """Whatever runs in our namespaces and is no workload, nor was started by one."""
        spaces = [space for entry in state.ledger if (space := entry.resource.space)]
        leaders = filter(None, (processes.recognise(entry.found) for entry in state.ledger
                                if entry.resource.workload))
        rooms, sessions = set(), set()
        for leader in leaders:
            sessions.add(leader.session)
            if processes.is_keeper(leader):
                rooms.add(processes.room(leader))
        for space, process in processes.by_namespace(spaces):
            known = processes.room(process) in rooms or process.session in sessions
            if not known and not processes.is_passing(process):
                yield Stranger(space, process.pid, process.program())

    def restore(self) -> Change:
        """Everything recorded is there again; what is there already stays untouched."""
        change = self.change(self._followed)
        if self._blind and not change.changed:
            self._tell_of(self._blind)
        if change.commands is not None:
            return change
        left = packets.warnings(packets.look(Asked(self.runner), change.topology))
        apart = (f"{one.what}: {one.detail}" for one in kept_apart(Kernel(self.runner), self.load().ledger))
        return replace(change, notes=tuple(dict.fromkeys((*change.notes, *left, *apart))))

    def _followed(self, topology: Topology) -> Topology:
        """The topology with NAT where the way out is by now, and the name servers of today."""
        uplinks = Uplinks(Asked(self.runner, self.host))
        uplinks.learn(topology)
        for vpc in topology.vpcs:
            if vpc.nat:
                now = uplinks.refreshed(topology, vpc, vpc.nat)
                topology = topology.with_vpc(replace(vpc, nat=now))
        for warning in dict.fromkeys(uplinks.warnings):
            self.warn(warning)
        return topology

    def carry_out(self, plan: Plan, state: State, topology: Topology) -> list[str]:
        """All at once; if that fails, subnet by subnet: no tenant keeps the others from being mended."""
        try:
            return self._apply(plan, state, topology)
        except Interrupted:
            raise
        except VpcctlError as error:
            whole, parts = error, self._parts(topology)
            if len(parts) < 2:
                raise
        notes: list[str] = []
        failed: list[str] = []
        for part in parts:
            state = self.load()
            try:
                plan = difference(state.ledger, blueprint(topology), part, self.runner)
                notes += self._apply(plan, state, topology)
            except Interrupted:
                raise
            except VpcctlError as error:
                failed.append(error.message)
        if len(failed) == len(parts):
            # It is nobody's in particular.
            raise whole
        self._failures += dict.fromkeys(failed)
        return notes

    def _parts(self, topology: Topology) -> list[Faults]:
        """What is wrong by whose it is: first that of hosts and routers, then that of each subnet."""
        state = self.load()
        if state.previous is not None:
            # What could not be undone comes first.
            return []
        found = self.faults(state, topology)
        parts: dict[str, dict[Hashable, Fault]] = {"": {}}
        for key, space in owners(topology, state.ledger).items():
            if key in found:
                parts.setdefault(space, {})[key] = found[key]
        return [part for part in parts.values() if part]

    def check_made(self) -> None:
        """Nothing that was broken is believed to be mended without a look."""
        state = self.load()
        found = inspect(Kernel(self.runner), state.ledger)
        left = {_named(entry.resource, fault): fault for entry in state.ledger
                if (fault := found.get(entry.resource.key))}
        if left or self._failures:
            self._tell_of(left)

    def _tell_of(self, left: Mapping[str, Fault]) -> NoReturn:
        told = (f"{name}: {fault.detail or fault.condition.value}" for name, fault in left.items())
        raise VpcctlError(f"this is still not as recorded: {'; '.join((*self._failures, *told))}",
                          "all else is; whoever changes it may do so again: see vpcctl status")

    def held(self, state: State) -> Sequence[Entry]:
        """What bears our mark and is nobody's, too: it goes."""
        return (*state.ledger, *map(Entry, strays(Kernel(self.runner), state.ledger)))

    def from_kernel(self) -> Change:
        """The record made anew from the marks in the kernel, and then all of it there again."""
        need_root()
        need(*TOOLS)
        if self.context.dry_run:
            if self.context.store.lost():
                return self._rehearsed(*self._rebuilt())
            taken = self._taken_up(self.load())
            return self._rehearsed(*taken[1:]) if taken else self._unfinished()
        with self.context.store.locked():
            if self.context.store.lost():
                return self._from_kernel()
            taken = self._taken_up(self.load())
            if taken:
                before, state, plan = taken
                notes = self._apply(plan, before, state.topology)
                return Change(state.topology, True, (*self._warnings, *notes))
        return self._unfinished()

    def _taken_up(self, before: State) -> tuple[State, State, Plan] | None:
        """What a sound record lacks of what the kernel has, added to it; None if that is nothing."""
        if before.previous is not None:
            return None
        variant = self.marked_variant()
        rebuilder = Rebuilder(Kernel(self.runner), variant)
        found = rebuilder.state()
        topology = united(before.topology, found.topology)
        if topology == before.topology:
            return None
        more = added(before.topology, topology)
        self.warn(f"taken up from the kernel: {', '.join(more)}")
        for note in dict.fromkeys(rebuilder.notes):
            if any(f"'{name}'" in note for name in more):
                self.warn(note)
        topology = self._settled(before.topology, topology)
        wanted = blueprint(topology)
        # What both know is looked at as the kernel is to have it: most of it has that already.
        shall = {resource.key: resource for resource in wanted}
        known = [replace(entry, resource=shall.get(entry.resource.key, entry.resource))
                 for entry in before.ledger]
        keys = {entry.resource.key for entry in known}
        fresh = [entry for entry in (*found.ledger, *_unasked(wanted))
                 if entry.resource.key in shall and entry.resource.key not in keys]
        state = State(topology, (*known, *fresh))
        self.check_strange(state)
        return before, state, difference(self.held(state), wanted, self.faults(state, topology), self.runner)

    def _rehearsed(self, state: State, plan: Plan) -> Change:
        return Change(state.topology, True, (), tuple(commands(plan, self.context.store.folder, self.runner)))

    def _unfinished(self) -> Change:
        """The same command was cut short when it had the record, but not yet all that this tells of."""
        if self.context.store.load().previous is None:
            raise VpcctlError("the record is sound: nothing is to be rebuilt", "see: vpcctl status")
        return self.restore()

    def _from_kernel(self) -> Change:
        """One change: a failure leaves what was lost as it was; after a crash the next command finishes."""
        state, plan = self._rebuilt()
        with Interrupts() as interrupts, self.context.store.set_aside() as kept:
            interrupts.check()
            for path in kept:
                self.warn(f"what was left of the record is kept as {path}")
            notes = self._apply(plan, state, state.topology)
        return Change(state.topology, True, (*self._warnings, *notes))

    def _rebuilt(self) -> tuple[State, Plan]:
        variant = variants.marked(self.context.runner, naming.HOST_FORWARD)
        self.use(variant)
        rebuilder = Rebuilder(Kernel(self.runner), variant)
        state = rebuilder.state()
        for note in dict.fromkeys(rebuilder.notes):
            self.warn(note)
        # What guards ports says nothing of what was asked for: it is made where it can be and is missing.
        topology = self._with_guard(Topology(), state.topology)
        wanted = blueprint(topology)
        state = replace(state, topology=topology, ledger=(*state.ledger, *_unasked(wanted)))
        return state, difference(state.ledger, wanted, self.faults(state, topology), self.runner)

    def install_unit(self, program: str, folder: Path) -> Change:
        """A systemd unit that restores at boot; written again if it is ours."""
        work = Make(folder / unit.NAME, unit.text(program, self.context.store.folder.absolute()))
        return self._unit(work, partial(_write_whole, work), "enable")

    def remove_unit(self, folder: Path) -> Change:
        """The unit gone."""
        work = Remove(folder / unit.NAME)
        return self._unit(work, partial(_remove_whole, work), "disable")

    def _unit(self, work: Make | Remove, task: Callable[[], None], verb: str) -> Change:
        """The unit's file is no part of any VPC: it is written as it is, without the ledger."""
        if self.context.dry_run:
            return Change(Topology(), True, (), (str(work),))
        need_root()
        try:
            task()
        except OSError as error:
            raise VpcctlError(f"{work.path}: {error.strerror}") from None
        self.warn(f"type: systemctl daemon-reload; systemctl {verb} {unit.NAME}")
        return Change(Topology(), True, tuple(self._warnings))

    def faults(self, state: State, wanted: Topology) -> Faults:
        """All that is wrong, as all of it is to be mended."""
        need_root()
        found = inspect(Kernel(self.runner), state.ledger)
        blind = [fault for fault in found.values() if fault.condition is Condition.UNREADABLE]
        self._blind = {f"namespace {fault.where}": fault for fault in blind}
        return found


def _unasked(wanted: Sequence[Resource]) -> Iterator[Entry]:
    return (Entry(resource) for resource in wanted if resource.unasked)


def _named(resource: Resource, fault: Fault) -> str:
    """What a fault is told of: all of a namespace that can't be read at once."""
    return f"namespace {fault.where}" if fault.condition is Condition.UNREADABLE else str(resource)


def _fresh(path: Path) -> Path:
    return path.with_name(f".{path.name}.new")


def _remove_whole(work: Remove) -> None:
    """The file, and what an earlier command may have left beside it when it was killed."""
    _fresh(work.path).unlink(missing_ok=True)
    work.do()


def _write_whole(work: Make) -> None:
    """The file as it was, or the new one: never half of it."""
    fresh = _fresh(work.path)
    with Interrupts() as interrupts:
        try:
            replace(work, path=fresh).do()
            interrupts.check()
            fresh.replace(work.path)
        except (OSError, Interrupted):
            fresh.unlink(missing_ok=True)
            raise

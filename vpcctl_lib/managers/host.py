"""The host as a whole: does it match the record, and restoring it."""

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
from vpcctl_lib.kernel import guarding, processes, variants
from vpcctl_lib.kernel.interrupts import Interrupted, Interrupts
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.kernel.run import TOOLS, need
from vpcctl_lib.managers import packets, unit
from vpcctl_lib.managers.base import Change, Context, Manager, need_root
from vpcctl_lib.managers.crowding import crowded
from vpcctl_lib.managers.deploy import DeployManager, Life, Running
from vpcctl_lib.managers.packets import Asked, Uplinks
from vpcctl_lib.model import naming
from vpcctl_lib.model.topology import Topology, Vpc
from vpcctl_lib.record.ledger import Entry, State
from vpcctl_lib.resources import Fault, Resource
from vpcctl_lib.resources.operations import Make, Remove
from vpcctl_lib.uplink.packets import Passage


@frozen
class Stranger:
    """A process in one of our namespaces that vpcctl did not start."""

    namespace: str
    pid: int
    program: str


@frozen
class Status:
    """The kernel compared with the record."""

    findings: tuple[Finding, ...]
    strangers: tuple[Stranger, ...] = ()
    notes: tuple[str, ...] = ()
    packets: tuple[Passage, ...] = ()
    stopped: tuple[Running, ...] = ()
    """The workloads that do not run, each with how it ended."""

    @property
    def in_sync(self) -> bool:
        """Whether everything is as recorded and no VPC's packets are known to be lost."""
        return not self.findings and not packets.lost(self.packets)


class HostManager(Manager):
    """Compares the kernel with the record, both ways, and makes it match again."""

    def __init__(self, context: Context, leader: Manager | None = None) -> None:
        """Nothing is known about the host yet."""
        super().__init__(context, leader)
        self._blind: Mapping[str, Fault] = {}
        self._failures: list[str] = []

    def status(self) -> Status:
        """What differs (nothing when in sync), foreign processes, and notes."""
        need_root()
        need("ip", "iptables")
        state = self.load()
        kernel = Kernel(self.runner)
        faults = self._inspected(kernel, state)
        found = findings(kernel, state.ledger, blueprint(state.topology), faults)
        asked = Asked(self.runner, self.host)
        uplinks = Uplinks(asked)
        found += packets.drift(state.topology, uplinks)
        passages = packets.look(asked, state.topology,
                                packets.faulty(state.topology, state.ledger, faults))
        notes = variants.warnings(self.context.runner, state.iptables) if state.iptables else []
        if state.topology.guarded is False:
            missing = guarding.missing(self.runner)
            notes.append(guarding.UNGUARDED.format(missing or "is now found: vpcctl restore"))
            # Imported late: nearly every host can guard ports.
            from vpcctl_lib.managers.naming import unanswered

            notes += unanswered(state.topology)
        if state.topology.quotes is False:
            notes.append(guarding.UNQUOTED)
        notes += filter(None, (*dict.fromkeys(uplinks.warnings), crowded(self.host, state.topology)))
        if any(vpc.flow_logs for vpc in state.topology.vpcs):
            # Imported late: most networks have none.
            from vpcctl_lib.managers.collecting import hindered

            notes += filter(None, (hindered(self.context.store.folder, state.topology),))
        stopped = (one for one in DeployManager(self.context).list() if one.life is Life.STOPPED)
        return Status(tuple(found), tuple(self._strangers(state)), tuple(notes), tuple(passages),
                      tuple(stopped))

    def _inspected(self, kernel: Kernel, state: State) -> dict[Hashable, Fault]:
        """The faults of all that is recorded, and of its files."""
        found = inspect(kernel, state.ledger)
        with_files = (entry.resource for entry in state.ledger
                      if type(entry.resource).check_file is not Resource.check_file)
        return found | {one.key: fault for one in with_files
                        if (fault := one.check_file(self.context.store.folder))}

    def _strangers(self, state: State) -> Iterator[Stranger]:
        """Processes in our namespaces that are not workloads, and were not started by one."""
        spaces = [space for entry in state.ledger if (space := entry.resource.space)]
        kernel = Kernel(self.runner)
        leaders = filter(None, (kernel.process(entry.found) for entry in state.ledger
                                if entry.resource.workload))
        rooms, sessions = set(), set()
        for leader in leaders:
            sessions.add(leader.session)
            if processes.is_keeper(leader):
                rooms.add(processes.room(leader))
        for space, process in kernel.processes(spaces):
            known = processes.room(process) in rooms or process.session in sessions
            if not known and not processes.is_passing(process):
                yield Stranger(space, process.pid, process.program())

    def restore(self) -> Change:
        """Bring back everything that is recorded; what exists stays untouched."""
        change = self.change(self._followed)
        if self._blind and (not change.changed or self._interrupted is not None):
            self._tell_of(self._blind)
        if change.commands is not None:
            return change
        left = packets.warnings(packets.look(Asked(self.runner), change.topology))
        apart = (f"{one.what}: {one.detail}" for one in kept_apart(Kernel(self.runner), self.load().ledger))
        return replace(change, notes=tuple(dict.fromkeys((*change.notes, *left, *apart))))

    def _followed(self, topology: Topology) -> Topology:
        """The topology with NAT at the current way out, and the current name servers."""
        return self._refreshed(topology, [vpc for vpc in topology.vpcs if vpc.nat])

    def _refreshed(self, topology: Topology, those: Sequence[Vpc]) -> Topology:
        uplinks = Uplinks(Asked(self.runner, self.host))
        uplinks.learn(topology)
        for vpc in those:
            if vpc.nat:
                now = uplinks.refreshed(topology, vpc, vpc.nat)
                topology = topology.with_vpc(replace(vpc, nat=now))
        for warning in dict.fromkeys(uplinks.warnings):
            self.warn(warning)
        return topology

    def _resolving(self, topology: Topology) -> Topology:
        """The topology with the host's name servers for NAT that has none: no subnet's file had them."""
        lacking = [vpc for vpc in topology.vpcs if vpc.nat and not vpc.nat.resolvers]
        return self._refreshed(topology, lacking) if lacking else topology

    def carry_out(self, plan: Plan, state: State, topology: Topology) -> list[str]:
        """All at once; if that fails, subnet by subnet: no tenant can stop the repair of others."""
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
            # It is not the fault of a single one.
            raise whole
        self._failures += dict.fromkeys(failed)
        return notes

    def _parts(self, topology: Topology) -> list[Faults]:
        """The faults by owner: first those of the host and routers, then those of each subnet."""
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
        """Check that everything that was broken is repaired."""
        state = self.load()
        found = self._inspected(Kernel(self.runner), state)
        left = {_named(entry.resource, fault): fault for entry in state.ledger
                if (fault := found.get(entry.resource.key))}
        if left or self._failures:
            self._tell_of(left)

    def _tell_of(self, left: Mapping[str, Fault]) -> NoReturn:
        told = (f"{name}: {fault.detail or fault.condition.value}" for name, fault in left.items())
        raise VpcctlError(f"not everything could be restored: {'; '.join((*self._failures, *told))}",
                          "everything else is restored; if something keeps changing it, find out what: "
                          "vpcctl status")

    def held(self, state: State) -> Sequence[Entry]:
        """Also what bears our mark and is not recorded: it goes."""
        return (*state.ledger, *map(Entry, strays(Kernel(self.runner), state.ledger)))

    def from_kernel(self) -> Change:
        """Rebuild the record from the marks in the kernel, and then restore everything in it."""
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
        """Add to an intact record what only the kernel has; None if there is nothing to add."""
        if before.previous is not None:
            return None
        variant = self.marked_variant()
        rebuilder = Rebuilder(Kernel(self.runner), variant)
        found = rebuilder.state()
        topology = united(before.topology, found.topology)
        if topology == before.topology:
            return None
        more = added(before.topology, topology)
        self.warn(f"adopted from the kernel: {', '.join(more)}")
        for note in dict.fromkeys(rebuilder.notes):
            if any(f"'{name}'" in note for name in more):
                self.warn(note)
        topology = self._settled(before.topology, self._resolving(topology))
        wanted = blueprint(topology)
        # Things in both are compared with the wanted state: most of them already have it.
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
        """An earlier run of this command was interrupted after it had rebuilt the record: finish it."""
        if self.context.store.load().previous is None:
            raise VpcctlError("the record is not lost: there is nothing to rebuild", "see: vpcctl status")
        return self.restore()

    def _from_kernel(self) -> Change:
        """One change: a failure leaves the lost record as before; after a crash the next command finishes."""
        state, plan = self._rebuilt()
        with Interrupts() as interrupts, self.context.store.set_aside() as kept:
            interrupts.check()
            for path in kept:
                self.warn(f"the damaged record is kept as {path}")
            notes = self._apply(plan, state, state.topology)
        return Change(state.topology, True, (*self._warnings, *notes))

    def _rebuilt(self) -> tuple[State, Plan]:
        variant = variants.marked(self.context.runner, naming.HOST_FORWARD)
        self.use(variant)
        rebuilder = Rebuilder(Kernel(self.runner), variant)
        state = rebuilder.state()
        for note in dict.fromkeys(rebuilder.notes):
            self.warn(note)
        # A port guard is not part of the request: it is made if possible and missing.
        topology = self._with_guard(Topology(), self._resolving(state.topology))
        wanted = blueprint(topology)
        state = replace(state, topology=topology, ledger=(*state.ledger, *_unasked(wanted)))
        return state, difference(state.ledger, wanted, self.faults(state, topology), self.runner)

    def install_unit(self, program: str, folder: Path) -> Change:
        """A systemd unit that restores at boot; written again if it is ours."""
        work = Make(folder / unit.NAME, unit.text(program, self.context.store.folder.absolute()))
        return self._unit(work, partial(_write_whole, work), "enable")

    def remove_unit(self, folder: Path) -> Change:
        """Remove the unit."""
        work = Remove(folder / unit.NAME)
        return self._unit(work, partial(_remove_whole, work), "disable")

    def _unit(self, work: Make | Remove, task: Callable[[], None], verb: str) -> Change:
        """The unit's file does not belong to a VPC: it is written directly, without the ledger."""
        if self.context.dry_run:
            return Change(Topology(), True, (), (str(work),))
        need_root()
        try:
            task()
        except OSError as error:
            raise VpcctlError(f"{work.path}: {error.strerror}") from None
        self.warn(f"run: systemctl daemon-reload; systemctl {verb} {unit.NAME}")
        return Change(Topology(), True, tuple(self._warnings))

    def faults(self, state: State, wanted: Topology) -> Faults:
        """All faults, because all must be repaired."""
        need_root()
        found = self._inspected(Kernel(self.runner), state)
        blind = [fault for fault in found.values() if fault.where]
        self._blind = {fault.whole: fault for fault in blind}
        return found


def _unasked(wanted: Sequence[Resource]) -> Iterator[Entry]:
    return (Entry(resource) for resource in wanted if resource.unasked)


def _named(resource: Resource, fault: Fault) -> str:
    """The name for a fault: one for all of a namespace that can't be read, or is gone, or of a table."""
    return fault.whole or str(resource)


def _fresh(path: Path) -> Path:
    return path.with_name(f".{path.name}.new")


def _remove_whole(work: Remove) -> None:
    """Remove the file, and what a killed command may have left beside it."""
    _fresh(work.path).unlink(missing_ok=True)
    work.do()


def _write_whole(work: Make) -> None:
    """Leaves the old file or the new one: never half of it."""
    fresh = _fresh(work.path)
    with Interrupts() as interrupts:
        try:
            replace(work, path=fresh).do()
            interrupts.check()
            fresh.replace(work.path)
        except (OSError, Interrupted):
            fresh.unlink(missing_ok=True)
            raise

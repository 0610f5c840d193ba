"""What all managers share: how a decision about the topology reaches the host."""

from __future__ import annotations

import os
import shlex
import sys
from collections.abc import Callable, Hashable, Sequence
from dataclasses import replace
from functools import cached_property, partial

from vpcctl_lib.blueprint import blueprint
from vpcctl_lib.engine.plan import Faults, Plan, difference
from vpcctl_lib.engine.strays import cables, is_marked, strange_cables
from vpcctl_lib.engine.transaction import Transaction
from vpcctl_lib.engine.wanted import wanted
from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel import guarding, netns, variants
from vpcctl_lib.kernel.crew import together
from vpcctl_lib.kernel.host import Host
from vpcctl_lib.kernel.interrupts import Interrupted
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.kernel.run import TOOLS, Runner, need
from vpcctl_lib.model import endpoints, kinds, naming
from vpcctl_lib.model.lookup import find_vpc
from vpcctl_lib.model.routing import forwards, opens
from vpcctl_lib.model.topology import Topology, Variant, Vpc
from vpcctl_lib.record.ledger import Entry, State
from vpcctl_lib.record.store import Store
from vpcctl_lib.resources import Condition, Forwarding, changed
from vpcctl_lib.resources.base import Taken
from vpcctl_lib.resources.settings import IP_FORWARD

GONE = changed("it has ended")


@frozen
class Context:
    """What a command needs."""

    store: Store
    runner: Runner
    dry_run: bool = False


@frozen
class Change:
    """The result of a decision: the topology now, whether anything changed, and notes."""

    topology: Topology
    changed: bool
    notes: tuple[str, ...] = ()
    commands: tuple[str, ...] | None = None


class Manager:
    """Checks and changes the topology; the transaction does the rest."""

    def __init__(self, context: Context, leader: Manager | None = None) -> None:
        """A manager that works for another shares its warnings, and its knowledge of the host."""
        self.context = context
        self.runner = context.runner
        self.host: Host = leader.host if leader else Host(context.runner)
        self._warnings: list[str] = leader._warnings if leader else []
        self._anew: set[Hashable] = set()
        self._interrupted: Topology | None = None
        self._variant: Variant | None = None

    def warn(self, text: str) -> None:
        """Warn the person; nothing stops."""
        self._warnings.append(text)

    def remake(self, key: Hashable) -> None:
        """Have the resource of that key recreated, although it is recorded."""
        self._anew.add(key)

    def state(self) -> State:
        """The recorded topology, without a change that is under way; reading never waits."""
        state = self.context.store.load()
        return replace(state, topology=state.settled, previous=None)

    def use(self, variant: Variant | None) -> None:
        """Use that kind of iptables from now on."""
        if variant is not self._variant:
            self.runner = replace(self.context.runner, names=variants.names(self.context.runner, variant))
            self._variant = variant

    def load(self) -> State:
        """The record, for a change or check, with the iptables that has our rules."""
        state = self.context.store.load()
        self.use(state.iptables)
        return state

    def change_vpc(self, name: str, decide: Callable[[Vpc], Vpc]) -> Change:
        """Decide on one VPC, which must exist."""
        return self.change(lambda topology: topology.with_vpc(decide(find_vpc(topology, name))))

    def change(self, decide: Callable[[Topology], Topology]) -> Change:
        """Decide on the topology under the lock, and make the host follow."""
        if self.context.dry_run:
            return self._rehearse(decide)
        need_root()
        need(*TOOLS)
        with self.context.store.locked():
            state = self.load()
            self.check_strange(state)
            state = self._healed(state)
            topology, plan = self._plan(state, decide)
            found = replace(topology, iptables=state.iptables, guarded=state.topology.guarded,
                            quotes=state.topology.quotes, forwarding=state.topology.forwarding,
                            front=state.topology.front, front6=state.topology.front6,
                            entrances=state.topology.entrances, whole6=state.topology.whole6)
            if not plan.steps and found == state.topology:
                return Change(topology, self._interrupted is not None, tuple(self._warnings))
            notes = self.carry_out(plan, state, topology)
            self.check_made()
        return Change(topology, True, (*self._warnings, *notes))

    def agreed(self) -> None:
        """Nothing speaks against what was decided, and nothing is done yet."""

    def check_made(self) -> None:
        """Check the result, if there is reason to doubt it."""

    def faults(self, state: State, wanted: Topology) -> Faults:
        """Where the kernel differs from the record: what `remake` named, or everything after a crash."""
        unsure = state.previous is not None or self._has_lost_namespaces(state, wanted)
        damage = self._apart(state, wanted, self._damage(state)) if unsure else {}
        return {**damage, **dict.fromkeys(self._anew, GONE)}

    def carry_out(self, plan: Plan, state: State, topology: Topology) -> list[str]:
        """Carry out all of the plan or nothing; returns notes."""
        return self._apply(plan, state, topology)

    def _apply(self, plan: Plan, state: State, topology: Topology) -> list[str]:
        # Before anything starts: the other iptables' tools may have been removed since the first VPC.
        need(*variants.needed(self.runner.names))
        return Transaction(self.runner, self.context.store).apply(plan, state, topology)

    def _healed(self, state: State) -> State:
        """Finish, or else undo, what an interrupted command left half-made; returns the state."""
        if state.previous is None:
            return state
        try:
            self._finish(state, state.topology)
            self._interrupted = state.previous
            self.warn("an interrupted command left something half-made: it is now finished")
        except Interrupted:
            raise
        except VpcctlError as error:
            self._undo(state, state.previous)
            self._interrupted = state.topology
            self.warn("an interrupted command left something half-made, which can't be finished "
                      f"({error.message}): it is now undone")
        return self.load()

    def _undo(self, state: State, topology: Topology) -> None:
        """Go back to that topology; if root in what is attached hinders that, without what is there."""
        try:
            self._finish(state, topology)
        except Interrupted:
            raise
        except VpcctlError:
            if not _others(topology):
                raise
            self._finish(state, topology, half_made=False)

    def _finish(self, state: State, topology: Topology, half_made: bool = True) -> None:
        """Go from the current state to that topology; others' things are not faults."""
        damage = self._apart(state, topology, self._damage(state), half_made)
        plan = difference(state.ledger, blueprint(topology), damage, self.runner)
        self._warnings += self._apply(plan, state, topology)

    def _apart(self, state: State, topology: Topology, damage: Faults, half_made: bool = True) -> Faults:
        """The damage except in what is attached and stays; with `half_made`, a change under way counts."""
        names = _others(topology) if damage else ()
        if not names:
            return damage
        # Imported late: most networks have nothing attached.
        from vpcctl_lib.engine import guests

        return guests.apart_from(state.ledger, damage,
                                 guests.calm(state.ledger, names) if half_made else names)

    def _damage(self, state: State) -> Faults:
        """The faults after a crash, except others' things in the place of complete ones; needs root."""
        need_root()
        # Imported late: most changes follow no crash.
        from vpcctl_lib.engine.inspection import inspect

        found = inspect(Kernel(self.runner), state.ledger)
        half_made = {entry.resource.key for entry in state.ledger if entry.under_way}
        return {key: fault for key, fault in found.items()
                if key in half_made or fault.condition is not Condition.FOREIGN}

    def _has_lost_namespaces(self, state: State, shall: Topology) -> bool:
        """Whether the host restarted, or somebody deleted one: then the record alone can't give a plan."""
        # The topology says the same as a ledger that follows from it, and need not be decoded.
        recorded = {*endpoints.namespaces(state.topology)} if state.parts else \
            {entry.resource.space or entry.resource.guest for entry in state.ledger} - {""}
        lost = recorded - netns.names()
        again = lost.intersection(endpoints.namespaces(shall)) if lost else set()
        again -= _others(shall) if again else set()
        if again:
            self.warn(f"{', '.join(sorted(again))}: recorded, but missing; what is missing is recreated")
        return bool(lost)

    def was_finished(self, had: Callable[[Topology], bool]) -> bool:
        """Whether the thing to delete has just gone, because an interrupted delete was finished."""
        return self._interrupted is not None and had(self._interrupted)

    def _rehearse(self, decide: Callable[[Topology], Topology]) -> Change:
        state = self.load()
        self.check_strange(state)
        topology, plan = self._plan(state, decide)
        from vpcctl_lib.engine.rehearsal import commands

        told = commands(plan, self.context.store.folder, self.runner)
        return Change(topology, bool(plan.steps), tuple(self._warnings), tuple(told))

    def _plan(self, state: State, decide: Callable[[Topology], Topology]) -> tuple[Topology, Plan]:
        topology = decide(state.topology)
        if any(vpc.ipv6 for vpc in (*topology.vpcs, *state.topology.vpcs)):
            # Imported late, as below: most networks have none.
            from vpcctl_lib.managers import dual

            topology = dual.settled(self.runner, state.topology, topology, self.warn)
        topology = self._settled(state.topology, topology)
        topology = replace(topology, forwarding=_forwarding(state, topology))
        topology = self._routed(state.topology, topology)
        if any(vpc.is_mirrored for vpc in topology.vpcs):
            from vpcctl_lib.model import mirroring

            topology = mirroring.settled(state.topology, topology)
            mirroring.check(state.topology, topology)
        kinds.check_collisions(topology)
        topology = self._opened(state.topology, topology)
        self._tell_of_unplugged(state.topology, topology)
        if any(vpc.groups for vpc in topology.vpcs):
            # Imported late, here and below: most networks have none.
            from vpcctl_lib.managers.grouping import check_groups

            self._warnings += check_groups(state.topology, topology)
        if any(vpc.acls or vpc.flow_logs for vpc in topology.vpcs):
            from vpcctl_lib.managers.needing import check_needs

            check_needs(self.runner, state.topology, topology)
        if any(vpc.dns or vpc.dhcp for vpc in topology.vpcs):
            from vpcctl_lib.managers.naming import check_names

            self._warnings += check_names(state.topology, topology)
        self.agreed()
        faults = self.faults(state, topology)
        # With faults, an unchanged entry says nothing about what is there.
        shall = wanted(State() if faults else state, topology)
        try:
            plan = difference(self.held(state), shall.all, faults, self.runner)
            return topology, replace(plan, parts=shall.parts)
        except Taken as taken:
            raise self._explained(taken) from None

    def _opened(self, before: Topology, after: Topology) -> Topology:
        """With the host's addresses outside, if something leads in from there; that is checked."""
        if not (opens(after) or after.eips or any(vpc.has_ports for vpc in after.vpcs)):
            return replace(after, front=None, front6=None, entrances=())
        # Imported late: most networks have none.
        from vpcctl_lib.managers.opening import opened

        topology, notes = opened(self.runner, before, after)
        self._warnings += notes
        return topology

    def _routed(self, before: Topology, topology: Topology) -> Topology:
        """The topology with what follows from its route tables, which are checked."""
        if not any(vpc.route_tables or vpc.nat_gateways or any(subnet.route_table for subnet in vpc.subnets)
                   for vpc in topology.vpcs):
            return topology
        # Imported late: most networks have only the built-in ones.
        from vpcctl_lib.model import route_checks, tables

        settled = tables.settled(before, topology)
        self._warnings += route_checks.check(before, settled)
        return settled

    def _tell_of_unplugged(self, before: Topology, after: Topology) -> None:
        machines = (one for vpc in before.vpcs for subnet in vpc.subnets for one in subnet.machines)
        if any(one.source for one in machines):
            # Imported late: most topologies have only machines of ours.
            from vpcctl_lib.model.guests import unplugged
            from vpcctl_lib.resources.attached import has_gone

            self._warnings += unplugged(before, after, partial(has_gone, Kernel(self.runner)))

    def held(self, state: State) -> Sequence[Entry]:
        """What we have, as far as it matters to the command: by default what is recorded."""
        return state.ledger

    def check_strange(self, state: State) -> None:
        """Refuse to rewrite the host's chains while they protect something that is not in the record."""
        strange = strange_cables(Kernel(self.runner), cables(state))
        if strange:
            raise VpcctlError(f"{', '.join(strange)}: marked as vpcctl's, but not in the record: the "
                              "host's rules for it would be lost",
                              "adopt it: vpcctl restore --from-kernel; or remove it: "
                              + "; ".join(f"ip link del {cable}" for cable in strange))

    def marked_variant(self) -> Variant:
        """The iptables with our rules, by the record or else by their marks; it is used from then on."""
        variant = self._variant or variants.marked(self.context.runner, naming.HOST_FORWARD)
        self.use(variant)
        return variant

    def _explained(self, taken: Taken) -> VpcctlError:
        """The error for what is in the way, which may be our own leftover; with a hint that helps."""
        kernel, (namespace, device) = Kernel(self.runner), taken.place
        if not is_marked(kernel, namespace, device or "lo"):
            return taken
        what = f"namespace '{namespace}'" if namespace else f"link '{device}'"
        away = f"ip netns del {namespace}" if namespace else f"ip link del {device}"
        # Imported late: nothing is in the way of most changes.
        from vpcctl_lib.engine.inspection import TAKE_UP
        from vpcctl_lib.engine.rebuild import Rebuilder

        known = {one.resource.space for one in Rebuilder(kernel, self.marked_variant()).state().ledger}
        hint = f"remove it with everything in it: {away}"
        if namespace in known:
            hint = f"{TAKE_UP}; or {hint}"
        return VpcctlError(f"{what} bears vpcctl's mark, but is not in the record", hint)

    def _settled(self, before: Topology, topology: Topology) -> Topology:
        """Settles for the first VPC, until the last is gone: the iptables with our rules, the guard."""
        return self._with_guard(before, replace(topology, iptables=self._iptables(before, topology)))

    def _iptables(self, before: Topology, topology: Topology) -> Variant | None:
        variant = topology.iptables if topology.vpcs else None
        if topology.vpcs and variant is None:
            variant = variants.choose(self.context.runner)
            self.use(variant)
        ways = {(vpc.name, vpc.nat) for vpc in topology.vpcs} - {(vpc.name, vpc.nat) for vpc in before.vpcs}
        if variant and ways:
            self._warnings += variants.warnings(self.context.runner, variant)
        return variant

    @cached_property
    def _quotes(self) -> bool:
        return guarding.reads_quotes(self.runner)

    def look_around(self, topology: Topology, *questions: Callable[[], object]) -> None:
        """Ask side by side what is asked of the host anyway; the answers are kept."""
        guard = () if topology.quotes else (lambda: self._quotes,)
        together(*questions, *guard)

    def _with_guard(self, before: Topology, topology: Topology) -> Topology:
        """Once guarded, always guarded; what was not possible may be possible by now."""
        if not topology.vpcs:
            return replace(topology, guarded=None, quotes=None)
        quotes = topology.quotes or self._quotes
        missing = "" if topology.guarded or quotes else guarding.missing(self.runner)
        if missing and before.guarded is None:
            self.warn(guarding.UNGUARDED.format(missing))
        if not (quotes or missing) and before.quotes is None:
            self.warn(guarding.UNQUOTED)
        return replace(topology, guarded=not missing, quotes=None if missing else quotes)


def _others(topology: Topology) -> set[str]:
    """The namespaces of somebody else's that are attached."""
    return {one.namespace for one in endpoints.everywhere(topology) if not one.is_ours}


def _forwarding(state: State, topology: Topology) -> str | None:
    """The ip_forward before we needed it: as recorded since the boot, or else the current value."""
    if not forwards(topology):
        return None
    forwarding = Forwarding()
    kind = Entry(forwarding).kind
    known = next((entry.found for entry in state.ledger
                  if entry.kind == kind and entry.resource == forwarding), None)
    if known is None or forwarding.is_outlived(known):
        return forwarding.value()
    return known.get(IP_FORWARD)


def need_root() -> None:
    """Refuse to change the host as a plain user, and name the command to type."""
    if os.geteuid() != 0:
        raise VpcctlError("this command needs root", f"run: sudo {shlex.join(sys.argv)}")


def standing(namespace: str) -> str:
    """The name of a recorded namespace that exists; VpcctlError says how to go on if it is missing."""
    if not netns.exists(namespace):
        raise VpcctlError(f"namespace {namespace} is recorded, but missing",
                          "bring it back with everything in it: sudo vpcctl restore")
    return namespace

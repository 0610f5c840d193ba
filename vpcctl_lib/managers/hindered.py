"""Policies where root in an attached namespace may stand in the way: that holds up no other machine."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace

from vpcctl_lib.engine.guests import among
from vpcctl_lib.engine.plan import Plan
from vpcctl_lib.engine.step import Step
from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.kernel.interrupts import Interrupted
from vpcctl_lib.managers.base import Manager
from vpcctl_lib.model import endpoints
from vpcctl_lib.model.endpoints import Endpoint
from vpcctl_lib.model.topology import Topology
from vpcctl_lib.record.ledger import State


class PolicyManager(Manager):
    """Changes what governs many machines at once."""

    def carry_out(self, plan: Plan, state: State, topology: Topology) -> list[str]:
        """All at once; if that fails, without what is in attached namespaces, and then in each of these."""
        try:
            return self._apply(plan, state, topology)
        except Interrupted:
            raise
        except VpcctlError as error:
            whole, parts = error, _parts(plan, _attached(state.topology, topology))
            rest = _rest(plan, parts)
            if not (parts and rest):
                raise
        try:
            notes = self._apply(replace(plan, steps=rest), state, topology)
        except Interrupted:
            raise
        except VpcctlError:
            # It is not the fault of an attached one.
            raise whole from None
        for one, steps in parts:
            notes += self._alone(one, replace(plan, steps=steps, before=plan.after), topology)
        return notes

    def _alone(self, one: Endpoint, plan: Plan, topology: Topology) -> list[str]:
        """What is in that namespace; a failure is recorded as done, so that `status` names the difference."""
        try:
            return self._apply(plan, self.load(), topology)
        except Interrupted:
            raise
        except VpcctlError as error:
            return [f"{one.site} is not governed by this, for its root stands in the way: {error.message}; "
                    "status says so, and to try again: vpcctl restore"]


def _attached(before: Topology, after: Topology) -> list[Endpoint]:
    """Those that were attached before, and still are: a new one is attached wholly or not at all."""
    had = {one.namespace for one in endpoints.everywhere(before) if not one.is_ours}
    return [one for one in endpoints.everywhere(after) if one.namespace in had and not one.is_ours]


def _parts(plan: Plan, attached: Sequence[Endpoint]) -> list[tuple[Endpoint, tuple[Step, ...]]]:
    """The steps in each of the attached namespaces that has some."""
    entries = [step.entry for step in plan.steps]
    found = []
    for one in attached:
        theirs = {id(entry) for entry in among(entries, (one.namespace,))}
        steps = tuple(step for step in plan.steps if id(step.entry) in theirs)
        found += [(one, steps)] if steps else []
    return found


def _rest(plan: Plan, parts: Sequence[tuple[Endpoint, Sequence[Step]]]) -> tuple[Step, ...]:
    apart = {id(step) for _, steps in parts for step in steps}
    return tuple(step for step in plan.steps if id(step) not in apart)

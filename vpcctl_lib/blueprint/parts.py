"""The parts of a blueprint: what each resource follows from, so that nothing else is computed again."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Iterator, Sequence
from dataclasses import replace
from functools import cached_property
from typing import Any, NamedTuple, TypeVar

from vpcctl_lib.model import endpoints
from vpcctl_lib.model.endpoints import Endpoint
from vpcctl_lib.model.topology import Machine, Subnet, Vpc
from vpcctl_lib.resources import Resource

Names = tuple[str, ...]
Frame = TypeVar("Frame", Vpc, Subnet)


class _Seat(NamedTuple):
    vpc: Vpc
    subnet: Subnet
    machine: Machine


class Seat(_Seat):
    """A machine, and the VPC and subnet around it without what else is in them."""

    @cached_property
    def endpoint(self) -> Endpoint:
        """The machine in the network; computed once for all parts, and not at all if none needs it."""
        return endpoints.endpoint(*self)


class Part(NamedTuple):
    """Resources by one function: for each of several things one after the other, or all at once."""

    names: Names
    """The VPCs that it belongs to; no two parts by the same function have the same."""

    function: Callable[..., Iterable[Resource]]
    things: Sequence[Any]
    """What the function is called for, one after the other: for a seat, with its VPC and its endpoint."""

    values: tuple[Any, ...] = ()
    """What else the resources follow from."""

    line: Callable[[Vpc, Subnet, Endpoint], str] | None = None
    """For a resource of all seats together (`Resource.lines`), whose function is called with a line for each:
    those of the same machines need no second look."""

    @property
    def key(self) -> Hashable:
        """Equal for the same part of another topology."""
        return (self.function, self.names)

    @property
    def units(self) -> Sequence[Any]:
        """The things one after the other, or all of them as one."""
        return (self.things,) if self.line else self.things

    def resources(self, thing: Any) -> list[Resource]:
        """Those for one of its units."""
        if self.line:
            return self.together(self.lines(thing))
        what = (thing.vpc, thing.endpoint) if isinstance(thing, Seat) else (thing,)
        return list(self.function(*what, *self.values))


    def lines(self, seats: Iterable[Seat]) -> list[str]:
        """The lines of some of its seats."""
        return [self.line(*one[:2], one.endpoint) for one in seats] if self.line else []

    def together(self, lines: Sequence[str]) -> list[Resource]:
        """Those of all seats together, from their lines."""
        return list(self.function(lines, *self.values))


class Openings(NamedTuple):
    """What lets connections in: chains and jumps to them, and what comes before all that refuses.

    `sent` comes first of all.
    """

    chains: tuple[Resource, ...] = ()
    jumps: tuple[Resource, ...] = ()
    forward: tuple[str, ...] = ()
    inward: tuple[str, ...] = ()
    suspect: tuple[str, ...] = ()
    genuine: tuple[str, ...] = ()
    guard: tuple[str, ...] = ()
    guard_out: tuple[str, ...] = ()
    sent: tuple[str, ...] = ()


class Frames:
    """VPCs and subnets without what is in them; equal ones are the same object, which compares faster."""

    def __init__(self) -> None:
        self._known: dict[Names, Any] = {}

    def seats(self, vpc: Vpc) -> Iterator[Seat]:
        """All machines of a VPC, subnet by subnet."""
        # Records are of no machine.
        dns = replace(vpc.dns, records=(), forward=()) if vpc.dns else None
        around = self._frame((vpc.name,), replace(vpc, subnets=(), acls=(), route_tables=(),
                                                  nat_gateways=(), dns=dns, dhcp=None,
                                                  flow_logs=()))
        for subnet in vpc.subnets:
            inner = self._frame((vpc.name, subnet.name),
                                replace(subnet, machines=(), acl="", route_table=""))
            gateways = endpoints.gateways(vpc, subnet) if vpc.nat_gateways else ()
            for machine in (*subnet.machines, *gateways):
                yield Seat(around, inner, machine)

    def _frame(self, names: Names, found: Frame) -> Frame:
        known: Frame | None = self._known.get(names)
        if known != found:
            known = self._known[names] = found
        return known

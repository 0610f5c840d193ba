"""Which of a route's several next hops a packet takes: the kernel's choice where it can be asked."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from vpcctl_lib.frozen import frozen
from vpcctl_lib.model.addressing import Family
from vpcctl_lib.reach.routes import Lookup, Route
from vpcctl_lib.reach.scene import Namespace

HASH_POLICY = "net/ipv4/fib_multipath_hash_policy"
BY_ADDRESSES = 0
"""The policy by which addresses alone decide (kernel's ip-sysctl.rst): `ip route get` gives them all."""

Key = tuple[str, str, Lookup]
Taken = Mapping[Key, int]


@frozen
class Fork:
    """A choice on a walk, and the next hop that the walk took."""

    key: Key
    where: str
    hops: tuple[Route, ...]
    index: int
    kernels: int | None
    """The one that the kernel chooses; None if the choice depends on more than is known of a packet."""

    @property
    def is_real(self) -> bool:
        """Whether a packet may take this way."""
        return self.kernels in (None, self.index)

    def __str__(self) -> str:
        return f"{self.where}: {self.hops[self.index].hop}"

    def others(self) -> Iterator[int]:
        """The next hops that the walk did not take."""
        return (number for number in range(len(self.hops)) if number != self.index)


class Forks:
    """The choices of one walk; those in `taken` are already made."""

    def __init__(self, taken: Taken) -> None:
        self.taken = taken
        self.met: dict[Key, Fork] = {}

    def pick(self, namespace: Namespace, route: Route, lookup: Lookup) -> Route:
        """The route by one next hop; always the same one."""
        if not route.hops:
            return route
        key = (namespace.name, str(route), lookup)
        fork = self.met.get(key)
        if fork is None:
            chosen = _kernels(namespace, route, lookup)
            index = self.taken.get(key, chosen or 0)
            fork = self.met[key] = Fork(key, namespace.title, route.hops, index, chosen)
        return fork.hops[fork.index]

    def left(self) -> Iterator[Taken]:
        """The choices of the walks that differ from this one where it chose for itself first."""
        made: dict[Key, int] = {}
        for key, fork in self.met.items():
            if key not in self.taken:
                yield from ({**made, key: other} for other in fork.others())
            made[key] = fork.index


def _kernels(namespace: Namespace, route: Route, lookup: Lookup) -> int | None:
    # In IPv6, the choice depends on the flow label, too, which each connection draws (rt6_multipath_hash).
    if namespace.family is Family.INET6 or namespace.number(HASH_POLICY) != BY_ADDRESSES:
        return None
    found = namespace.taken(lookup)
    return next((number for number, hop in enumerate(route.hops)
                 if (hop.device, str(hop.gateway or "")) == found), None)

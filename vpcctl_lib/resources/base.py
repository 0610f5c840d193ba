"""What every owned thing has in common: a key, and how it is made, changed and unmade."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping
from enum import Enum
from typing import ClassVar

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.reader import Kernel, Unreadable
from vpcctl_lib.kernel.run import Runner
from vpcctl_lib.resources.operations import KernelStep, Make, PutBack, Remove, Set
from vpcctl_lib.resources.processes import EmptyNamespaces, Start, Stop
from vpcctl_lib.resources.tracking import Forget, Keep

Operation = KernelStep | Set | PutBack | Make | Remove | EmptyNamespaces | Start | Stop | Forget | Keep
Operations = tuple[Operation, ...]
Facts = Mapping[str, str]
"""Facts from the making of a resource: the setting found, the process started."""


class Condition(Enum):
    """What is wrong with a resource."""

    MISSING = "missing"
    CHANGED = "changed"
    FOREIGN = "foreign"
    UNREADABLE = "unreadable"


@frozen
class Fault:
    """How the kernel differs from the record; a foreign thing has our thing's name without our mark."""

    condition: Condition
    detail: str = ""
    remedy: Operations = ()
    """Extra steps before the resource is recreated or changed."""

    where: str = ""
    """The namespace that can't be read completely."""


MISSING = Fault(Condition.MISSING)
EMPTY = Fault(Condition.FOREIGN, "it is empty")
"""A namespace without our mark or anything else in it: perhaps one that we were about to mark."""


def changed(detail: str) -> Fault:
    """It exists, but not as it was made."""
    return Fault(Condition.CHANGED, detail)


def unreadable(error: Unreadable, remedy: Operations = ()) -> Fault:
    """It can't be read, so its state is unknown."""
    told = f"its {error.what} can't be read: {error.why}"
    return Fault(Condition.UNREADABLE, told, remedy, error.namespace)


class Taken(VpcctlError):
    """A name that we need already belongs to a namespace or to a link on the host."""

    def __init__(self, message: str, hint: str, place: Place) -> None:
        super().__init__(message, hint)
        self.place = place


Place = tuple[str, str]
"""A namespace, and a link in it; an empty link is the whole namespace."""


def within(namespace: str, device: str = "") -> frozenset[Place]:
    """The homes of a thing on a link in a namespace; the host is not a home, because it never goes."""
    homes = {(namespace, device)} if device else set()
    return frozenset(homes | ({(namespace, "")} if namespace else set()))


def on(namespace: str) -> str:
    """The location of a thing, for the end of a sentence."""
    return f" in {namespace}" if namespace else " on the host"


@frozen
class Resource(ABC):
    """A thing in the kernel or on disk that we own, described by typed fields and never by a command."""

    in_place: ClassVar[bool] = False
    """Whether `change` repairs it from any state; else it is unmade and recreated."""

    @property
    def key(self) -> Hashable:
        """The part that stays the same when the resource changes; by default nothing may change."""
        return self

    @property
    def homes(self) -> frozenset[Place]:
        """The namespace and the link that this resource goes with."""
        return frozenset()

    @property
    def stands_in(self) -> frozenset[Place]:
        """What it can't outlive unchanged: its homes, and anything else that it needs."""
        return self.homes

    @property
    def places(self) -> frozenset[Place]:
        """The places of which this resource is the home."""
        return frozenset()

    def survey(self, runner: Runner) -> dict[str, str]:
        """Facts that must be recorded before it is made; only reads."""
        return {}

    def is_outlived(self, facts: Facts) -> bool:
        """Whether the facts come from an earlier boot of the host, where they described another thing."""
        return False

    @abstractmethod
    def make(self) -> Operations:
        """The steps that make it; the first fails if somebody else made a thing of that name."""

    def learn(self) -> dict[str, str]:
        """Facts that exist only once it is made; only reads."""
        return {}

    @abstractmethod
    def unmake(self, facts: Facts) -> Operations:
        """The steps that remove it; each accepts that its thing is already gone."""

    @abstractmethod
    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """How the kernel differs from this; only reads."""

    def change(self, old: Resource) -> Operations:
        """The steps from `old`, with the same key, to this one; by default those of `make`."""
        return self.make()

"""What every owned thing has in common: a key, how it is made, changed and unmade."""

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
"""What was learned about a resource when it was made: the setting found, the process started."""


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
    """What must be done beside the resource's own steps, before it is made anew or changed."""

    where: str = ""
    """The namespace of which not all can be read."""


MISSING = Fault(Condition.MISSING)
EMPTY = Fault(Condition.FOREIGN, "it is empty")
"""A namespace without our mark, nor anything else in it: perhaps one that we were about to mark."""


def changed(detail: str) -> Fault:
    """Something is there, but not as it was made."""
    return Fault(Condition.CHANGED, detail)


def unreadable(error: Unreadable, remedy: Operations = ()) -> Fault:
    """Whether it is as it was made can't be told."""
    told = f"its {error.what} can't be read: {error.why}"
    return Fault(Condition.UNREADABLE, told, remedy, error.namespace)


class Taken(VpcctlError):
    """A name that we need is that of a namespace or of a link on the host, whoever made it."""

    def __init__(self, message: str, hint: str, place: Place) -> None:
        super().__init__(message, hint)
        self.place = place


Place = tuple[str, str]
"""A namespace, and a link in it; all of the namespace where the link is empty."""


def within(namespace: str, device: str = "") -> frozenset[Place]:
    """The homes of a thing on a link in a namespace; the host is no home, as it never goes."""
    homes = {(namespace, device)} if device else set()
    return frozenset(homes | ({(namespace, "")} if namespace else set()))


def on(namespace: str) -> str:
    """Where a thing is, for the end of a sentence."""
    return f" in {namespace}" if namespace else " on the host"


@frozen
class Resource(ABC):
    """A thing in the kernel or on disk that we own, described by typed fields and never by a command."""

    in_place: ClassVar[bool] = False
    """Whether `change` mends it whatever state it is in; else it is unmade and made anew."""

    @property
    def key(self) -> Hashable:
        """What stays the same while the resource changes; by default nothing may change."""
        return self

    @property
    def homes(self) -> frozenset[Place]:
        """The namespace and the link whose end is this resource's end too."""
        return frozenset()

    @property
    def stands_in(self) -> frozenset[Place]:
        """What it can't outlive as it is: its homes, and what else has to be there for it."""
        return self.homes

    @property
    def places(self) -> frozenset[Place]:
        """What this resource is a home of."""
        return frozenset()

    def survey(self, runner: Runner) -> dict[str, str]:
        """Facts that must be written down before it is made; only reads."""
        return {}

    def is_outlived(self, facts: Facts) -> bool:
        """Whether the facts are of an earlier life of the host, in which they were true of another thing."""
        return False

    @abstractmethod
    def make(self) -> Operations:
        """The steps that make it; the first fails if another has made a thing of that name."""

    def learn(self) -> dict[str, str]:
        """Facts that can only be known once it is made; only reads."""
        return {}

    @abstractmethod
    def unmake(self, facts: Facts) -> Operations:
        """The steps that take it away; each may find its thing already gone."""

    @abstractmethod
    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """How the kernel differs from this; only reads."""

    def change(self, old: Resource) -> Operations:
        """The steps from `old`, of the same key, to this one; by default the making does it."""
        return self.make()

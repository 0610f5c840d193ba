"""What every owned thing has in common: a key, how it is made, changed and unmade."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Iterator, Sequence
from enum import Enum
from ipaddress import IPv4Network
from pathlib import Path
from typing import ClassVar, Protocol, TypeVar

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.reader import Kernel, Unreadable, Words
from vpcctl_lib.kernel.run import Runner
from vpcctl_lib.resources.operation import Facts, Operation
from vpcctl_lib.resources.owners import Owner
from vpcctl_lib.workloads.processes import Process

Operations = tuple[Operation, ...]


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

CABLES = "cables"
"""In the place of a link: all cables of a namespace, which one command removes."""


def within(namespace: str, device: str = "") -> frozenset[Place]:
    """The homes of a thing on a link in a namespace; the host is no home, as it never goes."""
    homes = {(namespace, device)} if device else set()
    return frozenset(homes | ({(namespace, "")} if namespace else set()))


def on(namespace: str) -> str:
    """Where a thing is, for the end of a sentence."""
    return f" in {namespace}" if namespace else " on the host"


@frozen
class Leavings:
    """Files that a thing which is gone leaves in the state folder, and the folder that they are in."""

    files: tuple[Path, ...]
    folder: Path


@frozen
class Going:
    """All that goes at once, for what is done before the first of it."""

    spaces: tuple[str, ...]
    """The namespaces."""

    hubs: frozenset[str] = frozenset()
    """Those of them whose cables go as a group."""


@frozen
class Slot:
    """A rule's place in a chain that others use too."""

    table: str
    chain: str
    rule: Words

    @property
    def place(self) -> tuple[str, str]:
        """The table and the chain."""
        return (self.table, self.chain)


@frozen
class Senders:
    """Those in a namespace that have these sources: networks or addresses, as iptables has them."""

    namespace: str
    sources: tuple[str, ...]


class Part(Enum):
    """What of the host's rules packets need that leave a VPC."""

    TRANSLATION = "NAT's rules"
    PASSAGE = "the host's rules for them"


class Remains(Protocol):
    """What of a lost record is left in the kernel; `notes` collects what is not."""

    notes: list[str]

    def forwarding(self) -> str | None:
        """What the host's ip_forward was before us."""

    def keeper(self, namespace: str, mark: str) -> Process | None:
        """The first process of a workload that runs."""

    def has_others(self, folder: str) -> bool:
        """Whether others have something in a folder that we made, or may have."""


Kind = TypeVar("Kind", bound="Resource")


@frozen
class Resource(ABC):
    """A thing in the kernel or on disk that we own, described by typed fields and never by a command."""

    in_place: ClassVar[bool] = False
    """Whether `change` mends it whatever state it is in; else it is unmade and made anew."""

    comes_back: ClassVar[bool] = False
    """Whether an undo makes it again though it was not as recorded; nothing else is broken again."""

    unasked: ClassVar[bool] = False
    """Whether it is made wherever it can be, and says nothing of what was asked for."""

    @classmethod
    def among(cls: type[Kind], resources: Iterable[object]) -> Iterator[Kind]:
        """Those of this kind, for who reads what only it has; never to choose what is done with one."""
        return (one for one in resources if isinstance(one, cls))

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

    @property
    def takes(self) -> frozenset[Place]:
        """Those of its places whose things surely go with it, without a command of their own."""
        return self.places

    @property
    def goes_with(self) -> frozenset[Place]:
        """What takes it along when it goes: its homes, and what else ends it."""
        return self.homes

    @property
    def space(self) -> str:
        """The namespace that it is; empty for all else."""
        return ""

    @property
    def workload(self) -> str:
        """The mark of the workload that it runs, which uses all the rest: it goes first. Or empty."""
        return ""

    @property
    def cable_of(self) -> str:
        """The namespace that it was made from as a cable; empty for all else, and for the host."""
        return ""

    @property
    def slot(self) -> Slot | None:
        """Where it stands among others' rules, whose order counts; None for all that is not such a rule."""
        return None

    def makes_way(self, wanted: Sequence[Resource]) -> bool:
        """Whether something wanted does its work, so that it goes only once that is there."""
        return False

    def ahead(self, going: Going) -> Operations:
        """What is done before anything in it goes; what several say in the same words is done once."""
        return ()

    @property
    def policy_of(self) -> str:
        """The namespace whose policy it is part of: rules that stay keep what they have counted. Or empty."""
        return ""

    @property
    def translates(self) -> Senders | None:
        """Whose packets get another source by it; None for all that is no part of NAT."""
        return None

    def shuts_in(self, old: Resource) -> Senders | None:
        """Who gets out no more once it has become this from `old`."""
        return None

    @property
    def reaches(self) -> tuple[str, IPv4Network] | None:
        """The network that it leads to from a namespace, where it is a route or brings one."""
        return None

    def lets_out(self, owner: str) -> Part | None:
        """Which part of the host's rules for what leaves the VPC of that mark it is."""
        return None

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

    def leavings(self, state: Path) -> Leavings | None:
        """What it leaves in the state folder when it is gone; None if nothing."""
        return None

    def is_taken(self, kernel: Kernel) -> bool:
        """Whether another's thing has its name, of a kind whose tool fails without naming it; only reads."""
        return False

    def owner_found(self, kernel: Kernel) -> Owner:
        """Whose the thing is that stands in its place, and what takes that away; only reads."""
        return "", ""

    def is_left_over(self, kernel: Kernel) -> bool:
        """Whether what stands in its place bears our mark: of an earlier VPC; only reads."""
        return False

    def relearn(self, remains: Remains) -> dict[str, str]:
        """The facts that were in a record which is lost, as far as the kernel tells them; only reads."""
        return {}

    def unrecorded(self) -> tuple[str, str] | None:
        """What it is, and what shows that it is ours, if no record has it; None if nothing shows that."""
        return str(self), ""

    def put(self, number: int) -> Operations:
        """The steps that make it as the rule of that number, if it has a slot."""
        return self.make()

    def change(self, old: Resource) -> Operations:
        """The steps from `old`, of the same key, to this one; by default the making does it."""
        return self.make()

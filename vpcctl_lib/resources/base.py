"""What every owned thing has in common: a key, and how it is made, changed and unmade."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Iterable, Iterator, Sequence
from enum import Enum
from ipaddress import IPv4Network
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar, Protocol, TypeVar

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.reader import Kernel, Unreadable
from vpcctl_lib.kernel.run import Runner
from vpcctl_lib.kernel.saves import Words
from vpcctl_lib.model.addressing import Family
from vpcctl_lib.resources.operation import Facts, Operation
from vpcctl_lib.resources.owners import Owner

if TYPE_CHECKING:
    from vpcctl_lib.kernel.processes import Process

Operations = tuple[Operation, ...]


class Condition(Enum):
    """What is wrong with a resource."""

    MISSING = "missing"
    CHANGED = "changed"
    FOREIGN = "foreign"
    UNREADABLE = "unreadable"
    GONE = "gone"
    """What somebody else made, and ours is in, is not there now: nothing can be done until it is."""


@frozen
class Fault:
    """How the kernel differs from the record; a foreign thing has our thing's name without our mark."""

    condition: Condition
    detail: str = ""
    remedy: Operations = ()
    """Extra steps before the resource is recreated or changed."""

    where: str = ""
    """The namespace that can't be read completely, or that is gone."""

    table: str = ""
    """The table that is at fault as a whole, with its place."""

    @property
    def whole(self) -> str:
        """What is reported once, and not for each thing inside; empty if it is the thing alone."""
        return f"namespace {self.where}" if self.where else self.table


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

CABLES = "cables"
"""In the place of a link: all cables of a namespace, which one command removes."""


def within(namespace: str, device: str = "") -> frozenset[Place]:
    """The homes of a thing on a link in a namespace; the host is not a home, because it never goes."""
    homes = {(namespace, device)} if device else set()
    return frozenset(homes | ({(namespace, "")} if namespace else set()))


def on(namespace: str) -> str:
    """The location of a thing, for the end of a sentence."""
    return f" in {namespace}" if namespace else " on the host"


@frozen
class Leavings:
    """Files that a removed thing leaves in the state folder, and their folder."""

    files: tuple[Path, ...]
    folder: Path


@frozen
class Going:
    """Everything that goes at once, for work before the first of it."""

    spaces: tuple[str, ...]
    """The namespaces."""

    hubs: frozenset[str] = frozenset()
    """Those of them whose cables go as a group."""


SharedChain = tuple[Family, str, str]
"""A chain of the host, with the family and the table that it is in."""


@frozen
class Slot:
    """A rule's place in a shared chain of the host."""

    family: Family
    table: str
    chain: str
    rule: Words

    @property
    def place(self) -> SharedChain:
        """The chain, whatever the rule."""
        return (self.family, self.table, self.chain)


@frozen
class Senders:
    """The senders in a namespace with these sources: networks or addresses, as iptables writes them."""

    namespace: str
    sources: tuple[str, ...]


@frozen
class Freed:
    """What leads elsewhere in a namespace: ports, each with its protocol, and addresses."""

    namespace: str
    ports: tuple[tuple[str, int], ...] = ()
    addresses: tuple[str, ...] = ()
    family: Family = Family.INET
    """That of the ports."""


class Part(Enum):
    """The part of the host's rules that packets leaving a VPC need."""

    TRANSLATION = "NAT's rules"
    PASSAGE = "the host's rules for them"


class Remains(Protocol):
    """What the kernel still has of a lost record; `notes` collects what it has not."""

    notes: list[str]

    def forwarding(self) -> str | None:
        """The host's ip_forward before us."""

    def keeper(self, namespace: str, mark: str) -> Process | None:
        """The first process of a workload that runs."""

    def has_others(self, folder: str) -> bool:
        """Whether others have something in a folder that we made, or may have made."""


Kind = TypeVar("Kind", bound="Resource")


@frozen
class Resource(ABC):
    """A thing in the kernel or on disk that we own, described by typed fields and never by a command."""

    in_place: ClassVar[bool] = False
    """Whether `change` repairs it from any state; else it is unmade and recreated."""

    comes_back: ClassVar[bool] = False
    """Whether an undo makes it again though it was not as recorded; nothing else is broken again."""

    unasked: ClassVar[bool] = False
    """Whether it is made wherever it can be, and says nothing of what was asked for."""

    @classmethod
    def among(cls: type[Kind], resources: Iterable[object]) -> Iterator[Kind]:
        """Those of this kind, to read what only it has; never to choose what is done with one."""
        return (one for one in resources if isinstance(one, cls))

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

    @property
    def takes(self) -> frozenset[Place]:
        """The places whose things surely go with it, without a command of their own."""
        return self.places

    @property
    def goes_with(self) -> frozenset[Place]:
        """The things that it goes with: its homes, and anything else that ends it."""
        return self.homes

    @property
    def space(self) -> str:
        """The namespace, if it is one; else empty."""
        return ""

    @property
    def guest(self) -> str:
        """The name that it gives to a namespace of somebody else's, if it is one; else empty."""
        return ""

    @property
    def workload(self) -> str:
        """The mark of the workload that it runs, or empty: a workload uses all else, so it goes first."""
        return ""

    @property
    def cable_of(self) -> str:
        """For a cable, the namespace that it was made from; empty for anything else, and for the host."""
        return ""

    @property
    def slot(self) -> Slot | None:
        """Its place among others' rules, whose order counts; None for anything that is not such a rule."""
        return None

    @property
    def filters(self) -> Family | None:
        """The family of the host's rules that it is part of; None for anything else."""
        return None

    def makes_way(self, wanted: Sequence[Resource]) -> bool:
        """Whether something wanted replaces it, so that it goes only once that exists."""
        return False

    def ahead(self, going: Going) -> Operations:
        """The work before anything in it goes; equal work of several is done once."""
        return ()

    @property
    def policy_of(self) -> str:
        """The namespace whose policy it is part of, or empty: rules that stay keep their counters."""
        return ""

    @property
    def rules_at(self) -> tuple[str, Family] | None:
        """The namespace of that policy and the family of its rules; None for anything else."""
        return None

    @property
    def lines(self) -> Sequence[str]:
        """A line for each machine, if it is made of all machines of a VPC together; else none."""
        return ()

    @property
    def ip_table(self) -> tuple[str, str, Family] | None:
        """Namespace, name and family of the nft table of ip or ip6 that it is; None for anything else."""
        return None

    @property
    def translates(self) -> Senders | None:
        """The senders whose packets it gives another source; None for anything that is not part of NAT."""
        return None

    def shuts_in(self, old: Resource) -> Senders | None:
        """The senders that lose their way out when `old` becomes this."""
        return None

    def frees(self, old: Resource | None) -> Freed | None:
        """What leads elsewhere once `old` has become this; without an old one, once it is there."""
        return None

    @property
    def lends(self) -> str:
        """The address that it gives to what it is on, or empty: whoever gets it next is somebody else."""
        return ""

    @property
    def routes_in(self) -> tuple[tuple[str, Family], ...]:
        """If it makes a namespace a router, that one with each family whose routes there are all ours."""
        return ()

    @property
    def route_line(self) -> Hashable:
        """What tells it from other routes, or other lines of `ip rule`; None if it is neither."""
        return None

    @property
    def reaches(self) -> tuple[str, IPv4Network] | None:
        """The network that it leads to from a namespace, if it is a route or adds one."""
        return None

    def lets_out(self, owner: str) -> Part | None:
        """The part of the host's rules for packets leaving the VPC of that mark that it is."""
        return None

    def survey(self, runner: Runner) -> dict[str, str]:
        """Facts that must be recorded before it is made; only reads."""
        return {}

    def is_outlived(self, facts: Facts) -> bool:
        """Whether the facts come from an earlier boot of the host, where they described another thing."""
        return False

    def kept(self, facts: dict[str, str]) -> dict[str, str]:
        """Those of its facts that still hold when it is recreated."""
        return facts

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

    def leavings(self, state: Path) -> Leavings | None:
        """What it leaves in the state folder when it is removed; None if nothing."""
        return None

    def check_file(self, state: Path) -> Fault | None:
        """What is wrong with its files in the state folder; only reads."""
        return None

    def is_taken(self, kernel: Kernel) -> bool:
        """Whether somebody else's thing has its name, if the tool fails without naming it; only reads."""
        return False

    def owner_found(self, kernel: Kernel) -> Owner:
        """The owner of the thing in its place, and the command that removes that; only reads."""
        return "", ""

    def is_left_over(self, kernel: Kernel) -> bool:
        """Whether the thing in its place bears our mark, from an earlier VPC; only reads."""
        return False

    def relearn(self, remains: Remains) -> dict[str, str]:
        """The facts of a lost record, as far as the kernel has them; only reads."""
        return {}

    def unrecorded(self) -> tuple[str, str] | None:
        """What it is and what shows that it is ours, if not in the record; None if nothing shows that."""
        return str(self), ""

    def put(self, number: int) -> Operations:
        """The steps that make it as the rule of that number, if it has a slot."""
        return self.make()

    def change(self, old: Resource) -> Operations:
        """The steps from `old`, with the same key, to this one; by default those of `make`."""
        return self.make()

    def beforehand(self, old: Resource) -> Operations:
        """What of `change` comes before all that a plan makes or changes."""
        return ()

    def repair(self, old: Resource) -> Operations:
        """The steps to this one where the kernel may have anything in the place of `old`."""
        return self.change(old)

"""Namespaces, and the work before one goes."""

from __future__ import annotations

from collections.abc import Hashable
from pathlib import Path
from typing import Any

from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel import netns
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.kernel.run import Runner
from vpcctl_lib.model.naming import INSTANCE, MARK, UPLINK
from vpcctl_lib.resources.base import (
    EMPTY,
    MISSING,
    Condition,
    Fault,
    Going,
    Leavings,
    Operations,
    Place,
    Remains,
    Resource,
    Taken,
)
from vpcctl_lib.resources.operation import Facts
from vpcctl_lib.resources.operations import HOST, Ip
from vpcctl_lib.resources.owners import Owner
from vpcctl_lib.resources.processes import EmptyNamespaces

IDENTITY = "identity"
"""The fact by which a namespace is recognised."""

LOOPBACK = "lo"
GROUP = "30320"
"""The group of all links in our namespaces: 100 cables deleted one by one take 2.4 s, as a group 0.05 s."""

NAMED = 5
"""The most processes of somebody else's namespace to name."""


@frozen
class Namespace(Resource):
    """A named network namespace."""

    name: str
    owner: str

    def survey(self, runner: Runner) -> dict[str, str]:
        """Refuses a name that somebody else's namespace has."""
        if netns.exists(self.name):
            # Imported late, as all here that has to do with processes: most changes touch none.
            from vpcctl_lib.kernel import processes

            inside = ", ".join(one.name() for one in processes.inside(self.name)[:NAMED])
            told = f"network namespace '{self.name}' already exists, and vpcctl did not make it"
            raise Taken(f"{told}: {inside} runs in it" if inside else told,
                        "choose another name, or remove it: ip netns del " + self.name, (self.name, ""))
        return {}

    @property
    def key(self) -> Hashable:
        """The name, which one of somebody else's may have instead."""
        return ("namespace", self.name)

    @property
    def places(self) -> frozenset[Place]:
        """Everything in it goes with it."""
        return frozenset({(self.name, "")})

    @property
    def space(self) -> str:
        """Itself."""
        return self.name

    def ahead(self, going: Going) -> Operations:
        """Stop everything in those that go; the cables made from it go at once."""
        cables = (Ip(self.name, ("link", "del", "group", GROUP)),) if self.name in going.hubs else ()
        return (EmptyNamespaces(going.spaces), *cables)

    def make(self) -> Operations:
        """Made from the host: in a batch of another namespace it would be lost in a private mount namespace.

        A left-over file of that name without a namespace is removed first.
        """
        husk = (Ip(HOST, ("netns", "del", self.name)),) if netns.is_husk(self.name) else ()
        return (*husk, Ip(HOST, ("netns", "add", self.name)))

    def learn(self) -> dict[str, str]:
        """Its identity, which root inside can't change."""
        identity = netns.identity(self.name)
        return {IDENTITY: identity} if identity else {}

    def unmake(self, facts: Facts) -> Operations:
        """After its processes: a surviving one would keep the links after the name is gone."""
        return (Ip(HOST, ("netns", "del", self.name)),)

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """It must exist and be ours: the same one that we made, or something in it bears our mark."""
        if self.name not in kernel.namespaces:
            return MISSING
        if IDENTITY in facts and facts[IDENTITY] == netns.identity(self.name):
            return None
        links = kernel.links(self.name)
        if any(link.get("ifalias", "").startswith(MARK) for link in links):
            return None
        unmarked = Fault(Condition.FOREIGN, "it does not bear vpcctl's mark")
        return EMPTY if all(map(_is_bare, links)) else unmarked

    def relearn(self, remains: Remains) -> dict[str, str]:
        """As when it was made."""
        return self.learn()

    def owner_found(self, kernel: Kernel) -> Owner:
        """Whoever runs in it."""
        programs = ", ".join(sorted({one.program() for _, one in kernel.processes((self.name,))}))
        return f"{programs} runs in it" if programs else "", f"ip netns del {self.name}"

    def leavings(self, state: Path) -> Leavings | None:
        """All logs of a subnet's workloads, those of programs that did not start too."""
        from vpcctl_lib.workloads import logs

        folder = logs.folder_of(state, self.owner)
        return Leavings(tuple(logs.left_in(folder)), folder) if folder.exists() else None

    def __str__(self) -> str:
        return f"namespace {self.name}"


def _is_bare(link: dict[str, Any]) -> bool:
    """A link that is not set up: one of a new namespace, or the end of a new cable."""
    addressed = any(one.get("family") == "inet" for one in link.get("addr_info", ()))
    return link["ifname"] == LOOPBACK or (link["ifname"] in (UPLINK, INSTANCE) and not addressed)

"""Namespaces that others made: they get a name of ours besides, and are never removed."""

from __future__ import annotations

import shlex
from collections.abc import Hashable
from dataclasses import replace
from typing import Any

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel import netns
from vpcctl_lib.kernel.reader import Kernel, Reading
from vpcctl_lib.kernel.run import Runner
from vpcctl_lib.model.endpoints import Endpoint
from vpcctl_lib.model.naming import MARK
from vpcctl_lib.resources.base import (
    MISSING,
    Condition,
    Fault,
    Operations,
    Place,
    Remains,
    Resource,
    changed,
)
from vpcctl_lib.resources.leaving import leave, left_over
from vpcctl_lib.resources.namespaces import IDENTITY
from vpcctl_lib.resources.operation import Desk, Facts, Operation
from vpcctl_lib.resources.operations import HOST, Ip, RestoreBatch

UP = "../.."
"""From the folder of names to the root: `ip netns` takes a path only as a name."""

AGAIN = "attach it again: vpcctl restore"


@frozen
class Guest:
    """Where somebody else's namespace is found now."""

    path: str
    pid: int = 0
    """Of the container's first process."""


def locate(runner: Runner, container: str, path: str) -> Guest:
    """The namespace of a container, or at a path; VpcctlError if there is none now."""
    if not container:
        return Guest(path)
    # Imported late: most machines are no containers.
    from vpcctl_lib.kernel.containers import find

    pid = find(runner, container).pid
    return Guest(f"/proc/{pid}/ns/net", pid)


def check_is_free(kernel: Kernel, path: str, interface: str, owner: str) -> None:
    """Refuse the host's namespace, one with a link of another machine, and one that has that interface."""
    number = netns.number(path)
    if not number:
        raise VpcctlError(f"{path} is not a network namespace",
                          "name one: a process's /proc/PID/ns/net, or one of /run/netns")
    if number in (netns.number("/proc/self/ns/net"), netns.number("/proc/1/ns/net")):
        raise VpcctlError("that is the network namespace of the host itself",
                          "attach one that has a network of its own, as a container has with --network none")
    (links,) = kernel.read(f"{UP}{path}", Reading.LINKS)
    # What has the owner's own mark is an attachment that this one replaces.
    links = [one for one in links if one.get("ifalias") != owner]
    marked = next((str(one["ifalias"]) for one in links if str(one.get("ifalias", "")).startswith(MARK)), "")
    if marked:
        whose = marked.removeprefix(MARK).partition("~")[0]
        raise VpcctlError(f"that network namespace belongs to {whose} already",
                          "a namespace is one machine; see: vpcctl instance list")
    held = next((one for one in links if one.get("ifname") == interface), None)
    if held and not _is_half_made(kernel, path, held, owner):
        raise VpcctlError(f"that network namespace already has a link '{interface}'",
                          "choose another name: --interface vpc0; or start the container with --network none")


def _is_half_made(kernel: Kernel, path: str, link: dict[str, Any], owner: str) -> bool:
    """Whether a link without a mark leads to a port of the owner's router: its making was interrupted."""
    router = owner.removeprefix(MARK).partition("/")[0]
    if not (link.get("link_index") and netns.exists(router)):
        return False
    if kernel.numbers(f"{UP}{path}", (router,)).name(link.get("link_netnsid", -1)) != router:
        return False
    (ports,) = kernel.read(router, Reading.LINKS)
    return any(one.get("ifindex") == link["link_index"] for one in ports)


def has_gone(kernel: Kernel, one: Endpoint) -> bool:
    """Whether a path leads nowhere now, or nothing of a container runs: our name keeps its namespace."""
    if one.attached and one.attached.path:
        return not netns.number(one.attached.path)
    return netns.exists(one.namespace) and not any(kernel.processes([one.namespace]))


def default_route(runner: Runner, path: str) -> str:
    """The default route that a namespace has, in words; empty without one."""
    (listed,) = Kernel(runner).read(f"{UP}{path}", Reading.MAIN_ROUTES)
    routes = (one for one in listed if one.get("dst") == "default")
    found = next(routes, {})
    words = (("via", "gateway"), ("dev", "dev"))
    return " ".join(f"{word} {found[key]}" for word, key in words if key in found)


@frozen
class Adopt(Operation):
    """Give somebody else's namespace a name of ours as well."""

    namespace: str
    container: str
    path: str
    interface: str
    owner: str

    def places(self, ends: frozenset[str]) -> frozenset[str] | None:
        """Among namespaces, which are made from the host."""
        return ends | {HOST}

    def carry_out(self, desk: Desk) -> Facts:
        """Returns which process of a container it was found by."""
        guest = locate(desk.runner, self.container, self.path)
        desk.runner.announce(self)
        netns.attach(self.namespace, guest.path)
        desk.runner.note(str(self))
        try:
            self._finish(desk)
        except VpcctlError:
            netns.detach(self.namespace)
            raise
        return _process(guest.pid)

    def _finish(self, desk: Desk) -> None:
        """By its name, which nobody else can lead elsewhere: its owner can do that with the path."""
        kernel = Kernel(desk.runner)
        check_is_free(kernel, f"{netns.NAMES}/{self.namespace}", self.interface, self.owner)
        note = leave(desk.runner, left_over(kernel, self.namespace))
        if note:
            desk.notes.append(note)

    def typed(self, desk: Desk) -> str:
        """With the removal of what is left there."""
        try:
            path = locate(desk.runner, self.container, self.path).path
            left = left_over(Kernel(desk.runner), f"{UP}{path}")
        except VpcctlError:
            left = []
        lines = [replace(one, namespace=self.namespace) for one in left]
        return "\n".join([str(self), *([str(RestoreBatch(lines).command())] if lines else [])])

    def __str__(self) -> str:
        """As `ip netns attach`, which knows only pids."""
        name = f"{netns.NAMES}/{self.namespace}"
        source = shlex.quote(self.path)
        if self.container:
            # Imported late, as above.
            from vpcctl_lib.kernel.containers import pid_command

            source = f"/proc/$({pid_command(self.container)})/ns/net"
        return f"touch {name} && mount --bind {source} {name}"


def _process(pid: int) -> Facts:
    from vpcctl_lib.kernel import processes

    found = processes.look(pid) if pid else None
    return processes.identity(found) if found else {}


@frozen
class Attached(Resource):
    """A network namespace that somebody else made, under a name of ours."""

    name: str
    owner: str
    container: str = ""
    path: str = ""
    interface: str = ""
    """Where our link will be."""

    def survey(self, runner: Runner) -> dict[str, str]:
        """Refuses a name that is taken."""
        if netns.exists(self.name):
            raise VpcctlError(f"network namespace '{self.name}' already exists, and vpcctl did not make it",
                              "choose another name, or remove it: ip netns del " + self.name)
        return {}

    @property
    def key(self) -> Hashable:
        """The name, as for one of ours."""
        return ("namespace", self.name)

    @property
    def places(self) -> frozenset[Place]:
        """What is in it needs its name."""
        return frozenset({(self.name, "")})

    @property
    def takes(self) -> frozenset[Place]:
        """Nothing: it stays, so that what we have in it has to be removed."""
        return frozenset()

    @property
    def guest(self) -> str:
        """Itself."""
        return self.name

    def make(self) -> Operations:
        """A left-over file of that name without a namespace is removed first."""
        husk = (Ip(HOST, ("netns", "del", self.name)),) if netns.is_husk(self.name) else ()
        return (*husk, Adopt(self.name, self.container, self.path, self.interface, self.owner))

    def learn(self) -> dict[str, str]:
        """Its identity, as for our own namespaces."""
        identity = netns.identity(self.name)
        return {IDENTITY: identity} if identity else {}

    def kept(self, facts: dict[str, str]) -> dict[str, str]:
        """None: it is another namespace then."""
        return {}

    def unmake(self, facts: Facts) -> Operations:
        """Only the name: the namespace is its owner's."""
        return (Ip(HOST, ("netns", "del", self.name)),)

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """Its name must lead to the namespace that its container or path has now."""
        there = self.name in kernel.namespaces
        if there and IDENTITY in facts and facts[IDENTITY] != netns.identity(self.name):
            return Fault(Condition.FOREIGN, "another namespace has its name")
        if there and self._has_stayed(kernel, facts):
            return None
        try:
            path = kernel.guest(self.container, self.path)
        except VpcctlError as error:
            return self._gone("; ".join(filter(None, (error.message, error.hint))))
        now = netns.number(path)
        if not now:
            return self._gone(f"{self.path or self.container} leads to no network namespace; {self._remedy}")
        if there and now == netns.inode(self.name):
            return None
        return self._astray(kernel, path, facts) or (self._other() if there else self._unnamed(kernel, path))

    def _gone(self, detail: str) -> Fault:
        return Fault(Condition.GONE, detail, where=self.name)

    def _astray(self, kernel: Kernel, path: str, facts: Facts) -> Fault | None:
        """Why what is there now may not be attached: its owner decides what that is, and chance for a pid."""
        if self._is_pid and facts.get(IDENTITY, "") != (netns.identity(f"{UP}{path}") or None):
            return self._gone(f"{self.path} is another process's now; {self._remedy}")
        try:
            check_is_free(kernel, path, self.interface, self.owner)
        except VpcctlError as error:
            return self._gone(f"{self.container or self.path} can't be attached again: {error.message}; "
                              f"{error.hint}")
        return None

    def _unnamed(self, kernel: Kernel, path: str) -> Fault:
        left = left_over(kernel, f"{UP}{path}")
        return Fault(Condition.MISSING, remedy=tuple(left)) if left else MISSING

    def _has_stayed(self, kernel: Kernel, facts: Facts) -> bool:
        """Whether the container's process of then is still there, which is seen without its runtime."""
        process = kernel.process(facts) if self.container else None
        return process is not None and kernel.is_inside(process, self.name)

    @property
    def _is_pid(self) -> bool:
        # Imported late: most changes attach nothing.
        from vpcctl_lib.model.guests import pid_in

        return bool(pid_in(self.path))

    @property
    def _remedy(self) -> str:
        if self._is_pid:
            return "a process that ended can't be followed: detach the machine, and attach another"
        return AGAIN + " when it is there"

    def _other(self) -> Fault:
        what = f"container '{self.container}' was restarted" if self.container else \
            f"{self.path} leads to another network namespace now"
        return changed(f"{what}; {AGAIN}")

    def relearn(self, remains: Remains) -> dict[str, str]:
        """As when it was attached."""
        return self.learn()

    def __str__(self) -> str:
        return f"namespace {self.name} of {self.container or self.path}"

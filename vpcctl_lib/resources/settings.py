"""Kernel settings of our own namespaces."""

from __future__ import annotations

from collections.abc import Hashable, Iterable, Iterator, Mapping
from functools import cache
from pathlib import Path

from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel import netns, sysctls
from vpcctl_lib.kernel.proc import linked, settings
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.kernel.run import Runner
from vpcctl_lib.kernel.sysctls import Profile
from vpcctl_lib.model.addressing import Family
from vpcctl_lib.model.naming import INSTANCE, MARK
from vpcctl_lib.resources.base import MISSING, Condition, Fault, Operations, Place, Resource, within
from vpcctl_lib.resources.operation import Facts
from vpcctl_lib.resources.operations import EVERYWHERE, Ip, Ip6, Pairs, Set

IP_FORWARD = "net.ipv4.ip_forward"
PING_GROUPS = "net.ipv4.ping_group_range"
WAS = "was "
"""Prefix of a setting's old value among the facts. (cleanup.sh puts back the host's, which lack it.)"""


def differing(shall: Mapping[str, str]) -> dict[str, str]:
    """The old values of those that have another where the calling thread is, as facts."""
    return {f"{WAS}{key}": now for key, now in settings(shall).items() if now != shall[key]}


def old(facts: Facts) -> Pairs:
    """The old values among the facts; the last that was set comes first."""
    return tuple((key.removeprefix(WAS), value) for key, value in reversed([*facts.items()])
                 if key.startswith(WAS))


LOOKUPS = {0: "local", 32766: "main"}
"""What each namespace has in `ip rule` from the start and needs (ip-rule(8)); a flush takes the second."""

_PROFILES = frozenset(profile.value for profile in Profile)
_MACHINES = frozenset(profile.value for profile in Profile
                      if profile.single in (Profile.SUBNET, Profile.FORWARDER))
"""Those in which a machine's own root may be: before a virtual machine nobody is, and all links count."""


@frozen
class Settings(Resource):
    """Kernel settings of one of our own namespaces, which is not shared, or of one link there."""

    namespace: str
    values: Pairs = ()
    profile: str = ""
    """The name of a Profile, for all its settings (the record would be three times as large with each)."""

    device: str = ""

    in_place = True

    @property
    def key(self) -> Hashable:
        """The namespace, and the link."""
        return ("settings", self.namespace, self.device) if self.device else ("settings", self.namespace)

    @property
    def homes(self) -> frozenset[Place]:
        """The namespace, and the link."""
        return within(self.namespace, self.device)

    @property
    def routes_in(self) -> tuple[tuple[str, Family], ...]:
        """The namespace, with a router's settings."""
        families = {Profile.ROUTER.value: (Family.INET,), Profile.ROUTER.dual.value: tuple(Family)}
        return tuple((self.namespace, family) for family in families.get(self.profile, ()))

    @property
    def _whole(self) -> Pairs:
        known = sysctls.whole(Profile(self.profile)) if self._is_known else ()
        return tuple((key, _ping_groups() if key == PING_GROUPS else value)
                     for key, value in (*known, *self.values))

    @property
    def _links(self) -> Pairs:
        return sysctls.links(Profile(self.profile)) if self._is_known else ()

    @property
    def _is_known(self) -> bool:
        """A profile of another version, which an older record may name, counts as none."""
        return self.profile in _PROFILES

    def make(self) -> Operations:
        """All of them at once; a namespace that does not exist yet will be like any other new one."""
        fresh = not self.device and not netns.exists(self.namespace)
        return (Set(self.namespace, self._whole, links=self._links, fresh=fresh),)

    def survey(self, runner: Runner) -> dict[str, str]:
        """The old values, if the namespace exists with other values."""
        if not netns.exists(self.namespace):
            return {}
        return netns.within(self.namespace, self._held)

    def _held(self) -> dict[str, str]:
        return differing(dict((*self._whole, *self._of_links(linked() if self._links else ()))))

    def _of_links(self, names: Iterable[str]) -> Iterator[tuple[str, str]]:
        for name in names:
            for key, value in self._links:
                yield f"net.ipv4.conf.{name}.{key}", value

    def unmake(self, facts: Facts) -> Operations:
        """Back to the old values, unless the namespace was new."""
        pairs = old(facts)
        return (Set(self.namespace, pairs, gone_is_fine=True),) if pairs else ()

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """Each must be as it was set; a setting that this kernel lacks is ignored."""
        if self.namespace not in kernel.namespaces:
            return MISSING
        if self.device and kernel.link(self.namespace, self.device) is None:
            return MISSING
        whole, links = self._whole, tuple(self._of_links((*EVERYWHERE, *self._checked_links(kernel))))
        held = kernel.settings(self.namespace, [key for key, _ in (*whole, *links)])
        wrong = [(key, value) for key, value in (*whole, *links) if held.get(key, value) != value]
        told = [f"{key} is {held[key]}, not {value}" for key, value in wrong]
        forwards = dict(whole).get(IP_FORWARD) == "1" and held.get(IP_FORWARD) == "1"
        closed = closed_links(kernel, self.namespace) if forwards else ()
        told += [f"{key} is 0, not 1" for key in closed]
        remedy: Operations = (Set(self.namespace, tuple((key, "1") for key in closed)),) if closed else ()
        for family, ip in self._families:
            for rule in _lost_lookups(kernel, self.namespace, family):
                told.append(f"{family.ip} rule {' '.join(rule)} is missing")
                remedy += (ip(self.namespace, ("rule", "add", *rule)),)
        return Fault(Condition.CHANGED, "; ".join(told), remedy) if told else None

    @property
    def _families(self) -> Iterator[tuple[Family, type[Ip]]]:
        """Those that the namespace has, each with what changes its lines of `ip rule`."""
        if self._is_known:
            yield Family.INET, Ip
            if Profile(self.profile) is not Profile(self.profile).single:
                yield Family.INET6, Ip6

    def _checked_links(self, kernel: Kernel) -> list[str]:
        """A router's own links; in a subnet only its cable: root there may do as it likes with others."""
        if self.profile in _MACHINES:
            return [INSTANCE] if kernel.link(self.namespace, INSTANCE) else []
        return _routed(kernel, self.namespace) if self._links else []

    def __str__(self) -> str:
        where = f"{self.device} in {self.namespace}" if self.device else self.namespace
        return f"settings of {where}"


@cache
def _ping_groups() -> str:
    """All groups that exist here: a sandbox without root has only one, and the kernel refuses more."""
    spans = (line.split() for line in Path("/proc/self/gid_map").read_text().splitlines())
    return f"0 {min(2147483647, max(int(first) + int(count) - 1 for first, _, count in spans))}"


def closed_links(kernel: Kernel, namespace: str) -> tuple[str, ...]:
    """The settings because of which our links do not forward although their namespace does.

    Writing ip_forward sets them all, but only if its value changes. A bridge's ports only switch.
    """
    keys = [f"net.ipv4.conf.{name}.forwarding" for name in _routed(kernel, namespace)]
    held = kernel.settings(namespace, keys)
    return tuple(key for key in keys if held.get(key) == "0")


def _lost_lookups(kernel: Kernel, namespace: str, family: Family) -> Iterator[tuple[str, ...]]:
    held = {(rule.get("priority", 0), rule.get("table")) for rule in kernel.route_rules(namespace, family)
            if rule.get("src") == "all"}
    return (("pref", str(number), "lookup", table) for number, table in LOOKUPS.items()
            if (number, table) not in held)


def _routed(kernel: Kernel, namespace: str) -> list[str]:
    return [link["ifname"] for link in kernel.links(namespace) if link["ifname"] != "lo"
            and "master" not in link and link.get("ifalias", "").startswith(MARK)]

"""What we set or write on the host itself, shared with others: forwarding, files and folders."""

from __future__ import annotations

import os
import re
from collections.abc import Hashable
from pathlib import Path

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel import netns
from vpcctl_lib.kernel.proc import linked, setting
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.kernel.run import Runner
from vpcctl_lib.model.naming import MARK
from vpcctl_lib.resources.base import MISSING, Condition, Fault, Operations, Remains, Resource, changed
from vpcctl_lib.resources.operation import Facts
from vpcctl_lib.resources.operations import HOST, Make, Remove, Sysctl
from vpcctl_lib.resources.putback import PutBack
from vpcctl_lib.resources.settings import IP_FORWARD, closed_links

_ALONG = re.compile(r"net\.ipv4\.conf\.all\.accept_redirects|net/ipv4/conf/(?!\.{1,2}/)[^/\s]+/forwarding")
"""What writing ip_forward can change: a setting outside this list in a record is never written."""

IDENTITY = "identity"
"""A fact: the identity of the host's network in this boot (cleanup.sh reads the first word, the boot id)."""

BESIDE = "beside"
"""A fact: what others had that could have forwarded, but worked without it."""


@frozen
class Forwarding(Resource):
    """The host's `ip_forward`, which NAT needs, and the settings that the kernel changes along with it."""

    in_place = True

    def survey(self, runner: Runner) -> dict[str, str]:
        """The old values. Writing ip_forward also writes `accept_redirects` and each link's `forwarding`
        (inet_forward_change in net/ipv4/devinet.c), so those are needed to put things back.
        """
        found = {IP_FORWARD: self.value(), IDENTITY: netns.own_identity()}
        if found[IP_FORWARD] == "0":
            # Imported late, here and below: most changes leave forwarding as it is.
            from vpcctl_lib.resources import forwarders

            found[BESIDE] = forwarders.written(forwarders.forwarders(forwarders.look(runner, must=True)))
            redirects = "net.ipv4.conf.all.accept_redirects"
            found[redirects] = setting(redirects) or "0"
            # sysctl(8): a slash as the separator keeps the dots of a name such as eth0.10.
            keys = (f"net/ipv4/conf/{name}/forwarding" for name in linked() if name != "all")
            found |= {key: "1" for key in keys if setting(key) == "1"}
        return found

    def value(self) -> str:
        """Its current value, 0 or 1."""
        return setting(IP_FORWARD) or "0"

    def is_outlived(self, facts: Facts) -> bool:
        """A boot of the host or its container sets it again; older records don't say which boot they saw."""
        return facts.get(IDENTITY, "") not in ("", netns.own_identity())

    def make(self) -> Operations:
        """On."""
        return (Sysctl(IP_FORWARD, "1"),)

    def unmake(self, facts: Facts) -> Operations:
        """Back to the value found since the boot, unless others need it by now."""
        if facts.get(IP_FORWARD, "1") != "0" or self.is_outlived(facts):
            return ()
        from vpcctl_lib.resources import forwarders

        along = tuple((key, value, "1" if key.endswith("forwarding") else "0")
                      for key, value in facts.items() if _ALONG.fullmatch(key) and value in ("0", "1"))
        return (PutBack(IP_FORWARD, "0", "1", along, forwarders.read(facts.get(BESIDE, ""))),)

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """It must be on, and on our own links, too; others may do as they like with theirs."""
        if kernel.setting(HOST, IP_FORWARD) != "1":
            return changed(f"{IP_FORWARD} is not 1")
        closed = closed_links(kernel, HOST)
        remedy = tuple(Sysctl(key, "1") for key in closed)
        told = "; ".join(f"{key} is 0, not 1" for key in closed)
        return Fault(Condition.CHANGED, told, remedy) if closed else None

    def relearn(self, remains: Remains) -> dict[str, str]:
        """The previous value, from the comment in our jump; earlier forwarders are unknown."""
        found = remains.forwarding()
        if found is None:
            remains.notes.append("the value of net.ipv4.ip_forward before is unknown: it will stay on")
            return {}
        return {IP_FORWARD: found, IDENTITY: netns.own_identity()}

    def __str__(self) -> str:
        return f"{IP_FORWARD} on the host"


@frozen
class Folder(Resource):
    """A folder that must exist; it is ours, and removed later, only if we created it."""

    path: str

    def survey(self, runner: Runner) -> dict[str, str]:
        """Whether somebody made it before us."""
        return {"existed": "yes"} if Path(self.path).is_dir() else {}

    def make(self) -> Operations:
        """An existing one is used as it is."""
        return (Make(Path(self.path)),)

    def unmake(self, facts: Facts) -> Operations:
        """Not removed while something is in it, or if it existed before."""
        return () if facts.get("existed") else (Remove(Path(self.path), folder=True),)

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """There."""
        return None if Path(self.path).is_dir() else MISSING

    def relearn(self, remains: Remains) -> dict[str, str]:
        """If others have something in it, it may have existed before us."""
        return {"existed": "yes"} if remains.has_others(self.path) else {}

    def unrecorded(self) -> tuple[str, str] | None:
        """Its owner is unknown."""
        return None

    def __str__(self) -> str:
        return f"folder {self.path}"


@frozen
class File(Resource):
    """A small text file whose content we own."""

    path: str
    content: str

    in_place = True

    @property
    def key(self) -> Hashable:
        """Its path; the content may change."""
        return ("file", self.path)

    def survey(self, runner: Runner) -> dict[str, str]:
        """Refuses to take over a file that is there."""
        if not os.path.lexists(self.path):
            return {}
        if (text_of(Path(self.path)) or "").startswith(f"# {MARK}"):
            raise VpcctlError(f"{self.path} is left over from something that vpcctl made, and is not in "
                              "the record",
                              "remove such things: vpcctl restore")
        raise VpcctlError(f"{self.path} already exists, and vpcctl did not make it",
                          "move it away, or give the subnet another name")

    def make(self) -> Operations:
        """Written whole."""
        return (Make(Path(self.path), self.content),)

    def unmake(self, facts: Facts) -> Operations:
        """Gone."""
        return (Remove(Path(self.path)),)

    def check(self, kernel: Kernel, facts: Facts) -> Fault | None:
        """The file must exist, with our content."""
        if not os.path.lexists(self.path):
            return MISSING
        held = text_of(Path(self.path))
        if held is None:
            return changed("it is not a file")
        return None if held == self.content else changed("its content differs")

    def __str__(self) -> str:
        return f"file {self.path}"


def text_of(path: Path) -> str | None:
    """The content of a file; None if it is not one. Others are not opened: a pipe would wait for a writer."""
    try:
        return path.read_text(errors="replace") if path.is_file() else None
    except FileNotFoundError:
        # It was removed between the two calls.
        return None

"""Commands that a person runs in a subnet."""

from __future__ import annotations

import pwd
import re
from collections.abc import Sequence
from shutil import which

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.kernel.run import Command, need, search_path
from vpcctl_lib.kernel.users import is_mapped
from vpcctl_lib.managers.base import Manager, need_root, standing
from vpcctl_lib.model.endpoints import Site
from vpcctl_lib.model.lookup import find_endpoint

NOBODY = ("unshare", "--user", "--map-user=65534", "--map-group=65534")
"""What to start a program with so that it takes itself for a user without privileges."""

VALUED = re.compile("[BcCEFGijmMQrsTVwWyzZ]")
"""Options of tcpdump that something follows."""

INTERFACE = "--interface"
"""One of them in full; getopt_long(3) takes less of it, too, as far as no other begins so."""

NOT_FOUND = 127
"""What a shell returns for a command that it can't find (POSIX, 2.8.2)."""


class ExecManager(Manager):
    """Runs commands in subnets."""

    def run(self, site: Site, command: tuple[str, ...]) -> int:
        """Run it on this terminal; returns its exit code."""
        where = find_endpoint(self.state().topology, site)
        need_root()
        need("ip")
        if which(command[0], path=search_path()) is None:
            raise VpcctlError(f"{command[0]}: command not found", code=NOT_FOUND)
        return self.runner.attach(("ip", "netns", "exec", standing(where.namespace), *command))

    def capture(self, site: Site, words: tuple[str, ...]) -> int:
        """Run tcpdump there: packets in its own format go to standard output, unless it is given a file.

        It captures at the machine's port, where the machine has no say; with `-i`, at a link inside of it.
        """
        where = find_endpoint(self.state().topology, site)
        need_root()
        need("ip", "tcpdump")
        standing(where.namespace)
        given = values(words).get("i", "")
        space, device = (where.namespace, given) if given else (standing(site.vpc), where.port)
        target = ("-U", *(() if writes_elsewhere(words) else ("-w", "-")), *words)
        if _may_change_user():
            return self.runner.attach(("ip", "netns", "exec", space, "tcpdump",
                                       *(() if given else ("-i", device)), *target))
        # Imported late: only a sandbox without root needs it.
        from vpcctl_lib.workloads.interpreter import sniffer

        need("unshare")
        return self.runner.attach((*NOBODY, "tcpdump", "-r", "-", *target),
                                  Command(sniffer(device), namespace=space))


def writes_elsewhere(words: Sequence[str]) -> bool:
    """Whether the arguments tell tcpdump where to write."""
    return "w" in values(words)


def values(words: Sequence[str]) -> dict[str, str]:
    """What follows tcpdump's options, in the same word or in the next one: getopt(3) also takes `-ni lo`."""
    found, rest = {}, iter(words)
    for word in rest:
        name, is_told, value = word.partition("=")
        if name == "--":
            break
        if len(name) >= len("--in") and INTERFACE.startswith(name):
            found["i"] = value if is_told else next(rest, "")
        elif word.startswith("-") and not word.startswith("--") and (end := VALUED.search(word)):
            found[end.group()] = word[end.end():] or next(rest, "")
    return found


def _may_change_user() -> bool:
    """Whether tcpdump works as root: Debian's becomes its own user, which fails if only root exists."""
    try:
        return is_mapped(pwd.getpwnam("tcpdump").pw_uid)
    except KeyError:
        return True

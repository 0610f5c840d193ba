"""Commands that a person runs in a subnet."""

from __future__ import annotations

import pwd
from collections.abc import Collection
from shutil import which

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.kernel.run import need, search_path
from vpcctl_lib.kernel.users import is_mapped
from vpcctl_lib.managers.base import Manager, need_root, standing
from vpcctl_lib.model.endpoints import Site
from vpcctl_lib.model.lookup import find_endpoint

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
        """Run tcpdump there: packets in its own format go to standard output, unless it is given a file."""
        where = find_endpoint(self.state().topology, site)
        need_root()
        need("ip", "tcpdump")
        _check_user()
        interface = () if _given(words, "-i", "--interface") else ("-i", where.interface)
        target = () if writes_elsewhere(words) else ("-w", "-")
        return self.runner.attach(("ip", "netns", "exec", standing(where.namespace),
                                   "tcpdump", "-U", *interface, *target, *words))


def writes_elsewhere(words: Collection[str]) -> bool:
    """Whether the arguments tell tcpdump where to write."""
    return _given(words, "-w")


def _given(words: Collection[str], *options: str) -> bool:
    return any(word.startswith(options) for word in words)


def _check_user() -> None:
    """Debian's tcpdump becomes its own user, which fails if only root exists."""
    try:
        able = is_mapped(pwd.getpwnam("tcpdump").pw_uid)
    except KeyError:
        return
    if not able:
        raise VpcctlError("tcpdump can't become its own user in a sandbox that was started without root",
                          "start the sandbox as root: sudo vpcctl sandbox")

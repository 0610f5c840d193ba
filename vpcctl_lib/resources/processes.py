"""Steps that start and stop processes, which no batch can hold."""

from __future__ import annotations

import os
import pwd
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

from vpcctl_lib.run import Command

SEARCH_PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


@dataclass(frozen=True)
class EmptyNamespaces:
    """Stop all that runs in namespaces, as they are about to go."""

    namespaces: tuple[str, ...]

    def __str__(self) -> str:
        return "\n".join(map(_emptying, self.namespaces))


def _emptying(namespace: str) -> str:
    pids = f"ip netns pids {namespace}"
    gone = f"timeout 5 sh -c 'while {pids} | grep -q .; do sleep 0.1; done'"
    return f"{pids} | xargs -r kill; {gone} || {pids} | xargs -r kill -KILL"


@dataclass(frozen=True)
class Start:
    """Start a workload's program and wait until it is ready."""

    namespace: str
    mark: str
    argv: tuple[str, ...]
    log: str
    port: int | None = None

    def command(self) -> Command:
        """What starts it: in its namespace, with a clean environment, as nobody, without capabilities."""
        variables = (f"PATH={SEARCH_PATH}", "HOME=/", "LANG=C.UTF-8", f"VPCCTL_WORKLOAD={self.mark}")
        return Command(("ip", "netns", "exec", self.namespace, "env", "-i", *variables,
                        "setpriv", *privileges(), "--", *self.argv))

    def log_file(self, folder: Path) -> Path:
        """Where its output goes."""
        return folder / self.log

    def __str__(self) -> str:
        return f"setsid {self.command()} </dev/null >>{self.log} 2>&1 &"


@dataclass(frozen=True)
class Stop:
    """Stop a workload's processes, and those only."""

    namespace: str
    mark: str
    log: str
    facts: Mapping[str, str] = field(default_factory=dict)

    def __str__(self) -> str:
        return f"kill {self.facts.get('pid', '')}  # workload {self.mark}"


def privileges() -> tuple[str, ...]:
    """The words for setpriv(1); where only root is mapped (user_namespaces(7)) the user can't change."""
    nobody = pwd.getpwnam("nobody")
    user: tuple[str, ...] = ()
    if is_mapped(nobody.pw_uid):
        user = (f"--reuid={nobody.pw_uid}", f"--regid={nobody.pw_gid}", "--clear-groups")
    return (*user, "--bounding-set=-all", "--inh-caps=-all", "--no-new-privs")


def is_mapped(uid: int) -> bool:
    """Whether we may become that user: in a sandbox without root there is none but root."""
    spans = (line.split() for line in Path("/proc/self/uid_map").read_text().splitlines())
    return os.geteuid() == 0 and any(int(first) <= uid < int(first) + int(count) for first, _, count in spans)

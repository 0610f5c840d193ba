"""Why the kernel refuses namespaces to this user, and how to go on."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

from vpcctl_lib.errors import VpcctlError

_SWITCHES = (
    ("user.max_user_namespaces", "0", "15000"),
    ("kernel.unprivileged_userns_clone", "0", "1"),
    ("kernel.apparmor_restrict_unprivileged_userns", "1", "0"),
)
"""Settings that keep user namespaces from plain users: name, value that does, value that allows."""


def explain(reason: str, read: Callable[[str], str | None]) -> VpcctlError:
    """The error for a refused namespace; `read` gives a sysctl's value, None where there is none."""
    for name, refusing, allowing in _SWITCHES:
        if read(name) == refusing:
            return VpcctlError(f"this host does not let you make user namespaces ({name} = {refusing})",
                               f"run it with sudo, or allow them: sudo sysctl -w {name}={allowing}")
    return VpcctlError(f"this host does not let you make namespaces ({reason})",
                       "run it with sudo; in a container, start that one with --privileged")


def read_sysctl(name: str) -> str | None:
    """The value of a sysctl, None where this kernel has no such setting."""
    try:
        return Path("/proc/sys", *name.split(".")).read_text().strip()
    except OSError:
        return None

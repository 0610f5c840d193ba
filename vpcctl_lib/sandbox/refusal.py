"""Why the kernel refuses namespaces to this user, and how to go on."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

from vpcctl_lib.errors import VpcctlError

_SWITCHES = (
    ("user.max_user_namespaces", "0", "15000"),
    ("kernel.unprivileged_userns_clone", "0", "1"),
    ("kernel.apparmor_restrict_unprivileged_userns", "1", "0"),
)
"""Settings that keep user namespaces from plain users: name, value that refuses, value that allows."""


@contextmanager
def explained(is_plain: bool) -> Iterator[None]:
    """Turns a refusal by the kernel within the block into an error that says how to go on."""
    try:
        yield
    except OSError as error:
        raise explain(error, is_plain, read_sysctl) from error


def explain(error: OSError, is_plain: bool, read: Callable[[str], str | None]) -> VpcctlError:
    """The message and hint for this error; `is_plain`: not root; `read`: a sysctl's value, None if absent."""
    for name, refusing, allowing in _SWITCHES if is_plain else ():
        if read(name) == refusing:
            return VpcctlError(f"this host does not let you make user namespaces ({name} = {refusing})",
                               f"run it with sudo, or allow them: sudo sysctl -w {name}={allowing}")
    reason = ": ".join(part for part in (error.filename, error.strerror) if part)
    if error.filename == "mount proc on /proc":
        return VpcctlError(f"this container does not let a sandbox have a /proc of its own ({reason})",
                           "start the container with --security-opt systempaths=unconfined (Docker), "
                           "--security-opt unmask=ALL (Podman) or --privileged")
    way = "run it with sudo; in a container, " if is_plain else "in a container, "
    return VpcctlError(f"this host does not let you make a sandbox ({reason})",
                       f"{way}start the container with --privileged")


def read_sysctl(name: str) -> str | None:
    """The value of a sysctl, None where this kernel has no such setting."""
    try:
        return Path("/proc/sys", *name.split(".")).read_text().strip()
    except OSError:
        return None

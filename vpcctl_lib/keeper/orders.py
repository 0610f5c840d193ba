"""A keeper's orders, as the words of its command line and back; pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

END = "--"
MARK = "VPCCTL_WORKLOAD"
"""The environment variable by which a workload's processes are known, children included."""


class Orders(NamedTuple):
    """Which program, where, as whom and within which limits."""

    namespace: str
    mark: str
    log: str
    program: tuple[str, ...]
    hide: tuple[str, ...] = ()
    """Folders that the program must not see."""

    uid: int | None = None
    """The number of a user who owns nothing; None to keep the user who starts it."""

    user: str = ""
    """A user of this host, with that user's groups, instead of the number."""

    pids: int = 0
    memory: int = 0
    """Bytes; 0 for no limit."""

    log_bytes: int = 0
    env: tuple[str, ...] = ()
    """K=V, in addition to what every workload has."""

    workdir: str = ""
    stop_signal: int = 0
    """The signal that replaces TERM; 0 for TERM itself."""

    stop_timeout: int | None = None
    """Seconds from then until KILL; None for the default."""

    restart: str = ""
    """`on-failure` or `always`."""

    show: tuple[str, ...] = ()
    """Folders that it sees although it has its own of those around them, as far as they exist."""

    capability: int | None = None
    """One that it has in its own user namespace, and so over nothing (user_namespaces(7))."""

    outside: int = 0
    """1 if it gets sockets of the network that its keeper was started in."""

    opens: tuple[str, ...] = ()
    """Folders that it gets open, as they are outside."""

    writes: str = ""
    """One more, the last of them, that is made for it, and belongs to it."""

    powers: tuple[str, ...] = ()
    """The numbers of capabilities that it really has: then it has no user namespace of its own."""


TEXTS = ("namespace", "mark", "log", "user", "workdir", "restart", "writes")
NUMBERS, OPTIONAL_NUMBERS = ("pids", "memory", "log_bytes", "stop_signal", "outside"), (
    "uid", "stop_timeout", "capability")
LISTS = ("hide", "env", "show", "opens", "powers")


def words(orders: Orders) -> tuple[str, ...]:
    """The command line for these orders."""
    return (*_settings(orders), END, *orders.program)


def _settings(orders: Orders) -> Iterator[str]:
    for name in (*TEXTS, *NUMBERS):
        value = getattr(orders, name)
        if value:
            yield f"{name}={value}"
    for name in OPTIONAL_NUMBERS:
        value = getattr(orders, name)
        if value is not None:
            yield f"{name}={value}"
    for name in LISTS:
        yield from (f"{name}={one}" for one in getattr(orders, name))


def read(argv: Sequence[str]) -> Orders:
    """The orders in a command line; ValueError if it has none."""
    end = list(argv).index(END)
    found: dict[str, object] = {"program": tuple(argv[end + 1:])}
    lists: dict[str, list[str]] = {name: [] for name in LISTS}
    for word in argv[:end]:
        name, equals, value = word.partition("=")
        if equals and name in lists:
            lists[name].append(value)
        elif equals and name in TEXTS:
            found[name] = value
        elif equals and name in (*NUMBERS, *OPTIONAL_NUMBERS):
            found[name] = int(value)
        else:
            raise ValueError(f"no order: {word}")
    try:
        return Orders(**found, **{name: tuple(values) for name, values in lists.items()})  # type: ignore[arg-type]
    except TypeError as error:
        raise ValueError(str(error)) from None


def of(command: Sequence[str]) -> Orders | None:
    """The orders in the command line of a running keeper; None if it is not one."""
    for number, word in enumerate(command):
        if word.endswith("/keeper/__main__.py"):
            try:
                return read(command[number + 1:])
            except ValueError:
                return None
    return None

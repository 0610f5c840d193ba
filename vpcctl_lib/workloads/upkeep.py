"""How a workload is looked after, as people write it: read, checked and written back; pure."""

from __future__ import annotations

import re
import signal
from collections.abc import Mapping

from vpcctl_lib.errors import BadInput, quoted
from vpcctl_lib.keeper.orders import MARK

LONGEST_STOP = 3600
"""Seconds: a stop that takes longer than an hour is a mistake."""

TIME = re.compile(r"([0-9]{1,6})(s|m|h)?", re.ASCII)
SECONDS = {None: 1, "s": 1, "m": 60, "h": 3600}
NEVER = (signal.SIGSTOP, signal.SIGCONT)
"""Signals that end no program."""


def parse_seconds(text: str) -> int:
    """The seconds that `text` writes, such as 10, 90s or 2m."""
    found = TIME.fullmatch(text)
    if found is None:
        raise BadInput(f"{quoted(repr(text))} is not a time", "write for example 10s or 2m")
    seconds = int(found[1]) * SECONDS[found[2]]
    if seconds > LONGEST_STOP:
        raise BadInput(f"{text} is too long for a stop", "give it an hour at most: 1h")
    return seconds


def parse_signal(text: str) -> str:
    """The name, without SIG, of the signal that `text` names or numbers (signal(7))."""
    name = text.upper().removeprefix("SIG")
    known = {one.name.removeprefix("SIG"): one for one in signal.Signals}
    found = known.get(name) if not name.isdecimal() else next(
        (one for one in known.values() if str(int(one)) == name), None)
    if found is None:
        raise BadInput(f"{quoted(repr(text))} is not a signal", "write for example TERM, INT or QUIT")
    if found in NEVER:
        raise BadInput(f"{found.name} ends no program", "write for example TERM, INT or QUIT")
    return found.name.removeprefix("SIG")


def signal_name(number: int) -> str:
    """The name, without SIG, of a signal; its number where it has none."""
    try:
        return signal.Signals(number).name.removeprefix("SIG")
    except ValueError:
        return str(number)


def signal_number(name: str) -> int:
    """The number of a signal that `parse_signal` has named; 0 for none."""
    return int(signal.Signals[f"SIG{name}"]) if name else 0


def parse_variable(text: str) -> tuple[str, str]:
    """The name and value of K=V."""
    name, equals, value = text.partition("=")
    if not equals:
        raise BadInput(f"{quoted(repr(text))} has no value", "write K=V")
    check_variable(name, value)
    return name, value


def check_variable(name: str, value: str) -> None:
    """Refuse what no environment could hold, and the name by which we know a workload's processes."""
    if not name or "=" in name or "\0" in name + value:
        raise BadInput(f"{quoted(repr(name))} can't be the name of a variable" if "\0" not in value
                       else f"the value of {quoted(repr(name))} holds a NUL", "write K=V")
    if name == MARK:
        raise BadInput(f"{MARK} is vpcctl's own", "choose another name")


def environment(variables: Mapping[str, str]) -> tuple[str, ...]:
    """K=V for each, sorted: their order says nothing."""
    return tuple(f"{name}={value}" for name, value in sorted(variables.items()))


def variables(environment: tuple[str, ...]) -> dict[str, str]:
    """The values by their names."""
    return {name: value for name, _, value in (one.partition("=") for one in environment)}


def check_workdir(path: str) -> None:
    """Refuse a working directory that depends on where somebody is."""
    if path and (not path.startswith("/") or "\0" in path):
        raise BadInput(f"{quoted(repr(path))} is not an absolute path", "write for example /srv")

"""Workloads: the programs that run in machines, as frozen values."""

from __future__ import annotations

from enum import Enum

from vpcctl_lib.frozen import frozen

MOST_PROCESSES = 1 << 22
"""PID_MAX_LIMIT of include/linux/threads.h."""


class Restart(Enum):
    """When to restart a program that has ended."""

    NO = "no"
    ON_FAILURE = "on-failure"
    ALWAYS = "always"


@frozen
class Upkeep:
    """A workload's upkeep: stop, restart, environment, log."""

    env: tuple[str, ...] = ()
    """K=V, sorted."""

    workdir: str = ""
    stop_signal: str = ""
    """Its name without SIG; empty for TERM."""

    stop_timeout: int | None = None
    """Seconds from the stop signal to KILL."""

    restart: Restart = Restart.NO
    log_max: int | None = None
    """Bytes."""


@frozen
class Workload:
    """A program that runs in a subnet; `port` is set only for our own web server."""

    name: str
    argv: tuple[str, ...] = ()
    port: int | None = None
    user: str = ""
    """A user of the host; by default one of the VPC's own, who owns nothing."""

    pids: int | None = None
    memory: int | None = None
    """Bytes."""

    upkeep: Upkeep = Upkeep()

"""The keepers that run in a namespace, and the workloads in their orders, for rebuilding the record."""

from __future__ import annotations

from vpcctl_lib.errors import BadInput
from vpcctl_lib.keeper import orders
from vpcctl_lib.keeper.orders import Orders
from vpcctl_lib.kernel import processes
from vpcctl_lib.kernel.processes import Process
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.kernel.users import check_user
from vpcctl_lib.model import naming
from vpcctl_lib.model.workloads import Restart, Upkeep, Workload
from vpcctl_lib.resources.processes import LOG_BYTES, PROCESSES
from vpcctl_lib.workloads.upkeep import check_workdir, parse_signal, parse_variable


def keepers(kernel: Kernel, space: str) -> dict[str, tuple[Process, Orders]]:
    """By mark, each with its orders: process 1 of a container may be root's, too."""
    found = {}
    for _, process in kernel.processes((space,)):
        given = orders.of(processes.argv(process)) if processes.is_keeper(process) else None
        if given and given.namespace == space and processes.runs_as_we_do(process):
            found[given.mark] = (process, given)
    return found


def workload(name: str, given: Orders) -> Workload:
    """The workload as somebody could have asked for it; VpcctlError if nobody could."""
    naming.check_name(name, "workload")
    check_user(given.user)
    program: tuple[str, ...]
    listening: int | None
    kind, _, port = name.partition("-")
    if kind == "webserver" and port.isdigit() and 0 < int(port) < 1 << 16:
        program, listening = (), int(port)
    else:
        program, listening = given.program, None
    pids = None if given.pids == PROCESSES else given.pids
    return Workload(name, program, listening, given.user, pids, given.memory or None, upkeep_of(given))


def upkeep_of(orders: Orders) -> Upkeep:
    """What a keeper's orders say of it; BadInput where they say what nobody could have asked for."""
    for one in orders.env:
        parse_variable(one)
    check_workdir(orders.workdir)
    if orders.restart not in {"", *(kind.value for kind in Restart)}:
        raise BadInput(f"{orders.restart!r} is not a way to restart")
    stop_signal = parse_signal(str(orders.stop_signal)) if orders.stop_signal else ""
    log_max = None if orders.log_bytes == LOG_BYTES else orders.log_bytes or None
    return Upkeep(orders.env, orders.workdir, stop_signal, orders.stop_timeout,
                  Restart(orders.restart or Restart.NO.value), log_max)

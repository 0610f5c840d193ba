"""The processes of a workload: its keeper, its program, and what they have started."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping

from vpcctl_lib.keeper.orders import MARK
from vpcctl_lib.kernel import netns, processes
from vpcctl_lib.kernel.processes import Process


def kept_identity(keeper: Process) -> dict[str, str]:
    """The facts about a workload from its keeper: also the pid of the program itself."""
    oldest = next(iter(processes.children(keeper.pid)), None)
    return {**processes.identity(keeper), "main": str(oldest.pid if oldest else 0)}


def is_kept(facts: Mapping[str, str]) -> bool:
    """Whether the workload has a keeper; a workload of an older vpcctl has none."""
    return "main" in facts


def main(facts: Mapping[str, str]) -> int | None:
    """The pid of a workload's program, if it runs; its keeper may have started another one meanwhile."""
    process = processes.recognise(facts)
    if process is None or not is_kept(facts):
        return process.pid if process else None
    first = processes.look(int(facts["main"]))
    if first is not None and first.parent == process.pid:
        return first.pid
    return next((one.pid for one in processes.children(process.pid)), None)


def marked(mark: str, among: Iterable[Process]) -> list[Process]:
    """Those that were started as the workload with that mark, or by it."""
    word = f"{MARK}={mark}".encode()
    return [process for process in among if word in processes.environment(process.pid)]


def of_workload(namespace: str, mark: str, facts: Mapping[str, str]) -> list[Process]:
    """The workload's keeper; else its processes, by session or mark, in its namespace.

    The namespace may have lost its name, and an exiting process has left it.
    """
    leader = processes.recognise(facts)
    homes = {netns.inode(namespace), processes.network(leader.pid) if leader else 0,
             int(facts.get("netns", 0)) if facts.get("boot") == processes.boot_id() else 0}
    here = processes.network(os.getpid())
    living = processes.within(homes - {0, here})
    keepers = marked(mark, filter(processes.is_keeper, living))
    if keepers:
        return keepers
    if leader and processes.is_ending(leader):
        return [leader]
    # A process that was just started may still be here, before it enters its namespace.
    found = {process.pid: process for process in marked(mark, [*living, *processes.within({here})])}
    if facts.get("boot") == processes.boot_id() and (leader or processes.look(int(facts["pid"])) is None):
        found.update({process.pid: process for process in living if process.session == int(facts["pid"])})
    return [process for process in found.values() if processes.is_keeper(process)] or list(found.values())

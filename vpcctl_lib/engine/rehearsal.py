"""What a plan would do, as text that a person could paste into a root shell, with the same effect."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from vpcctl_lib.engine.plan import Plan
from vpcctl_lib.engine.schedule import groups
from vpcctl_lib.kernel.run import Runner
from vpcctl_lib.record.document import FILE
from vpcctl_lib.record.ledger import Verb
from vpcctl_lib.resources import Namespace, Operation, Program, forwarders
from vpcctl_lib.resources.operations import PutBack
from vpcctl_lib.resources.processes import KEEPER_SECONDS, Start, Stop
from vpcctl_lib.workloads import logs
from vpcctl_lib.workloads.processes import is_kept


def commands(plan: Plan, folder: Path, runner: Runner) -> list[str]:
    """The commands in order, then a comment on what they leave out; logs and record lie in `folder`."""
    found = [*_steps(plan, folder, runner), *_sweep(plan, folder)]
    return [*found, f"# state: vpcctl would also record this in {folder / FILE}"] if found else []


def _steps(plan: Plan, folder: Path, runner: Runner) -> Iterator[str]:
    for group in groups(plan.steps):
        batch = group.batch()
        if batch:
            yield str(runner.spelt(batch.command(group.tolerant)))
        else:
            yield _typed(group.items[0].operation, folder, runner)


def _typed(operation: Operation, folder: Path, runner: Runner) -> str:
    if isinstance(operation, PutBack):
        others = forwarders.newcomers(forwarders.look(runner), operation.beside)
        return f"# {forwarders.stays(operation, others)}" if others else str(operation)
    if isinstance(operation, Start):
        log = operation.log_file(folder)
        # Like our own start of it: a session of its own, nothing of this terminal, and the prompt comes back.
        return (f"install -d -m 700 {shlex.join(map(str, _own_folders(log, folder)))}\n"
                f"setsid --fork env -C / {operation.command(folder)} </dev/null >/dev/null 2>&1")
    return _stopping(operation) if isinstance(operation, Stop) else str(operation)


def _own_folders(log: Path, folder: Path) -> list[Path]:
    return [above for above in reversed(log.parents) if folder in above.parents]


def _stopping(stop: Stop) -> str:
    """TERM, the workload's time to obey, KILL: for its keeper, or else for whoever bears its mark."""
    pid = stop.facts.get("pid")
    session = f"""[ "$(ps -o sid= -p $pid | tr -d ' ')" = {pid} ] || """ if pid else ""
    if is_kept(stop.facts):
        session = "grep -qs '^NSpid:.*[[:space:]]1$' /proc/$pid/status && "
    marked = f"grep -qsz '^VPCCTL_WORKLOAD={stop.mark}$' /proc/$pid/environ"
    turns = 10 * (stop.seconds + round(KEEPER_SECONDS))
    return f"""# workload {stop.mark}
workload() {{
  for pid in $(ip netns pids {stop.namespace}); do {session}{marked} && echo $pid; done
}}
for signal in TERM KILL; do
  workload | xargs -r kill -$signal
  for turn in $(seq {turns}); do [ -n "$(workload)" ] || break 2; sleep 0.1; done
done"""


def _sweep(plan: Plan, folder: Path) -> Iterator[str]:
    """The logs of workloads that go, and the folders that are empty by it."""
    gone = [step.entry.resource for step in plan.steps if step.verb is Verb.UNMAKE]
    kept = {entry.resource.key for entry in plan.after}
    gone_logs = [folder / one.log for one in gone if isinstance(one, Program) and one.key not in kept]
    files = [file for log in gone_logs for file in logs.files(log)]
    for one in gone:
        if isinstance(one, Namespace) and one.key not in kept:
            files += logs.left_in(logs.folder_of(folder, one.owner))
    if files:
        folders = dict.fromkeys(up for file in files for up in (file.parent, file.parent.parent))
        deepest = sorted(folders, key=lambda path: -len(path.parts))
        yield shlex.join(["rm", "-f", *map(str, dict.fromkeys(files))])
        yield shlex.join(["rmdir", "--ignore-fail-on-non-empty", *map(str, deepest), str(folder / "logs")])

"""What a plan would do, as text that a person can paste into a root shell, with the same effect."""

from __future__ import annotations

import shlex
from collections.abc import Iterator
from pathlib import Path

from vpcctl_lib.engine.plan import Plan
from vpcctl_lib.engine.schedule import groups
from vpcctl_lib.kernel.run import Runner
from vpcctl_lib.record.document import FILE
from vpcctl_lib.resources.operation import Desk


def commands(plan: Plan, folder: Path, runner: Runner) -> list[str]:
    """The commands in order, then a comment on what they leave out; logs and record are in `folder`."""
    found = [*_steps(plan, folder, runner), *_sweep(plan, folder)]
    return [*found, f"# state: vpcctl would also record this in {folder / FILE}"] if found else []


def _steps(plan: Plan, folder: Path, runner: Runner) -> Iterator[str]:
    desk = Desk(runner, folder)
    for group in groups(plan.steps):
        batch = group.batch()
        if batch:
            yield str(runner.spelt(batch.command(group.tolerant)))
        else:
            yield group.items[0].operation.typed(desk)


def _sweep(plan: Plan, folder: Path) -> Iterator[str]:
    """Removes the logs of workloads that go, and the folders that become empty."""
    gone = plan.gone()
    if not gone:
        return
    # Imported late: most changes leave nothing behind.
    from vpcctl_lib.engine.leavings import leavings

    files = [file for left in leavings(gone, folder) for file in left.files]
    if files:
        folders = dict.fromkeys(up for file in files for up in (file.parent, file.parent.parent))
        deepest = sorted({**folders, folder / "logs": None}, key=lambda path: -len(path.parts))
        yield shlex.join(["rm", "-f", *map(str, dict.fromkeys(files))])
        yield shlex.join(["rmdir", "--ignore-fail-on-non-empty", *map(str, deepest)])

"""The operations that are no commands: files, settings, connections and, in `programs`, workloads."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from pathlib import Path

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.kernel.run import Runner
from vpcctl_lib.resources import Namespace, Operation, Program, Resource
from vpcctl_lib.resources.operations import Make, PutBack, Remove, Set
from vpcctl_lib.resources.processes import EmptyNamespaces, Start, Stop
from vpcctl_lib.resources.tracking import Forget, Keep


class Desk:
    """Carries out the operations that are no commands; collects what is worth telling."""

    def __init__(self, runner: Runner, folder: Path) -> None:
        self._runner = runner
        self._folder = folder
        self._failed: set[str] = set()
        self.notes: list[str] = []

    def carry_out(self, operation: Operation) -> Mapping[str, str]:
        """Do it; returns the facts to write down, if it has any."""
        try:
            return self._carry_out(operation)
        except OSError as error:
            raise VpcctlError(f"{error.filename or operation}: {error.strerror}") from None

    def _carry_out(self, operation: Operation) -> Mapping[str, str]:
        if isinstance(operation, Start):
            return self._start(operation)
        if isinstance(operation, PutBack):
            self._put_back(operation)
            return {}
        self._runner.announce(operation)
        if isinstance(operation, (Make, Remove, Set)):
            operation.carry_out()
            self._runner.note(str(operation))
        elif isinstance(operation, (Stop, EmptyNamespaces)):
            self._end(operation)
        elif isinstance(operation, (Forget, Keep)):
            self._tend(operation)
        return {}

    def _tend(self, operation: Forget | Keep) -> None:
        """Where the table of connections can't be had, all else is done, and a note says what may follow."""
        try:
            operation.carry_out()
        except OSError as error:
            self.notes.append(f"{operation.shortfall}: {error.strerror}")

    def sweep_undone(self, made: Iterable[Resource]) -> list[Path]:
        """As `sweep`, but a program that did not start leaves its log where its subnet stays; these logs."""
        from vpcctl_lib.workloads import logs

        made = list(made)
        going = {one.name for one in made if isinstance(one, Namespace)}
        left = [one for one in made if isinstance(one, Program) and one.mark in self._failed
                and one.namespace not in going and logs.is_written(self._folder / one.log)]
        self.sweep(one for one in made if one not in left)
        return [self._folder / one.log for one in left]

    def sweep(self, gone: Iterable[Resource]) -> None:
        """Remove logs of workloads that are gone, all of a subnet's with it, and folders that are empty."""
        try:
            self._sweep(gone)
        except OSError as error:
            raise VpcctlError(f"can't remove {error.filename}: {error.strerror}") from None

    def _sweep(self, gone: Iterable[Resource]) -> None:
        # Imported late, as all here that has to do with processes: most changes touch none.
        from vpcctl_lib.workloads import logs

        for one in gone:
            if isinstance(one, Program):
                log = self._folder / one.log
                logs.remove(log)
                self._tidy(log.parent)
            elif isinstance(one, Namespace) and (folder := logs.folder_of(self._folder, one.owner)).exists():
                for file in logs.left_in(folder):
                    file.unlink(missing_ok=True)
                self._tidy(folder)

    def _tidy(self, folder: Path) -> None:
        for one in (folder, folder.parent, self._folder / "logs"):
            Remove(one, folder=True).carry_out()

    def _start(self, start: Start) -> Mapping[str, str]:
        from vpcctl_lib.engine import programs

        try:
            report = programs.start(self._runner, self._folder, start)
        except (VpcctlError, OSError):
            self._failed.add(start.mark)
            raise
        self.notes += [f"{start.mark}: {short}" for short in report.shortfalls]
        return report.facts()

    def _end(self, operation: Stop | EmptyNamespaces) -> None:
        from vpcctl_lib.engine import programs

        if isinstance(operation, Stop):
            programs.stop(operation)
        else:
            programs.empty(operation.namespaces, self.notes)

    def _put_back(self, setting: PutBack) -> None:
        command = setting.command()
        if command is None:
            self.notes.append(f"{setting.key} is not as vpcctl set it: it stays as somebody else did")
            return
        from vpcctl_lib.resources import forwarders

        others = forwarders.newcomers(forwarders.look(self._runner), setting.beside)
        if others:
            self.notes.append(forwarders.stays(setting, others))
            return
        outcome = self._runner.change(command)
        if outcome.status != 0:
            raise VpcctlError(f"sysctl failed: {outcome.reason()}")

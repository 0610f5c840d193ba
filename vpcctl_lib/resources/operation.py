"""What every operation has in common: how it runs, how it is rehearsed, where it acts."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Hashable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, ClassVar

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.kernel.run import Command, Runner

Facts = Mapping[str, str]
"""Facts from the making of a resource: the setting found, the process started."""

NO_FACTS: Facts = {}
NO_COUNTERS: Mapping[str, str] = {}


@dataclass
class Desk:
    """What operations that are not commands need to carry themselves out."""

    runner: Runner
    folder: Path
    """Where the logs and the record lie."""

    notes: list[str] = field(default_factory=list)
    """What is worth telling when all is done."""

    evidence: set[Path] = field(default_factory=set)
    """Logs that tell why something failed: they stay when it is undone."""

    def carry_out(self, operation: Operation) -> Facts:
        """Do it; returns facts to record, if there are any."""
        try:
            return operation.carry_out(self)
        except OSError as error:
            raise VpcctlError(f"{error.filename or operation}: {error.strerror}") from None


class Operation:
    """A single step of work."""

    needs_home: ClassVar[bool] = False
    """Whether it is nothing to undo or remove where what it is in is gone: commands say so themselves."""

    @property
    def kin(self) -> Hashable:
        """Equal for consecutive operations that one command can carry out; None if no command does."""
        return None

    def places(self, ends: frozenset[str]) -> frozenset[str] | None:
        """The places that it affects, where operations go one after the other; None is everywhere.

        `ends` are the namespaces that its resource affects; the host's name is empty.
        """
        return None

    def batch(self, kin: Sequence[Operation]) -> Batch | None:
        """The command for these, of which it is the first; None if it carries itself out."""
        return None

    def carry_out(self, desk: Desk) -> Facts:
        """Do it, if no command does; returns the facts to record. OSError, VpcctlError if it fails."""
        raise NotImplementedError(f"{type(self).__name__} has neither a batch nor a way to carry itself out")

    def typed(self, desk: Desk) -> str:
        """What a person can paste into a root shell for it; reads the host, changes nothing."""
        return str(self)


class Deed(Operation, ABC):
    """An operation that Python does by itself, from the operation's fields alone."""

    @abstractmethod
    def do(self) -> None:
        """Do it; OSError if it fails."""

    def carry_out(self, desk: Desk) -> Facts:
        """Announced before and recorded after, like commands."""
        desk.runner.announce(self)
        self.do()
        desk.runner.note(str(self))
        return NO_FACTS


class Line(Operation):
    """An operation that a command carries out, alone or with others of its kind in its namespace."""

    namespace: str
    tool: ClassVar[type[Batch]]

    @property
    def kin(self) -> tuple[Hashable, ...]:
        """The tool and the namespace."""
        return (self.tool, self.namespace)

    def places(self, ends: frozenset[str]) -> frozenset[str] | None:
        """Its namespace, and where its resource has its ends."""
        return ends | {self.namespace}

    def batch(self, kin: Sequence[Operation]) -> Batch | None:
        """All of them at once."""
        return self.tool(tuple(kin))


class Batch(ABC):
    """Consecutive operations that one command carries out, and how its failure is read."""

    needs_all: ClassVar[bool] = False
    """Whether one thing that is gone already keeps the command from removing the others."""

    says_why: ClassVar[bool] = True
    """Whether a failure always comes with a reason."""

    def __init__(self, steps: Sequence[Any]) -> None:
        self.steps = steps

    @property
    @abstractmethod
    def name(self) -> str:
        """That of the program."""

    @property
    def namespace(self) -> str:
        """The namespace that all of them share."""
        return str(self.steps[0].namespace)

    @property
    def where(self) -> str:
        """The place of a failure, for the middle of a sentence; empty if the tool says it, or on the host."""
        return f" in {self.namespace}" if self.namespace else ""

    @abstractmethod
    def command(self, carry_on: bool = False, counters: Mapping[str, str] = NO_COUNTERS) -> Command:
        """The command; with `carry_on` it continues after a failure, if it can; `counters` are by line."""

    @abstractmethod
    def done_before_failure(self, stderr: str) -> frozenset[int] | None:
        """The numbers of the operations that took effect; None if the failed command does not say."""

    def failed_at(self, effective: frozenset[int] | None) -> int | None:
        """The number of the operation that failed, by what took effect; None if unknown."""
        return None

    def otherwise(self) -> Batch | None:
        """What leads to the same from any state, for when the command fails; None if nothing does."""
        return None

    def salvage(self, runner: Runner, why: str) -> str | None:
        """After a removal that failed: do what can be done. What stays, for a note; None if it is a failure.

        `why` is what the command said.
        """
        return None

    def counters(self, runner: Runner) -> Mapping[str, str]:
        """The current counters of the rules that it will write, by line; asks the kernel."""
        return NO_COUNTERS

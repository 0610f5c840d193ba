"""What nft does: scripts that take effect as a whole, or not at all."""

from __future__ import annotations

from collections.abc import Callable, Hashable, Mapping

from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.run import Command
from vpcctl_lib.resources.operation import NO_COUNTERS, Batch, Line


class NftBatch(Batch):
    """Scripts as one."""

    name = "nft"

    def command(self, carry_on: bool = False, counters: Mapping[str, str] = NO_COUNTERS) -> Command:
        """One after the other."""
        return Command(("nft", "-f", "-"), "".join(step.text for step in self.steps), self.namespace)

    def done_before_failure(self, stderr: str) -> frozenset[int] | None:
        """All takes effect at once, or nothing."""
        return frozenset()

    def otherwise(self) -> Batch | None:
        """The whole of each thing, where each script only says what differs."""
        if not all(step.whole for step in self.steps):
            return None
        return NftBatch([Nft(step.namespace, step.whole(), step.apart) for step in self.steps])


@frozen
class Nft(Line):
    """A whole nft script for a namespace: all of it takes effect at once, or nothing."""

    namespace: str
    text: str
    apart: str = ""
    """A name for what it affects, if nothing else in its namespace does, nor waits for it; else empty."""

    whole: Callable[[], str] | None = None
    """For a script that changes what should be there: gives one that makes it from any state."""

    tool = NftBatch

    @property
    def kin(self) -> tuple[Hashable, ...]:
        """Scripts for the same thing."""
        return (self.tool, self.namespace, self.apart)

    def places(self, ends: frozenset[str]) -> frozenset[str] | None:
        """Its namespace, or a place inside it."""
        return frozenset({f"{self.namespace} {self.apart}"}) if self.apart else super().places(ends)

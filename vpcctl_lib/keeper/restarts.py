"""When to restart a program that has ended; pure."""

from __future__ import annotations

ON_FAILURE, ALWAYS = "on-failure", "always"
FIRST_SECONDS, LONGEST_SECONDS, STEADY_SECONDS = 0.1, 60.0, 10.0
"""The wait before the first restart, the longest wait, and the run time after which the wait starts over:
Docker's own ("Start containers automatically", restart policies)."""


class Restarts:
    """Doubles the wait each time, until the program has run for a while."""

    def __init__(self, policy: str) -> None:
        self._policy = policy
        self._next = FIRST_SECONDS

    @property
    def are_wanted(self) -> bool:
        """Whether restarts are possible at all."""
        return self._policy in (ON_FAILURE, ALWAYS)

    def wait(self, code: int, seconds: float) -> float | None:
        """How long to wait before the restart, after it ran for so long; None for no restart."""
        if not self.are_wanted or (self._policy == ON_FAILURE and code == 0):
            return None
        if seconds >= STEADY_SECONDS:
            self._next = FIRST_SECONDS
        wait = self._next
        self._next = min(2 * wait, LONGEST_SECONDS)
        return wait

"""When a program that has ended is started again; pure."""

from __future__ import annotations

ON_FAILURE, ALWAYS = "on-failure", "always"
FIRST_SECONDS, LONGEST_SECONDS, STEADY_SECONDS = 0.1, 60.0, 10.0
"""Before the first start again, the most before a later one, and after how long a program is well again:
Docker's own ("Start containers automatically", restart policies)."""


class Restarts:
    """Waits twice as long each time until the program has held out for a while."""

    def __init__(self, policy: str) -> None:
        self._policy = policy
        self._next = FIRST_SECONDS

    @property
    def are_wanted(self) -> bool:
        """Whether there may be any."""
        return self._policy in (ON_FAILURE, ALWAYS)

    def wait(self, code: int, seconds: float) -> float | None:
        """How long until it is started again, after it ran for so long; None if it stays ended."""
        if not self.are_wanted or (self._policy == ON_FAILURE and code == 0):
            return None
        if seconds >= STEADY_SECONDS:
            self._next = FIRST_SECONDS
        wait = self._next
        self._next = min(2 * wait, LONGEST_SECONDS)
        return wait

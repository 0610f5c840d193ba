"""Adds rules of IPv6 to those of the record, as a change would; with `fail`, a later step is refused.

No command makes such rules yet: what makes them calls the same plan and transaction.
"""

from __future__ import annotations

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2]))

from vpcctl_lib.engine.plan import difference  # noqa: E402 - from the checkout that this stands in
from vpcctl_lib.engine.transaction import Transaction  # noqa: E402
from vpcctl_lib.errors import VpcctlError  # noqa: E402
from vpcctl_lib.kernel.run import Outcome, Runner  # noqa: E402
from vpcctl_lib.model.addressing import Family  # noqa: E402
from vpcctl_lib.record.document import DEFAULT_FOLDER  # noqa: E402
from vpcctl_lib.record.store import Store  # noqa: E402
from vpcctl_lib.resources import Chain, SingleRule  # noqa: E402

RULE = "-s fd00:1::/64 -m comment --comment vpcctl:vpc1 -j ACCEPT"
SIXTH = (
    Chain("vpc1", "filter", "FORWARD", (RULE,), policy="DROP", family=Family.INET6),
    Chain("", "filter", "VPCCTL-FORWARD", (RULE,), family=Family.INET6),
    SingleRule("filter", "FORWARD", "-m comment --comment vpcctl:host -j VPCCTL-FORWARD", top=True,
               family=Family.INET6),
)
REFUSED = SingleRule("filter", "NO-SUCH-CHAIN", "-j ACCEPT")


def told(outcome: Outcome) -> None:
    """A line for each command that changed something, or was refused."""
    if outcome.command.argv[0].endswith("-restore"):
        # In one piece: commands run side by side.
        where = outcome.command.namespace or "host"
        sys.stdout.write(f"{outcome.status} {where} {outcome.command.argv[0]}\n")


def main() -> int:
    """Carry it out; 1 with the reason if it was undone."""
    store = Store(DEFAULT_FOLDER)
    with store.locked():
        before = store.load()
        held = [entry.resource for entry in before.ledger]
        more = (REFUSED,) if "fail" in sys.argv else ()
        plan = difference(before.ledger, [*held, *SIXTH, *more])
        try:
            Transaction(Runner(record=told), store).apply(plan, before, before.topology)
        except VpcctlError as error:
            print(error.message)
            return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""How much a run tries: all with --long, and least in the run before every commit."""

import os
import random
from collections.abc import Sequence
from typing import TypeVar

from hypothesis import Phase, settings

T = TypeVar("T")

LONG = bool(os.environ.get("VPCCTL_LONG"))
SLOW = LONG or bool(os.environ.get("VPCCTL_SLOW"))
MUTANTS = os.environ.get("VPCCTL_PROFILE") == "mutants"
EVERYTHING = SLOW or MUTANTS
"""Whether all of what is alike is tried; else a part of it, drawn by lot."""

LEFT = "slow: left to ./tests/run.sh --slow"
"""The reason with which a test is skipped that takes long beside others of its kind."""

EXAMPLES = 1000 if LONG else 50 if EVERYTHING else 10

settings.register_profile("vpcctl", deadline=None, max_examples=EXAMPLES)
# Any example that fails will do, and the same must fail each time.
settings.register_profile("mutants", deadline=None, max_examples=EXAMPLES, derandomize=True, database=None,
                          phases=(Phase.explicit, Phase.generate))
settings.load_profile("mutants" if MUTANTS else "vpcctl")


def by_lot(cases: Sequence[T], many: int, seed: object) -> Sequence[T]:
    """So many of the cases, drawn by lot, the same each time; with --slow and for mutants all of them."""
    lots = random.Random(str(seed))  # noqa: S311 - no secret
    return cases if EVERYTHING else lots.sample(cases, min(many, len(cases)))


def examples(many: int) -> settings:
    """A decorator below `@given`: so many with --slow, where others have fifty, and else in proportion."""
    return settings(max_examples=many * EXAMPLES // 50)


DEAR = examples(20)
"""For a property whose examples take long."""

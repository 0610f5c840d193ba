"""The list of mutants that no test sees fits the code, so that `./tests/run.sh --mutants` can pass."""

from __future__ import annotations

import pytest

from tests.mutation.__main__ import rooms
from tests.mutation.explained import Explained
from tests.mutation.sites import mutants


# It takes all rooms apart.
@pytest.mark.slow
def test_each_mutant_that_is_explained_is_in_the_code() -> None:
    everything = [one for paths in rooms().values() for path in paths for one in mutants(path)]
    assert Explained.written().gone(everything) == []

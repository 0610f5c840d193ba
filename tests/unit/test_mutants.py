"""The list of mutants that no test sees fits the code, so that `./tests/run.sh --mutants` can pass."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.mutation.__main__ import rooms
from tests.mutation.explained import Explained
from tests.mutation.sites import mutants


# It takes all rooms apart.
@pytest.mark.slow
def test_each_mutant_that_is_explained_is_in_the_code() -> None:
    everything = [one for paths in rooms().values() for path in paths for one in mutants(path)]
    explained = Explained.written()
    assert explained.modules <= {one.name[0] for one in everything}
    assert explained.gone(everything) == []


def test_what_is_explained_of_a_module_says_nothing_of_one_with_that_name_elsewhere() -> None:
    (first, *_), others = (mutants(Path(f"vpcctl_lib/{room}/dual.py")) for room in ("blueprint", "firewall"))
    module, function, was, becomes = first.name
    explained = Explained([{"why": "It is so.", "mutants": {module: {function: [[was, becomes]]}}}])
    assert explained.modules == {"blueprint/dual"}
    assert (explained.gone([first]), explained.gone(others)) == ([], [])
    assert explained.sorted_out([first])[1] == []

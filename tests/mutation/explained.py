"""What survivors.yaml says of the mutants that no test here sees."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path
from typing import Any

import yaml

from tests.mutation.sites import Mutant

FILE = Path(__file__).with_name("survivors.yaml")
ALL = "all"
"""In the place of a function's mutants: whatever is changed in it."""

Name = tuple[str, str, str, str]


class Explained:
    """The explanations, each used as often as it stands there; one for a whole function, for all of it.

    A mutant is found by its module, its function and its text, so that other lines may come and go.
    """

    def __init__(self, groups: Sequence[dict[str, Any]]) -> None:
        self._single: Counter[Name] = Counter()
        self._whole: set[tuple[str, str]] = set()
        self._why: dict[tuple[str, ...], str] = {}
        for group in groups:
            for module, functions in group["mutants"].items():
                for function, changes in functions.items():
                    self._read(group["why"], module, function, changes)

    @classmethod
    def written(cls) -> Explained:
        """Those of survivors.yaml."""
        return cls(yaml.safe_load(FILE.read_text(encoding="utf-8")) or ())

    def _read(self, why: str, module: str, function: str, changes: Any) -> None:
        if changes == ALL:
            self._whole.add((module, function))
            self._why[module, function] = why
            return
        for was, becomes in changes:
            self._single[module, function, was, becomes] += 1
            self._why[module, function, was, becomes] = why

    @property
    def modules(self) -> set[str]:
        """Those of which something is explained, each with its room."""
        return {names[0] for names in self._why}

    def sorted_out(self, survivors: Iterable[Mutant]) -> tuple[Counter[str], list[Mutant]]:
        """How many each reason explains, and those that none does."""
        left, reasons, new = self._single.copy(), Counter[str](), []
        for one in survivors:
            if left[one.name]:
                left[one.name] -= 1
                reasons[self._why[one.name]] += 1
            elif one.name[:2] in self._whole:
                reasons[self._why[one.name[:2]]] += 1
            else:
                new.append(one)
        return reasons, new

    def gone(self, tried: Sequence[Mutant]) -> list[str]:
        """What is explained of the modules tried, and is not in their code any more."""
        return self._left_of(tried, tried)

    def seen(self, tried: Sequence[Mutant], survivors: Sequence[Mutant]) -> list[str]:
        """What is explained of the modules tried, although a test sees it."""
        gone = self.gone(tried)
        return [one for one in self._left_of(tried, survivors) if one not in gone]

    def _left_of(self, tried: Sequence[Mutant], found: Sequence[Mutant]) -> list[str]:
        modules = {one.name[0] for one in tried}
        names = Counter(one.name for one in found)
        functions = {name[:2] for name in names}
        single = (name for name, times in self._single.items() if times > names[name])
        return [*(f"{module} {function}: {was}  →  {becomes or '(dropped)'}"
                  for module, function, was, becomes in single if module in modules),
                *(f"{module} {function}: {ALL}" for module, function in sorted(self._whole - functions)
                  if module in modules)]


def as_yaml(mutants: Iterable[Mutant]) -> str:
    """A group for survivors.yaml, whose reason is still to be written."""
    found: dict[str, dict[str, list[list[str]]]] = defaultdict(lambda: defaultdict(list))
    for one in mutants:
        module, function, was, becomes = one.name
        found[module][function].append([was, becomes])
    lines = ["- why:", "  mutants:"]
    for module, functions in found.items():
        lines.append(f"    {module}:")
        for function, changes in functions.items():
            lines.append(f"      {function}:")
            lines += [f"        - [{_quoted(was)}, {_quoted(becomes)}]" for was, becomes in changes]
    return "\n".join(lines)


def _quoted(text: str) -> str:
    return yaml.safe_dump(text, default_style='"', width=10_000, allow_unicode=True).strip()

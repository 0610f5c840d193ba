"""What a contributor goes by: the lock file of the tools, and the forms for issues."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from importlib.metadata import requires, version
from pathlib import Path
from typing import Any

import pytest
import yaml
from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

ROOT = Path(__file__).resolve().parents[2]
LOCK = ROOT / "requirements-dev.lock"
PYTHONS = ("3.10", "3.11", "3.12", "3.13")
FOLDER = ROOT / ".github/ISSUE_TEMPLATE"
FORMS = sorted(path.name for path in FOLDER.glob("*.yml") if path.name != "config.yml")
EXTRA = {"extra": "dev"}


def place(python: str) -> dict[str, str]:
    """What markers are judged by: this machine with another Python."""
    return {"python_version": python, "python_full_version": f"{python}.0"}


def locked(python: str) -> dict[str, str]:
    """The versions of the lock file for a Python, by name."""
    entries = [Requirement(line) for line in LOCK.read_text().splitlines()]
    return {canonicalize_name(entry.name): str(entry.specifier).removeprefix("==") for entry in entries
            if entry.marker is None or entry.marker.evaluate(place(python))}


def needed(name: str, extras: dict[str, str], python: str) -> Iterator[Requirement]:
    """What a package that is installed here asks for."""
    here = {**place(python), "extra": "", **extras}
    for requirement in map(Requirement, requires(name) or []):
        if requirement.marker is None or requirement.marker.evaluate(here):
            yield requirement


def wrong_in_lock(versions: dict[str, str], requirements: list[Requirement]) -> list[str]:
    """The requirements that no version of the lock file meets."""
    return [str(requirement) for requirement in requirements
            if (known := versions.get(canonicalize_name(requirement.name))) is None
            or not requirement.specifier.contains(known, prereleases=True)]


@pytest.mark.parametrize("python", PYTHONS)
def test_the_lock_has_what_the_tests_need(python: str) -> None:
    requirements = list(needed("vpcctl", EXTRA, python))
    assert len(requirements) >= 10
    assert wrong_in_lock(locked(python), requirements) == []


def test_the_lock_has_what_those_need_in_turn() -> None:
    """As far as it can be asked here: for this Python, and packages of just the version that is locked."""
    python = "{}.{}".format(*sys.version_info)
    versions, ahead, seen = locked(python), list(needed("vpcctl", EXTRA, python)), set()
    while ahead:
        name = canonicalize_name(ahead.pop().name)
        if name not in seen and versions[name] == version(name):
            found = list(needed(name, {}, python))
            assert wrong_in_lock(versions, found) == [], name
            ahead += found
        seen.add(name)
    assert len(seen) > 10


def test_a_hole_in_the_lock_is_found() -> None:
    wanted = [Requirement("click>=8.1"), Requirement("rich>=13"), Requirement("PyYAML>=6")]
    assert wrong_in_lock({"click": "7.0", "pyyaml": "6.0"}, wanted) == ["click>=8.1", "rich>=13"]


def test_the_lock_names_versions_and_no_places() -> None:
    for line in LOCK.read_text().splitlines():
        assert re.fullmatch(r"[a-z0-9-]+==[0-9][0-9a-z.]*( ; .+)?", line)


def test_the_lock_is_written_as_contributing_says() -> None:
    text = (ROOT / "CONTRIBUTING.md").read_text()
    assert f"--output-file {LOCK.name}" in text
    assert LOCK.name in (ROOT / "tests/run.sh").read_text()


@pytest.mark.parametrize("name", FORMS)
def test_a_form_can_be_filled_in(name: str) -> None:
    """As GitHub's syntax for issue forms wants it: name, description, body, and an id and a label a field."""
    content: dict[str, Any] = yaml.safe_load((FOLDER / name).read_text())
    assert content["name"]
    assert content["description"]
    fields = [field for field in content["body"] if field["type"] != "markdown"]
    assert len({field["id"] for field in fields}) == len(fields) >= 3
    assert all(field["attributes"]["label"] for field in fields)
    assert any(field.get("validations", {}).get("required") for field in fields)


def test_there_are_forms() -> None:
    assert FORMS == ["bug.yml", "idea.yml"]
    assert yaml.safe_load((FOLDER / "config.yml").read_text()) == {"blank_issues_enabled": True}

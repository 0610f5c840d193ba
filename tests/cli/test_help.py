"""Every command explains itself, and a word that is not a command or option is reported in one line."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import click
import pytest

from vpcctl_lib import __version__
from vpcctl_lib.cli import root


def paths(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    yield path
    if isinstance(command, click.Group):
        for name in sorted(command.commands):
            yield from paths(command.commands[name], (*path, name))


PATHS = sorted(paths(root))
LEAVES = [path for path in PATHS if not any(other[:-1] == path for other in PATHS)]
# These pass on what another program prints, or print a script.
JSON_LEAVES = [path for path in LEAVES if path[0] not in ("exec", "sandbox", "capture", "completion")]


def test_the_commands_of_the_contract_are_there() -> None:
    wanted = """vpc create, vpc set, vpc list, vpc show, vpc delete, subnet add, subnet set, subnet list,
        subnet delete, instance add, instance list, instance show, instance delete, instance attach,
        instance detach, nat enable, nat disable,
        peer create, peer delete, peer list, firewall apply, firewall allow, firewall deny,
        firewall show, firewall clear, deploy webserver, deploy run, deploy list, deploy logs, deploy stop,
        exec, sandbox, status, restore"""
    assert {tuple(words.split()) for words in wanted.split(",")} <= set(LEAVES)


@pytest.mark.parametrize("path", PATHS, ids=" ".join)
def test_help(path: tuple[str, ...], vpcctl: Any) -> None:
    done = vpcctl(*path, "--help")
    assert (done.code, done.err) == (0, "")
    assert vpcctl(*path, "-h") == done
    assert done.out.startswith(f"Usage: {' '.join(('vpcctl', *path))}")
    assert "Example" in done.out
    assert max(map(len, done.out.splitlines())) <= 110
    if path:
        assert "(in AWS: " in " ".join(done.out.split())
        assert f"vpcctl {' '.join(path)}" in done.out.split("Example", 1)[1]


@pytest.mark.parametrize("path", JSON_LEAVES, ids=" ".join)
def test_every_command_speaks_json(path: tuple[str, ...], vpcctl: Any) -> None:
    assert "--json" in vpcctl(*path, "--help").out


def test_the_commands_that_change_something_can_rehearse_and_be_verbose(vpcctl: Any) -> None:
    verbs = {"create", "add", "set", "delete", "enable", "disable", "clear", "webserver", "run", "stop",
             "restore", "apply", "allow", "deny", "attach", "detach", "join", "leave", "associate",
             "dissociate", "add-route", "delete-route", "allocate", "release"}
    for path in LEAVES:
        text = vpcctl(*path, "--help").out
        assert ("--dry-run" in text) == (path[-1] in verbs)
        assert ("-v, --verbose" in text) == (path[-1] in verbs)


def test_version(vpcctl: Any) -> None:
    assert vpcctl("--version").out == f"vpcctl, version {__version__}\n"


@pytest.mark.parametrize("path", [path for path in PATHS if path not in LEAVES], ids=" ".join)
def test_a_group_alone_shows_its_help(path: tuple[str, ...], vpcctl: Any) -> None:
    done = vpcctl(*path)
    assert (done.code, done.out) == (2, "")
    assert done.err.startswith("Usage: vpcctl")


@pytest.mark.parametrize("path", [path for path in PATHS if path not in LEAVES], ids=" ".join)
def test_an_unknown_command(path: tuple[str, ...], vpcctl: Any) -> None:
    done = vpcctl(*path, "nosuch")
    assert done.code == 2
    assert "No such command 'nosuch'" in done.one_line()
    assert "--help" in done.err


@pytest.mark.parametrize("path", JSON_LEAVES, ids=" ".join)
def test_an_unknown_option(path: tuple[str, ...], vpcctl: Any) -> None:
    if path == ("deploy", "run"):
        return  # takes options for those of the program that it starts
    done = vpcctl(*path, "--nosuch")
    assert done.code == 2
    assert "--nosuch" in done.one_line()
    as_json = vpcctl(*path, "--json", "--nosuch")
    assert (as_json.code, as_json.err) == (2, "")
    document = json.loads(as_json.out)
    assert document == {"version": 1, "error": {
        "message": done.err.splitlines()[0].removeprefix("Error: "),
        "hint": done.err.splitlines()[1].removeprefix("Hint: "), "code": 2}}


def test_a_near_miss_is_named(vpcctl: Any) -> None:
    assert "the verb is list: vpcctl vpc list" in vpcctl("vpc", "lst").one_line()
    assert "--json" in vpcctl("vpc", "list", "--jsn").one_line()


@pytest.mark.parametrize("words", [
    ("vpc", "create"), ("vpc", "create", "--name"), ("vpc", "create", "--name", "a"), ("vpc", "show"),
    ("subnet", "add", "--vpc", "a"), ("exec", "--vpc", "a", "--subnet", "b"), ("vpc", "list", "surplus"),
    ("deploy", "run", "--vpc", "a", "--subnet", "b", "--name", "c"), ("peer", "create", "--vpc1", "a"),
])
def test_what_is_missing_or_too_much(words: tuple[str, ...], vpcctl: Any) -> None:
    done = vpcctl(*words)
    assert done.code == 2
    assert done.one_line()
    assert not vpcctl.folder.exists()

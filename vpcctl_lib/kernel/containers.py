"""Containers, as the command lines of their runtimes show them; what these print is a stranger's text."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.run import Runner, has
from vpcctl_lib.kernel.sayings import sentence
from vpcctl_lib.model import guests


@frozen
class Container:
    """A container that runs."""

    name: str
    """RUNTIME:NAME"""

    pid: int
    """Of its first process."""


class NotRunning(VpcctlError):
    """The container does not run, or is unknown: it has no namespace now."""


@frozen
class _Found:
    """What a runtime says of a container; without a pid it does not run."""

    name: str
    pid: int


def _docker(told: object, asked: str) -> _Found:
    """As `docker container inspect` prints it, and those that imitate it."""
    one: Any = told[0] if isinstance(told, list) and len(told) == 1 else None
    state = one["State"]
    return _Found(str(one["Name"]).removeprefix("/"), state["Pid"] if state["Running"] is True else 0)


def _nerdctl(told: object, asked: str) -> _Found:
    """Like Docker's; older ones have no `Running`."""
    one: Any = told[0] if isinstance(told, list) and len(told) == 1 else None
    state = one["State"]
    return _Found(str(one["Name"]).removeprefix("/"), state["Pid"] if state["Status"] == "running" else 0)


def _crictl(told: object, asked: str) -> _Found:
    """As `crictl inspect` prints it: several containers may have one name, so that it is asked by number."""
    one: Any = told
    running = one["status"]["state"] == "CONTAINER_RUNNING"
    return _Found(asked, one["info"]["pid"] if running else 0)


RUNTIMES: dict[str, tuple[tuple[str, ...], Callable[[object, str], _Found]]] = {
    "docker": (("docker", "container", "inspect"), _docker),
    "podman": (("podman", "container", "inspect"), _docker),
    "nerdctl": (("nerdctl", "container", "inspect"), _nerdctl),
    "crictl": (("crictl", "inspect", "--output", "json"), _crictl),
}
"""Each of `guests.RUNTIMES` with the command that describes a container, and how its answer is read."""


def find(runner: Runner, name: str) -> Container:
    """The running container of that name; VpcctlError if there is none, or if several runtimes have one."""
    given, _, short = guests.check_container(name).rpartition(":")
    installed = [given] if given else [runtime for runtime in RUNTIMES if has(runtime)]
    if not installed or not has(installed[0]):
        raise NotRunning(f"{given or ', '.join(RUNTIMES)} not found",
                         "install the runtime of the container, or attach it by --netns or --pid")
    answers = dict(_asked(runner, installed, short))
    found = {runtime: one for runtime, one in answers.items() if isinstance(one, _Found)}
    if not found:
        told = "; ".join(f"{runtime}: {answer}" for runtime, answer in answers.items())
        raise NotRunning(f"there is no container '{short}' ({told})", "name one that runs")
    if len(found) > 1:
        choices = " or ".join(f"{runtime}:{short}" for runtime in found)
        raise VpcctlError(f"{' and '.join(found)} each have a container '{short}'",
                          f"say which: {choices}")
    (runtime, one), = found.items()
    if not one.pid:
        raise NotRunning(f"container '{one.name}' of {runtime} does not run",
                         f"start it: {runtime} start {one.name}")
    return Container(f"{runtime}:{one.name}", one.pid)


def pid_command(name: str) -> str:
    """What a person can type to learn the pid of a container."""
    runtime, _, short = name.rpartition(":")
    if runtime == "crictl":
        return f"crictl inspect --output go-template --template '{{{{.info.pid}}}}' {short}"
    command = " ".join(RUNTIMES[runtime or "docker"][0])
    return f"{command} -f '{{{{.State.Pid}}}}' {short}"


def _asked(runner: Runner, runtimes: list[str], name: str) -> Iterator[tuple[str, _Found | str]]:
    """What each says of it, or why there is nothing to say."""
    for runtime in runtimes:
        command, read = RUNTIMES[runtime]
        outcome = runner.ask_once((*command, name))
        if outcome.status != 0:
            yield runtime, sentence(outcome.stderr) or f"exit status {outcome.status}"
        else:
            yield runtime, _checked(runtime, name, outcome.stdout, read)


def _checked(runtime: str, name: str, text: str, read: Callable[[object, str], _Found]) -> _Found:
    try:
        found = read(json.loads(text), name)
    except (ValueError, RecursionError, KeyError, TypeError, IndexError, AttributeError):
        raise VpcctlError(f"{runtime} describes container '{name}' in a way that vpcctl does not know",
                          f"see: {runtime} inspect {name}; attach it by --pid") from None
    if type(found.pid) is not int or found.pid < 0 or not guests.CONTAINER.fullmatch(found.name):
        raise VpcctlError(f"{runtime} gives container '{name}' a name or pid that vpcctl can't use",
                          f"see: {runtime} inspect {name}; attach it by --pid")
    return found

"""What container runtimes print of a container: the right part of it is used, and nothing else believed."""

from __future__ import annotations

import json
from typing import Any

import pytest

from vpcctl_lib.errors import BadInput, VpcctlError
from vpcctl_lib.kernel import containers
from vpcctl_lib.kernel.containers import Container, NotRunning, find, pid_command
from vpcctl_lib.kernel.run import Command, Outcome
from vpcctl_lib.model.guests import RUNTIMES, check_container, pid_in

DOCKER = [{"Id": "f00", "Name": "/web", "State": {"Status": "running", "Running": True, "Pid": 77}}]
PODMAN = [{"Id": "f00", "Name": "web", "State": {"Status": "running", "Running": True, "Pid": 78}}]
NERDCTL = [{"Id": "f00", "Name": "web", "State": {"Status": "running", "Pid": 79}}]
CRICTL = {"status": {"id": "f00", "metadata": {"name": "nginx"}, "state": "CONTAINER_RUNNING"},
          "info": {"pid": 80}}


class Runner:
    """Answers for runtimes, as they were recorded; the others know no such container."""

    def __init__(self, **answers: object) -> None:
        self.answers = answers
        self.asked: list[tuple[str, ...]] = []

    def ask_once(self, argv: tuple[str, ...]) -> Outcome:
        self.asked.append(argv)
        if argv[0] not in self.answers:
            return Outcome(Command(argv), 1, "[]\n", f"Error: No such container: {argv[-1]}\n", 0)
        answer = self.answers[argv[0]]
        return Outcome(Command(argv), 0, answer if isinstance(answer, str) else json.dumps(answer), "", 0)


@pytest.fixture(autouse=True)
def installed(monkeypatch: pytest.MonkeyPatch) -> None:
    """All runtimes but crictl."""
    monkeypatch.setattr(containers, "has", lambda tool: tool != "crictl")


def found(name: str, **answers: object) -> Container:
    runner: Any = Runner(**answers)
    return find(runner, name)


@pytest.mark.parametrize(("runtime", "answer", "pid"), [
    ("docker", DOCKER, 77), ("podman", PODMAN, 78), ("nerdctl", NERDCTL, 79)])
def test_whichever_has_it_is_used(runtime: str, answer: object, pid: int) -> None:
    assert found("web", **{runtime: answer}) == Container(f"{runtime}:web", pid)
    assert found("f00", **{runtime: answer}).name == f"{runtime}:web", "a number changes, a name stays"
    assert found(f"{runtime}:web", **{runtime: answer}).pid == pid


def test_only_the_one_that_is_named_is_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    runner: Any = Runner(docker=DOCKER, podman=PODMAN)
    assert find(runner, "podman:web").pid == 78
    assert runner.asked == [("podman", "container", "inspect", "web")]
    monkeypatch.setattr(containers, "has", lambda tool: tool == "crictl")
    assert found("crictl:f00", crictl=CRICTL) == Container("crictl:f00", 80)


def test_two_of_one_name_are_told_apart_by_the_person() -> None:
    with pytest.raises(VpcctlError, match="docker and podman each have a container 'web'") as caught:
        found("web", docker=DOCKER, podman=PODMAN)
    assert caught.value.hint == "say which: docker:web or podman:web"


def test_one_that_does_not_run_has_no_namespace() -> None:
    stopped = [{"Name": "/web", "State": {"Status": "exited", "Running": False, "Pid": 0}}]
    with pytest.raises(NotRunning, match="container 'web' of docker does not run") as caught:
        found("web", docker=stopped)
    assert caught.value.hint == "start it: docker start web"
    with pytest.raises(NotRunning, match="there is no container 'web'.*docker: .*No such container"):
        found("web")


def test_without_a_runtime(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(containers, "has", lambda _: False)
    for name in ("web", "docker:web"):
        with pytest.raises(NotRunning, match="not found"):
            found(name)


@pytest.mark.parametrize("answer", [
    "", "{", "null", "[]", [{}], [{"Name": "/web"}], [{"Name": "/web", "State": None}], [*DOCKER, *DOCKER],
    [{"Name": "/web", "State": {"Running": True, "Pid": "77"}}], "[" * 100_000,
    [{"Name": "/web", "State": {"Running": True, "Pid": True}}],
    [{"Name": "/web", "State": {"Running": True, "Pid": -1}}],
    [{"Name": "/../x", "State": {"Running": True, "Pid": 7}}],
    [{"Name": "-x", "State": {"Running": True, "Pid": 7}}],
    [{"Name": "a\u202eb", "State": {"Running": True, "Pid": 7}}]])
def test_what_is_not_an_answer_is_refused(answer: object) -> None:
    with pytest.raises(VpcctlError, match="docker (describes|gives) container 'web'"):
        found("web", docker=answer)


@pytest.mark.parametrize("name", [
    "", "-x", "a b", "a/b", "docker:", ":web", "rkt:web", "a;b", "ä", "x" * 129])
def test_no_container_is_called_so(name: str) -> None:
    with pytest.raises(BadInput):
        check_container(name)


def test_each_runtime_can_be_asked() -> None:
    assert set(containers.RUNTIMES) == set(RUNTIMES)


def test_a_person_asks_for_the_pid_in_the_same_way() -> None:
    assert pid_command("podman:web") == "podman container inspect -f '{{.State.Pid}}' web"
    assert pid_command("crictl:f00").startswith("crictl inspect --output go-template")


@pytest.mark.parametrize("path", [
    "/proc/77/ns/net", "/proc/77/task/78/ns/net", "//proc/./77/ns/net", "/run/../proc/77/fd/9"])
def test_a_path_that_goes_by_a_process_ends_with_it(path: str) -> None:
    assert pid_in(path) == "77"


@pytest.mark.parametrize("path", ["/run/netns/77", "/proc/self/ns/net", "/proc/77", "/run/proc/77/ns/net"])
def test_other_paths_go_by_no_process(path: str) -> None:
    assert pid_in(path) == ""

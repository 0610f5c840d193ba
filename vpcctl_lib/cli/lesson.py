"""`vpcctl lesson`."""

from __future__ import annotations

import os
from functools import partial
from typing import TYPE_CHECKING, Any

import click

from vpcctl_lib import managers
from vpcctl_lib.cli import output
from vpcctl_lib.cli.completion import script
from vpcctl_lib.cli.params import Settings, json_option
from vpcctl_lib.cli.progress import progress
from vpcctl_lib.errors import ExitCode

if TYPE_CHECKING:
    from vpcctl_lib.lessons.lesson import Lesson
    from vpcctl_lib.managers.lesson import LessonManager

WIDTH = 100
"""Columns of a text, if the terminal has as many."""

NEXT = "Look around: vpcctl graph, reach, status, vpc show. Then: vpcctl lesson check (hint, solution, quit)"
LEAVE = "This is a private host of your own. It ends, with all that you write, when you leave: exit. " \
    "A second terminal in it: vpcctl sandbox --join"


def complete_lesson(_: click.Context, __: click.Parameter, incomplete: str) -> list[str]:
    """The names of the lessons, or the numbers if a digit was typed."""
    from vpcctl_lib.lessons.course import COURSE

    numbers = (str(number) for number in range(1, len(COURSE) + 1))
    return [word for word in (*numbers, *(one.name for one in COURSE)) if word.startswith(incomplete)]


@click.group()
def lesson() -> None:
    """The course: networks that are broken, for you to repair (in AWS: Skill Builder's labs).

    A lesson builds a network in a sandbox and breaks it, without saying how. A check sends real packets.
    docs/guide.md explains what each lesson is about.

    \b
    Example:
      vpcctl lesson list
      vpcctl lesson start 1
      vpcctl lesson check
    """


@lesson.command("list")
@json_option
@click.pass_obj
def list_lessons(settings: Settings, as_json: bool) -> None:
    """List the lessons, which are solved, and which runs (in AWS: the catalogue of Skill Builder).

    \b
    Example:
      vpcctl lesson list
    """
    # Imported late, here and below: completion needs only this module's help.
    from vpcctl_lib.lessons.course import COURSE
    from vpcctl_lib.managers.lesson import Progress
    from vpcctl_lib.views import lessons as views

    known = _manager(settings).progress() if _is_inside() else Progress()
    found = [views.listed(one, known.lesson, known.solved) for one in COURSE]
    if as_json:
        output.document("lessons", found)
        return
    rows = [(str(one["number"]), one["name"], one["about"], one["state"]) for one in found]
    output.table(("NUMBER", "NAME", "YOU LEARN", "STATE"), rows, "no lessons")


@lesson.command()
@click.argument("number", metavar="N", shell_complete=complete_lesson)
@click.option("--again", is_flag=True, help="Begin a running lesson again, with its network as it was first.")
@json_option
@click.pass_context
def start(ctx: click.Context, number: str, again: bool, as_json: bool) -> int:
    """Build a lesson's network and break it (in AWS: start lab).

    N is a number or a name of `lesson list`. Outside a sandbox this opens one, with a shell in it: on your
    own host, nothing is built. In a sandbox it needs one without VPCs; a lesson that is solved makes way for
    the next.

    \b
    Example:
      vpcctl lesson start 1
    """
    from vpcctl_lib.managers.lesson import check_tools, find_lesson

    chosen = find_lesson(number)
    if not _is_inside():
        check_tools(chosen)
        return _open(ctx, chosen, as_json)
    progress.start()
    _present(chosen, _manager(ctx.obj).start(chosen, again), as_json)
    return ExitCode.DONE


@lesson.command()
@json_option
@click.pass_obj
def check(settings: Settings, as_json: bool) -> int:
    """Send packets, and say whether the network is repaired (in AWS: submit lab).

    What must be reached is reached, and nothing else is open. Exit code 0 if so, else 1.

    \b
    Example:
      vpcctl lesson check
    """
    from vpcctl_lib.views import lessons as views

    manager = _manager(settings)
    running = manager.running()
    progress.start()
    view = views.checked(running, manager.check())
    if as_json:
        output.document("lesson", view)
    else:
        _show(view)
    return ExitCode.DONE if view["solved"] else ExitCode.FAILED


@lesson.command()
@json_option
@click.pass_obj
def hint(settings: Settings, as_json: bool) -> None:
    """Print the next hint; each says more than the one before (in AWS: the hints of a lab).

    \b
    Example:
      vpcctl lesson hint
    """
    from vpcctl_lib.views import lessons as views

    manager = _manager(settings)
    running = manager.running()
    view = views.hinted(running, manager.hint())
    if as_json:
        output.document("lesson", view)
        return
    given = view["hint"]
    _print(f"Hint {given['number']} of {given['of']}: {given['text']}")
    if given["number"] == given["of"]:
        output.note("that was the last hint; all of it: vpcctl lesson solution")


@lesson.command()
@click.argument("number", metavar="[N]", required=False, shell_complete=complete_lesson)
@json_option
@click.pass_obj
def solution(settings: Settings, number: str | None, as_json: bool) -> None:
    """Print the commands that repair the network, and why (in AWS: the solution of a lab).

    Of the running lesson, or of lesson N.

    \b
    Example:
      vpcctl lesson solution
    """
    from vpcctl_lib.managers.lesson import find_lesson
    from vpcctl_lib.views import lessons as views

    chosen = find_lesson(number) if number else _manager(settings).running()
    if as_json:
        output.document("lesson", views.solved(chosen))
        return
    output.result(chosen.solution)
    _print(chosen.why)


@lesson.command("quit")
@json_option
@click.pass_obj
def quit_lesson(settings: Settings, as_json: bool) -> None:
    """Take away the lesson's network, and rules and namespaces added to the host (in AWS: end lab).

    \b
    Example:
      vpcctl lesson quit
    """
    from vpcctl_lib.views import lessons as views

    manager = _manager(settings)
    running = manager.running()
    progress.start()
    manager.quit()
    if as_json:
        output.document("lesson", views.named(running))
    else:
        output.result(f"lesson {views.named(running)['number']} ended: its network is deleted")


def _is_inside() -> bool:
    from vpcctl_lib import sandbox

    return sandbox.is_inside()


def _manager(settings: Settings) -> LessonManager:
    return managers.LessonManager(settings.context())


def _open(ctx: click.Context, chosen: Lesson, as_json: bool) -> int:
    """Open a sandbox, in which the same command comes before the shell."""
    from vpcctl_lib import sandbox

    first = ("vpcctl", "lesson", "start", chosen.name, *(["--json"] if as_json else []))
    wish = sandbox.Wish(first=first, name="course", completion=partial(script, ctx),
                        tell=output.remark)
    if os.isatty(0):
        output.remark(f"{_folded(LEAVE)}\n")
    try:
        return sandbox.enter(wish)
    except sandbox.CannotRun as error:
        output.failure(error, as_json)
        return error.status


def _present(chosen: Lesson, is_new: bool, as_json: bool) -> None:
    from vpcctl_lib.views import lessons as views

    if as_json:
        output.document("lesson", views.begun(chosen, is_new))
        return
    view = views.named(chosen)
    output.result(f"Lesson {view['number']}: {chosen.title}\n")
    for text in (chosen.symptom, f"Task: {chosen.task}"):
        _print(text)
        output.result("")
    _print(NEXT)
    if not is_new:
        output.note("it runs already, and is as you left it; from its beginning: vpcctl lesson start "
                    f"{view['number']} --again")


def _show(view: dict[str, Any]) -> None:
    checks = view["checks"]
    rows = [(one["from"], _target(one), one["wanted"], one["found"], "yes" if one["ok"] else "NO")
            for one in checks]
    output.table(("FROM", "TO", "WANTED", "FOUND", "RIGHT"), rows, "nothing is asked")
    if view["solved"]:
        output.result(output.Painted(f"lesson {view['number']} is solved", "green"))
        if not view["in_sync"]:
            output.note("packets flow as they must, but something is not as it was recorded: vpcctl status")
        output.note("the next one: vpcctl lesson start "
                    f"{view['number'] + 1}" if view["number"] < view["of"] else "that was the last one")
        return
    wrong = sum(not one["ok"] for one in checks)
    output.result(f"lesson {view['number']} is not solved yet: {wrong} of {len(checks)} are not right")
    output.note("if you don't get on: vpcctl lesson hint")


def _target(one: dict[str, Any]) -> str:
    what = f"tcp {one['port']}" if one["port"] else "ping"
    return f"{one['to']} {what}{' by IPv6' if one['family'] == 'IPv6' else ''}"


def _print(text: str) -> None:
    output.result(_folded(text))


def _folded(text: str) -> str:
    import textwrap

    return textwrap.fill(text, min(output.width(), WIDTH), break_on_hyphens=False)

"""The corrected command for what was typed: options in their places, lone values after their options."""

from __future__ import annotations

import re
import shlex
from collections.abc import Sequence
from typing import TYPE_CHECKING, NamedTuple, cast

import click

from vpcctl_lib.model.lookup import close

if TYPE_CHECKING:
    from vpcctl_lib.cli.elsewhere import Commands

ANYWHERE = ("--json", "--dry-run", "-v", "--verbose")
"""Options of a command that may also come before it."""

HELP = "help"
_CIDR = re.compile(r"[\d.]+(/\d*)?")


def straightened(words: Sequence[str], root: click.Group) -> list[str]:
    """The words with such options after their command, and with `help` turned into --help."""
    moved: list[str] = []
    kept: list[str] = []
    here: click.Command = root
    asked = False
    rest = list(words)
    while rest and isinstance(here, click.Group):
        word = rest.pop(0)
        if word in ANYWHERE:
            moved.append(word)
        elif word == HELP and word not in here.commands:
            asked = True
        else:
            kept.append(word)
            if _takes_value(here, word) and rest:
                kept.append(rest.pop(0))
            elif not word.startswith("-"):
                below = here.commands.get(word)
                if below is None:
                    break
                here = below
    if asked:
        return [*kept, *rest, "--help"]
    # Without a command they would only hide what is wrong.
    return [*kept, *rest] if isinstance(here, click.Group) else [*kept, *moved, *rest]


def _takes_value(command: click.Command, word: str) -> bool:
    return any(word in option.opts and not option.is_flag for option in command.params
               if isinstance(option, click.Option))


class Advice(NamedTuple):
    """What was wrong, and what to type instead."""

    message: str
    hint: str


def unknown_command(name: str, ctx: click.Context, words: Sequence[str]) -> Advice:
    """The advice for an unknown command: ours for it, the nearest, or all commands."""
    group, root = cast(click.Group, ctx.command), cast(click.Group, ctx.find_root().command)
    typed = tail(ctx, words)
    if group is not root:
        return _unknown_verb(name, ctx, group, root, typed)
    # Imported late, here and below: most commands exist.
    from vpcctl_lib.cli.elsewhere import meant

    found = meant(typed, tree(root))
    if found:
        path, count = found
        return Advice(f"No such command '{' '.join(typed[:count])}'",
                      f"in vpcctl it is: {_line(root, path, typed[count:])}")
    near = close(name, group.commands, alike=0.7)
    hint = f"did you mean '{near}'?" if near else f"use one of: {', '.join(sorted(group.commands))}"
    return Advice(f"No such command '{name}'", f"{hint}; see: {ctx.command_path} --help")


def _unknown_verb(name: str, ctx: click.Context, group: click.Group, root: click.Group,
                  typed: Sequence[str]) -> Advice:
    noun = group.name or ""
    from vpcctl_lib.cli.elsewhere import verb_of

    verb = verb_of(noun, name.lower(), tree(root), one=True) or close(name, group.commands, alike=0.7)
    message = f"No such command '{name}' of {ctx.command_path}"
    if verb:
        return Advice(message, f"the verb is {verb}: {_line(root, (noun, verb), typed[1:])}")
    verbs = ", ".join(sorted(group.commands))
    return Advice(message, f"use one of: {verbs}; see: {ctx.command_path} --help")


def tree(root: click.Group) -> Commands:
    """The names of all commands."""
    return {name: tuple(command.commands) if isinstance(command, click.Group) else ()
            for name, command in root.commands.items()}


def tail(ctx: click.Context, words: Sequence[str]) -> list[str]:
    """The words after the command of a context."""
    rest = list(words)
    for name in ctx.command_path.split()[1:]:
        rest = rest[rest.index(name) + 1:] if name in rest else rest
    if ctx.parent is None:
        return list(_behind_options(ctx.command, rest))
    return rest


def _behind_options(command: click.Command, words: Sequence[str]) -> Sequence[str]:
    number = 0
    while number < len(words) and words[number].startswith("-"):
        number += 2 if _takes_value(command, words[number]) else 1
    return words[number:]


def _line(root: click.Group, path: Sequence[str], rest: Sequence[str]) -> str:
    command: click.Command = root
    for name in path:
        command = cast(click.Group, command).commands[name]
    return corrected(f"vpcctl {' '.join(path)}", command, rest)


def corrected(path: str, command: click.Command, typed: Sequence[str]) -> str:
    """The whole command with each value after its option, and words in capitals for missing ones."""
    words, own = _split(command, typed)
    given, lone = _sorted_out(command, words)
    wanted = [option for option in command.params if isinstance(option, click.Option) and option.required
              and not any(name in given for name in option.opts)]
    values = _assigned(wanted, lone)
    line = [path]
    for option in command.params:
        if option in wanted:
            name = option.opts[-1]
            line += [name, shlex.quote(values[name]) if name in values else option.metavar or "VALUE"]
        line += [word for name in option.opts if name in given for word in _pair(name, given[name])]
    if _argument(command):
        line += ["--", shlex.join(own) if own else "CMD..."]
    return " ".join(line)


def _pair(name: str, value: str) -> list[str]:
    return [name, shlex.quote(value)] if value else [name]


def _argument(command: click.Command) -> bool:
    """Whether a command takes another one, after `--`."""
    return any(isinstance(one, click.Argument) and one.required for one in command.params)


def _split(command: click.Command, typed: Sequence[str]) -> tuple[Sequence[str], Sequence[str]]:
    """Our own words, and those of the command that follows, even without its `--`."""
    if "--" in typed:
        place = list(typed).index("--")
        return typed[:place], typed[place + 1:]
    number = 0
    while _argument(command) and number < len(typed):
        word = typed[number]
        if not word.startswith("-") and "/" not in word.strip("/"):
            return typed[:number], typed[number:]
        number += 2 if _takes_value(command, word) else 1
    return typed, ()


def _sorted_out(command: click.Command, typed: Sequence[str]) -> tuple[dict[str, str], list[str]]:
    """The command's options among the words, each with its value; and the lone values."""
    flags = {name: option.is_flag for option in command.params if isinstance(option, click.Option)
             for name in option.opts}
    given: dict[str, str] = {}
    lone: list[str] = []
    rest = list(typed)
    while rest:
        name, equals, value = rest.pop(0).partition("=")
        if not name.startswith("-"):
            lone.append(name + equals + value)
        elif name in flags:
            given[name] = value if equals or flags[name] or not rest else rest.pop(0)
        elif rest and not equals and not rest[0].startswith("-"):
            # Another program's option: of its values, only a CIDR is recognisable.
            lone += [one for one in (rest.pop(0),) if "/" in one and _CIDR.fullmatch(one)]
    return given, lone


def _assigned(wanted: Sequence[click.Option], lone: Sequence[str]) -> dict[str, str]:
    """The option that each lone value was meant for."""
    open_, found = [option.opts[-1] for option in wanted], dict[str, str]()

    def give(name: str, value: str) -> bool:
        if name not in open_ or name in found:
            return False
        found[name] = value
        return True

    left = []
    for value in lone:
        if "/" in value and not _CIDR.fullmatch(value) and value.count("/") == 1 and "--vpc" in open_:
            vpc, _, subnet = value.partition("/")
            if give("--vpc", vpc) and (give("--subnet", subnet) or give("--name", subnet)):
                continue
        if _CIDR.fullmatch(value) and "/" in value and give("--cidr", value):
            continue
        left.append(value)
    names = [name for name in open_ if name not in found and name != "--cidr"]
    if len(left) < len(names) and "--name" in names:
        names.sort(key=lambda name: name != "--name")
    found.update(zip(names, left, strict=False))
    return found


def misplaced(ctx: click.Context, words: Sequence[str]) -> Advice | None:
    """The advice for lone values after a command that takes only options."""
    command, behind = ctx.command, tail(ctx, words)
    typed, _ = _split(command, behind)
    _, lone = _sorted_out(command, typed)
    if not lone or not any(isinstance(one, click.Option) and one.required for one in command.params):
        return None
    return Advice(f"'{' '.join(lone)}' stands alone: it must follow an option",
                  f"write: {corrected(ctx.command_path, command, behind)}")


def incomplete(ctx: click.Context, words: Sequence[str]) -> str:
    """The whole command, if an option or argument is missing."""
    return f"write: {corrected(ctx.command_path, ctx.command, tail(ctx, words))}"


def command_path(words: Sequence[str], root: click.Group) -> str:
    """The command that the words begin with, as far as it exists."""
    here: click.Command = root
    path, rest = ["vpcctl"], list(words)
    while rest and isinstance(here, click.Group):
        word = rest.pop(0)
        if _takes_value(here, word) and rest:
            rest.pop(0)
        elif word in here.commands:
            here = here.commands[word]
            path.append(word)
    return " ".join(path)

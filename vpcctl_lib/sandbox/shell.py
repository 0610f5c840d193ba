"""The interactive shell of a sandbox: the person's own, with vpcctl's completion; and the greeting."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence

from vpcctl_lib.frozen import frozen
from vpcctl_lib.sandbox.plan import STATE, File, Folder, Step

FOLDER = "/etc/vpcctl"
BASH, FISH, ZSH = f"{FOLDER}/bashrc", f"{FOLDER}/vpcctl.fish", f"{FOLDER}/.zshrc"

_READ = r"""sed -n 's/.*"lesson": \([1-9][0-9]*\).*/(lesson \1)/p'""" + f" {STATE}/lesson.json 2>/dev/null"
_LESSON = f'vpcctl_lesson() {{ local number=$({_READ}); echo "${{number:+$number }}"; }}\n'

PROMPTS = {
    "bash": f"{_LESSON}PS1='$(vpcctl_lesson)'$PS1\n",
    "zsh": f"{_LESSON}setopt PROMPT_SUBST\nPS1='$(vpcctl_lesson)'$PS1\n",
    "fish": "if functions -q fish_prompt\n  functions -c fish_prompt vpcctl_prompt\n"
            f"  function fish_prompt\n    set -l number ({_READ})\n"
            '    test -z "$number"; or echo -n "$number "\n    vpcctl_prompt\n  end\nend\n',
}
"""What puts the lesson that runs before the person's own prompt."""


@frozen
class Shell:
    """A shell to start, with the files that it reads first and what it finds in its environment."""

    argv: tuple[str, ...]
    files: tuple[Step, ...] = ()
    variables: tuple[tuple[str, str], ...] = ()


def prepared(program: str, script: str) -> Shell:
    """The shell, set up to read the person's own start-up file and then the completion script."""
    kind = os.path.basename(program)
    if not script:
        return Shell((program,))
    if kind == "bash":
        text = f"[ ! -r ~/.bashrc ] || . ~/.bashrc\n{script}\n{PROMPTS[kind]}"
        return Shell((program, "--rcfile", BASH), (Folder(FOLDER), File(BASH, text)))
    if kind == "fish":
        files = (Folder(FOLDER), File(FISH, f"{script}\n{PROMPTS[kind]}"))
        return Shell((program, "--init-command", f"source {FISH}"), files)
    if kind == "zsh":
        text = "ZDOTDIR=~\n[ ! -r ~/.zshrc ] || . ~/.zshrc\nautoload -U compinit && compinit\n" \
            f"{script}\n{PROMPTS[kind]}"
        return Shell((program,), (Folder(FOLDER), File(ZSH, text)), (("ZDOTDIR", FOLDER),))
    return Shell((program,))


def banner(kept: Sequence[str], has_users: bool) -> str:
    """The greeting: what the sandbox is, what stays and how to leave."""
    stays = f"What you write is thrown away when you leave, except in {', '.join(kept)}." if kept else \
        "What you write, /tmp, your home and this folder included, is thrown away when you leave " \
        "(--keep DIR keeps a folder)."
    users = "" if has_users else "Only root exists in it: for nobody, postgres and others, leave and run: " \
        "sudo apt-get install uidmap\n"
    return ("This is a sandbox: a private host of your own, whose eth0 leads to a small simulated internet "
            f"(8.8.8.8).\n{stays}\n{users}"
            "To leave: exit. A second terminal in it: vpcctl sandbox --join")


def shortfall(left: Sequence[str], environment: Mapping[str, str], here: str) -> str:
    """A warning of folders that should be private and are the host's own; empty if there are none."""
    counted = dict.fromkeys(("/tmp", environment.get("HOME", "/root"), here))  # noqa: S108
    real = [path for path in counted
            if any(path == one or path.startswith(f"{one}/") for one in left)]
    return f"this kernel can't throw away what is written to {', '.join(real)}: it stays" if real else ""

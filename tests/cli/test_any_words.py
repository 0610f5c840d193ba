"""Whatever is typed: no traceback, no exit code of our own making, and with --json nothing but JSON."""

from __future__ import annotations

import json
from typing import Any

import click
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.dear import examples
from vpcctl_lib.cli import root

VALUES = ("vpc1", "vpc2", "vpc3", "public", "private", "web", "worker", "new", "10.0.0.0/16", "10.0.7.0/24",
          "10.9.0.0/16", "eth0", "80", "0", "/dev/null", ".", "/nowhere/state.json", "bash", "")
FLAGS = ("--json", "--dry-run", "-v", "--help", "-h", "--version", "--", "-", "--x", "--json=1", "--name")
CODES = {0, 1, 2, 127, 130}

not_utf_8 = st.characters(min_codepoint=0xDC80, max_codepoint=0xDCFF)
"""Bytes of the command line, as Python tells them (PEP 383)."""

text = st.text(st.characters(codec="utf-8", exclude_characters="\0") | not_utf_8, max_size=8)
values = st.sampled_from(VALUES) | text
noise = st.sampled_from((*FLAGS, *VALUES)) | text


@st.composite
def lines(draw: st.DrawFn) -> list[str]:
    """A command with most of its options, in any order, and now and then a word that is out of place."""
    words: list[str] = []
    command: click.Command = root
    while isinstance(command, click.Group):
        words.append(draw(st.sampled_from(sorted(command.commands))))
        command = command.commands[words[-1]]
    groups = [[max(option.opts, key=len), *([] if option.is_flag else [draw(values)])]
              for option in command.params if isinstance(option, click.Option) and draw(st.integers(0, 9))]
    groups += [[draw(noise)] for _ in range(draw(st.integers(0, 2)))]
    return words + [word for group in draw(st.permutations(groups)) for word in group]


ANSWERS = {"status", "reach"}


@given(words=lines() | st.lists(noise, max_size=4), uid=st.sampled_from((0, 1000)))
@settings(examples(300), suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_words(words: list[str], uid: int, prepared: Any) -> None:
    before = prepared.files()
    try:
        done = prepared(*words, uid=uid)
    except AssertionError as error:
        if "the host would be changed" not in str(error):
            raise
        return
    assert done.code in CODES
    assert prepared.files() == before
    ours = words[:words.index("--")] if "--" in words else words
    if done.code in (1, 2) and "--json" in ours and not done.err.startswith("Usage: "):
        document = json.loads(done.out)
        assert done.err == ""
        # An answer that is no is no error.
        assert ANSWERS & document.keys() or document["error"]["code"] == done.code
    elif done.code in (1, 2) and done.err:
        assert done.err.startswith(("Error: ", "vpcctl: ", "Usage: "))
        assert done.out == "" or {"status", "reach"} & set(words)

"""Whatever is typed: no traceback, no exit code of our own making, and with --json nothing but JSON."""

from __future__ import annotations

import json
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

GROUPS = ("vpc", "subnet", "nat", "peer", "firewall", "deploy", "exec", "sandbox", "status", "restore",
          "apply", "export", "completion")
VERBS = ("create", "list", "show", "delete", "add", "enable", "disable", "apply", "clear", "webserver", "run",
         "logs", "stop", "bash")
OPTIONS = ("--name", "--cidr", "--vpc", "--subnet", "--vpc1", "--vpc2", "--type", "--interface", "--policy",
           "--port", "-f", "--file")
FLAGS = ("--json", "--dry-run", "-v", "--allow-overlap", "--prune", "--help", "-h", "--version", "--", "-",
         "--x")
VALUES = ("vpc1", "vpc2", "vpc3", "public", "private", "web", "worker", "new", "10.0.0.0/16", "10.0.7.0/24",
          "10.9.0.0/16", "eth0", "80", "0", "/dev/null", ".", "/nowhere/state.json", "")

text = st.text(st.characters(codec="utf-8", exclude_characters="\0"), max_size=8)
pairs = st.tuples(st.sampled_from(OPTIONS), st.sampled_from(VALUES) | text)
anything = st.sampled_from((*GROUPS, *VERBS, *FLAGS, *OPTIONS, *VALUES)).map(lambda word: (word,)) | text.map(
    lambda word: (word,))
commands = st.tuples(st.sampled_from(GROUPS), st.sampled_from(VERBS))
lines = st.tuples(commands | st.just(()), st.lists(pairs | anything, max_size=6)).map(
    lambda parts: [*parts[0], *(word for part in parts[1] for word in part)])

OURS = {0, 1, 2, 127, 130}


def reaches_the_host(error: AssertionError) -> bool:
    """Whether all was right and the host would now be changed, which the tests don't do."""
    return "the host would be changed" in str(error)


@given(words=lines, uid=st.sampled_from((0, 1000)))
@settings(suppress_health_check=[HealthCheck.function_scoped_fixture], max_examples=300)
def test_any_words(words: list[str], uid: int, prepared: Any) -> None:
    before = prepared.files()
    try:
        done = prepared(*words, uid=uid)
    except AssertionError as error:
        if not reaches_the_host(error):
            raise
        return
    assert done.code in OURS
    assert "Traceback" not in done.err
    assert prepared.files() == before
    ours = words[:words.index("--")] if "--" in words else words
    if done.code in (1, 2) and "--json" in ours and not done.err.startswith("Usage: "):
        document = json.loads(done.out)
        assert done.err == ""
        assert "status" in document or document["error"]["code"] == done.code
    elif done.code in (1, 2) and done.err:
        assert done.err.startswith(("Error: ", "vpcctl: ", "Usage: "))
        assert done.out == "" or "status" in words

"""Plain words: none that a reader stumbles on, and the same refusal in the same words everywhere."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Callable, Iterable, Iterator
from functools import cache
from pathlib import Path

import pytest

from tests.rooms import FILES, ROOT, nodes, walk

pytestmark = pytest.mark.beside("code")

TOP = ROOT.parent
SOURCES = [*FILES, TOP / "vpcctl"]
SCRIPTS = [TOP / name for name in ("cleanup.sh", "demo.sh", "tests/run.sh")]
PAGES = [*(TOP / name for name in ("README.md", "CONTRIBUTING.md", "SECURITY.md")),
         *(TOP / "docs").glob("*.md")]

STUMBLED_ON = re.compile(r"\b(shall|spelt|whilst|told|whosoever|lest|anew|erstwhile)\b")
"""Say must, written, reported, recreated, so that … not."""

COMMENTS = re.compile("#.*")
"""All comments, and some text with that sign in it."""

NAMES_OF_CODE = re.compile(r"`[^`]*`|\$\w+|\$\{?told\b|^\s*told=.*$", re.MULTILINE)

WORDS = {
    r"\bexists already|\balready there|\bthere already|\bis there \(": "already exists",
    r"\b(is|are) taken\b": "is already in use",
    r"(?<!already )exists,? and vpcctl did not make it": "already exists, and vpcctl did not make it",
    r"\bno (VPC|subnet|workload|sandbox|network namespace|user) '|\bno such (VPC|subnet|device|user)":
        "VPC 'x' does not exist",
    r"\bis not there\b|\bany more\b": "does not exist, or: is missing",
    r"(?<!already )\bis gone\b|\bgone, though": "is missing",
    r"(?<!there )is no (?!longer\b)": "is not a …",
    r"^there is: |^it can be |\bkeys are\b": "use one of: …",
    r"^(use|add) for example ": "write for example …",
    r"(?<!its )(?<!Content-)\b[Tt]ype: (?!public\b)": "run: …",
    r"\bmay not (read|write|stop|enter|send)\b": "can't read …: permission denied",
    r"\bis not known\b|^not known whether": "is unknown",
    r"\bis not found\b|\bnot found \(": "x not found; install it: …",
    r"\btak(e|en) up\b": "adopt, adopted",
    r"\bcan't be known\b": "can't be rebuilt",
    r"\bspeaks IPv4": "supports IPv4 only",
    r"\bput(s)? in the place of\b": "replace",
    r"\bnobody has the address\b": "no machine has the address",
}
"""What a message does not say, and what it says instead."""

ANY_WORDS = re.compile("|".join(WORDS))

AS_IT_IS = {"not known": "a value of `status --json`, which programs read"}


def is_prose(text: str) -> bool:
    return " " in text.strip()


def literal(node: ast.AST) -> str | None:
    """A string; in place of what an f-string inserts, three dots."""
    if isinstance(node, ast.JoinedStr):
        return "".join(str(part.value) if isinstance(part, ast.Constant) else "…" for part in node.values)
    return node.value if isinstance(node, ast.Constant) and isinstance(node.value, str) else None


def documentation(file: Path) -> Iterator[str]:
    """Docstrings, those of constants too, and comments if one might have such a word."""
    for node in nodes(file):
        if isinstance(node, ast.Expr) and (text := literal(node.value)):
            yield text
    text = file.read_text()
    # To take a file apart takes long, and few comments have any of these words.
    if any(map(STUMBLED_ON.search, COMMENTS.findall(text))):
        for token in tokenize.generate_tokens(io.StringIO(text).readline):
            if token.type == tokenize.COMMENT:
                yield token.string


@cache
def messages(file: Path) -> list[str]:
    """All other strings of several words: messages, hints, notes and help."""
    inside = {id(part) for node in nodes(file) if isinstance(node, ast.JoinedStr)
              for part in walk(node) if part is not node}
    inside |= {id(node.value) for node in nodes(file) if isinstance(node, ast.Expr)}
    return [text for node in nodes(file)
            if id(node) not in inside and (text := literal(node)) and is_prose(text)]


def stumbled_on(texts: Iterable[str]) -> list[str]:
    return [text for text in texts if STUMBLED_ON.search(NAMES_OF_CODE.sub("", text))]


def other_words(texts: Iterable[str]) -> list[str]:
    return [f"{text}: say: {chosen}" for text in texts if text not in AS_IT_IS and ANY_WORDS.search(text)
            for pattern, chosen in WORDS.items() if re.search(pattern, text)]


def found(lines: Callable[[Path], list[str]], files: Iterable[Path]) -> dict[str, list[str]]:
    """The lines of each file that has some."""
    return {str(file.relative_to(TOP)): wrong for file in files if (wrong := lines(file))}


def test_docstrings_comments_and_messages_are_plain() -> None:
    assert found(lambda file: stumbled_on([*documentation(file), *messages(file)]), SOURCES) == {}


def test_pages_and_scripts_are_plain() -> None:
    assert found(lambda file: stumbled_on(file.read_text().splitlines()), [*PAGES, *SCRIPTS]) == {}


def test_the_same_refusal_has_the_same_words() -> None:
    assert found(lambda file: other_words(messages(file)), SOURCES) == {}


def test_what_is_not_plain_is_found() -> None:
    assert stumbled_on(["What shall be", "it is told", "`told` is a name", "It must be"]) == \
        ["What shall be", "it is told"]
    assert other_words(["VPC 'a' is there (10.0.0.0/16)", "VPC 'a' already exists", "not known"]) == \
        ["VPC 'a' is there (10.0.0.0/16): say: already exists"]


def test_messages_are_found_and_docstrings_are_not_among_them() -> None:
    found = messages(ROOT / "model/lookup.py")
    assert "VPC '…' does not exist" in found
    assert not [text for text in found if text.startswith("Finding things")]

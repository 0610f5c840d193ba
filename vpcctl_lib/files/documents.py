"""A JSON or YAML file that a person named: read safely, with the line of each value."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator, Mapping
from dataclasses import field
from enum import Enum, auto
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, NamedTuple, TypeVar

from vpcctl_lib.errors import BadInput, VpcctlError, quoted, revealed
from vpcctl_lib.files import named
from vpcctl_lib.frozen import frozen
from vpcctl_lib.visible import printable, visible

if TYPE_CHECKING:
    from yaml import CollectionStartEvent, ScalarEvent

T = TypeVar("T")
MAX_DEPTH = 50
TOO_DEEP = f"nested too deep: the limit is {MAX_DEPTH} levels"
_SHOWN_CHARACTERS = 60
_PLAIN_KEY = re.compile(r"[A-Za-z0-9_-]{1,60}")


def shown(value: object) -> str:
    """A value as an error message quotes it: short, on one line, without control characters."""
    if isinstance(value, Mapping):
        return "a mapping"
    if isinstance(value, (list, tuple)):
        return "a list"
    if not isinstance(value, str):
        return quoted(json.dumps(value))
    short = value if len(value) <= _SHOWN_CHARACTERS else f"{value[:_SHOWN_CHARACTERS]}…"
    return quoted(f'"{printable(short)}"')


@frozen
class Place:
    """A place in a document, such as `ingress[2].port`; one with nothing around it is the whole document.

    Its words are put together when they are asked for: a large file has many places, and most are right.
    """

    document: Document
    around: Place | None = field(default=None, repr=False)
    step: str | int = ""
    """The step from what is around it: a key, or an index from 0."""

    chosen: bool = field(default=False, repr=False)
    """Whether the file chose this key."""

    def at(self, step: str | int) -> Place:
        """The place one step further in: a key that the format knows, or an index from 0."""
        return Place(self.document, self, step)

    def named(self, key: str) -> Place:
        """The place of a key that the file chose: a name, or one that the format does not know."""
        return Place(self.document, self, key, chosen=True)

    @property
    def path(self) -> str:
        """The steps to it, as the lines of a document have them; empty for the whole document."""
        return _join(self.around.path, self.step) if self.around else ""

    @property
    def told(self) -> str:
        """The path, with the parts that come from the file marked as quotations."""
        if not self.around:
            return ""
        outer = self.around.told
        if not self.chosen:
            return _join(outer, self.step)
        return f"{outer}{'.' if outer else ''}{quoted(_join('', self.step))}"

    @property
    def line(self) -> int | None:
        """The line on which it begins; for a missing place, the line of what it is missing from."""
        line = self.document.line(self.path)
        return self.around.line if line is None and self.around else line

    def refusal(self, problem: str, hint: str = "") -> BadInput:
        """The error for this place: file, line, place and problem in one line."""
        place = f"{self.told}: " if self.told else ""
        return _refusal(self.document.name, self.line, f"{place}{problem}", hint)


@frozen
class Document:
    """The content of a file (None, bool, int, float, str, lists, dicts with text keys), with its lines."""

    name: str
    data: object
    lines: Mapping[str, int] = field(default_factory=dict, repr=False)

    def line(self, place: str) -> int | None:
        """The line, from 1, on which that place begins; None if the file has no such place."""
        return self.lines.get(place)

    @property
    def top(self) -> Place:
        """The place of the whole document."""
        return Place(self)


def told(place: Place, check: Callable[[], T]) -> T:
    """What the check returns; what it refuses is refused with file, line and place."""
    try:
        return check()
    except VpcctlError as error:
        raise placed(error, place) from None


def placed(error: VpcctlError, place: Place) -> VpcctlError:
    """The same error with file, line and place."""
    refusal = place.refusal(*error.told)
    refusal.code = error.code
    return refusal


def read(path: Path) -> Document:
    """The document in that file: JSON if its name or first character says so, else YAML."""
    name = printable(str(path))
    return _document(name, named.from_path(path, name), path.suffix.lower())


def read_stream(stream: BinaryIO, name: str) -> Document:
    """The document in a stream: JSON if its first character says so, else YAML."""
    return _document(name, named.from_stream(stream, name))


def _document(name: str, raw: bytes, suffix: str = "") -> Document:
    text = _text(name, raw)
    if suffix == ".json" or (suffix not in (".yaml", ".yml") and text.lstrip().startswith(("{", "["))):
        return _read_json(name, text)
    return _read_yaml(name, text)


def written(data: object) -> str:
    """The data as YAML, which `read` reads back unchanged."""
    import yaml

    class Dumper(yaml.SafeDumper):
        """Writes YAML 1.1, and quotes text that only we would read differently."""

        def ignore_aliases(self, data: object) -> bool:
            return True

    Dumper.add_representer(str, lambda dumper, text: dumper.represent_scalar(
        "tag:yaml.org,2002:str", text, style='"' if _needs_quotes(text) else None))
    return yaml.dump(data, Dumper=Dumper, sort_keys=False, allow_unicode=True).rstrip("\n")


def _needs_quotes(text: str) -> bool:
    """Whether it would be read as a number or constant, or contains a character that needs an escape."""
    return not isinstance(_plain(text), str) or visible(text) != text


def _join(path: str, step: str | int) -> str:
    if isinstance(step, int):
        return f"{path}[{step}]"
    key = step if _PLAIN_KEY.fullmatch(step) else revealed(shown(step))
    return f"{path}.{key}" if path else key


def _refusal(name: str, line: int | None, problem: str, hint: str = "") -> BadInput:
    where = name if line is None else f"{name}, line {line}"
    return BadInput(f"{where}: {problem}", hint)


# Characters that YAML calls not printable; of these JSON allows only U+007F and up, which no honest file has.
_CONTROL = re.compile("[\0-\x08\x0b\x0c\x0e-\x1f\x7f-\x84\x86-\x9f]|\ufffe|\uffff")


def _text(name: str, raw: bytes) -> str:
    try:
        text = raw.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        line = raw.count(b"\n", 0, error.start) + 1
        raise _refusal(name, line, "is not UTF-8 text", "save the file as UTF-8") from None
    odd = _CONTROL.search(text)
    if odd:
        line = text.count("\n", 0, odd.start()) + 1
        raise _refusal(name, line, f"is not text: it contains the character {shown(odd[0])}")
    if not text.strip():
        raise BadInput(f"{name}: is empty")
    return text


class _Kind(Enum):
    MAPPING = auto()
    LIST = auto()
    SCALAR = auto()
    END = auto()


class _Token(NamedTuple):
    """The common token of both formats; `plain` text may be a number or a constant, quoted text is text."""

    kind: _Kind
    line: int
    text: str = ""
    plain: bool = False


def _read_json(name: str, text: str) -> Document:
    try:
        # For its errors only: numbers stay text, since one of a million digits takes minutes to convert.
        json.loads(text, parse_int=str, parse_float=str)
    except json.JSONDecodeError as error:
        where = f"{name}, line {error.lineno}" + quoted(f", column {error.colno}", "")
        problem = quoted(f": {error.msg[0].lower()}{error.msg[1:]}", "")
        hint = "JSON allows no comments, no single quotes and no comma after the last item; a .yaml file does"
        raise BadInput(f"{where}: is not JSON{problem}", hint) from None
    except RecursionError:
        raise _refusal(name, None, TOO_DEEP) from None
    return _Builder(name, _json_tokens(text)).document()


_JSON_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[{}\[\]]|[^\s{}\[\]",:]+')
_JSON_KINDS = {"{": _Kind.MAPPING, "[": _Kind.LIST, "}": _Kind.END, "]": _Kind.END}


def _json_tokens(text: str) -> Iterator[_Token]:
    """The tokens of a text already known to be JSON, so that commas and colons can be skipped."""
    line, seen = 1, 0
    for match in _JSON_TOKEN.finditer(text):
        line += text.count("\n", seen, match.start())
        seen = match.start()
        word = match[0]
        kind = _JSON_KINDS.get(word, _Kind.SCALAR)
        if word.startswith('"'):
            yield _Token(kind, line, json.loads(word) if "\\" in word else word[1:-1])
        else:
            yield _Token(kind, line, word, plain=True)


def _read_yaml(name: str, text: str) -> Document:
    import yaml

    try:
        return _Builder(name, _yaml_tokens(name, text)).document()
    except yaml.MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        # Newer libyaml gives up by itself, far beyond our limit, before it reports the first bracket.
        if "nesting depth" in str(error.problem):
            raise _refusal(name, mark.line + 1 if mark else None, TOO_DEEP) from None
        where = f"{name}, line {mark.line + 1}" + quoted(f", column {mark.column + 1}", "") if mark else name
        hint = "YAML is indented with spaces, not tabs" if "\t" in text else ""
        # The parser's own message may contain characters or names from the file.
        problem = quoted(f": {printable(str(error.problem or error.context))}", "")
        raise BadInput(f"{where}: is not YAML{problem}", hint) from None


def _yaml_tokens(name: str, text: str) -> Iterator[_Token]:
    """The tokens of a YAML text; refuses tags, aliases and further documents."""
    import yaml

    # Events and not nodes: composing a megabyte of brackets takes minutes, and recurses without a limit.
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    documents = 0
    for event in yaml.parse(text, Loader=loader):
        line = event.start_mark.line + 1 if event.start_mark else 1
        if isinstance(event, yaml.DocumentStartEvent):
            documents += 1
            if documents > 1:
                raise _refusal(name, line, "a second document begins here", "keep one document in a file")
        elif isinstance(event, yaml.AliasEvent):
            problem = f"the alias {shown(f'*{event.anchor}')} is not supported"
            raise _refusal(name, line, problem, "write the value out in full")
        elif isinstance(event, (yaml.ScalarEvent, yaml.CollectionStartEvent)):
            _refuse_tag(name, line, event.tag)
            yield _yaml_token(event, line)
        elif isinstance(event, yaml.CollectionEndEvent):
            yield _Token(_Kind.END, line)


def _refuse_tag(name: str, line: int, tag: str | None) -> None:
    if tag is not None:
        word = tag.replace("tag:yaml.org,2002:", "!!")
        problem = f"the tag {shown(word)} is not supported"
        raise _refusal(name, line, problem, "write the plain value, and quotes around text")


def _yaml_token(event: ScalarEvent | CollectionStartEvent, line: int) -> _Token:
    import yaml

    if isinstance(event, yaml.ScalarEvent):
        return _Token(_Kind.SCALAR, line, event.value, plain=event.implicit[0])
    return _Token(_Kind.MAPPING if isinstance(event, yaml.MappingStartEvent) else _Kind.LIST, line)


def _spellings(word: str) -> tuple[str, str, str]:
    return word, word.title(), word.upper()


_CONSTANTS: dict[str, object] = {
    "": None,
    "~": None,
    **dict.fromkeys(_spellings("null")),
    **dict.fromkeys(_spellings("true"), True),
    **dict.fromkeys(_spellings("false"), False),
}
# Not -0: no int is -0, and `kill -0` is not `kill 0`.
_INTEGER = re.compile(r"0|-?[1-9][0-9]{0,17}")
_NUMBER = re.compile(r"-?(0|[1-9][0-9]*)(\.[0-9]+)?([eE][-+]?[0-9]+)?")
_INFINITIES = (*_spellings(".inf"), *_spellings("-.inf"))
_NOT_FINITE = {"NaN", "Infinity", "-Infinity", ".nan", ".NaN", ".NAN", *_INFINITIES}
_SURROGATE = re.compile("[\ud800-\udfff]")


def _plain(text: str) -> object:
    """A number or constant in JSON's syntax, else text: YAML 1.1 would convert `yes`, 022 and dates."""
    if text in _CONSTANTS:
        return _CONSTANTS[text]
    if _INTEGER.fullmatch(text):
        return int(text)
    if text in _NOT_FINITE:
        return math.nan
    return float(text) if _NUMBER.fullmatch(text) else text


class _Builder:
    """Builds a document from tokens, and records where each place begins."""

    def __init__(self, name: str, tokens: Iterator[_Token]) -> None:
        self.name = name
        self.tokens = tokens
        self.lines: dict[str, int] = {}

    def document(self) -> Document:
        """The document, after all tokens are read."""
        first = next(self.tokens, None)
        if first is None:
            raise BadInput(f"{self.name}: is empty except for comments")
        self.lines[""] = first.line
        data = self.value(first, "", 1)
        # What follows the value may still be wrong: a second document, a stray bracket.
        next(self.tokens, None)
        return Document(self.name, data, self.lines)

    def value(self, token: _Token, path: str, depth: int) -> object:
        """The value that begins with this token."""
        if token.kind is _Kind.SCALAR:
            return self.scalar(token, path)
        if depth > MAX_DEPTH:
            raise _refusal(self.name, token.line, TOO_DEEP)
        return self.entries(path, depth) if token.kind is _Kind.MAPPING else self.items(path, depth)

    def items(self, path: str, depth: int) -> list[object]:
        """The items up to the end of the list."""
        items: list[object] = []
        while (token := next(self.tokens)).kind is not _Kind.END:
            here = _join(path, len(items))
            self.lines[here] = token.line
            items.append(self.value(token, here, depth + 1))
        return items

    def entries(self, path: str, depth: int) -> dict[str, object]:
        """The entries up to the end of the mapping."""
        entries: dict[str, object] = {}
        while (key := next(self.tokens)).kind is not _Kind.END:
            # A key is plain text: YAML's own conversion makes `on:` True and `22:22` 1342.
            if key.kind is not _Kind.SCALAR:
                raise _refusal(self.name, key.line, "a key must be text")
            here = _join(path, self.text(key, path))
            if key.text in entries:
                raise self.refusal(key, here, f"the key already exists, on line {self.lines[here]}")
            self.lines[here] = key.line
            entries[key.text] = self.value(next(self.tokens), here, depth + 1)
        return entries

    def scalar(self, token: _Token, path: str) -> object:
        """The token's value: quoted text stays text, whatever it looks like."""
        value = _plain(token.text) if token.plain else token.text
        if isinstance(value, str):
            return self.text(token, path)
        if isinstance(value, float) and not math.isfinite(value):
            raise self.refusal(token, path, f"{shown(token.text)} is not a finite number")
        return value

    def text(self, token: _Token, path: str) -> str:
        """The token's text; refuses half a surrogate pair, which JSON can write but nobody can print."""
        if _SURROGATE.search(token.text):
            raise self.refusal(token, path, f"{shown(token.text)} is not Unicode text")
        return token.text

    def refusal(self, token: _Token, path: str, problem: str) -> BadInput:
        """The error for that token."""
        return _refusal(self.name, token.line, f"{quoted(path)}: {problem}" if path else problem)

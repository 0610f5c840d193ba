"""Things of a kind without code of its own: how they are compared, drawn, shown and ordered."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import pytest

from vpcctl_lib.engine import finders
from vpcctl_lib.frozen import frozen
from vpcctl_lib.graph import Format, Graph, draw
from vpcctl_lib.graph.value import Thing
from vpcctl_lib.managers.topology import with_others
from vpcctl_lib.model import comparison, kinds
from vpcctl_lib.model.kinds import Kind
from vpcctl_lib.model.policies import Action, Protocol, Rule
from vpcctl_lib.views import things

RULE = Rule(Protocol.ALL, Action.DENY)


@frozen
class Note:
    """What somebody has written into a book."""

    name: str


@frozen
class Book:
    """What a shelf holds."""

    name: str
    pages: int = 1
    action: Action = Action.ALLOW
    words: tuple[str, ...] = ()
    rules: tuple[Rule, ...] = ()
    read_twice: bool = False
    notes: tuple[Note, ...] = ()


@frozen
class Label:
    """Of which a shelf has one, or none."""

    text: str = ""


@frozen
class Shelf:
    """What can hold others."""

    books: tuple[Book, ...] = ()
    label: Label | None = None


@pytest.fixture(autouse=True)
def library() -> Iterator[None]:
    """Books and labels are kinds of things."""
    kinds.register(Kind(Book, Shelf, "books", "book"), Kind(Label, Shelf, "label", "label"),
                   Kind(Note, Book, "notes", "note"))
    yield
    for model in (Book, Label, Note):
        del kinds.REGISTERED[model]
    kinds.register()


def told(old: Shelf, new: Shelf) -> list[str]:
    return [str(line) for line in comparison.compare(old, new)]  # type: ignore[arg-type]


@pytest.mark.parametrize(("new", "line"), [
    (Book("a", 2), "~ book a: pages: 1 → 2"),
    (Book("a", action=Action.DENY), "~ book a: action: allow → deny"),
    (Book("a", words=("x", "y")), "~ book a: words: none → x, y"),
    (Book("a", rules=(RULE,)), "~ book a: other rules"),
    (Book("a", read_twice=True), "~ book a: read twice: False → True"),
    (Book("a", 2, words=("x",)), "~ book a: pages: 1 → 2, words: none → x"),
])
def test_a_plan_says_which_fields_differ(new: Book, line: str) -> None:
    assert told(Shelf((Book("a"),)), Shelf((new,))) == [line]


def test_a_plan_says_what_comes_and_goes() -> None:
    assert told(Shelf((Book("a"), Book("b"))), Shelf((Book("b"), Book("c")), Label("x"))) == [
        "- book a: it is not in the file", "+ book c: it does not exist yet",
        "+ label of : it does not exist yet"]
    assert told(Shelf(), Shelf()) == []


def test_an_old_order_is_kept_and_what_is_new_comes_last() -> None:
    old, new = Shelf((Book("c"), Book("a"))), Shelf((Book("a", 2), Book("b"), Book("c")))
    assert kinds.in_order_of(old, new) == Shelf((Book("c"), Book("a", 2), Book("b")))
    assert kinds.in_order_of(old, old) is old


@pytest.mark.parametrize(("prune", "left"), [(False, "cab"), (True, "ab")])
def test_what_a_file_does_not_name_stays_unless_it_is_pruned(prune: bool, left: str) -> None:
    shelf: Any = Shelf((Book("c"), Book("a")), Label("x"))
    asked: Any = Shelf((Book("a", 2), Book("b")), Label("y"))
    found: Any = with_others(shelf, asked, prune)
    assert "".join(book.name for book in found.books) == left
    assert (found.books[-2].pages, found.label) == (2, Label("y"))


def test_a_thing_is_shown_with_all_its_fields() -> None:
    kind = kinds.REGISTERED[Book]
    shelf = Shelf((Book("a", words=("x",), rules=(RULE,), read_twice=True), Book("b")))
    found = things.listed(shelf, kind)  # type: ignore[arg-type]
    assert found[0] == {"name": "a", "pages": 1, "action": "allow", "words": ["x"], "rules": [
        {"protocol": "all", "action": "deny", "ports": None, "network": None, "description": None,
         "group": None}],
        "read_twice": True}
    columns, rows = things.rows([{**one, "rules": []} for one in found])
    assert columns == ("NAME", "PAGES", "ACTION", "WORDS", "READ TWICE")
    assert list(rows) == [("a", "1", "allow", "x", "yes"), ("b", "1", "allow", "-", "-")]
    assert things.rows([])[0] == ()


@pytest.mark.parametrize("form", Format)
def test_a_picture_has_a_line_for_each_even_without_a_vpc(form: Format) -> None:
    things = (Thing("book", "a", ("1", "x")), Thing("label", "", ("y",)))
    text = draw(Graph((), (), things), form).replace("#44;", ",")
    assert "book a 1, x" in text
    assert "label y" in text


def test_what_a_finder_finds_is_put_in_its_place(monkeypatch: pytest.MonkeyPatch) -> None:
    def books(kernel: object, shelf: Shelf, names: kinds.Names, notes: list[str]) -> list[Book]:
        assert (kernel, shelf, names) == ("kernel", Shelf(label=Label("x")), ("top",))
        notes.append("pages are unknown")
        return [Book("a"), Book("b")]

    def written(_: object, book: Book, names: kinds.Names, __: list[str]) -> Iterator[Note]:
        assert names == ("top", book.name)
        yield from [Note("first")] if book.name == "b" else []

    notes: list[str] = []
    shelf: Any = Shelf(label=Label("x"))
    assert finders.with_found("kernel", shelf, notes, ("top",)) == shelf  # type: ignore[arg-type]
    monkeypatch.setitem(finders.FINDERS, Book, books)
    monkeypatch.setitem(finders.FINDERS, Note, written)
    found = finders.with_found("kernel", shelf, notes, ("top",))  # type: ignore[arg-type]
    assert found == Shelf((Book("a"), Book("b", notes=(Note("first"),))), Label("x"))
    assert notes == ["pages are unknown"]

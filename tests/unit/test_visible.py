"""What a terminal would obey, or what hides how a line reads, is shown as an escape; all else stays."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpcctl_lib.visible import visible


@pytest.mark.parametrize(("text", "shown"), [
    ("plain → text, é, 漢字 👍", "plain → text, é, 漢字 👍"),
    ("a\nb\tc", "a\nb\tc"),
    ("\x1b]0;owned\x07", "\\x1b]0;owned\\x07"),
    ("a\rb\0\x7f\x9b31m", "a\\x0db\\x00\\x7f\\x9b31m"),
    ("a\u202eb\u2066c\u061c\u200e\u200f", "a\\u202eb\\u2066c\\u061c\\u200e\\u200f"),
    ("a\u2028b\u2029c\x85d", "a\\u2028b\\u2029c\\x85d"),
    ("\udcff\ud800", "\\udcff\\ud800"),
])
def test_what_is_shown(text: str, shown: str) -> None:
    assert visible(text) == shown


def test_where_a_line_is_one_it_stays_one() -> None:
    assert visible("a\nvpcctl: in sync\t", keep="") == "a\\x0avpcctl: in sync\\x09"


@given(st.text(st.characters(exclude_categories=())))
def test_nothing_that_steers_is_left_and_it_can_be_written(text: str) -> None:
    shown = visible(text, keep="")
    assert shown.encode().decode() == shown == visible(shown, keep="")
    assert not [c for c in shown if ord(c) < 32 or 127 <= ord(c) < 160 or 0x202a <= ord(c) <= 0x202e]

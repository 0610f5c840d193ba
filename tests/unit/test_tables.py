"""A long table is aligned without rich, which takes a millisecond a row; it looks the same."""

from __future__ import annotations

import pytest

from vpcctl_lib.cli import output

COLUMNS = ("RULE", "ACTION", "DESCRIPTION")
ROWS = [(f"ingress[{number}]", "allow" if number % 2 else "deny", "" if number % 3 else f"the {number}th")
        for number in range(20)]


def test_long_tables_look_like_short_ones(capsys: pytest.CaptureFixture[str],
                                          monkeypatch: pytest.MonkeyPatch) -> None:
    output.table(COLUMNS, ROWS, "none")
    short = capsys.readouterr().out
    monkeypatch.setattr(output, "LONG_TABLE", 10)
    output.table(COLUMNS, ROWS, "none")
    assert capsys.readouterr().out == short

"""Amounts of memory."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpcctl_lib.errors import BadInput
from vpcctl_lib.model.quantities import LEAST_MEMORY, parse_bytes, spelt


@pytest.mark.parametrize(("text", "amount"), [
    ("4M", 4 << 20), ("64m", 64 << 20), ("2G", 2 << 30), ("1T", 1 << 40), ("8388608", 8 << 20),
    ("5000k", 5000 << 10)])
def test_amounts(text: str, amount: int) -> None:
    assert parse_bytes(text) == amount


@pytest.mark.parametrize("text", ["", "M", "64 M", "64MB", "-1G", "1.5G", "0", "1K", "٤M", "9" * 13, "0x10M"])
def test_no_amounts(text: str) -> None:
    with pytest.raises(BadInput):
        parse_bytes(text)


@given(st.integers(LEAST_MEMORY, 1 << 44))
def test_what_is_written_is_read_back(amount: int) -> None:
    if amount < 10**12 or amount % 1024 == 0:
        assert parse_bytes(spelt(amount)) == amount

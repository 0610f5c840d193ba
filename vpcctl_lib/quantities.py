"""Amounts of memory, as people write them; pure."""

from __future__ import annotations

import re

from vpcctl_lib.errors import BadInput

UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
AMOUNT = re.compile(r"([0-9]{1,12})([KMGT]?)", re.ASCII)
LEAST = 4 << 20
"""Less than that and no program would start: Docker takes 6 MB at least, which is much the same."""


def parse_bytes(text: str) -> int:
    """The number of bytes that `text` spells, such as 64M; units of 1024, as in docker and systemd."""
    found = AMOUNT.fullmatch(text.upper())
    if found is None:
        raise BadInput(f"{text!r} is no amount of memory", "write for example 64M or 2G")
    amount = int(found[1]) * UNITS[found[2]]
    if amount < LEAST:
        raise BadInput(f"{text} is too little memory for any program", f"give it at least {spelt(LEAST)}")
    return amount


def spelt(amount: int) -> str:
    """The amount in the largest unit that tells it exactly."""
    unit = max((unit for unit, size in UNITS.items() if amount % size == 0), key=UNITS.__getitem__)
    return f"{amount // UNITS[unit]}{unit}"

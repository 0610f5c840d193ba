"""Amounts of memory, as people write them; pure."""

from __future__ import annotations

import re

from vpcctl_lib.errors import BadInput

UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
AMOUNT = re.compile(r"([0-9]{1,12})([KMGT]?)", re.ASCII)
LEAST_MEMORY = 4 << 20
"""Less than that and no program would start: Docker takes 6 MB at least, which is much the same."""

LEAST_LOG = 4 << 10
"""A page: smaller logs would be renamed at every line."""


def parse_bytes(text: str) -> int:
    """The number of bytes of memory that `text` spells, such as 64M."""
    amount = _amount(text, "no amount of memory")
    if amount < LEAST_MEMORY:
        raise BadInput(f"{text} is too little memory for any program",
                       f"give it at least {spelt(LEAST_MEMORY)}")
    return amount


def parse_log_size(text: str) -> int:
    """The number of bytes of a log that `text` writes, such as 10M."""
    amount = _amount(text, "not the size of a log")
    if amount < LEAST_LOG:
        raise BadInput(f"{text} is too small for a log", f"give it at least {spelt(LEAST_LOG)}")
    return amount


def _amount(text: str, fault: str) -> int:
    """In units of 1024, as in docker and systemd."""
    found = AMOUNT.fullmatch(text.upper())
    if found is None:
        raise BadInput(f"{text!r} is {fault}", "write for example 64M or 2G")
    return int(found[1]) * UNITS[found[2]]


def spelt(amount: int) -> str:
    """The amount in the largest unit that tells it exactly."""
    unit = max((unit for unit, size in UNITS.items() if amount % size == 0), key=UNITS.__getitem__)
    return f"{amount // UNITS[unit]}{unit}"

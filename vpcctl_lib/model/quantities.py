"""Amounts of memory and rates, as people write them; pure."""

from __future__ import annotations

import re

from vpcctl_lib.errors import BadInput

UNITS = {"": 1, "K": 1 << 10, "M": 1 << 20, "G": 1 << 30, "T": 1 << 40}
AMOUNT = re.compile(r"([0-9]{1,12})([KMGT]?)", re.ASCII)
LEAST_MEMORY = 4 << 20
"""With less no program would start: Docker's minimum of 6 MB is about the same."""

LEAST_LOG = 4 << 10
"""A page: smaller logs would be renamed at every line."""

RATES = {"": 1, "K": 10**3, "M": 10**6, "G": 10**9}
RATE = re.compile(r"([0-9]{1,12})([KMG]?)BIT", re.ASCII)
LEAST_RATE, MOST_RATE = 64 * 10**3, 100 * 10**9
"""Below, one full packet takes more than a fifth of a second; above, there are no links."""


def parse_bytes(text: str) -> int:
    """The number of bytes of memory in `text`, such as 64M."""
    amount = _amount(text, "not an amount of memory")
    if amount < LEAST_MEMORY:
        raise BadInput(f"{text} is too little memory for any program",
                       f"give it at least {spelt(LEAST_MEMORY)}")
    return amount


def parse_log_size(text: str) -> int:
    """The number of bytes of a log in `text`, such as 10M."""
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
    """The amount in the largest unit that is exact."""
    unit = max((unit for unit, size in UNITS.items() if amount % size == 0), key=UNITS.__getitem__)
    return f"{amount // UNITS[unit]}{unit}"


def bits(rate: str) -> int:
    """The bits a second of a rate such as 100mbit, as tc(8) reads it; units of 1000."""
    found = RATE.fullmatch(rate.upper())
    if found is None:
        raise BadInput(f"{rate!r} is not a bandwidth", "write for example 100mbit or 1gbit")
    return int(found[1]) * RATES[found[2]]


def parse_rate(text: str) -> str:
    """The rate in `text` in the largest unit that is exact, such as 1gbit for 1000mbit."""
    amount = bits(text)
    if not LEAST_RATE <= amount <= MOST_RATE:
        raise BadInput(f"a bandwidth can't be {text}",
                       f"use one from {rate_spelt(LEAST_RATE)} to {rate_spelt(MOST_RATE)}")
    return rate_spelt(amount)


def rate_spelt(amount: int) -> str:
    """Bits a second in the largest unit that is exact."""
    unit = max((unit for unit, size in RATES.items() if amount % size == 0), key=RATES.__getitem__)
    return f"{amount // RATES[unit]}{unit.lower()}bit"

"""The chains of nftables that see packets and that iptables does not show; pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

from vpcctl_lib.model.addressing import Family

COVERED = frozenset({"filter", "nat", "mangle", "raw", "security"})
"""The tables of nft's families ip and ip6 that iptables-save and ip6tables-save show."""


def has_table(listed: list[dict[str, Any]], family: str, table: str) -> bool:
    """Whether a table has chains that see packets, among the chains that nft lists."""
    chains = (item.get("chain", {}) for item in listed)
    return any(_place(chain) == (family, table) and "hook" in chain for chain in chains)


def hooked(listed: list[dict[str, Any]], family: Family) -> frozenset[str]:
    """The tables of a family that see packets: dormant ones do not."""
    chains = (item.get("chain", {}) for item in listed)
    return frozenset(one["table"] for one in chains if one.get("family") == family.nft and "hook" in one)


def _place(chain: dict[str, Any]) -> tuple[str, str]:
    return str(chain.get("family")), str(chain.get("table"))


def parse_foreign(listed: list[dict[str, Any]], whole: Collection[tuple[str, str]] = (),
                  family: Family = Family.INET) -> dict[str, str]:
    """Base chains of `nft -j list chains` that see packets of a family, by hook, beyond those of iptables.

    Nor those of our own tables, `whole`, which have our rules and no others.
    """
    found = {}
    others = {one.nft for one in Family if one is not family}
    for item in listed:
        chain = item.get("chain", {})
        ours = chain.get("family") == family.nft and chain.get("table") in COVERED and chain["name"].isupper()
        if "hook" in chain and not ours and chain["family"] not in others and _place(chain) not in whole:
            found[chain["hook"]] = f"nft chain {chain['family']} {chain['table']} {chain['name']}"
    return found

"""The chains of nftables that see packets and that iptables does not show; pure."""

from __future__ import annotations

from collections.abc import Collection
from typing import Any

COVERED = frozenset({"filter", "nat", "mangle", "raw", "security"})
"""The tables of family ip that iptables-save shows."""


def has_table(listed: list[dict[str, Any]], family: str, table: str) -> bool:
    """Whether a table has chains that see packets, among the chains that nft lists."""
    chains = (item.get("chain", {}) for item in listed)
    return any(_place(chain) == (family, table) and "hook" in chain for chain in chains)


def _place(chain: dict[str, Any]) -> tuple[str, str]:
    return str(chain.get("family")), str(chain.get("table"))


def parse_foreign(listed: list[dict[str, Any]], whole: Collection[tuple[str, str]] = ()) -> dict[str, str]:
    """Base chains of `nft -j list chains` beyond those that iptables made, by hook.

    Nor those of our own tables, `whole`, which have our rules and no others.
    """
    found = {}
    for item in listed:
        chain = item.get("chain", {})
        ours = chain.get("family") == "ip" and chain.get("table") in COVERED and chain["name"].isupper()
        if "hook" in chain and not ours and chain["family"] != "ip6" and _place(chain) not in whole:
            found[chain["hook"]] = f"nft chain {chain['family']} {chain['table']} {chain['name']}"
    return found

"""Everything that is wanted, of which only what somebody looks at is decoded."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from vpcctl_lib.model.addressing import Family
from vpcctl_lib.record.ledger import Entry
from vpcctl_lib.resources import Resource, kind_named


class Shall(Sequence[Resource]):
    """Wanted resources; some are given as entries of the ledger."""

    def __init__(self, wanted: Sequence[Resource | Entry]) -> None:
        self._wanted = wanted

    def __len__(self) -> int:
        return len(self._wanted)

    def __getitem__(self, number: Any) -> Any:
        one = self._wanted[number]
        return one.resource if isinstance(one, Entry) else one

    def tables(self) -> list[tuple[str, str, Family]]:
        """The nft tables of ip and ip6 among them; other kinds are passed over."""
        kinds = {one.kind for one in self._wanted if isinstance(one, Entry)}
        some = {name for name in kinds if (kind_named(name) or Resource).ip_table is not Resource.ip_table}
        found = (one if not isinstance(one, Entry) else one.resource if one.kind in some else None
                 for one in self._wanted)
        return [table for one in found if one is not None and (table := one.ip_table)]

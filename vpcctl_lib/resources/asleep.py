"""Tables of iptables that somebody put to sleep by nft: their rules are there, and packets meet none."""

from __future__ import annotations

from vpcctl_lib.model.addressing import Family
from vpcctl_lib.resources.base import Condition, Fault, on
from vpcctl_lib.resources.nftables import Nft


def asleep(namespace: str, table: str, family: Family) -> Fault:
    """The fault of such a table, with what wakes it."""
    # To add one that exists sets its flags (nf_tables_updtable in net/netfilter/nf_tables_api.c): to none.
    waking = Nft(namespace, f"add table {family.nft} {table}\n")
    return Fault(Condition.CHANGED, "it is put to sleep (dormant): packets meet none of its rules", (waking,),
                 table=f"table {table}{family.suffix}{on(namespace)}")

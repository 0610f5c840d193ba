"""What nft has in a namespace, over netlink: its tables, its chains as nft lists them, a table's content."""

from __future__ import annotations

import errno
from typing import Any

from vpcctl_lib.kernel import proc
from vpcctl_lib.kernel.netlink import NETFILTER, Netlink, attribute, attributes, each_attribute, text

_TABLE, _CHAINS, _RULES, _SETS, _OBJECTS = (10 << 8 | kind for kind in (1, 4, 7, 10, 19))
"""NFT_MSG_GETTABLE, NFT_MSG_GETCHAIN, NFT_MSG_GETRULE, NFT_MSG_GETSET and NFT_MSG_GETOBJ of the subsystem
nftables (linux/netfilter/nf_tables.h)."""

_FLAGS, _DORMANT = 2, 1
"""NFTA_TABLE_FLAGS and NFT_TABLE_F_DORMANT: the chains of such a table have no hook (nft(8), "TABLES")."""

_PASSING = {_TABLE: {3, 4}, _CHAINS: {2, 6, 8}, _RULES: {3, 6}, _SETS: {16, 20}, _OBJECTS: {4, 5, 6}}
"""Attributes that say nothing about what a thing does: handles and positions, how many use it, what is
counted (NFTA_TABLE_…, NFTA_CHAIN_…, NFTA_RULE_…, NFTA_SET_… and NFTA_OBJ_…)."""

_FAMILY = 4
"""The size of struct nfgenmsg, which begins with the family."""

_ABSENT = (errno.EINVAL, errno.EOPNOTSUPP, errno.EPROTONOSUPPORT)
"""What a kernel without nftables says."""

_INTERNET = ("prerouting", "input", "forward", "output", "postrouting", "ingress")
_HOOKS = {1: ("inet", _INTERNET), 2: ("ip", _INTERNET), 3: ("arp", ("input", "output", "forward")),
          5: ("netdev", ("ingress", "egress")), 7: ("bridge", _INTERNET), 10: ("ip6", _INTERNET)}
"""By family (NFPROTO_… of linux/netfilter.h): its name, and its hooks in the order of their numbers."""


def chains() -> list[dict[str, Any]]:
    """The chains of all families where the calling thread is; none if this kernel has no nftables.

    Those of a dormant table have no hook.
    """
    found = [_chain(said) for said in _listed(_CHAINS)]
    sleeping = dormant() if any("hook" in one for one in found) else ()
    for one in found:
        if (one["family"], one["table"]) in sleeping:
            one.pop("hook", None)
    return [{"chain": one} for one in found]


def tables() -> list[tuple[str, str]]:
    """The families and names of the tables, likewise."""
    return [_place(said) for said in _listed(_TABLE) if said[0] in _HOOKS]


def dormant() -> frozenset[tuple[str, str]]:
    """Those of them that somebody put to sleep: packets meet nothing that is in them."""
    # Not from nft: 1.0.6 prints flags from memory that it has freed.
    return frozenset(_place(said) for said in _listed(_TABLE) if said[0] in _HOOKS
                     and int.from_bytes(attributes(said, _FAMILY).get(_FLAGS, b""), "big") & _DORMANT)


def _place(said: bytes) -> tuple[str, str]:
    return _HOOKS[said[0]][0], text(attributes(said, _FAMILY)[1])


def _listed(kind: int) -> list[bytes]:
    try:
        with Netlink(NETFILTER) as netlink:
            return [said for _, said in netlink.listing(kind, bytes(_FAMILY))]
    except OSError as error:
        if error.errno in _ABSENT:
            return []
        raise


def _chain(said: bytes) -> dict[str, Any]:
    family, hooks = _HOOKS.get(said[0], (f"family {said[0]}", ()))
    parts = attributes(said, _FAMILY)
    found = {"family": family, "table": text(parts[1]), "name": text(parts[3])}
    if 4 not in parts:
        return found
    held = attributes(parts[4])
    # Unlike rtnetlink, in the byte order of the network.
    hook = int.from_bytes(held.get(1, b""), "big")
    return {**found, "hook": hooks[hook] if hook < len(hooks) else f"hook {hook}"}


def content(namespace: str, family: str, table: str) -> bytes | None:
    """The chains, rules, sets and counters of a table, less what is in them; equal ones are listed alike.

    None if it does not exist; OSError if the kernel does not answer.
    """
    try:
        return proc.visit(namespace, lambda: _content(family, table))
    except FileNotFoundError:
        return None


def _content(family: str, table: str) -> bytes:
    number = next(number for number, (word, _) in _HOOKS.items() if word == family)
    asked = bytes((number, 0, 0, 0)) + attribute(1, table.encode() + b"\0")
    with Netlink(NETFILTER) as netlink:
        found = [(_TABLE, netlink.ask(_TABLE, asked))]
        for kind in (_CHAINS, _RULES, _SETS, _OBJECTS):
            found += ((kind, said) for _, said in netlink.listing(kind, asked))
    return b"".join(_lasting(kind, said) for kind, said in found if _is_of(table, said))


def _is_of(table: str, said: bytes) -> bool:
    """Whether a thing is in a table, or is it: the kernel lists the chains of all."""
    return text(attributes(said, _FAMILY)[1]) == table


def _lasting(kind: int, said: bytes) -> bytes:
    """A message without what changes while the thing does not; its header has the number of the change."""
    return b"".join(attribute(one, value) for one, value in each_attribute(said, _FAMILY)
                    if one not in _PASSING[kind])

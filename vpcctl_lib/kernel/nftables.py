"""The chains of nft in one namespace, over netlink, as `nft -j list chains` shows them."""

from __future__ import annotations

import errno
from typing import Any

from vpcctl_lib.kernel.netlink import NETFILTER, Netlink, attributes, text

_CHAINS = 10 << 8 | 4
"""NFT_MSG_GETCHAIN of the subsystem nftables (linux/netfilter/nf_tables.h)."""

_FAMILY = 4
"""The size of struct nfgenmsg, which begins with the family."""

_ABSENT = (errno.EINVAL, errno.EOPNOTSUPP, errno.EPROTONOSUPPORT)
"""What a kernel without nftables says."""

_INTERNET = ("prerouting", "input", "forward", "output", "postrouting", "ingress")
_HOOKS = {1: ("inet", _INTERNET), 2: ("ip", _INTERNET), 3: ("arp", ("input", "output", "forward")),
          5: ("netdev", ("ingress", "egress")), 7: ("bridge", _INTERNET), 10: ("ip6", _INTERNET)}
"""By family (NFPROTO_… of linux/netfilter.h): its name, and its hooks in the order of their numbers."""


def chains() -> list[dict[str, Any]]:
    """The chains of all families where the calling thread is; none if this kernel has no nftables."""
    try:
        with Netlink(NETFILTER) as netlink:
            return [{"chain": _chain(said)} for _, said in netlink.listing(_CHAINS, bytes(_FAMILY))]
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

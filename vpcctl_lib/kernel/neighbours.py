"""Permanent neighbours, and MACs at a bridge's ports, over netlink (rtnetlink(7), linux/neighbour.h).

ip(8) and bridge(8) list all links of a namespace before they change an entry, 20 ms each with 1,000 ports.
"""

from __future__ import annotations

import errno
import os
import struct
from ipaddress import IPv4Address, IPv6Address

from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel.netlink import ACK, CREATE, REPLACE, Netlink, attribute

_NEW, _DELETE, _GET = 28, 29, 30
_INET, _INET6, _BRIDGE = 2, 10, 7
_PERMANENT, _STATIC = 0x80, 0x40
"""NUD_PERMANENT and NUD_NOARP, which bridge(8) writes as "static"."""

_MASTER = 4
"""NTF_MASTER: the entry is the bridge's, whose port the device is."""

_LEARNED = 0x10
"""NTF_EXT_LEARNED: another program looks after the entry."""

_DESTINATION, _MAC = 1, 2
_NEIGHBOUR = struct.Struct("=BxxxiHBB")


@frozen
class Entry:
    """What has a MAC behind a device: an address, or without one whatever is behind a bridge's port."""

    device: str
    mac: str
    address: IPv4Address | IPv6Address | None = None

    def replace(self) -> None:
        """Enter it in the calling thread's namespace instead of any other; OSError if that fails."""
        self._change(_NEW, ACK | CREATE | REPLACE)

    def delete(self) -> None:
        """Delete it; one that is gone, or whose device is, is not an error."""
        try:
            self._change(_DELETE, ACK)
        except OSError as error:
            if error.errno not in (errno.ENOENT, errno.ENODEV):
                raise

    def _change(self, kind: int, flags: int) -> None:
        # `socket` takes six times as long to load.
        import _socket

        try:
            index = _socket.if_nametoindex(self.device)
        except OSError:
            raise OSError(errno.ENODEV, os.strerror(errno.ENODEV), self.device) from None
        try:
            with Netlink() as netlink:
                netlink.ask(kind, self._text(index), flags)
        except OSError as error:
            raise OSError(error.errno, error.strerror, self.device) from None

    def _text(self, index: int) -> bytes:
        mac = attribute(_MAC, bytes.fromhex(self.mac.replace(":", "")))
        if self.address is None:
            return _NEIGHBOUR.pack(_BRIDGE, index, _STATIC, _MASTER, 0) + mac
        destination = attribute(_DESTINATION, self.address.packed)
        family = _INET if self.address.version == 4 else _INET6
        return _NEIGHBOUR.pack(family, index, _PERMANENT, 0, 0) + destination + mac


def exempt() -> int:
    """How many IPv4 neighbours in the calling thread's namespace take no place in the kernel's table.

    As neigh_update_gc_list() of net/core/neighbour.c decides. OSError if they can't be listed.
    """
    with Netlink() as netlink:
        listed = netlink.listing(_GET, _NEIGHBOUR.pack(_INET, 0, 0, 0, 0))
    states = (_NEIGHBOUR.unpack_from(said) for _, said in listed)
    return sum(bool(state & _PERMANENT or flags & _LEARNED) for _, _, state, flags, _ in states)

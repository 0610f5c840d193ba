"""What tc(8) looks for in the packets of a link, and what it does with those, over netlink.

`tc -j` prints several matches under one key, so that a reader of JSON gets only the last.
"""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from typing import Any

from vpcctl_lib.kernel.netlink import Netlink, attributes, each_attribute, text

Said = dict[str, Any]

_FILTERS = 46
"""RTM_GETTFILTER of linux/rtnetlink.h."""

_MESSAGE = struct.Struct("=BxxxiIII")
_SELECTOR, _KEY, _PLACE = struct.Struct("=BBBxHHhhI"), struct.Struct(">II8x"), struct.Struct("=i")
_MIRRED = struct.Struct("=IIiiiiI")
_WAYS = {"ingress": 0xFFFFFFF2, "egress": 0xFFFFFFF3}
"""TC_H_CLSACT with TC_H_MIN_INGRESS and TC_H_MIN_EGRESS of linux/pkt_sched.h."""

_PROTOCOLS = {0x0003: "all", 0x0800: "ip", 0x86DD: "ipv6"}
_DEEDS = {1: "redirect", 2: "mirror"}
"""TCA_EGRESS_… of linux/tc_act/tc_mirred.h."""

_CONTROLS = {-1: "continue", 0: "pass", 2: "drop", 3: "pipe", 4: "stolen"}
"""TC_ACT_… of linux/pkt_cls.h, by the names of tc(8): what becomes of the packet after that."""

_KIND, _OPTIONS, _SELECTED, _ACTIONS, _PARAMETERS = 1, 2, 5, 7, 2


def filters(netlink: Netlink, device: int, name: Callable[[int], str]) -> list[Said]:
    """Those of a link with the queueing discipline clsact, in both directions; `name` is that of a link."""
    return [found for way, parent in _WAYS.items()
            for _, said in netlink.listing(_FILTERS, _MESSAGE.pack(0, device, 0, parent, 0))
            for found in _filter(said, way, name)]


def _filter(said: bytes, way: str, name: Callable[[int], str]) -> Iterator[Said]:
    _, _, _, _, info = _MESSAGE.unpack_from(said)
    parts = attributes(said, _MESSAGE.size)
    kind, options = text(parts.get(_KIND, b"")), attributes(parts.get(_OPTIONS, b""))
    if kind == "u32" and _SELECTED not in options:
        # The list that it is in.
        return
    protocol = int.from_bytes(struct.pack("=H", info & 0xFFFF), "big")
    yield {"direction": way, "pref": info >> 16, "protocol": _PROTOCOLS.get(protocol, f"{protocol:#x}"),
           "kind": kind, "matches": _matches(options.get(_SELECTED, b"")),
           "actions": list(_actions(options.get(_ACTIONS, b""), name))}


def _matches(selected: bytes) -> list[list[int]]:
    """Where in the packet, with what mask, what value."""
    if not selected:
        return []
    found = []
    for number in range(_SELECTOR.unpack_from(selected)[2]):
        start = _SELECTOR.size + number * _KEY.size
        # Mask and value are in the network's order of bytes, the place is in the machine's.
        found.append([*_PLACE.unpack_from(selected, start + 8), *_KEY.unpack_from(selected, start)])
    return found


def _actions(said: bytes, name: Callable[[int], str]) -> Iterator[list[str]]:
    for _, one in each_attribute(said):
        parts = attributes(one)
        kind, options = text(parts.get(_KIND, b"")), attributes(parts.get(_OPTIONS, b""))
        if kind == "mirred" and _PARAMETERS in options:
            _, _, control, _, _, deed, device = _MIRRED.unpack_from(options[_PARAMETERS])
            yield [_DEEDS.get(deed, f"mirred {deed}"), name(device), _CONTROLS.get(control, f"{control}")]
        else:
            yield [kind, "", ""]

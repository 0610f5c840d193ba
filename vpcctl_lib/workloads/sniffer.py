"""Writes the packets that pass a link to stdout, as they come (pcap-savefile(5)).

Run as `python3 -I -S -c SOURCE DEVICE` where tcpdump can't open the link itself: it gives up root for a user
of its own, whom a user namespace with root alone does not have.
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import sys

EVERYTHING = 3
"""ETH_P_ALL of linux/if_ether.h."""

LARGEST = 1 << 18
"""tcpdump's own; a packet that is cut into smaller ones only by a network card is up to 64 KiB."""

MEMORY = 8 << 20
HEAD = struct.pack("=IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, LARGEST, 1)
PACKET = struct.Struct("=IIII")

_TIMES, _PACKETS, _STATISTICS, _AUXILIARY = 35, 263, 6, 8
"""SO_TIMESTAMPNS, SOL_PACKET, PACKET_STATISTICS and PACKET_AUXDATA of linux/if_packet.h and socket.h."""

_TIME, _TAG = struct.Struct("@ll"), struct.Struct("=IIIHHHH")
_HAS_TAG, _HAS_TYPE, _VLAN = 1 << 4, 1 << 6, 0x8100
"""TP_STATUS_VLAN_VALID, TP_STATUS_VLAN_TPID_VALID, and the type of a frame with a tag."""

_OUTGOING, _LOOPBACK = 4, 772
"""PACKET_OUTGOING of linux/if_packet.h, and ARPHRD_LOOPBACK of linux/if_arp.h."""

ENDING = (signal.SIGINT, signal.SIGTERM)
_ADDRESSES = 12
"""The bytes of a frame before a tag."""


def main(device: str) -> None:
    """Until nobody reads any more, or a signal ends it."""
    for number in ENDING:
        signal.signal(number, _end)
    try:
        _copy(device)
    except OSError as error:
        sys.stderr.write(f"can't capture at {device}: {error.strerror}\n")


def _copy(device: str) -> None:
    lost = 0
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(EVERYTHING)) as link:
        link.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, MEMORY)
        link.setsockopt(socket.SOL_SOCKET, _TIMES, 1)
        link.setsockopt(_PACKETS, _AUXILIARY, 1)
        link.bind((device, EVERYTHING))
        try:
            _write(HEAD)
            while True:
                _write(_record(link))
        except (BrokenPipeError, Ended):
            _, lost = struct.unpack("=II", link.getsockopt(_PACKETS, _STATISTICS, 8))
    if lost:
        sys.stderr.write(f"{lost} packets came too fast, and are missing\n")


class Ended(Exception):
    """By a signal."""


def _end(*_: object) -> None:
    for number in ENDING:
        signal.signal(number, signal.SIG_IGN)
    raise Ended


def _write(data: bytes) -> None:
    while data:
        data = data[os.write(1, data):]


def _record(link: socket.socket) -> bytes:
    """The next packet, as a file has it."""
    data, notes, _, (_, _, way, kind, _) = link.recvmsg(LARGEST, 256)
    if way == _OUTGOING and kind == _LOOPBACK:
        # It comes in again.
        return b""
    seconds = nanoseconds = 0
    for level, what, told in notes:
        if (level, what) == (socket.SOL_SOCKET, _TIMES):
            seconds, nanoseconds = _TIME.unpack_from(told)
        elif (level, what) == (_PACKETS, _AUXILIARY):
            data = _tagged(data, *_TAG.unpack_from(told))
    return PACKET.pack(seconds, nanoseconds // 1000, len(data), len(data)) + data


def _tagged(data: bytes, status: int, _: int, __: int, ___: int, ____: int, tag: int, kind: int) -> bytes:
    """The frame with its tag, which the kernel takes out."""
    if not status & _HAS_TAG:
        return data
    return data[:_ADDRESSES] + struct.pack("!HH", kind if status & _HAS_TYPE else _VLAN, tag) \
        + data[_ADDRESSES:]


if __name__ == "__main__":
    main(*sys.argv[1:])

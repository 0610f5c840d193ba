"""Frames made by hand, as somebody with a raw socket sends them, and who hears of them.

    frames.py send DEVICE      sends the frames on its standard input, a line of hexadecimal digits each
    frames.py hear DEVICE      prints the names of all frames that come in by the device, up to END
"""

from __future__ import annotations

import re
import socket
import struct
import sys
from collections.abc import Iterable
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from host import Host

NAME = re.compile(rb"<<([^<>]+)>>")
END = "end"
ETH_P_ALL = 3
IPV4, ARP, IPV6, VLAN, LLDP = 0x0800, 0x0806, 0x86DD, 0x8100, 0x88CC
EVERYBODY = "ff:ff:ff:ff:ff:ff"
ICMP, TCP, UDP = 1, 6, 17
REQUEST, REPLY = 1, 2


def mac(text: str) -> bytes:
    return bytes.fromhex(text.replace(":", ""))


def ether(source: str, target: str, kind: int, rest: bytes) -> bytes:
    """A frame of that type."""
    return mac(target) + mac(source) + struct.pack("!H", kind) + rest


def named(name: str) -> bytes:
    """A payload by which it is heard of."""
    return f"<<{name}>>".encode()


def checksum(data: bytes) -> int:
    """RFC 1071."""
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


def ipv4(source: str, target: str, protocol: int, rest: bytes, fragment: int = 0) -> bytes:
    """A packet with its header's checksum; `fragment` is the field with the flags and the offset."""
    ends = socket.inet_aton(source) + socket.inet_aton(target)
    head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(rest), 7, fragment, 64, protocol, 0) + ends
    return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + rest


def udp(source: str, target: str, ports: tuple[int, int], name: str) -> bytes:
    """A datagram without a checksum, which RFC 768 allows."""
    data = named(name)
    return ipv4(source, target, UDP, struct.pack("!HHHH", *ports, 8 + len(data), 0) + data)


def tcp(source: str, target: str, ports: tuple[int, int], flags: int, name: str) -> bytes:
    """A segment with any flags."""
    ends = socket.inet_aton(source) + socket.inet_aton(target)
    head = struct.pack("!HHIIBBHHH", *ports, 1000, 2000, 0x50, flags, 1024, 0, 0) + named(name)
    total = checksum(ends + struct.pack("!BBH", 0, TCP, len(head)) + head)
    return ipv4(source, target, TCP, head[:16] + struct.pack("!H", total) + head[18:])


def icmp(source: str, target: str, kind: int, code: int, about: bytes) -> bytes:
    """An ICMP message; an error is about the first bytes of a packet (RFC 792)."""
    rest = struct.pack("!BBHI", kind, code, 0, 0) + about
    return ipv4(source, target, ICMP, rest[:2] + struct.pack("!H", checksum(rest)) + rest[4:])


def arp(operation: int, sender: tuple[str, str], target: tuple[str, str], name: str = "") -> bytes:
    """A question or an answer; each end is a MAC and an address."""
    ends = b"".join(mac(hardware) + socket.inet_aton(address) for hardware, address in (sender, target))
    return struct.pack("!HHBBH", 1, IPV4, 6, 4, operation) + ends + (named(name) if name else b"")


def listen(host: Host, namespace: str, device: str) -> Path:
    """Begin to hear what comes in by a device; the file that tells of it."""
    file = host.scratch / f"heard-{namespace}-{device}"
    file.unlink(missing_ok=True)
    host.start(namespace, sys.executable, __file__, "hear", device, output=str(file))
    host.wait_until(lambda: file.exists() and file.read_text() != "", "listens")
    return file


def send(host: Host, namespace: str, sent: Iterable[bytes], device: str = "eth0") -> None:
    """Send frames, one after the other."""
    done = host.inside(namespace, sys.executable, __file__, "send", device,
                       stdin="".join(f"{frame.hex()}\n" for frame in sent))
    assert done.code == 0, done


def names(host: Host, ear: Path, ports: bool = False) -> list[str]:
    """What was heard, once END was, which is left out; with the source port of each after its name."""
    host.wait_until(lambda: f"\n{END}\t" in ear.read_text(), "the last frame came")
    lines = ear.read_text().splitlines()[1:-1]
    return [line.replace("\t", " ") if ports else line.partition("\t")[0] for line in lines]


def _send(device: str) -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as raw:
        raw.bind((device, 0))
        for line in sys.stdin:
            raw.send(bytes.fromhex(line))


def _hear(device: str) -> None:
    with socket.socket(socket.AF_PACKET, socket.SOCK_RAW, socket.htons(ETH_P_ALL)) as raw:
        raw.bind((device, ETH_P_ALL))
        print("up", flush=True)
        while True:
            frame, (_, _, kind, *_) = raw.recvfrom(9000)
            found = NAME.search(frame)
            if found is None or kind == socket.PACKET_OUTGOING:
                continue
            # Of an IPv4 packet without options in an untagged frame.
            print(f"{found[1].decode()}\t{int.from_bytes(frame[34:36], 'big')}", flush=True)
            if found[1].decode() == END:
                return


if __name__ == "__main__":
    {"send": _send, "hear": _hear}[sys.argv[1]](sys.argv[2])

"""A virtual machine without QEMU: a program that opens a tap and sends and gets frames as a guest would.

Run in the namespace of the tap as `guests.py TAP MAC ADDRESS`, it reads a question in each line and answers
it by one: `arp ADDRESS`, `ping ADDRESS`, `tcp ADDRESS PORT`, each perhaps with `mac=MAC`, `from=ADDRESS`,
`type=NUMBER` or `vlan=1`. It answers ARP, echo requests and, on port 80, TCP.
"""

from __future__ import annotations

import fcntl
import os
import select
import socket
import struct
import sys
import time
from collections.abc import Iterator

TUNSETIFF, TAP_WITHOUT_INFO = 0x400454CA, 0x1002
"""linux/if_tun.h: IFF_TAP and IFF_NO_PI."""

ARP, IPV4 = 0x0806, 0x0800
ICMP, TCP = 1, 6
FIN, SYN, RST, ACK = 1, 2, 4, 16
SERVED = 80
PATIENCE = 1.0


def opened(name: str) -> int:
    """The program's end of a tap."""
    descriptor = os.open("/dev/net/tun", os.O_RDWR)
    fcntl.ioctl(descriptor, TUNSETIFF, struct.pack("16sH22x", name.encode(), TAP_WITHOUT_INFO))
    return descriptor


def raw(mac: str) -> bytes:
    """A MAC as it is in a frame."""
    return bytes.fromhex(mac.replace(":", ""))


def checksum(data: bytes) -> int:
    """RFC 1071."""
    data += b"\0" * (len(data) % 2)
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xFFFF) + (total >> 16)
    return ~total & 0xFFFF


class Guest:
    """The machine behind the tap."""

    def __init__(self, tap: str, mac: str, address: str) -> None:
        self.tap = opened(tap)
        self.mac, self.address = raw(mac), address
        self.router = b"\xff" * 6

    def send(self, to: bytes, kind: int, body: bytes, **odd: str) -> None:
        """A frame, with another sender if that is asked for."""
        tag = struct.pack("!HH", 0x8100, int(odd["vlan"])) if "vlan" in odd else b""
        mine = raw(odd["mac"]) if "mac" in odd else self.mac
        os.write(self.tap, to + mine + tag + struct.pack("!H", int(odd.get("type", kind))) + body)

    def packet(self, to: str, protocol: int, body: bytes, source: str = "") -> bytes:
        """An IPv4 packet."""
        ends = socket.inet_aton(source or self.address) + socket.inet_aton(to)
        head = struct.pack("!BBHHHBBH", 0x45, 0, 20 + len(body), 1, 0, 64, protocol, 0) + ends
        return head[:10] + struct.pack("!H", checksum(head)) + head[12:] + body

    def segment(self, source: str, to: str, ports: tuple[int, int], flags: int,
                numbers: tuple[int, int] = (0, 0), data: bytes = b"") -> bytes:
        """A TCP segment, with its own number and the one that it acknowledges."""
        body = struct.pack("!HHIIBBHHH", *ports, *numbers, 0x50, flags, 65535, 0, 0) + data
        ends = socket.inet_aton(source) + socket.inet_aton(to) + struct.pack("!BBH", 0, TCP, len(body))
        return body[:16] + struct.pack("!H", checksum(ends + body)) + body[18:]

    def heard(self, seconds: float) -> Iterator[tuple[int, bytes]]:
        """The frames that come meanwhile; those that ask something are answered."""
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if select.select([self.tap], [], [], left)[0]:
                frame = os.read(self.tap, 65536)
                kind, body = struct.unpack("!H", frame[12:14])[0], frame[14:]
                self.answer(frame[6:12], kind, body)
                yield kind, body

    def answer(self, sender: bytes, kind: int, body: bytes) -> None:
        """What a kernel answers by itself."""
        if kind == ARP and body[6:8] == b"\0\1" and body[24:28] == socket.inet_aton(self.address):
            self.send(sender, ARP, body[:6] + b"\0\2" + self.mac + body[24:28] + body[8:18])
        if kind != IPV4 or socket.inet_ntoa(body[16:20]) != self.address:
            return
        far, rest = socket.inet_ntoa(body[12:16]), body[20:]
        if body[9] == ICMP and rest[0] == 8:
            echo = b"\0\0\0\0" + rest[4:]
            echo = echo[:2] + struct.pack("!H", checksum(echo)) + echo[4:]
            self.send(sender, IPV4, self.packet(far, ICMP, echo))
        if body[9] == TCP and (said := self.said(far, body[20:struct.unpack("!H", body[2:4])[0]])):
            self.send(sender, IPV4, self.packet(far, TCP, said))

    def said(self, far: str, asked: bytes) -> bytes:
        """The segment that answers one: the port that is served says something, and all others refuse."""
        there, near, number = struct.unpack("!HHI", asked[:8])
        flags, data = asked[13], asked[(asked[12] >> 4) * 4:]
        if flags & (SYN | ACK | RST) == SYN:
            answer = SYN | ACK if near == SERVED else RST | ACK
            return self.segment(self.address, far, (near, there), answer, (7, number + 1))
        if near != SERVED or not data:
            return b""
        words, numbers = f"guest {self.address}".encode(), (8, number + len(data))
        return self.segment(self.address, far, (near, there), FIN | ACK, numbers, words)

    def arp(self, wanted: str, **odd: str) -> str:
        """Who has an address."""
        mine = raw(odd["mac"]) if "mac" in odd else self.mac
        source = socket.inet_aton(odd.get("from", self.address))
        self.send(b"\xff" * 6, ARP, struct.pack("!HHBBH", 1, IPV4, 6, 4, 1) + mine + source + b"\0" * 6
                  + socket.inet_aton(wanted), **odd)
        for kind, body in self.heard(PATIENCE):
            if kind == ARP and body[6:8] == b"\0\2" and body[14:18] == socket.inet_aton(wanted):
                self.router = body[8:14]
                return self.router.hex(":")
        return "nobody"

    def ping(self, to: str, **odd: str) -> str:
        """An echo request."""
        echo = struct.pack("!BBHHH", 8, 0, 0, os.getpid() & 0xFFFF, 1) + b"a guest's"
        echo = echo[:2] + struct.pack("!H", checksum(echo)) + echo[4:]
        self.send(self.router, IPV4, self.packet(to, ICMP, echo, odd.get("from", "")), **odd)
        for kind, body in self.heard(PATIENCE):
            if kind == IPV4 and body[9] == ICMP and body[20] == 0 and body[12:16] == socket.inet_aton(to):
                return "answered"
        return "silence"

    def tcp(self, to: str, port: str, **odd: str) -> str:
        """The beginning of a connection."""
        near = 40000 + os.getpid() % 20000
        source = odd.get("from", self.address)
        segment = self.segment(source, to, (near, int(port)), SYN)
        self.send(self.router, IPV4, self.packet(to, TCP, segment, source), **odd)
        for kind, body in self.heard(PATIENCE):
            who = body[12:16] + body[20:22]
            if kind == IPV4 and body[9] == TCP and who == socket.inet_aton(to) + struct.pack("!H", int(port)):
                return "refused" if body[33] & RST else "answered"
        return "silence"


def main() -> None:
    """Until the tap or the questions end."""
    guest = Guest(*sys.argv[1:4])
    print("ready", flush=True)
    while True:
        while not select.select([sys.stdin], [], [], 0)[0]:
            for _ in guest.heard(0.05):
                pass
        words = sys.stdin.readline().split()
        if not words:
            return
        plain = [word for word in words if "=" not in word]
        odd = dict(word.split("=") for word in words if "=" in word)
        ask = {"arp": guest.arp, "ping": guest.ping, "tcp": guest.tcp}[plain[0]]
        print(ask(*plain[1:], **odd), flush=True)


if __name__ == "__main__":
    main()

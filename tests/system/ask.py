"""Asks a DNS server, as `ask.py SERVER NAME[/TYPE]…`, over UDP or with --tcp; prints a list in JSON.

For each name: the status, or `silence` or `refused`, and the records in the answer, each as type and value.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from typing import Any

TYPES = {"A": 1, "CNAME": 5, "PTR": 12, "TXT": 16, "AAAA": 28}
NAMES = {number: name for name, number in TYPES.items()}
STATUS = ("NOERROR", "FORMERR", "SERVFAIL", "NXDOMAIN", "NOTIMP", "REFUSED")
PATIENCE = 3.0


def query(name: str, kind: str) -> bytes:
    """One question, with recursion desired."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return (os.urandom(2) + b"\1\0\0\1\0\0\0\0\0\0" + labels + b"\0"
            + TYPES[kind].to_bytes(2, "big") + b"\0\1")


def read_name(data: bytes, at: int) -> tuple[str, int]:
    """The name there, and where it ends (RFC 1035, section 4.1.4)."""
    labels, end = [], 0
    while data[at]:
        if data[at] >= 0xC0:
            end = end or at + 2
            at = int.from_bytes(data[at:at + 2], "big") & 0x3FFF
            continue
        labels.append(data[at + 1:at + 1 + data[at]].decode())
        at += 1 + data[at]
    return ".".join(labels), end or at + 1


def told(data: bytes) -> tuple[str, list[tuple[str, str]]]:
    """What an answer says."""
    _, at = read_name(data, 12)
    at += 4
    found = []
    for _ in range(int.from_bytes(data[6:8], "big")):
        _, at = read_name(data, at)
        kind = NAMES.get(int.from_bytes(data[at:at + 2], "big"), "?")
        size = int.from_bytes(data[at + 8:at + 10], "big")
        at += 10
        value: Any = data[at:at + size].hex()
        if kind in ("A", "AAAA"):
            family = socket.AF_INET if kind == "A" else socket.AF_INET6
            value = socket.inet_ntop(family, data[at:at + size])
        elif kind in ("CNAME", "PTR"):
            value = read_name(data, at)[0]
        found.append((kind, value))
        at += size
    return STATUS[data[3] & 15], found


def ask(server: str, name: str, kind: str, tcp: bool) -> tuple[str, list[tuple[str, str]]]:
    """One question and its answer."""
    sent = query(name, kind)
    with socket.socket(socket.AF_INET, socket.SOCK_STREAM if tcp else socket.SOCK_DGRAM) as sock:
        sock.settimeout(PATIENCE)
        try:
            sock.connect((server, 53))
            sock.sendall(len(sent).to_bytes(2, "big") + sent if tcp else sent)
            if not tcp:
                return told(sock.recv(65535))
            with sock.makefile("rb") as stream:
                return told(stream.read(int.from_bytes(stream.read(2), "big")))
        except TimeoutError:
            return "silence", []
        except OSError:
            return "refused", []


if __name__ == "__main__":
    words = [word for word in sys.argv[1:] if word != "--tcp"]
    questions = [(word.partition("/")[0], word.partition("/")[2] or "A") for word in words[1:]]
    print(json.dumps([ask(words[0], *question, tcp="--tcp" in sys.argv) for question in questions]))

"""How fast the DNS of a VPC of 1,000 machines answers: `./vpcctl sandbox -- python3 benchmarks/names.py`.

Apart from the other figures, since it takes dnsmasq. It prints the lines of the page's last table.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

MACHINES, QUESTIONS, WAITING = 999, 30000, 32
SERVER = ("169.254.169.253", 53)
HOSTS = Path("/run/vpcctl/vpc1/hosts")
PATIENCE = 2.0


def query(number: int, name: str) -> bytes:
    """A question for an address."""
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return (number & 0xFFFF).to_bytes(2, "big") + b"\1\0\0\1\0\0\0\0\0\0" + labels + b"\0\0\1\0\1"


def connected() -> socket.socket:
    """A socket for questions."""
    sock = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
    sock.settimeout(PATIENCE)
    sock.connect(SERVER)
    return sock


def rate(names: list[str], count: int) -> float:
    """Answers a second, with some questions on their way at any time."""
    questions = [query(number, names[number % len(names)]) for number in range(count)]
    sent = got = 0
    with connected() as sock:
        begin = time.monotonic()
        while got < count:
            while sent < count and sent - got < WAITING:
                sock.send(questions[sent])
                sent += 1
            sock.recv(4096)
            got += 1
        return count / (time.monotonic() - begin)


def delays() -> Iterator[float]:
    """Seconds from the write of a new name to the first answer with it."""
    with connected() as sock:
        for number in range(10):
            name = f"new{number}.vpc1.internal"
            file = os.open(HOSTS, os.O_WRONLY | os.O_APPEND)
            begin = time.monotonic()
            os.write(file, f"10.0.127.{number} {name}\n".encode())
            os.close(file)
            answer = b"\0\0\0\3"
            while answer[3] & 15:
                sock.send(query(number, name))
                answer = sock.recv(4096)
            yield time.monotonic() - begin


def ask() -> None:
    """In a machine: measure, and print."""
    names = [f"m{number}.public.vpc1.internal" for number in range(MACHINES)]
    lines = {"answers about machines, per second": f"{rate(names, QUESTIONS):,.0f}",
             "answers out of the cache": f"{rate(['example.com'], QUESTIONS):,.0f}",
             "answers by way of the relay": f"{rate([f'n{one}.test' for one in range(3000)], 3000):,.0f}",
             "from the write of the file of names to the first answer with the new one":
             f"{1000 * max(delays()):.0f} ms at most"}
    print("\n".join(f"| {what} | {figure} |" for what, figure in lines.items()))


def main() -> None:
    """On the host: build the VPC, and ask from one of its machines."""
    instances: dict[str, object] = {f"m{number}": {} for number in range(MACHINES)}
    subnets = {"public": {"cidr": "10.0.64.0/18", "instances": instances}}
    network = {"version": 2, "vpcs": {"vpc1": {"cidr": "10.0.0.0/16", "dns": True, "subnets": subnets}}}
    subprocess.run(["vpcctl", "apply", "-f", "-"], input=json.dumps(network), text=True, check=True,
                   stdout=subprocess.DEVNULL)
    subprocess.run(["ip", "netns", "exec", "vpc1-public", sys.executable, __file__, "ask"], check=True)


if __name__ == "__main__":
    ask() if sys.argv[1:] == ["ask"] else main()

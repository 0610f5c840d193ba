"""Real packets in the format that Wireshark reads, and logs that are followed."""

from __future__ import annotations

import base64
import os
import pty
import select
import signal
import struct
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import click
import pytest
from conftest import ROOTLESS
from host import Host

from vpcctl_lib.workloads.interpreter import python

CHECKOUT = Path(__file__).resolve().parents[2]
MAGIC = 0xA1B2C3D4
HEAD = 24


def packets(data: bytes) -> list[bytes]:
    """The packets of a capture; each has to be whole (pcap-savefile(5))."""
    assert struct.unpack("=I", data[:4]) == (MAGIC,)
    found, place = [], HEAD
    while place < len(data):
        _, _, size, _ = struct.unpack("=4I", data[place:place + 16])
        found.append(data[place + 16:place + 16 + size])
        assert len(found[-1]) == size
        place += 16 + size
    return found


def pings(data: bytes) -> int:
    return sum(packet[12:14] == b"\x08\x00" and packet[23] == 1 for packet in packets(data))


def size(path: Path) -> int:
    return path.stat().st_size if path.exists() else 0


def test_packets_arrive_at_once_on_stdout(vpc1: Host, tmp_path: Path) -> None:
    file = tmp_path / "packets.pcap"
    # A shell keeps what tcpdump tells apart from what it captures.
    words = "exec vpcctl capture --vpc vpc1 --subnet public -- icmp"
    capture = vpc1.start("", "sh", "-c", f"{words} 2>/dev/null >{file}")
    vpc1.wait_until(lambda: size(file) == HEAD, "tcpdump listens")
    vpc1.reaches("vpc1-private", "10.0.1.2")
    vpc1.wait_until(lambda: size(file) > HEAD and pings(file.read_bytes()) == 2, "both are there, unbuffered")
    assert not vpc1.sh("ip netns pids vpc1-public"), "the machine sees nothing of it"
    vpc1.sh("kill -INT $(ip netns pids vpc1)")
    vpc1.wait_until(lambda: not vpc1.alive(capture), "it ends with tcpdump")
    vpc1.stop(capture)


def test_a_sandbox_without_root_captures_as_well(make_host: Callable[..., Host], tmp_path: Path) -> None:
    """There tcpdump can't become its own user, and refuses to go on as root."""
    host = make_host(*ROOTLESS)
    host.do("vpc create --name vpc1 --cidr 10.0.0.0/16")
    for number in (1, 2):
        host.do(f"subnet add --vpc vpc1 --name a{number} --cidr 10.0.{number}.0/24")
    file = tmp_path / "packets.pcap"
    words = "exec vpcctl capture --vpc vpc1 --subnet a1 -- icmp"
    capture = host.start("", "sh", "-c", f"{words} 2>{tmp_path}/errors >{file}")
    host.wait_until(lambda: size(file) == HEAD, "tcpdump listens")
    host.reaches("vpc1-a2", "10.0.1.2")
    host.wait_until(lambda: size(file) > HEAD and pings(file.read_bytes()) == 2, "both are there, unbuffered")
    host.sh(f"kill -INT {capture}")
    host.wait_until(lambda: not host.alive(capture), "it ends with the signal")
    assert "rror" not in (tmp_path / "errors").read_text()
    assert not host.sh("ip netns pids vpc1")
    host.stop(capture)


TAGGED = """
import socket
with socket.socket(socket.AF_PACKET, socket.SOCK_RAW) as link:
    link.bind(("eth0", 0))
    link.send(b"\\xff" * 6 + b"\\x02" * 6 + b"\\x81\\x00\\x00\\x07\\x08\\x00" + bytes(46))
"""


def test_a_tag_and_a_loopback_without_root(make_host: Callable[..., Host], tmp_path: Path) -> None:
    host = make_host(*ROOTLESS)
    host.do("vpc create --name vpc1 --cidr 10.0.0.0/16")
    host.do("subnet add --vpc vpc1 --name a --cidr 10.0.1.0/24")
    # The kernel keeps a tag beside the frame.
    tagged = (sys.executable, "-c", TAGGED)
    for words, send, kind in (("-- vlan 7", tagged, b"\x81\x00\x00\x07\x08\x00"),
                              ("-- -i lo -c 2 icmp", ("ping", "-c", "1", "127.0.0.1"), b"\x08\x00"),
                              ("-- -ni lo -c 2 icmp", ("ping", "-c", "1", "127.0.0.1"), b"\x08\x00")):
        file = tmp_path / "packets.pcap"
        file.unlink(missing_ok=True)
        capture = host.start("", "sh", "-c", f"exec vpcctl capture --vpc vpc1 --subnet a {words} >{file}")
        host.wait_until(lambda file=file: size(file) == HEAD, "tcpdump listens")  # type: ignore[misc]
        host.inside("vpc1-a", *send)
        host.wait_until(lambda file=file: size(file) > HEAD, "a packet is there")  # type: ignore[misc]
        if "-c" not in words:
            host.sh(f"kill -TERM {capture}")
        host.wait_until(lambda capture=capture: not host.alive(capture), "it ends")  # type: ignore[misc]
        found = packets(file.read_bytes())
        assert {packet[12:12 + len(kind)] for packet in found} == {kind}
        # Not each packet twice, though it goes out and comes in at one link.
        assert len(found) == 1 + ("-c" in words)
        host.stop(capture)


SCRIPT = """
HOME=$(mktemp -d)
vpcctl vpc create --name vpc1 --cidr 10.0.0.0/16
vpcctl subnet add --vpc vpc1 --name a --cidr 10.0.1.0/24
vpcctl capture --vpc vpc1 --subnet a -- -c 2 icmp >$HOME/packets.pcap &
until [ -s $HOME/packets.pcap ]; do sleep 0.1; done
ping -c 2 -i 0.2 10.0.1.2
wait
base64 $HOME/packets.pcap | sed 's/^/PCAP /'
"""
PACKAGES = Path(click.__file__).parents[1]


def is_open(path: Path) -> bool:
    """Whether every user may read it."""
    return all(one.stat().st_mode & 0o5 == 0o5 for one in (path, *path.resolve().parents))


@pytest.mark.skipif(not (is_open(PACKAGES) and is_open(CHECKOUT)), reason="its folder is closed to others")
def test_an_ordinary_user_captures_in_a_sandbox() -> None:
    other = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups") if os.geteuid() == 0 else ()
    done = subprocess.run([*other, python(), str(CHECKOUT / "vpcctl"), "sandbox", "--", "bash", "-c", SCRIPT],
                          capture_output=True, text=True, timeout=120, cwd="/",
                          env={**os.environ, "PYTHONPATH": str(PACKAGES), "PYTHONDONTWRITEBYTECODE": "1"})
    told = "".join(line.removeprefix("PCAP ") for line in done.stdout.splitlines() if line.startswith("PCAP"))
    assert pings(base64.b64decode(told)) == 2, done


def test_so_many_packets_to_a_file(vpc1: Host, tmp_path: Path) -> None:
    file = tmp_path / "packets.pcap"
    capture = vpc1.start("", "vpcctl", "capture", "--vpc", "vpc1", "--subnet", "public", "--", "-c", "2",
                         "-Z", "root", "-w", str(file), "icmp")
    vpc1.wait_until(lambda: size(file) >= HEAD, "it listens")
    vpc1.reaches("vpc1-private", "10.0.1.2")
    vpc1.wait_until(lambda: not vpc1.alive(capture), "it ends after two packets")
    vpc1.stop(capture)
    assert pings(file.read_bytes()) == 2


def test_unknown_places_and_a_missing_tool(vpc1: Host) -> None:
    vpc1.refused("capture --vpc vpc1 --subnet publik", says="did you mean 'public'?")
    # Unreadable over its own place, in a mount namespace of this test's own.
    hidden = "mount --bind /dev/null $(command -v tcpdump || echo /dev/null); "
    words = "vpcctl capture --vpc vpc1 --subnet public | cat"
    told = vpc1.run("unshare", "--mount", "sh", "-c", f"{hidden}{words}")
    vpc1.sh("rmdir /run/mount || true")  # which mount makes for notes of its own
    assert "tcpdump not found" in told.err
    assert "apt-get install tcpdump" in told.err


def test_a_terminal_gets_no_packets(tmp_path: Path) -> None:
    reader, terminal = pty.openpty()
    done = subprocess.run([sys.executable, str(CHECKOUT / "vpcctl"), "--state-dir", str(tmp_path), "capture",
                           "--vpc", "v", "--subnet", "s"], stdout=terminal, stderr=subprocess.PIPE, text=True)
    assert done.returncode == 2
    assert "wireshark -k -i -" in done.stderr
    assert not select.select([reader], [], [], 0)[0]
    os.close(terminal)
    os.close(reader)


def test_logs_are_followed_until_the_workload_ends(vpc1: Host, tmp_path: Path) -> None:
    script = "sleep infinity & trap 'kill $!; echo last; exit' USR1; echo first; wait"
    vpc1.do("deploy run --vpc vpc1 --subnet public --name talker --", "bash", "-c", script)
    pid = vpc1.do("deploy list --json").json["workloads"][0]["pid"]
    seen = tmp_path / "seen"
    follower = vpc1.start("", "vpcctl", "deploy", "logs", "--vpc", "vpc1", "--subnet", "public", "--name",
                          "talker", "-f", output=str(seen))
    vpc1.wait_until(lambda: seen.read_text() == "first\n", "what it has written so far")
    assert vpc1.alive(follower)
    vpc1.sh(f"kill -USR1 {pid}")
    vpc1.wait_until(lambda: not vpc1.alive(follower), "it ends with the workload")
    vpc1.stop(follower)
    assert seen.read_text() == "first\nlast\n"


def test_following_ends_with_ctrl_c(vpc1: Host, tmp_path: Path) -> None:
    vpc1.do("deploy run --vpc vpc1 --subnet public --name quiet -- sleep infinity")
    follower = vpc1.start("", "vpcctl", "deploy", "logs", "--vpc", "vpc1", "--subnet", "public", "--name",
                          "quiet", "--follow", output=str(tmp_path / "seen"))
    vpc1.wait_until(lambda: "vpcctl" in vpc1.sh(f"cat /proc/{follower}/cmdline | tr '\\0' ' '"), "it runs")
    vpc1.sh(f"sleep 1; kill -{signal.SIGINT.value} {follower}")
    vpc1.wait_until(lambda: not vpc1.alive(follower), "it ends")
    vpc1.stop(follower)
    assert "Traceback" not in (tmp_path / "seen").read_text()


def test_following_is_no_json(vpc1: Host) -> None:
    vpc1.do("deploy run --vpc vpc1 --subnet public --name quiet -- sleep infinity")
    done = vpc1.vpcctl("deploy", "logs", "--vpc", "vpc1", "--subnet", "public", "--name", "quiet", "-f",
                       "--json")
    assert done.code == 2
    assert "exclude each other" in done.json["error"]["message"]

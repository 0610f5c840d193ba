"""What connections and bytes take of the processor, at both ends and on the way.

Packets pass namespaces in the time of the process that sends them, so the processor's time has all of it.
Unlike seconds, it is the same beside other programs.
"""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from benchmarks.byhand import IPERF
from benchmarks.connections import PORT, SERVER

CLIENT = """
import socket, struct, sys, time
print("up", flush=True)
for line in sys.stdin:
    address, port, count = line.split()
    begun = time.process_time()
    for _ in range(int(count)):
        one = socket.socket()
        # A reset instead of a farewell: else all ports would be waiting within seconds.
        one.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        one.connect((address, int(port)))
        one.close()
    print(time.process_time() - begun, flush=True)
"""


def dialler(namespace: str) -> subprocess.Popen[str]:
    """A client that makes connections on command."""
    return on_one_processor(started(namespace, sys.executable, "-c", CLIENT))


def answerer(namespace: str) -> subprocess.Popen[str]:
    """The service that it calls."""
    return on_one_processor(started(namespace, sys.executable, "-c", SERVER, str(PORT)))


def receiver(namespace: str) -> subprocess.Popen[str]:
    """The service that gets megabytes."""
    return started(namespace, "iperf3", "-s", "-p", str(IPERF), "--forceflush")


def on_one_processor(process: subprocess.Popen[str]) -> subprocess.Popen[str]:
    """To wake somebody on another processor takes longer than any rule, and is not always needed."""
    os.sched_setaffinity(process.pid, {max(os.sched_getaffinity(0))})
    return process


def connection(client: subprocess.Popen[str], server: subprocess.Popen[str], address: str,
               count: int) -> float:
    """Microseconds of the processor that one of so many connections takes."""
    assert client.stdin is not None
    assert client.stdout is not None
    before = spent(server.pid)
    client.stdin.write(f"{address} {PORT} {count}\n")
    client.stdin.flush()
    own = float(client.stdout.readline())
    return (own + spent(server.pid) - before) / count * 1e6


def megabyte(client: str, server: subprocess.Popen[str], address: str, count: int) -> float:
    """Microseconds of the processor for one of so many megabytes by TCP (iperf3)."""
    before = spent(server.pid)
    words = ("ip", "netns", "exec", client, "iperf3", "-c", address, "-p", str(IPERF), "-n", f"{count}M")
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL)
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    assert process.returncode == 0
    return (usage.ru_utime + usage.ru_stime + spent(server.pid) - before) / count * 1e6


def end(*processes: subprocess.Popen[str]) -> None:
    """End them."""
    for process in processes:
        process.kill()
        process.communicate()


def started(namespace: str, *words: str) -> subprocess.Popen[str]:
    """A program that says when it is ready."""
    process = subprocess.Popen(("ip", "netns", "exec", namespace, *words), stdin=subprocess.PIPE,
                               stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True)
    assert process.stdout is not None
    while not any(word in process.stdout.readline() for word in ("up", "listening")):
        assert process.poll() is None, words
    return process


def spent(pid: int) -> float:
    """Seconds of the processor that a process has had (proc_pid_schedstat: nanoseconds first)."""
    return int(Path(f"/proc/{pid}/schedstat").read_text().split()[0]) / 1e9

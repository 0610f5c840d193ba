"""Stands in a sandbox and does there what a test asks for: JSON lines in, one line out for each."""

from __future__ import annotations

import json
import os
import pkgutil
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import traceback
from collections.abc import Callable
from functools import partial
from importlib import import_module
from pathlib import Path
from typing import Any, TextIO

import netlink
import portrait
from faulty import Faulty
from probes import Target, ask, enter, listen, serve, within

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(CHECKOUT))

import vpcctl_lib  # noqa: E402 - from the checkout that these tests stand in
from vpcctl_lib.cli import cni  # noqa: E402
from vpcctl_lib.cli import main as command_line  # noqa: E402

started: dict[int, subprocess.Popen[bytes] | None] = {}
"""What runs on; the Popen of a program is kept so that nobody else waits for it."""


def do_run(argv: list[str], stdin: str, environment: dict[str, str], patience: float) -> dict[str, Any]:
    """Run a program to its end."""
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True, errors="replace",
                          timeout=patience, env={**os.environ, **environment})
    return {"code": done.returncode, "out": done.stdout, "err": done.stderr}


def do_vpcctl(argv: list[str], stdin: str, environment: dict[str, str], patience: float) -> dict[str, Any]:
    """Run the command line."""
    return _in_a_copy(command_line, argv, stdin, environment, patience)


def do_cni(argv: list[str], stdin: str, environment: dict[str, str], patience: float) -> dict[str, Any]:
    """Run the CNI plugin."""
    return _in_a_copy(cni.main, argv, stdin, environment, patience)


def do_faulty(argv: list[str], stdin: str, environment: dict[str, str], patience: float) -> dict[str, Any]:
    """Run the command line with a fault among its own doings."""
    faulty = Faulty(environment)

    def program() -> None:
        faulty.arm()
        try:
            command_line()
        finally:
            faulty.tell()

    return _in_a_copy(program, argv, stdin, {}, patience)


def _in_a_copy(program: Callable[[], None], argv: list[str], stdin: str, environment: dict[str, str],
               patience: float) -> dict[str, Any]:
    """Run it in a copy of this process, which saves the start of an interpreter."""
    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err, tempfile.TemporaryFile() as given:
        given.write(stdin.encode())
        given.seek(0)
        pid = os.fork()
        if pid == 0:
            _be_vpcctl(program, argv, environment, [given.fileno(), out.fileno(), err.fileno()])
        code = _wait(pid, patience)
        return {"code": code, "out": _all_of(out), "err": _all_of(err)}


def _be_vpcctl(program: Callable[[], None], argv: list[str], environment: dict[str, str],
               standard: list[int]) -> None:
    code = 70
    try:
        for number, descriptor in enumerate(standard):
            os.dup2(descriptor, number)
        os.environ.update(environment)
        sys.argv = ["vpcctl", *argv]
        program()
        code = 0
    except SystemExit as end:
        code = end.code if isinstance(end.code, int) else 1
    except BaseException:  # noqa: BLE001 - what a person would see, a test has to see
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def _wait(pid: int, patience: float) -> int:
    descriptor = os.pidfd_open(pid)
    try:
        if not select.select([descriptor], [], [], patience)[0]:
            os.kill(pid, signal.SIGKILL)
        return os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    finally:
        os.close(descriptor)


def _all_of(file: Any) -> str:
    file.seek(0)
    return str(file.read().decode(errors="replace"))


def do_start(namespace: str, argv: list[str], output: str) -> int:
    """Start a program that goes on; its pid."""
    with open(output, "ab") as file:
        process = within(namespace, lambda: subprocess.Popen(
            argv, stdin=subprocess.DEVNULL, stdout=file, stderr=file, start_new_session=True))()
    started[process.pid] = process
    while not Path(f"/proc/{process.pid}/cmdline").read_bytes() and process.poll() is None:
        # Between the closing of the old program's files and the start of the new one it has no name.
        time.sleep(0.001)
    return int(process.pid)


def do_listen(namespace: str, ports: list[str], address: str) -> int:
    """Start a service in a namespace that says who it is; its pid, once it listens."""
    reader, writer = os.pipe()
    pid = os.fork()
    if pid == 0:
        os.setsid()
        enter(namespace)
        servers = listen(namespace, ports, address)
        os.write(writer, b"up")
        os.close(writer)
        serve(servers)
    os.close(writer)
    started[pid] = None
    with open(reader, "rb") as pipe:
        if pipe.read() != b"up":
            raise RuntimeError(f"no service on {ports} of {namespace}")
    return pid


def do_stop(pids: list[int]) -> None:
    """End programs that were started here, all of them if none is named."""
    for pid in pids or list(started):
        process = started.pop(pid)
        if not os.waitpid(pid, os.WNOHANG)[0]:
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        if process is not None:
            process.returncode = 0


def do_probe(questions: list[tuple[str, str]], patience: float, source: str) -> list[dict[str, Any]]:
    """Send from each namespace to its target, all at the same time."""
    waits = [within(namespace, partial(ask, Target.parse(text), patience, source))
             for namespace, text in questions]
    return [wait() for wait in waits]


def do_renew() -> None:
    """Leave nothing that a portrait does not show: log, lock, tracked connections, cached routes."""
    for path in Path("/var/lib/vpcctl").iterdir():
        shutil.rmtree(path) if path.is_dir() else path.unlink()
    for namespace in ("", *os.listdir("/run/netns")):
        within(namespace, netlink.forget_connections)()
    for family in ("ipv4", "ipv6"):
        Path(f"/proc/sys/net/{family}/route/flush").write_text("1")


def do_portrait() -> portrait.Portrait:
    """The whole host."""
    return portrait.take(frozenset({os.getpid()}))


def load_all() -> None:
    """All of vpcctl, once for all copies of this process: to import it takes as long as to do the work."""
    for module in pkgutil.walk_packages(vpcctl_lib.__path__, "vpcctl_lib."):
        import_module(module.name)


def main(requests: TextIO, replies: TextIO) -> None:
    """Serve until the test closes the pipe."""
    handlers: dict[str, Callable[..., Any]] = {
        "run": do_run, "vpcctl": do_vpcctl, "cni": do_cni, "faulty": do_faulty, "start": do_start,
        "listen": do_listen, "stop": do_stop, "probe": do_probe, "portrait": do_portrait, "renew": do_renew,
    }
    replies.write("ready\n")
    replies.flush()
    for line in requests:
        request = json.loads(line)
        try:
            answer = {"value": handlers[request.pop("do")](**request)}
        except Exception:  # noqa: BLE001 - the test raises it
            answer = {"error": traceback.format_exc()}
        replies.write(json.dumps(answer) + "\n")
        replies.flush()


def be_it() -> None:
    """Serve on the standard input and output, which nothing that is started here gets."""
    pipes = os.fdopen(os.dup(0)), os.fdopen(os.dup(1), "w")
    nowhere = os.open(os.devnull, os.O_RDWR)
    os.dup2(nowhere, 0)
    os.dup2(nowhere, 1)
    main(*pipes)


if __name__ == "__main__":
    load_all()
    be_it()

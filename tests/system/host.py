"""A whole host for one test: a sandbox with others' things in it, all of which must be there in the end."""

from __future__ import annotations

import json
import re
import select
import subprocess
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from nursery import Nursling, nursery
from portrait import Portrait, differences
from probes import REACHED, Target

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(CHECKOUT))

from vpcctl_lib.record.document import VERSION  # noqa: E402 - from the checkout that these tests stand in

SERVER = Path(__file__).with_name("host_server.py")
CANARY = Path(__file__).with_name("canary.sh")
PATIENCE = 60.0
NET_UNREACHABLE, REFUSED, SILENCE = "net unreachable", "refused", "silence"
UNREACHED = (NET_UNREACHABLE, "host unreachable", "prohibited", SILENCE)
"""Verdicts under which no packet came to the target; a refusal is an answer of the target itself."""

UPLINK, UPLINK6 = "203.0.113.2", "2001:db8::2"
"""The host's own addresses on eth0."""

INTERNET = ("8.8.8.8", "8.8.8.8:80", "8.8.8.8:53/udp")
"""Ping, HTTP and DNS, on the simulated internet."""

COUNT = """nft -f - <<'EOF'
table {table} arrived {{
  chain count {{ type filter hook prerouting priority -400; {table} daddr {{ {} }} counter; }}
}}
EOF"""
"""Counts what arrives for some addresses, before anything else sees it."""

PLAIN = re.compile(r"[-\w/.:, ]+")
"""What a shell hands on as it stands: a single command, without quotes or patterns."""

EMPTY_STATE = {"version": VERSION, "topology": {}, "ledger": []}


Question = tuple[str, str]
"""A namespace and a target."""


@dataclass(frozen=True)
class Result:
    """What a command did."""

    code: int
    out: str
    err: str

    @property
    def json(self) -> Any:
        """Its output, which has to be one JSON document."""
        return json.loads(self.out)


@dataclass(frozen=True)
class Answer:
    """What became of a probe."""

    verdict: str
    answer: str = ""
    ttl: int = 0


def losing(namespace: str, near: str, cable: str) -> str:
    """A script that deletes a namespace, and waits for the cable to it: the kernel takes it down later."""
    gone = f"while ip -n {near} link show dev {cable}; do sleep 0.02; done >/dev/null 2>&1"
    return f"ip netns del {namespace}; {gone}"


def _sandbox(prefix: tuple[str, ...], kept: Path, errors: Path) -> subprocess.Popen[str] | Nursling:
    if not prefix:
        return nursery().sandbox(kept, errors)
    vpcctl = (sys.executable, str(CHECKOUT / "vpcctl"), "sandbox", "--keep", str(kept), "--")
    with errors.open("wb") as file:
        return subprocess.Popen([*prefix, *vpcctl, sys.executable, str(SERVER)], stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, stderr=file, text=True, cwd="/")


class Host:
    """A sandbox with a server in it that does what the test asks for.

    `scratch` is the test's folder, and `kept` one around it, for several tests one after the other.
    """

    def __init__(self, scratch: Path, prefix: tuple[str, ...] = (), kept: Path | None = None) -> None:
        self.scratch = scratch
        self.environment: dict[str, str] = {}
        self.kept = kept
        self.tests = 1
        self._errors = scratch / "sandbox.stderr"
        self._process = _sandbox(prefix, kept or scratch, self._errors)
        assert self._read() == "ready\n"
        self._pids: list[int] = []
        self.sh(CANARY.read_text())
        self.start("other", "sleep", "infinity")
        self.start("", "sleep", "infinity")
        self._pids.clear()
        self.before = self.portrait()

    def _read(self) -> str:
        assert self._process.stdout is not None
        ready, _, _ = select.select([self._process.stdout], [], [], 2 * PATIENCE)
        line = self._process.stdout.readline() if ready else ""
        if not line:
            raise AssertionError(f"the sandbox does not answer: {self._errors.read_text()}")
        return line

    def _ask(self, what: str, **arguments: object) -> Any:
        assert self._process.stdin is not None
        self._process.stdin.write(json.dumps({"do": what, **arguments}) + "\n")
        self._process.stdin.flush()
        answer = json.loads(self._read())
        assert "error" not in answer, answer["error"]
        return answer["value"]

    def _command(self, how: str, argv: tuple[str, ...], stdin: str, environment: dict[str, str]) -> Result:
        given = {**self.environment, **environment}
        return Result(**self._ask(how, argv=argv, stdin=stdin, environment=given, patience=PATIENCE))

    def run(self, *argv: str, stdin: str = "", **environment: str) -> Result:
        """Run a program on the host."""
        return self._command("run", argv, stdin, environment)

    def inside(self, namespace: str, *argv: str, stdin: str = "") -> Result:
        """Run a program in a namespace, as `ip netns exec` does."""
        return self.run("ip", "netns", "exec", namespace, *argv, stdin=stdin)

    def sh(self, script: str, namespace: str = "") -> str:
        """What a script prints that has to succeed."""
        done = self.inside(namespace, "sh", "-ec", script) if namespace else self.run("sh", "-ec", script)
        assert done.code == 0, (script, done)
        return done.out

    def vpcctl(self, *words: str, stdin: str = "", **environment: str) -> Result:
        """Run vpcctl, whatever comes of it."""
        return self._command("vpcctl", words, stdin, environment)

    def cni(self, stdin: str, **environment: str) -> Result:
        """Run the CNI plugin, whatever comes of it."""
        return self._command("cni", (), stdin, environment)

    def faulty(self, *words: str, **fault: str) -> Result:
        """Run vpcctl with a fault among its own doings."""
        return self._command("faulty", words, "", fault)

    def do(self, line: str, *words: str, **environment: str) -> Result:
        """Run vpcctl with the words of the line (and more), which has to succeed."""
        done = self.vpcctl(*line.split(), *words, **environment)
        assert done.code == 0, (line, done)
        return done

    def paste(self, commands: str) -> None:
        """Type commands into a shell, all of which have to succeed.

        No shell is needed for a vpcctl command of plain words, which a copy of the server runs as it runs
        `do`: that takes a third of the time.
        """
        if commands.startswith("vpcctl ") and PLAIN.fullmatch(commands):
            self.do(commands.removeprefix("vpcctl "))
        else:
            self.sh(f"PATH={CHECKOUT}:$PATH; {commands}")

    def refused(self, line: str, *words: str, code: int = 1, says: str = "") -> Result:
        """Run vpcctl, which has to fail with that code, say so, and change nothing."""
        before = self.portrait()
        done = self.vpcctl(*line.split(), *words)
        assert (done.code, done.out) == (code, ""), (line, done)
        assert says in done.err, done.err
        assert "Traceback" not in done.err, done.err
        self.check_same(before)
        return done

    def start(self, namespace: str, *argv: str, output: str = "/dev/null") -> int:
        """Start a program that runs on; its pid."""
        pid: int = self._ask("start", namespace=namespace, argv=argv, output=output)
        self._pids.append(pid)
        return pid

    def listen(self, namespace: str, *ports: str, address: str = "0.0.0.0") -> int:
        """Start a service on ports such as `80` and `53/udp`, which says who it is and whom it sees."""
        pid: int = self._ask("listen", namespace=namespace, ports=ports, address=address)
        self._pids.append(pid)
        return pid

    def stop(self, *pids: int) -> None:
        """Kill programs that were started by this test."""
        self._ask("stop", pids=pids)
        self._pids = [pid for pid in self._pids if pid not in pids]

    def alive(self, pid: int) -> bool:
        """Whether a process runs."""
        return self.run("sh", "-c", f"kill -0 {pid} && ! grep -q '^State:.Z' /proc/{pid}/status").code == 0

    def probe(self, *questions: Question, patience: float = 5.0, source: str = "") -> list[Answer]:
        """Send a packet from each namespace to its target, all at once.

        A target is 10.0.1.2 (ping), 10.0.1.2:80 (TCP) or 10.0.1.2:53/udp; the empty namespace is the host.
        """
        told = self._ask("probe", questions=questions, patience=patience, source=source)
        return [Answer(**answer) for answer in told]

    def reaches(self, namespace: str, *targets: str) -> list[Answer]:
        """All of the targets have to answer; what they said."""
        questions = [(namespace, target) for target in targets]
        answers = self.probe(*questions)
        missed = [one for one in zip(questions, answers, strict=True) if one[1].verdict != REACHED]
        assert not missed, missed
        return answers

    def never_reaches(self, namespace: str, *targets: str) -> None:
        """No packet may come to any of the targets."""
        self.none_reach(*((namespace, target) for target in targets))

    def no_forgery_arrives(self, namespace: str, *targets: str, source: str, at: str, witness: str) -> None:
        """No packet with a forged source may come to the targets, which are all in one namespace.

        They are counted there: an answer goes to whom the address belongs, and the sender never knows. The
        witness is a namespace whose own packets arrive and are counted.
        """
        aimed = [Target.parse(target) for target in targets]
        table = "ip6" if aimed[0].is_six else "ip"
        addresses = ", ".join(sorted({target.address for target in aimed}))
        self.sh(COUNT.format(addresses, table=table), at)
        self.probe(*((namespace, target) for target in targets), patience=0.5, source=source)
        assert self._counted(at, table) == 0
        self.reaches(witness, *targets)
        assert self._counted(at, table) >= len(targets)
        self.sh(f"nft delete table {table} arrived", at)

    def _counted(self, namespace: str, table: str) -> int:
        listed = self.sh(f"nft list chain {table} arrived count", namespace)
        return int(listed.partition("packets ")[2].split()[0])

    def none_reach(self, *questions: Question) -> None:
        """None of these may arrive. (The kernel tells the sender why only about once a second.)"""
        answers = self.probe(*questions, patience=0.5)
        arrived = [one for one in zip(questions, answers, strict=True) if one[1].verdict not in UNREACHED]
        assert not arrived, arrived

    def write(self, name: str, content: object) -> str:
        """A file in the test's own folder, text or JSON; its path."""
        path = self.scratch / name
        path.write_text(content if isinstance(content, str) else json.dumps(content))
        return str(path)

    def wait_until(self, condition: Callable[[], bool], what: str) -> None:
        """Ask again until it is so."""
        deadline = time.monotonic() + PATIENCE / 3
        while not condition():
            assert time.monotonic() < deadline, f"still not so: {what}"
            time.sleep(0.01)

    def state(self) -> Any:
        """What is recorded."""
        done = self.run("cat", "/var/lib/vpcctl/state.json")
        return json.loads(done.out) if done.code == 0 else EMPTY_STATE

    def portrait(self) -> Portrait:
        """All of the host."""
        portrait: Portrait = self._ask("portrait")
        return portrait

    def check_same(self, before: Portrait) -> None:
        """The whole host has to be as it was."""
        changes = differences(before, self.portrait())
        assert not changes, "\n".join(changes)

    def delete_all(self) -> None:
        """Delete every VPC there is, and the elastic addresses, which outlive them."""
        for vpc in self.state()["topology"].get("vpcs", ()):
            self.do("vpc delete --name", vpc["name"])
        left = self.state()["topology"]
        for eip in left.get("eips", ()):
            self.do("eip release --address", eip["address"])
        for pool in left.get("pools", ()):
            self.do("eip pool delete", pool["cidr"])

    def check_clean(self) -> None:
        """With all VPCs deleted the host is what it was before the first."""
        self.delete_all()
        if self._pids:
            self.stop(*self._pids)
        self.check_same(self.before)
        assert self.state() == EMPTY_STATE

    def renew(self, scratch: Path) -> None:
        """For another test, after `check_clean`: as if just made."""
        self.scratch = scratch
        self.environment = {}
        self.tests += 1
        self._ask("renew")

    def end(self) -> None:
        """The sandbox gone, with all that runs in it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        try:
            self._process.wait(10)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()

"""The demo: all green where vpcctl works, red where it does not, and nothing left behind however it ends.

Everything runs in sandboxes, also what is meant for a real host.
"""

from __future__ import annotations

import os
import pty
import re
import subprocess
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
DEMO = ROOT / "demo.sh"
GREEN, RED = "\x1b[32m", "\x1b[31m"
LOOK = """
look() {
    ip -o link show | cut -d: -f2-; ip route; ip netns list; ls -A /etc/netns
    iptables-save | grep -e ^-A -e ' - '; cat /proc/sys/net/ipv4/ip_forward
} 2>/dev/null
"""


def in_sandbox(script: str, path: str = "") -> subprocess.CompletedProcess[str]:
    """Run a shell script on a private host, with `path` before the rest of PATH."""
    environment = {**os.environ, "PATH": f"{path}:{os.environ['PATH']}", "DEMO": str(DEMO)}
    argv = [str(ROOT / "vpcctl"), "sandbox", "--", "bash", "-c", script]
    return subprocess.run(argv, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)


def steps(out: str) -> tuple[list[str], list[str]]:
    """What was expected of the steps that went so, and of those that did not."""
    ended = re.findall(r"^  expected: (.*)\n(?:    .*\n)*  (✔|✘)", out, re.MULTILINE)
    assert len(ended) == len(re.findall("^  expected: ", out, re.MULTILINE)), "each step has a verdict"
    return [what for what, mark in ended if mark == "✔"], [what for what, mark in ended if mark == "✘"]


def on_terminal(environment: dict[str, str]) -> tuple[int, str]:
    """Run the demo with a terminal as its standard output."""
    ours, theirs = pty.openpty()
    argv = [str(DEMO)]
    process = subprocess.Popen(argv, env=environment, stdin=subprocess.DEVNULL, stdout=theirs, stderr=theirs)
    os.close(theirs)
    out = b""
    try:
        while piece := os.read(ours, 65536):
            out += piece
    except OSError:
        # How Linux says that the other side was closed.
        pass
    os.close(ours)
    return process.wait(), out.decode().replace("\r\n", "\n")


@pytest.mark.long
@pytest.mark.parametrize("plain", [False, pytest.param(True, marks=pytest.mark.slow)])
def test_all_is_green(plain: bool) -> None:
    without = {key: value for key, value in os.environ.items() if key != "NO_COLOR"}
    code, out = on_terminal({**without, **({"NO_COLOR": "1"} if plain else {})})
    assert code == 0, out
    green, red = steps(re.sub(r"\x1b\[\d*m", "", out))
    assert len(green) > 50
    assert red == []
    assert (GREEN not in out, RED not in out) == (plain, True)
    assert f"✔ all {len(green)} steps went as expected" in out.splitlines()[-1]


@pytest.mark.long
@pytest.mark.slow
def test_on_a_host_without_internet_it_says_so_and_leaves_nothing() -> None:
    done = in_sandbox(LOOK + """
        ip route replace default via 203.0.113.99
        iptables -A INPUT -s 192.0.2.1 -j DROP
        iptables -t nat -A POSTROUTING -s 192.0.2.0/24 -j MASQUERADE
        look >/run/before
        $DEMO --on-host
        echo "code $?"
        look >/run/after
        diff /run/before /run/after""")
    *story, closing, code = done.stdout.splitlines()
    assert (done.returncode, done.stderr) == (0, ""), "the host is as before"
    assert code == "code 1"
    _, red = steps("\n".join(story))
    assert red == [
        "public: ping passes", "public: HTTP passes", "public: names resolve", "which works",
        "answers to what the subnet itself asks still come in",
    ]
    assert closing.startswith(f"✘ {len(red)} of ")
    assert "\x1b" not in done.stdout


def put_first(folder: Path, name: str, script: str) -> str:
    """A folder for PATH, with a program that stands before the real one."""
    program = folder / name
    program.write_text(f"#!/bin/sh\n{script}\n")
    program.chmod(0o755)
    folder.chmod(0o755)
    return str(folder)


@pytest.mark.long
@pytest.mark.slow
def test_a_curl_that_fails_is_red_whatever_was_expected(tmp_path: Path) -> None:
    done = in_sandbox("$DEMO --on-host", put_first(tmp_path, "curl", "echo broken; exit 1"))
    assert done.returncode == 1
    green, red = steps(done.stdout)
    assert {"this host reaches the public one", "port 9090 no longer does"} < set(red)
    assert "vpc1 reaches vpc2" in green


@pytest.mark.long
def test_a_ping_that_always_gets_through_is_red_where_it_must_not(tmp_path: Path) -> None:
    done = in_sandbox("$DEMO --on-host", put_first(tmp_path, "ping", "echo '64 bytes from you'"))
    assert done.returncode == 1
    green, red = steps(done.stdout)
    assert {"no way out yet", "vpc1 does not reach vpc2", "ping is not allowed, either"} < set(red)
    assert "vpc1 reaches vpc2" in green


@pytest.mark.parametrize(("signal", "code"), [
    ("INT", 130), pytest.param("TERM", 143, marks=pytest.mark.slow),
    pytest.param("HUP", 143, marks=pytest.mark.slow),
])
def test_interrupted_it_takes_away_what_it_made(signal: str, code: int) -> None:
    done = in_sandbox(LOOK + f"""
        vpcctl vpc create --name mine --cidr 10.9.0.0/16
        look >/run/before
        env --default-signal=INT,HUP $DEMO --on-host >/run/out 2>&1 &
        demo=$!
        tries=600
        until [ -e /run/netns/vpc2-public ] || [ $((tries -= 1)) = 0 ]; do sleep 0.1; done
        kill -{signal} $demo
        wait $demo
        [ $? = {code} ] || {{ cat /run/out; exit 1; }}
        look >/run/after
        diff /run/before /run/after""")
    assert (done.returncode, done.stderr) == (0, ""), done.stdout


def test_a_vpc_of_the_same_name_is_left_alone() -> None:
    done = in_sandbox("""
        vpcctl vpc create --name vpc3 --cidr 10.9.0.0/16 >/dev/null
        $DEMO --on-host; echo "code $?"
        vpcctl vpc show --name vpc3 >/dev/null""")
    assert (done.returncode, done.stdout) == (0, "code 1\n")
    assert "there is a VPC vpc3" in done.stderr


def test_on_a_host_it_needs_root(nobody: tuple[str, ...]) -> None:
    done = subprocess.run([*nobody, DEMO, "--on-host"], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"demo.sh: needs root; run: sudo {DEMO} --on-host\n"


@pytest.mark.parametrize(("option", "code"), [("--help", 0), ("--host", 2)])
def test_usage(option: str, code: int) -> None:
    done = subprocess.run([DEMO, option], capture_output=True, text=True)
    assert done.returncode == code
    assert "sudo ./demo.sh --on-host" in done.stdout

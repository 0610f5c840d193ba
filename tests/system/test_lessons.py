"""Each lesson is played: broken, it fails its check; the printed solution passes; short cuts are refused."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from host import CHECKOUT, Host
from test_sandbox import Terminal

from vpcctl_lib.lessons.course import COURSE

OPEN = """
for chain in INPUT FORWARD OUTPUT; do iptables -I $chain -j ACCEPT; done
for chain in PREROUTING POSTROUTING; do iptables -t mangle -I $chain -j ACCEPT; done
"""
OPEN_INSIDE = OPEN + OPEN.replace("iptables", "ip6tables") + """
if nft list tables | grep -q 'bridge vpcctl-acls'; then nft delete table bridge vpcctl-acls; fi
"""
FLUSH = "for table in filter nat mangle; do iptables -t $table -F; done\n"
FLUSH_INSIDE = FLUSH + FLUSH.replace("iptables", "ip6tables") + "nft flush ruleset\n"
NAMES = [lesson.name for lesson in COURSE]


def check(host: Host) -> tuple[int, list[dict[str, Any]]]:
    """The exit code of a check, and what it found."""
    done = host.vpcctl("lesson", "check", "--json")
    return done.code, done.json["lesson"]["checks"]


def refused(host: Host) -> None:
    """The network is not taken for repaired."""
    code, found = check(host)
    assert code == 1, found
    assert not all(one["ok"] for one in found)


def solve(host: Host) -> None:
    """Type the printed solution, after which the check passes."""
    host.paste(host.do("lesson solution", "--json").json["lesson"]["solution"])
    code, found = check(host)
    assert code == 0, [one for one in found if not one["ok"]]


def inside(host: Host, script: str) -> None:
    """Run it in each namespace of the lesson's."""
    vpcs = [vpc["name"] for vpc in host.state()["topology"]["vpcs"]]
    for line in host.sh("ip netns list").splitlines():
        space = line.split()[0]
        if space.partition("-")[0] in vpcs:
            host.sh(script, space)


def open_everything(host: Host) -> None:
    host.sh(OPEN)
    inside(host, OPEN_INSIDE)


def flush_everything(host: Host) -> None:
    host.sh(FLUSH)
    inside(host, FLUSH_INSIDE)


def delete_policies(host: Host) -> None:
    """No policy, no network ACL, and nobody in a group."""
    for vpc in host.state()["topology"]["vpcs"]:
        for subnet in vpc["subnets"]:
            where = f"--vpc {vpc['name']} --subnet {subnet['name']}"
            if subnet.get("policy"):
                host.do(f"firewall clear {where}")
            if subnet.get("acl"):
                host.do(f"acl dissociate {where}")
            for machine in subnet.get("machines", ()):
                for group in machine.get("groups", ()):
                    host.do(f"group leave {where} --instance {machine['name']} --name {group}")


SHORT_CUTS = {"open everything": open_everything, "flush": flush_everything,
              "delete the policies": delete_policies}


def leave(host: Host) -> None:
    """Quit, and forget what is solved, as the end of the sandbox does."""
    host.do("lesson quit")
    host.sh("rm -f /var/lib/vpcctl/lesson.json")


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("who", ["root", "user"])
def test_its_solution_passes_and_nothing_is_left(make_host: Callable[..., Host], rootless: tuple[str, ...],
                                                 who: str, name: str) -> None:
    host = make_host(*(rootless if who == "user" else ()))
    host.do(f"lesson start {name}")
    refused(host)
    solve(host)
    leave(host)
    assert "VPC" not in host.do("vpc list").out
    # The fixture compares the whole host with what it was.


@pytest.mark.parametrize("short_cut", SHORT_CUTS)
@pytest.mark.parametrize("name", NAMES)
def test_short_cuts_are_refused(host: Host, name: str, short_cut: str) -> None:
    host.do(f"lesson start {name}")
    SHORT_CUTS[short_cut](host)
    refused(host)
    host.do(f"lesson start {name} --again")
    solve(host)
    SHORT_CUTS[short_cut](host)
    refused(host)
    leave(host)


PATIENCE = 120.0
START = [str(CHECKOUT / "vpcctl"), "lesson", "start", "subnets"]
TYPED = """
vpcctl lesson check >/dev/null; echo "unrepaired: $?"
vpcctl restore
vpcctl lesson check >/dev/null; echo "repaired: $?"
vpcctl lesson start routes | head -n 1
exit 7
"""


@pytest.mark.parametrize("who", ["root", "user"])
def test_outside_a_sandbox_it_opens_one_that_ends_with_its_shell(rootless: tuple[str, ...],
                                                                 who: str) -> None:
    prefix = rootless if who == "user" else ()
    before = subprocess.run(["ip", "-o", "link"], capture_output=True, text=True, check=True).stdout
    done = subprocess.run([*prefix, *START], input=TYPED, capture_output=True, text=True, timeout=PATIENCE,
                          env={**os.environ, "SHELL": "/bin/bash"})
    assert done.returncode == 7, done
    said = done.stdout.splitlines()
    assert said[0] == "Lesson 1: Subnets"
    assert said[-4:] == ["unrepaired: 1", "everything is as recorded again", "repaired: 0",
                         "Lesson 2: Routes"]
    assert subprocess.run(["ip", "-o", "link"], capture_output=True, text=True).stdout == before


def test_without_its_network_no_shell_is_opened() -> None:
    script = "mount --bind /dev/null /usr/sbin/iptables-restore; exec \"$@\""
    argv = [str(CHECKOUT / "vpcctl"), "sandbox", "--", "sh", "-c", script, "sh", *START]
    done = subprocess.run(argv, input="echo opened", capture_output=True, text=True, timeout=PATIENCE)
    assert done.returncode == 1, done
    assert "opened" not in done.stdout


@pytest.fixture(params=["bash", "zsh", "fish"])
def terminal(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Terminal]:
    """One with a person's shell in which a lesson was started."""
    shell = shutil.which(request.param)
    if shell is None:
        pytest.skip(f"beside other programs: {request.param}")
    # Without it, zsh asks what to write there.
    (tmp_path / ".zshrc").touch()
    opened = Terminal(["env", f"SHELL={shell}", f"HOME={tmp_path}", *START])
    yield opened
    opened.close()


def test_the_prompt_says_which_lesson_runs(terminal: Terminal) -> None:
    terminal.expect(b"A second terminal in it: vpcctl sandbox --join")
    terminal.expect(b"Lesson 1: Subnets")
    terminal.expect(b"(lesson 1) ")
    terminal.type(b"vpcctl lesson quit; vpcctl lesson start nat >/dev/null\n", b"(lesson 3) ")
    terminal.type(b"vpcctl lesson start nat\n", b"it runs already")
    terminal.type(b"vpcctl lesson start names\n", b"lesson 3 is running, and not solved yet")
    terminal.type(b"vpcctl lesson hint\n", b"Hint 1 of 3")
    terminal.type(b"vpcctl lesson hint; vpcctl lesson hint; vpcctl lesson hint\n", b"that was the last hint")


def test_a_repair_past_the_record_is_accepted_with_a_note(host: Host) -> None:
    host.do("lesson start subnets")
    host.do("lesson hint")
    host.sh("ip -n shop link set s-db master br-shop")
    done = host.do("lesson check")
    assert "something is not as it was recorded: vpcctl status" in done.err
    found = host.do("lesson check --json").json["lesson"]
    assert (found["solved"], found["in_sync"], found["hints"]) == (True, False, 1)
    host.do("restore")
    assert "recorded" not in host.do("lesson check").err
    leave(host)


BY_HAND = """
ip netns add mine
iptables -A FORWARD -s 10.9.0.0/16 -j ACCEPT
iptables -t mangle -A PREROUTING -j MARK --set-mark 7
ip6tables -P FORWARD DROP
ip6tables -A INPUT -p tcp --dport 80 -j DROP
nft add table inet mine
nft 'add chain inet mine in { type filter hook input priority 0; policy drop; }'
sysctl -qw net.ipv4.ip_forward=0 net.ipv4.conf.all.rp_filter=1 net.ipv4.icmp_echo_ignore_all=1
sysctl -qw net.ipv6.conf.all.forwarding=1 net.ipv6.conf.eth0.accept_ra=2
"""


@pytest.mark.parametrize("who", ["root", "user"])
def test_what_was_done_by_hand_ends_with_the_lesson(make_host: Callable[..., Host], rootless: tuple[str, ...],
                                                    who: str) -> None:
    host = make_host(*(rootless if who == "user" else ()))
    host.do("lesson start nat")
    host.sh(BY_HAND)
    leave(host)
    # The fixture compares the whole host with what it was.
    host.do("lesson start ipv6")
    solve(host)
    leave(host)


def test_in_a_sandbox_with_vpcs_it_is_refused(vpc1: Host) -> None:
    vpc1.refused("lesson start 1", says="this sandbox is not empty: it has VPC vpc1")


def test_another_lesson_waits_until_this_one_is_solved(host: Host) -> None:
    host.do("lesson start subnets")
    host.refused("lesson start 2", says="lesson 1 is running, and not solved yet")
    solve(host)
    host.do("lesson start 2")
    states = [one["state"] for one in host.do("lesson list --json").json["lessons"]]
    assert states[:3] == ["solved", "running", ""]
    assert host.do("lesson start routes --json").json["lesson"]["changed"] is False
    assert host.do("lesson start routes --again --json").json["lesson"]["changed"] is True
    host.do("lesson quit")
    assert host.vpcctl("lesson", "quit").code == 1
    states = [one["state"] for one in host.do("lesson list --json").json["lessons"]]
    assert states[:3] == ["solved", "", ""]
    host.sh("rm /var/lib/vpcctl/lesson.json")

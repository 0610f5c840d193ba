"""The emergency cleanup: all that bears the mark goes, whatever it is called, and nothing else does.

Each test has a host of its own: a network, a /run and an /etc that end with it. What vpcctl would make is
made by plain `ip` and `iptables` here, so that the script is held to the marks alone.
"""

from __future__ import annotations

import os
import pty
import re
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
SCRIPT = ROOT / "cleanup.sh"
SHELLS = ["dash", "busybox sh", "bash --posix"]
NOBODY = 65534

BUILD_HOST = """
set -e
mount -t sysfs sysfs /sys
mount -t tmpfs tmpfs /run
mkdir /run/etc
cp -a /etc/. /run/etc 2>/dev/null || true
rm -rf /run/etc/netns
mount --bind /run/etc /etc
ip link set lo up
echo ready
exec cat
"""

LOOK_ALIKES = r"""
for name in vpc-x br-x pcx-x s-public; do ip link add $name type bridge; done
ip link set vpc-x alias 'my vpcctl:note'
ip link set br-x alias 'x","ifname":"pcx-x","ifalias":"vpcctl:fake'
ip link set s-public alias "x
    alias vpcctl:fake"
ip link add 'odd"$(x)' type bridge
ip netns add vpc1-private
ip -n vpc1-private link set lo up alias vpcctl
ip netns add 'a b'
ip netns add .hidden
ip netns add theirs
mkdir -p /etc/netns/theirs /etc/netns/vpc1-private /etc/netns/both
printf 'nameserver 192.0.2.1\n# vpcctl:x\n' >/etc/netns/vpc1-private/resolv.conf
echo '127.0.0.1 localhost' >/etc/netns/both/hosts
printf '# vpcctl:x\n' >/etc/netns/both/linked
ln -s ../both/linked /etc/netns/theirs/resolv.conf
"""

THEIR_RULES = r"""*filter
:VPCCTL-FORWARD2 - [0:0]
:vpcctl-forward - [0:0]
-A INPUT -s 192.0.2.1 -m comment --comment not-vpcctl:x -j ACCEPT
-A INPUT -s 192.0.2.2 -m comment --comment vpcctlx: -j ACCEPT
-A INPUT -s 192.0.2.3 -m comment --comment "x -m comment --comment vpcctl:y" -j ACCEPT
-A INPUT -s 192.0.2.4 -m comment --comment "say \" --comment vpcctl:y \" \\" -j ACCEPT
-A FORWARD -j VPCCTL-FORWARD2
-A FORWARD -s 192.0.2.6 -m comment --comment VPCCTL-FORWARD -j ACCEPT
-A VPCCTL-FORWARD2 -s 192.0.2.5 -j DROP
COMMIT
*nat
-A POSTROUTING -s 192.0.2.0/24 -o eth0 -j MASQUERADE
COMMIT
*mangle
-A FORWARD -s 192.0.2.0/24 -j ACCEPT
COMMIT
*raw
-A PREROUTING -s 192.0.2.0/24 -j ACCEPT
COMMIT
"""

OURS = r"""
for name in vpc1 vpc1-public 'we ird$(x)' .ours; do
    ip netns add "$name"
    ip -n "$name" link set lo up alias "vpcctl:$name"
done
ip link add vpc-vpc1 type veth peer name uplink netns vpc1
ip link set vpc-vpc1 up alias vpcctl:vpc1
ip -n vpc1 link set uplink up alias vpcctl:vpc1
ip addr add 169.254.64.0/31 dev vpc-vpc1
ip route add 10.0.0.0/16 dev vpc-vpc1
ip -n vpc1 link add br-vpc1 type bridge
ip -n vpc1 link set br-vpc1 alias vpcctl:vpc1
ip link add s-public netns vpc1 type veth peer name eth0 netns vpc1-public
ip -n vpc1 link set s-public alias vpcctl:vpc1/public
ip -n vpc1-public link set eth0 alias vpcctl:vpc1/public
ip link add renamed0 type bridge
ip link set renamed0 alias vpcctl:vpc9
ip link add 'odd"'"'"'$(y)' type bridge
ip link set 'odd"'"'"'$(y)' alias 'vpcctl:"\'
ip link add one type veth peer name two
ip link set one alias vpcctl:one
ip link set two alias vpcctl:two
ip -n theirs link add lost type bridge
ip -n theirs link set lost alias vpcctl:vpc1
mkdir -p /etc/netns/vpc1-public /etc/netns/.ours
for folder in vpc1-public .ours both; do
    printf '# vpcctl:vpc1/public\nnameserver 192.0.2.1\n' >/etc/netns/$folder/resolv.conf
done
"""

OUR_RULES = r"""*filter
:VPCCTL-FORWARD - [0:0]
:VPCCTL-INPUT - [0:0]
-I FORWARD 1 -m comment --comment vpcctl:host -j VPCCTL-FORWARD
-I INPUT 1 -i vpc-+ -m comment --comment vpcctl:host -j VPCCTL-INPUT
-A INPUT -i lo -j VPCCTL-INPUT
-A INPUT -i lo -g VPCCTL-INPUT
-A VPCCTL-FORWARD -s 10.0.1.0/24 -m comment --comment vpcctl:vpc1/public -j ACCEPT
-A VPCCTL-FORWARD -d 10.0.1.0/24 -j ACCEPT
-A VPCCTL-INPUT -m comment --comment vpcctl:host -j REJECT
COMMIT
*nat
-I POSTROUTING 1 -s 10.0.1.0/24 -o eth0 -m comment --comment vpcctl:vpc1/public -j MASQUERADE
-A POSTROUTING -s 10.0.2.0/24 -o eth0 -m comment --comment "vpcctl:a \"b\" \\ 'c' $(d)" -j MASQUERADE
-A POSTROUTING -s 10.0.2.0/24 -o eth0 -m comment --comment "vpcctl:a \"b\" \\ 'c' $(d)" -j MASQUERADE
COMMIT
*mangle
-A FORWARD -s 10.0.1.0/24 -m comment --comment mine -m comment --comment vpcctl:vpc1 -j ACCEPT
COMMIT
*raw
-A PREROUTING -s 10.0.1.0/24 -m comment --comment vpcctl:vpc1 -j ACCEPT
COMMIT
"""


SETTLED = "cut -d: -f2- | sed -E 's/<[^>]*>//; s/ state [A-Z]+//'"
"""A link without what the kernel still changes some time after it was made."""


class Host:
    """A machine's worth of network, /run and /etc, gone with `end`."""

    def __init__(self) -> None:
        user = [] if os.geteuid() == 0 else ["--user", "--map-root-user"]
        apart = ["--net", "--mount", "--pid", "--fork", "--kill-child", "--mount-proc"]
        self.process = subprocess.Popen(
            ["unshare", *user, *apart, "sh", "-c", BUILD_HOST],
            stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True,
        )
        assert self.process.stdout is not None
        assert self.process.stdout.readline() == "ready\n"
        outer = self.process.pid
        inner = Path(f"/proc/{outer}/task/{outer}/children").read_text().strip()
        enter_user = [] if os.geteuid() == 0 else ["--user", "--preserve-credentials"]
        self.enter = ["nsenter", "--target", inner, *enter_user, "--net", "--mount", "--pid"]

    def end(self) -> None:
        self.process.communicate()

    def sh(self, script: str, stdin: str = "") -> str:
        """What a script prints that has to succeed."""
        done = subprocess.run([*self.enter, "sh", "-ec", script], input=stdin, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
        return done.stdout

    def cleanup(self, *options: str, shell: str = "sh", state: Path | None = None,
                path: str = os.environ["PATH"]) -> tuple[int, str, str]:
        """Exit code, stdout and stderr of the script."""
        environment = {**os.environ, "VPCCTL_STATE_DIR": str(state or "/nowhere"), "PATH": path}
        argv = [*self.enter, *shell.split(), str(SCRIPT), *options]
        done = subprocess.run(argv, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
        return done.returncode, done.stdout, done.stderr

    def start(self, namespace: str, *argv: str) -> subprocess.Popen[bytes]:
        """A process that lives in a namespace, already there on return."""
        process = subprocess.Popen([*self.enter, "ip", "netns", "exec", namespace, *argv])
        wait_for(lambda: self.sh(f"ip netns pids '{namespace}'").strip() != "")
        return process

    def add_rules(self, rules: str, tool: str = "iptables") -> None:
        self.sh(f"{tool}-restore --noflush", stdin=rules)

    def look(self) -> dict[str, str]:
        """All of the host that vpcctl or its cleanup could change."""
        return {
            "links": self.sh(f"ip -d -o link show | {SETTLED}"),
            "addresses": self.sh("ip -o -4 address show | cut -d: -f2-"),
            "routes": self.sh("ip -4 route show table all"),
            "namespaces": self.sh(f"""
                for path in /run/netns/* /run/netns/.[!.]*; do
                    [ -e "$path" ] || continue
                    echo "$path"; ip -d -n "${{path##*/}}" -o link show | {SETTLED}
                done"""),
            "rules": self.sh("for kind in nft legacy; do iptables-$kind-save | grep -v '^#' || true; done"),
            "files": self.sh("""
                [ ! -e /etc/netns ] || find /etc/netns -printf '%p %l\\n' -type f -exec cat {} +"""),
            "forwarding": self.sh("sysctl -e net.ipv4.ip_forward net.ipv4.conf.all.forwarding"),
        }


@pytest.fixture
def host() -> Iterator[Host]:
    made = Host()
    yield made
    made.end()


@pytest.fixture
def used(host: Host) -> dict[str, str]:
    """The host full of look-alikes, as it was before ours came."""
    host.sh(LOOK_ALIKES)
    host.add_rules(THEIR_RULES)
    before = host.look()
    host.sh(OURS)
    host.add_rules(OUR_RULES)
    full = host.look()
    assert [part for part in full if full[part] == before[part]] == ["forwarding"]
    return before


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 10
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.parametrize("shell", SHELLS)
def test_all_that_is_ours_goes_and_nothing_else(host: Host, used: dict[str, str], shell: str) -> None:
    code, out, err = host.cleanup(shell=shell)
    assert (code, err) == (0, "")
    assert host.look() == used
    assert "ip link delete dev vpc-vpc1\n" in out
    assert "ip netns delete vpc1-public\n" in out
    assert "-D VPCCTL" not in out, "they go with their chain, at once"


@pytest.mark.parametrize("shell", SHELLS)
def test_another_ip_than_iproute2_s_is_passed_over(host: Host, used: dict[str, str], shell: str,
                                                   tmp_path: Path) -> None:
    """That of busybox comes first in its own shell, and in PATH on Alpine."""
    tmp_path.joinpath("ip").write_text("#!/bin/sh\necho 'Usage: ip [OPTIONS]' >&2\nexit 1\n")
    tmp_path.joinpath("ip").chmod(0o755)
    tmp_path.chmod(0o755)
    assert host.cleanup(shell=shell, path=f"{tmp_path}:{os.environ['PATH']}")[::2] == (0, "")
    assert host.look() == used


def test_a_second_run_finds_nothing_to_do(host: Host, used: dict[str, str]) -> None:
    host.cleanup()
    assert host.cleanup() == (0, "", "")
    assert host.look() == used


def test_a_host_without_vpcctl_stays_as_it_is(host: Host) -> None:
    host.sh("mkdir /etc/netns; sysctl -q net.ipv4.ip_forward=1")
    before = host.look()
    assert host.cleanup() == (0, "", "")
    assert host.look() == before


def test_a_dry_run_changes_nothing(host: Host, used: dict[str, str], tmp_path: Path) -> None:
    (tmp_path / "state.json").write_text('{"found": {}}\n')
    full = host.look()
    code, out, err = host.cleanup("--dry-run", state=tmp_path)
    assert (code, err) == (0, "")
    assert host.look() == full != used
    assert f"mv -f {tmp_path}/state.json {tmp_path}/state.json.cleaned\n" in out
    assert (tmp_path / "state.json").exists()


def test_what_a_dry_run_prints_can_be_pasted(host: Host, used: dict[str, str]) -> None:
    """The second end of a cable is gone by then: that one command fails."""
    script = host.cleanup("--dry-run")[1]
    done = subprocess.run([*host.enter, "sh"], input=script, capture_output=True, text=True)
    complaints = [line for line in done.stderr.splitlines() if "Cannot find device" not in line]
    assert complaints == []
    host.sh("rmdir /etc/netns 2>/dev/null || true")
    assert host.look() == used


def test_both_firewalls_are_cleaned(host: Host) -> None:
    for tool in ("iptables-nft", "iptables-legacy"):
        host.add_rules(THEIR_RULES, tool)
    before = host.look()
    for tool in ("iptables-nft", "iptables-legacy"):
        host.add_rules(OUR_RULES, tool)
    assert host.look() != before
    code, out, err = host.cleanup()
    assert (code, err) == (0, "")
    assert host.look() == before
    assert out.count("-restore -w --noflush") == 8


def test_a_comment_of_several_lines_stays_and_keeps_nothing_else(host: Host) -> None:
    host.add_rules(THEIR_RULES)
    comment = "x\n:VPCCTL-INPUT -\n-A INPUT -m comment --comment vpcctl:y -j ACCEPT\ny"
    host.sh(f"iptables -A INPUT -m comment --comment '{comment}'")
    before = host.look()
    host.add_rules(OUR_RULES)
    assert host.cleanup()[::2] == (0, "")
    assert host.look() == before


def test_processes_in_our_namespaces_end_and_others_live(host: Host, used: dict[str, str]) -> None:
    stubborn = host.start("vpc1-public", "sh", "-c", "trap '' TERM; while :; do sleep 1; done")
    slow = host.start("we ird$(x)", "sh", "-c", "trap 'sleep 0.5; exit 7' TERM; while :; do sleep 0.1; done")
    theirs = host.start("vpc1-private", "sleep", "1000")
    code, out, err = host.cleanup()
    assert (code, err) == (0, "")
    assert (stubborn.wait(), slow.wait(), theirs.poll()) == (-9, 7, None)
    assert len(re.findall("^kill -KILL ", out, re.MULTILINE)) in (1, 2), "the shell, and maybe its sleep"
    theirs.kill()
    theirs.wait()
    assert host.look() == used


def test_sysctls_return_to_what_was_found(host: Host, tmp_path: Path) -> None:
    host.sh("""
        ip link add eth0.5 type bridge
        sysctl -q net.ipv4.ip_forward=1 net.ipv4.conf.lo.forwarding=1 net.ipv4.conf.eth0/5.accept_redirects=0
        sysctl -q net.ipv4.conf.all.rp_filter=0
        echo 5 >/run/forwarding""")
    up = "//".join([".."] * 8)
    (tmp_path / "state.json").write_text(
        '{"version": 1, "vpcs": [{"note": "\\"found\\": {\\"net.ipv4.conf.lo.forwarding\\": \\"0\\"}"}],\n'
        ' "found": {"net.ipv4.conf.eth0/5.accept_redirects": "1",\n'
        '   "net.ipv4.conf.lo.forwarding": "1", "net.ipv4.conf.gone0.forwarding": "1",\n'
        '   "net.ipv4.conf.all.rp_filter": "1", "net.ipv4.conf./run.forwarding": "1",\n'
        f'   "net.ipv4.conf.{up}//run.forwarding": "1", "net.ipv4.conf.../run.forwarding": "1",\n'
        '   "net.ipv4.ip_forward": "0", "net.ipv4.conf.default.forwarding": "1;reboot"}}\n'
    )
    code, out, err = host.cleanup(state=tmp_path)
    assert (code, err) == (0, "")
    assert out.splitlines() == [
        "echo 0 > /proc/sys/net/ipv4/ip_forward",
        "echo 1 > /proc/sys/net/ipv4/conf/eth0.5/accept_redirects",
        "echo 1 > /proc/sys/net/ipv4/conf/lo/forwarding",
        f"mv -f {tmp_path}/state.json {tmp_path}/state.json.cleaned",
    ]
    assert host.sh("cat /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/conf/lo/forwarding") == "0\n1\n"
    assert host.sh("cat /run/forwarding /proc/sys/net/ipv4/conf/all/rp_filter") == "5\n0\n"


def test_sysctls_are_found_wherever_they_stand_in_the_ledger(host: Host, tmp_path: Path) -> None:
    host.sh("ip link add eth0.5 type bridge; sysctl -q net.ipv4.ip_forward=1")
    (tmp_path / "state.json").write_text(
        '{"version": 1,\n"topology": {},\n"ledger": [\n'
        '{"kind": "folder", "path": "/etc/netns", "found": {"existed": "yes"}},\n'
        '{"kind": "forwarding", "found": {"net.ipv4.ip_forward": "0", '
        '"net.ipv4.conf.all.accept_redirects": "1", "net/ipv4/conf/eth0.5/forwarding": "1"}},\n'
        '{"kind": "program", "mark": "vpc1/public/worker", "found": {"pid": "7", "boot": "x"}}\n'
        ']}\n'
    )
    code, out, err = host.cleanup(state=tmp_path)
    assert (code, err) == (0, "")
    assert "echo 0 > /proc/sys/net/ipv4/ip_forward" in out
    settings = "ip_forward conf/all/accept_redirects conf/eth0.5/forwarding conf/lo/forwarding"
    assert host.sh(f"cd /proc/sys/net/ipv4 && cat {settings}") == "0\n1\n1\n0\n"


@pytest.mark.parametrize("state", [None, "", '{"version": 1, "found": {"net.ipv4.ip_fo'])
def test_a_lost_record_leaves_forwarding_and_says_so(host: Host, tmp_path: Path, state: str | None) -> None:
    if state is not None:
        (tmp_path / "state.json").write_text(state)
    host.sh("sysctl -q net.ipv4.ip_forward=1")
    host.add_rules(OUR_RULES)
    code, _, err = host.cleanup(state=tmp_path)
    assert code == 0
    assert err == (
        "cleanup.sh: net.ipv4.ip_forward is 1 and stays so: "
        f"{tmp_path}/state.json does not say what it was before\n"
    )
    assert host.sh("cat /proc/sys/net/ipv4/ip_forward") == "1\n"


def test_the_record_is_kept_aside_and_the_log_stays(host: Host, used: dict[str, str], tmp_path: Path) -> None:
    for name, text in {"state.json": '{"version": 1}\n', "vpcctl.log": "log\n", "lock": ""}.items():
        (tmp_path / name).write_text(text)
    assert host.cleanup("--state-dir", str(tmp_path))[::2] == (0, "")
    assert host.look() == used
    assert {path.name: path.read_text() for path in tmp_path.iterdir()} == {
        "state.json.cleaned": '{"version": 1}\n', "vpcctl.log": "log\n", "lock": "",
    }


def test_without_iptables_the_rest_goes_and_it_says_so(host: Host, used: dict[str, str]) -> None:
    full = host.look()
    hide(host, "/usr/sbin/xtables-nft-multi", "/usr/sbin/xtables-legacy-multi")
    code, _, err = host.cleanup()
    assert (code, err.count("\n")) == (1, 1)
    assert "apt-get install iptables" in err
    host.sh("umount /usr/sbin/xtables-nft-multi /usr/sbin/xtables-legacy-multi")
    assert host.look() == {**used, "rules": full["rules"]}


def test_without_ip_the_rest_goes_and_it_says_so(host: Host, used: dict[str, str]) -> None:
    ip = os.path.realpath("/usr/sbin/ip")
    hide(host, ip)
    code, _, err = host.cleanup()
    assert (code, err.count("\n")) == (1, 1)
    assert "apt-get install iproute2" in err
    host.sh(f"umount {ip}")
    look = host.look()
    assert (look["rules"], look["files"]) == (used["rules"], used["files"])


def test_without_both_one_line_names_all_there_is_to_install(host: Host, used: dict[str, str]) -> None:
    both = (f"/usr/sbin/xtables-{kind}-multi" for kind in ("nft", "legacy"))
    programs = (os.path.realpath("/usr/sbin/ip"), *both)
    hide(host, *programs)
    code, _, err = host.cleanup()
    host.sh(f"umount {' '.join(programs)}")
    assert (code, err) == (1, "cleanup.sh: iproute2's ip and iptables not found, so all stays; "
                              "run: apt-get install iproute2 iptables\n")


def hide(host: Host, *programs: str) -> None:
    """Make programs impossible to run, on that host only."""
    for program in programs:
        host.sh(f"mount --bind /dev/null {program}")


def test_what_could_not_be_removed_is_listed(host: Host, used: dict[str, str], tmp_path: Path) -> None:
    file = "/etc/netns/vpc1-public/resolv.conf"
    (tmp_path / "state.json").write_text('{"version": 1}\n')
    host.sh(f"mount --bind {file} {file}")
    code, _, err = host.cleanup(state=tmp_path)
    assert code == 1
    assert err.splitlines()[-3:] == [
        "cleanup.sh: could not be removed; what is left to do:",
        f"rm {file}",
        "rmdir /etc/netns/vpc1-public",
    ]
    assert (tmp_path / "state.json").exists(), "still needed: the work is not done"
    host.sh(f"umount {file}")
    assert host.cleanup(state=tmp_path)[::2] == (0, "")
    assert host.look() == used


@pytest.mark.parametrize(("answer", "code"), [("n", 1), ("", 1), ("y", 0)])
def test_on_a_terminal_it_asks_first(host: Host, used: dict[str, str], answer: str, code: int) -> None:
    full = host.look()
    done = on_terminal(host, [], f"{answer}\n")
    assert done.returncode == code
    assert "ip netns delete vpc1\n" in done.stderr
    assert "Run these commands? [y/N]" in done.stderr
    assert host.look() == (used if code == 0 else full)


def test_yes_keeps_it_from_asking(host: Host, used: dict[str, str]) -> None:
    done = on_terminal(host, ["--yes"], "")
    assert (done.returncode, done.stderr) == (0, "")
    assert host.look() == used


def on_terminal(host: Host, options: list[str], typed: str) -> subprocess.CompletedProcess[str]:
    """Run the script with a terminal on its standard input."""
    ours, theirs = pty.openpty()
    os.write(ours, typed.encode())
    argv = [*host.enter, "sh", str(SCRIPT), *options]
    try:
        return subprocess.run(argv, stdin=theirs, capture_output=True, text=True, timeout=60)
    finally:
        os.close(ours)
        os.close(theirs)


def test_inside_one_of_our_namespaces_it_refuses(host: Host, used: dict[str, str]) -> None:
    argv = [*host.enter, "ip", "netns", "exec", "vpc1", "sh", str(SCRIPT)]
    done = subprocess.run(argv, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert "run it on the host" in done.stderr
    assert host.look() != used


@pytest.mark.parametrize("options", [["--force"], ["--state-dir"], ["vpc1"]])
def test_bad_usage(host: Host, used: dict[str, str], options: list[str]) -> None:
    code, out, err = host.cleanup(*options)
    assert (code, out, err.count("\n")) == (2, "", 1)
    assert host.look() != used


def test_help(host: Host) -> None:
    code, out, err = host.cleanup("-h")
    assert (code, err) == (0, "")
    assert out.startswith("Usage: ")


def test_it_needs_root(host: Host) -> None:
    as_user = ["setpriv", "--reuid", str(NOBODY)] if os.geteuid() == 0 else []
    enter = host.enter if as_user else []
    done = subprocess.run([*enter, *as_user, "sh", "-s"], stdin=SCRIPT.open(), capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == "cleanup.sh: needs root; run: sudo sh\n"


USED_HOST = """
set -e
look() {
    ip -o link show | cut -d: -f2-; ip -o -4 address | cut -d: -f2-; ip route
    ip netns list; ls -A /etc/netns || true
    iptables-save | grep -e ^-A -e ' - ' || true
    [ "$1" = lost ] || grep '' /proc/sys/net/ipv4/ip_forward /proc/sys/net/ipv4/conf/*/accept_redirects
}
look $STATE >/run/before
echo '{"ingress": []}' >/run/policy.json
exec 3>&1 >&2
vpcctl vpc create --name vpc1 --cidr 10.0.0.0/16
vpcctl subnet add --vpc vpc1 --name public --cidr 10.0.1.0/24 --type public
vpcctl subnet add --vpc vpc1 --name far-too-long-for-a-link --cidr 10.0.2.0/24
vpcctl nat enable --vpc vpc1
vpcctl deploy webserver --vpc vpc1 --subnet public
vpcctl firewall apply --vpc vpc1 --subnet public --policy /run/policy.json
vpcctl vpc create --name also-too-long-for-a-link --cidr 172.16.0.0/16
vpcctl peer create --vpc1 vpc1 --vpc2 also-too-long-for-a-link
vpcctl vpc create --name twin --cidr 10.0.0.0/16 --allow-overlap
vpcctl subnet add --vpc twin --name public --cidr 10.0.1.0/24 --type public
vpcctl nat enable --vpc twin
[ $STATE = kept ] || rm /var/lib/vpcctl/state.json
$CLEANUP
look $STATE >/run/after
diff /run/before /run/after >&3
vpcctl vpc create --name vpc1 --cidr 10.0.0.0/16
vpcctl status
"""


@pytest.mark.parametrize("state", ["kept", "lost"])
def test_all_that_vpcctl_makes_bears_the_mark(state: str) -> None:
    environment = {**os.environ, "STATE": state, "CLEANUP": str(SCRIPT)}
    argv = [str(ROOT / "vpcctl"), "sandbox", "--", "bash", "-c", USED_HOST]
    done = subprocess.run(argv, env=environment, stdin=subprocess.DEVNULL, capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (0, ""), done.stderr


RECORD = '{"ledger": [{"kind": "forwarding", "found": {"net.ipv4.ip_forward": "0"}}]}\n'
STRANGER = 54321


@pytest.mark.parametrize("shell", SHELLS)
@pytest.mark.parametrize(("owner", "mode", "where", "told"), [
    (STRANGER, 0o755, "above/state", f"above/state belongs to uid {STRANGER}"),
    (STRANGER, 0o755, "above", f"above belongs to uid {STRANGER}"),
    (STRANGER, 0o777, "link", f"link belongs to uid {STRANGER}"),
    (STRANGER, 0o644, "above/state/state.json", f"state.json belongs to uid {STRANGER}"),
    (0, 0o775, "above/state", "above/state is writable by others"),
    (0, 0o777, "above", "above is writable by others"),
    (0, 0o1777, "above/state", "above/state is writable by others"),
    (0, 0o666, "above/state/state.json", "state.json is writable by others"),
])
def test_a_record_that_others_can_write_is_refused(host: Host, tmp_path: Path, shell: str, owner: int,
                                                   mode: int, where: str, told: str) -> None:
    (tmp_path / "above/state").mkdir(parents=True)
    (tmp_path / "above/state/state.json").write_text(RECORD)
    (tmp_path / "link").symlink_to("above")
    host.sh("sysctl -q net.ipv4.ip_forward=1")
    if where != "link":
        (tmp_path / where).chmod(mode)
    os.chown(tmp_path / where, owner, -1, follow_symlinks=False)
    code, out, err = host.cleanup("--yes", shell=shell, state=tmp_path / "link/state")
    assert (code, out) == (1, "")
    assert told in err
    assert host.sh("cat /proc/sys/net/ipv4/ip_forward") == "1\n"


@pytest.mark.parametrize("shell", SHELLS)
def test_below_a_sticky_folder_and_behind_root_s_own_link_is_fine(host: Host, tmp_path: Path,
                                                                  shell: str) -> None:
    (tmp_path / "above/state").mkdir(parents=True)
    (tmp_path / "above").chmod(0o1777)
    (tmp_path / "above/state/state.json").write_text(RECORD)
    (tmp_path / "link").symlink_to("above")
    host.sh("sysctl -q net.ipv4.ip_forward=1")
    assert host.cleanup("--yes", shell=shell, state=tmp_path / "link/../above/state")[::2] == (0, "")
    assert host.sh("cat /proc/sys/net/ipv4/ip_forward") == "0\n"

"""The sandbox on the real kernel, started by root and by a plain user; the real host stays as it was."""

from __future__ import annotations

import os
import pty
import re
import resource
import select
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import uuid
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import click
import pytest

import vpcctl_lib

PATIENCE = 20.0
CHECKOUT = Path(vpcctl_lib.__file__).resolve().parent.parent
DRIVER = """
import sys
from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.sandbox import Wish, enter, join
from vpcctl_lib.sandbox.plan import HOSTNAME
words = sys.argv[1:]
options = {}
while words and words[0] in ("--keep", "--name", "--join"):
    options[words[0]], words = words[1], words[2:]
kept = tuple(filter(None, [options.get("--keep")]))
wish = Wish(tuple(words), kept, options.get("--name", HOSTNAME), lambda shell: "echo comple''ted",
            lambda text: print(text, file=sys.stderr))
try:
    sys.exit(join(wish, options["--join"]) if "--join" in options else enter(wish))
except VpcctlError as error:
    print(error.message, error.hint, sep="\\n", file=sys.stderr)
    sys.exit(error.code)
"""
ROOT = [] if os.geteuid() == 0 else ["unshare", "--user", "--map-root-user"]
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups"] if os.geteuid() == 0 else []
POWERLESS = ["setpriv", "--bounding-set=-sys_admin", "--inh-caps=-all"]
"""Root that has to take the plain user's way."""

Argv = list[str]


@pytest.fixture(scope="session")
def driver() -> Iterator[Argv]:
    """A command line that enters a sandbox, made of files that any user can read."""
    folder = Path(tempfile.mkdtemp(prefix="vpcctl-test-"))
    folder.chmod(0o755)
    shutil.copytree(CHECKOUT / "vpcctl_lib", folder / "vpcctl_lib")
    shutil.copy(CHECKOUT / "vpcctl", folder / "vpcctl")
    (folder / "driver.py").write_text(DRIVER)
    subprocess.run(["chmod", "-R", "a+rX", str(folder)], check=True)
    yield [python_for_all(), str(folder / "driver.py")]
    shutil.rmtree(folder)


def python_for_all() -> str:
    """A Python that a plain user can run; ours may be in somebody's home."""
    for python in (os.path.realpath(sys.executable), "/usr/bin/python3"):
        # Through a shell: setpriv itself still has root's way with folders when it starts a program.
        if subprocess.run([*NOBODY, "sh", "-c", f"{python} -c ''"], capture_output=True).returncode == 0:
            return python
    pytest.fail("no Python here can be run by a plain user: apt-get install python3")


@pytest.fixture(params=["root", "plain"])
def sandbox(request: pytest.FixtureRequest, driver: Argv) -> Argv:
    """A command line that enters a sandbox, as root and as a plain user."""
    return [*(ROOT if request.param == "root" else NOBODY), *driver]


def run(argv: Sequence[str], script: str, **how: object) -> subprocess.CompletedProcess[str]:
    return subprocess.run([*argv, "sh", "-c", script], capture_output=True, text=True,  # type: ignore[call-overload,no-any-return]
                          timeout=PATIENCE, cwd="/", **how)


def output(argv: Sequence[str], script: str) -> str:
    done = run(argv, script)
    assert done.returncode == 0, done
    return done.stdout


def wait_until(condition: Callable[[], bool], what: str) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline, f"still not so after {PATIENCE} s: {what}"
        time.sleep(0.01)


def processes_with(word: str) -> list[str]:
    """The command lines of all processes on this machine that have this word among their arguments."""
    found = []
    for process in Path("/proc").glob("[0-9]*"):
        try:
            arguments = (process / "cmdline").read_bytes().decode(errors="replace").split("\0")
        except (FileNotFoundError, ProcessLookupError):
            continue
        if word in arguments:
            found.append(" ".join(arguments))
    return found


@pytest.mark.parametrize(("script", "code"), [
    ("exit 0", 0), ("exit 7", 7), ("kill -TERM $$", 143), ("kill -KILL $$", 137),
])
def test_the_program_s_exit_code_is_the_sandbox_s(sandbox: Argv, script: str, code: int) -> None:
    assert run(sandbox, script).returncode == code


@pytest.mark.parametrize(("program", "code", "line"), [
    ("no-such-program", 127, "Error: no-such-program: command not found\n"),
    ("/no/such/program", 127, "Error: /no/such/program: command not found\n"),
    ("/etc/passwd", 126, "Error: /etc/passwd: Permission denied\n"),
])
def test_a_program_that_cannot_start_says_so_in_one_line(program: str, code: int, line: str) -> None:
    command = [*ROOT, sys.executable, str(CHECKOUT / "vpcctl"), "sandbox", "--", program, "--help"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stderr) == (code, line)


def test_it_reads_our_input_and_keeps_the_folder(sandbox: Argv) -> None:
    done = subprocess.run([*sandbox, "sh", "-c", "cat; pwd"], input="typed\n", capture_output=True, text=True,
                          timeout=PATIENCE, cwd="/usr/share")
    assert done.stdout == "typed\n/usr/share\n"


def test_what_the_program_left_behind_ends_with_it(sandbox: Argv) -> None:
    word = uuid.uuid4().hex
    left = f"setsid sh -c 'echo >/run/up; sleep 1000; :' {word} >/dev/null 2>&1 &"
    output(sandbox, f"{left} until [ -s /run/up ]; do sleep 0.01; done")
    assert processes_with(word) == []


def test_orphans_are_reaped_while_it_runs(sandbox: Argv) -> None:
    orphan = "setsid sh -c ': & exit' & wait"
    no_zombie = "! ps -eo stat= | grep -q Z"
    output(sandbox, f"{orphan}; for _ in $(seq 500); do {no_zombie} && exit 0; sleep 0.01; done; exit 1")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGKILL])
def test_a_signal_to_us_ends_everything_inside(sandbox: Argv, number: signal.Signals) -> None:
    word = uuid.uuid4().hex
    script = f"trap '' TERM INT HUP; setsid sh -c 'sleep 1000; :' {word} & wait"
    with subprocess.Popen([*sandbox, "sh", "-c", script], cwd="/") as process:
        try:
            wait_until(lambda: bool(processes_with(word)), "its program runs")
            process.send_signal(number)
            code = process.wait(PATIENCE)
            wait_until(lambda: not processes_with(word), "no process of it is left")
        finally:
            process.kill()
    assert code == (-9 if number is signal.SIGKILL else 128 + number)


def test_it_starts_with_little_work(sandbox: Argv) -> None:
    def seconds() -> float:
        # Processor time, since a busy machine stretches the other.
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        return used.ru_utime + used.ru_stime

    before = seconds()
    for _ in range(3):
        output(sandbox, ":")
    assert (seconds() - before) / 3 < 0.5


class Terminal:
    """A terminal with a program on it, typed at and read."""

    def __init__(self, argv: Argv) -> None:
        self.seen = b""
        self.whole = b""
        self.pid, self.file = pty.fork()
        if self.pid == 0:
            os.execvp(argv[0], argv)  # noqa: S606

    def expect(self, text: bytes) -> None:
        deadline = time.monotonic() + PATIENCE
        while text not in self.seen:
            ready, _, _ = select.select([self.file], [], [], max(0.0, deadline - time.monotonic()))
            assert ready, f"no {text!r} in {self.seen!r}"
            read = os.read(self.file, 4096)
            self.seen += read
            self.whole += read
        self.seen = self.seen.partition(text)[2]

    def type(self, text: bytes, expected: bytes) -> None:
        os.write(self.file, text)
        self.expect(expected)

    def close(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)
        os.close(self.file)


@pytest.fixture
def open_terminal(sandbox: Argv) -> Iterator[Callable[[Argv], Terminal]]:
    """Opens a script's terminal: it runs a program in a sandbox, then goes on reading."""
    shell = 'export SHELL=/bin/bash HOME=/nowhere PS1="\\h> "'
    script = shell + '; trap : INT; "$@"; echo "code=$?"; read x; echo "read=$x"; read x'
    opened: list[Terminal] = []

    def open_one(program: Argv) -> Terminal:
        opened.append(Terminal(["sh", "-c", script, "sh", *sandbox, *program]))
        return opened[-1]

    yield open_one
    for terminal in opened:
        terminal.close()


def test_ctrl_c_is_the_program_s_own_affair(open_terminal: Callable[[Argv], Terminal]) -> None:
    script = "trap 'echo cau''ght; exit 3' INT; echo up; while :; do sleep 0.01; done"
    terminal = open_terminal(["bash", "-c", script])
    terminal.expect(b"up")
    terminal.type(b"\x03", b"caught")
    terminal.expect(b"code=3")


def test_a_shell_has_the_terminal_and_gives_it_back(open_terminal: Callable[[Argv], Terminal]) -> None:
    terminal = open_terminal([])
    waits = b"sh -c 'echo wai''ting; exec cat'\n"
    terminal.expect(b"sandbox")
    terminal.type(waits, b"waiting")
    terminal.type(b"\x03", b"sandbox")
    terminal.type(waits, b"waiting")
    terminal.type(b"\x1a", b"Stopped")
    terminal.type(b"disown -a; echo dis''owned\n", b"disowned")
    terminal.type(b"exit 5\n", b"code=5")
    terminal.type(b"more\n", b"read=more")


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a user from whom root can close a folder")
def test_it_starts_where_only_root_was_let_in(driver: Argv, tmp_path: Path) -> None:
    tmp_path.chmod(0o700)
    done = subprocess.run([*NOBODY, *driver, "sh", "-c", "echo in"], capture_output=True, text=True,
                          timeout=PATIENCE, cwd=tmp_path)
    assert (done.returncode, done.stdout) == (0, "in\n"), done


def test_it_is_a_fresh_host(sandbox: Argv) -> None:
    script = """
        ip -br link | cut -d' ' -f1 | cut -d@ -f1; ip -br -4 addr show eth0 | tr -s ' ' | cut -d' ' -f3
        ip route show default; cat /etc/resolv.conf /proc/sys/net/ipv4/ip_forward; hostname
        ip netns list; ls -A /run /var/lib/vpcctl; ls /sys/class/net; iptables -S; iptables -t nat -S
        echo "${VPCCTL_STATE_DIR-none} $VPCCTL_SANDBOX"
    """
    os.environ["VPCCTL_STATE_DIR"] = "/elsewhere"
    try:
        lines = output(sandbox, script).splitlines()
    finally:
        del os.environ["VPCCTL_STATE_DIR"]
    assert lines == [
        "lo", "eth0", "203.0.113.2/24", "default via 203.0.113.1 dev eth0 ",
        "nameserver 8.8.8.8", "0", "sandbox",
        "/run:", "", "/var/lib/vpcctl:", "eth0", "lo",
        "-P INPUT ACCEPT", "-P FORWARD ACCEPT", "-P OUTPUT ACCEPT",
        "-P PREROUTING ACCEPT", "-P INPUT ACCEPT", "-P OUTPUT ACCEPT", "-P POSTROUTING ACCEPT",
        "none 1",
    ]


def test_vpcctl_is_on_path(sandbox: Argv) -> None:
    assert output(sandbox, "command -v vpcctl") == f"{Path(sandbox[-1]).parent}/vpcctl\n"


def test_its_firewall_bridges_and_namespaces_work(sandbox: Argv) -> None:
    script = """
        set -e
        ip netns add blue; ip netns exec blue sysctl -qw net.ipv4.ip_forward=1
        ip link add br-blue type bridge; ip link add cable type veth peer name eth0 netns blue
        iptables -P FORWARD DROP; ip netns exec blue iptables -A INPUT -p icmp -j ACCEPT
        key=/proc/sys/net/bridge/bridge-nf-call-iptables
        if [ -e $key ]; then ip netns exec blue sh -c "echo 0 >$key; cat $key"; else echo 0; fi
        mkdir -p /etc/netns/blue; echo nameserver 192.0.2.1 >/etc/netns/blue/resolv.conf
        ip netns exec blue cat /etc/resolv.conf
    """
    assert output(sandbox, script) == "0\nnameserver 192.0.2.1\n"


def test_a_host_in_use_looks_fresh_from_within_and_stays_as_it_is(sandbox: Argv, driver: Argv) -> None:
    listing = "ip -o link; ip netns list; iptables -S; cat /proc/sys/net/ipv4/ip_forward /etc/resolv.conf; " \
              "hostname; find /etc/netns /var/lib /run -xdev | sort; cat /proc/self/mountinfo | wc -l"
    used = "mount --make-rshared /; mkdir -p /etc/netns/old; echo seen >/var/lib/vpcctl/state; " \
           "ip netns add old; sysctl -qw net.ipv4.ip_forward=1; iptables -A INPUT -j ACCEPT; touch /run/old"
    fresh = "ls -A /etc/netns /var/lib/vpcctl /run; ip netns list; iptables -S INPUT; " \
            "cat /proc/sys/net/ipv4/ip_forward"
    messy = "set -e; ip netns add new; ip link add new type bridge; mkdir /etc/netns/new /run/new; " \
            "echo new >/var/lib/vpcctl/new; echo new >/etc/resolv.conf; iptables -P INPUT DROP; hostname new"
    inner = f'{" ".join(driver)} sh -c "{fresh}; {messy}"'
    done = output(sandbox, f"{used}; before=$({listing}); {inner} || exit; after=$({listing}); "
                           '[ "$before" = "$after" ] && echo same || echo "$before" "$after"')
    assert done.splitlines() == [
        "/etc/netns:", "", "/run:", "", "/var/lib/vpcctl:", "-P INPUT ACCEPT", "0", "same",
    ]


def real_host(name: str) -> list[object]:
    """All of the real host that a sandbox could reach, and whatever there bears this name."""
    ours = [Path(folder, name) for folder in ("/etc", "/run", "/var/lib", "/etc/netns", "/run/netns")]
    # An identifier of its own, since other mounts and links may come and go while we look.
    return [
        [str(path) for path in ours if path.exists()], Path("/etc/netns").exists(),
        Path("/etc/resolv.conf").read_text(), Path("/var/lib/vpcctl").exists(), os.uname().nodename,
        [line for line in Path("/proc/self/mountinfo").read_text().splitlines() if " vpcctl " in line],
        [link for link in os.listdir("/sys/class/net") if name[:15] in link],
        Path("/proc/sys/net/ipv4/ip_forward").read_text(),
    ]


def test_nothing_leaks_to_the_real_host(sandbox: Argv) -> None:
    name = f"t{uuid.uuid4().hex[:10]}"
    before = real_host(name)
    output(sandbox, f"""
        set -e
        mkdir -p /etc/netns; ip netns add {name}; ip link add {name} type bridge
        for folder in /etc /run /var/lib /etc/netns; do mkdir $folder/{name}; done
        echo gone >/etc/resolv.conf; hostname {name}; mount -t tmpfs none /run/{name}
        sysctl -qw net.ipv4.ip_forward=1
    """)
    assert real_host(name) == before


def test_sandboxes_nest(sandbox: Argv, driver: Argv) -> None:
    inner = " ".join(driver)
    done = output(sandbox, f"echo outer >/var/lib/vpcctl/mine; {inner} {inner} sh -c "
                           "'ls /var/lib/vpcctl; curl -s http://internet.test'; cat /var/lib/vpcctl/mine")
    assert done == "the simulated internet\nyour address: 203.0.113.2\nouter\n"


def test_the_internet_answers_the_host(sandbox: Argv) -> None:
    script = """
        set -e
        for address in 8.8.8.8 1.1.1.1 example.com; do ping -q -c1 -W5 $address >/dev/null; done
        curl -s --max-time 5 http://8.8.8.8; getent ahostsv4 internet.test | cut -d' ' -f1 | sort -u
        if getent hosts nowhere.test; then exit 1; fi
    """
    assert output(sandbox, script) == "the simulated internet\nyour address: 203.0.113.2\n8.8.8.8\n"


def test_the_internet_survives_garbage(sandbox: Argv) -> None:
    script = """
        for _ in 1 2 3; do head -c 300 /dev/urandom >/dev/udp/8.8.8.8/53; : >/dev/tcp/8.8.8.8/80
            head -c 300 /dev/urandom >/dev/tcp/8.8.8.8/80; done 2>/dev/null
        curl -s --max-time 5 http://example.com
    """
    done = subprocess.run([*sandbox, "bash", "-c", script], capture_output=True, text=True, timeout=PATIENCE)
    assert done.stdout == "the simulated internet\nyour address: 203.0.113.2\n"


def test_the_internet_answers_only_translated_traffic(sandbox: Argv) -> None:
    script = """
        set -e
        ip netns add inner; ip link add cable type veth peer name eth0 netns inner
        ip addr add 10.9.0.1/24 dev cable; ip link set cable up
        ip -n inner addr add 10.9.0.2/24 dev eth0; ip -n inner link set eth0 up
        ip -n inner route add default via 10.9.0.1; sysctl -qw net.ipv4.ip_forward=1
        ip netns exec inner ping -q -c1 -W5 203.0.113.2 >/dev/null
        if ip netns exec inner ping -q -c1 -W1 8.8.8.8 >/dev/null; then exit 1; fi
        if ip netns exec inner curl -s --max-time 1 http://8.8.8.8; then exit 1; fi
        iptables -t nat -A POSTROUTING -s 10.9.0.0/24 -o eth0 -j MASQUERADE
        ip netns exec inner ping -q -c1 -W5 8.8.8.8 >/dev/null
        ip netns exec inner curl -s --max-time 5 http://8.8.8.8
    """
    assert output(sandbox, script) == "the simulated internet\nyour address: 203.0.113.2\n"


def on_host(preparation: str, argv: Argv) -> Argv:
    """Run a command on a host prepared by these shell commands, in namespaces of its own."""
    return [*ROOT, "unshare", "--mount", "sh", "-ec", f'{preparation}; exec "$@"', "sh", *argv]


def test_refused_user_namespaces_are_explained(driver: Argv) -> None:
    inside = ["unshare", "--user", "--map-root-user", "sh", "-c",
              'echo 0 >/proc/sys/user/max_user_namespaces && exec "$@"', "sh", *POWERLESS, *driver]
    done = run(inside, "echo never")
    assert (done.returncode, done.stdout) == (1, "")
    assert "user.max_user_namespaces = 0" in done.stderr
    assert "sudo sysctl -w user.max_user_namespaces=" in done.stderr


def test_a_masked_proc_is_explained(driver: Argv) -> None:
    done = run(on_host("mount --bind /dev/null /proc/version", [*POWERLESS, *driver]), "echo never")
    assert (done.returncode, done.stdout) == (1, "")
    assert "/proc of its own" in done.stderr
    assert "--security-opt" in done.stderr


@pytest.mark.parametrize("who", [[], POWERLESS])
def test_mounts_and_a_linked_resolv_conf_in_etc_do_not_stop_it(driver: Argv, who: Argv) -> None:
    copied = "mount -t tmpfs none /mnt; cp -r /etc /mnt 2>&- || :; mount --bind /mnt/etc /etc"
    linked = "ln -sf /run/nowhere/resolv.conf /etc/resolv.conf; mount --bind /etc/hosts /etc/hostname"
    host = on_host(f"{copied}; {linked}", [*who, *driver])
    script = "cat /etc/resolv.conf; mkdir /etc/netns; grep -c root /etc/passwd; curl -s http://example.com"
    assert output(host, script).startswith("nameserver 8.8.8.8\n1\nthe simulated internet\n")


@pytest.mark.parametrize("who", [[], POWERLESS])
@pytest.mark.parametrize("kept", [True, False])
def test_work_below_var_lib_goes_on(driver: Argv, who: Argv, tmp_path: Path, kept: bool) -> None:
    prepared = f"mount --bind {tmp_path} /var/lib; cd /var/lib; mkdir ci; echo old >file; ln -s ci link"
    script = "pwd; echo new >report; ls /var/lib; cat ../file; readlink ../link; touch ../vpcctl/x; " \
             "cat report"
    options = ["--keep", "/var/lib/ci"] if kept else []
    done = output(on_host(f"{prepared}; cd ci", [*who, *driver, *options]), script)
    assert done == "/var/lib/ci\nci\nfile\nlink\nvpcctl\nold\nci\nnew\n"
    assert [path.read_text() for path in (tmp_path / "ci").iterdir()] == (["new\n"] if kept else [])
    assert sorted(os.listdir(tmp_path)) == ["ci", "file", "link"]


def test_a_hidden_folder_we_stand_in_is_left_for_the_new_one(driver: Argv, tmp_path: Path) -> None:
    host = on_host(f"mount --bind {tmp_path} /var/lib; cd /var/lib", driver)
    assert output(host, "touch new; ls /var/lib") == "new\nvpcctl\n"
    assert os.listdir(tmp_path) == []


@pytest.fixture
def workplace() -> Iterator[Path]:
    """A folder that anybody can write to, in which a file is."""
    folder = Path(tempfile.mkdtemp(prefix="vpcctl-test-", dir="/var/tmp"))
    folder.chmod(0o777)
    (folder / "file").write_text("old\n")
    (folder / "file").chmod(0o666)
    (folder / "below").mkdir(mode=0o777)
    (folder / "below").chmod(0o777)
    if NOBODY:
        # A layer can't take over what belongs to a user that does not exist in it.
        subprocess.run(["chown", "-R", "65534:65534", str(folder)], check=True)
    yield folder
    shutil.rmtree(folder)


TEMPORARY = "/tmp /var/tmp"  # noqa: S108
MESS = "echo new >file; rm -r below; mkdir below; touch below/more; mv below there; cat file; ls"


def test_what_is_written_is_thrown_away(sandbox: Argv, workplace: Path) -> None:
    name = uuid.uuid4().hex
    script = f"cd {workplace}; HOME={workplace}; {MESS}; " \
             f"for at in {TEMPORARY} ~; do echo x >$at/{name}; cat $at/{name}; done"
    done = run(sandbox, script)
    assert (done.stdout, done.stderr, done.returncode) == ("new\nfile\nthere\nx\nx\nx\n", "", 0)
    assert sorted(os.listdir(workplace)) == ["below", "file"]
    assert (workplace / "file").read_text() == "old\n"
    assert os.listdir(workplace / "below") == []
    assert not [folder for folder in TEMPORARY.split() if Path(folder, name).exists()]


def test_a_kept_folder_is_the_real_one(sandbox: Argv, workplace: Path) -> None:
    script = f"cd {workplace}; echo new >file; echo new >below/new"
    output([*sandbox, "--keep", str(workplace / "below")], script)
    assert (workplace / "file").read_text() == "old\n"
    assert (workplace / "below/new").read_text() == "new\n"


def test_two_sandboxes_see_nothing_of_each_other(sandbox: Argv, workplace: Path) -> None:
    inner = " ".join(sandbox if not NOBODY or NOBODY[0] not in sandbox else sandbox[len(NOBODY):])
    nested = f"{inner} sh -c 'cat file; echo inner >file'"
    done = output(sandbox, f"cd {workplace}; echo outer >file; {nested}; cat file")
    # The third layer of a nested one is refused where the root folder is a layer itself, as in containers.
    assert done in ("outer\nouter\n", "outer\ninner\n")
    assert (workplace / "file").read_text() == "old\n"


def test_a_folder_that_cannot_be_covered_is_named_once(driver: Argv, workplace: Path) -> None:
    # A third layer is more than overlayfs takes.
    layer = "mount -t tmpfs none {0}; mkdir {0}/up {0}/work; " \
            "mount -t overlay none {1} -o lowerdir={1},upperdir={0}/up,workdir={0}/work"
    prepared = "; ".join(layer.format(scratch, workplace) for scratch in ("/mnt", "/media"))
    done = run(on_host(f"{prepared}; cd {workplace}", driver), "echo new >file; cat file")
    assert (done.returncode, done.stdout) == (0, "new\n")
    assert done.stderr == f"this kernel can't throw away what is written to {workplace}: it stays\n"
    assert (workplace / "file").read_text() == "old\n", "the host of this test is one that goes"


SUBID = "1:100000:65536\nnobody:300000:65536\n"
"""A range for the plain user of these tests, beside another's."""


def with_range(argv: Argv, tmp_path: Path) -> Argv:
    """As the plain user, on a host that has set numbers aside for him."""
    (tmp_path / "subid").write_text(SUBID)
    bound = "; ".join(f"mount --bind {tmp_path}/subid /etc/{name}" for name in ("subuid", "subgid"))
    return ["unshare", "--mount", "sh", "-ec",
            f'touch /etc/subuid /etc/subgid; {bound}; cd /; exec "$@"', "sh", *NOBODY, *argv]


@pytest.mark.skipif(not NOBODY, reason="only root can be somebody else")
def test_without_root_the_other_users_exist_where_a_range_is_set_aside(driver: Argv, tmp_path: Path) -> None:
    script = "tr -s ' ' </proc/self/uid_map; id -u; " \
             "setpriv --reuid=nobody --regid=65534 --init-groups id -u; " \
             "touch /run/x; chown nobody /run/x; stat -c %U /run/x"
    assert output(with_range(driver, tmp_path), script) == (
        " 0 65534 1\n 1 300000 65536\n0\n65534\nnobody\n")


@pytest.fixture
def libraries(driver: Argv) -> Path:
    """What vpcctl imports, where any user can read it."""
    folder = Path(driver[-1]).parent / "libraries"
    found = Path(click.__file__).parents[1]
    wanted = re.compile(r"(click|rich|_?(py)?yaml|pygments|markdown_it|mdurl)(_py)?(-.*)?", re.IGNORECASE)
    for one in filter(Path.is_dir, found.iterdir()):
        if wanted.fullmatch(one.name):
            shutil.copytree(one, folder / one.name, dirs_exist_ok=True)
    subprocess.run(["chmod", "-R", "a+rX", str(folder)], check=True)
    return folder


@pytest.mark.skipif(not NOBODY, reason="only root can be somebody else")
def test_where_a_range_is_set_aside_the_state_folder_is_trusted_but_for_this_nobody_s(
        driver: Argv, tmp_path: Path, libraries: Path) -> None:
    # / belongs to the host's root, who has the number of a user here.
    script = "stat -c %U /; vpcctl vpc create --name a --cidr 10.0.0.0/16; mkdir /run/theirs; " \
             "chown nobody /run/theirs; vpcctl --state-dir /run/theirs/state vpc list 2>&1"
    done = run(with_range(["env", f"PYTHONPATH={libraries}", *driver], tmp_path), script)
    assert done.stdout.splitlines()[:3] == [
        "nobody", "VPC 'a' created (10.0.0.0/16)",
        "Error: the state folder /run/theirs/state is not root's alone: /run/theirs belongs to user nobody"]


@pytest.mark.skipif(not NOBODY, reason="only root can be somebody else")
def test_a_range_that_the_tools_refuse_leaves_root_alone(driver: Argv, tmp_path: Path,
                                                         workplace: Path) -> None:
    (workplace / "newgidmap").symlink_to("/bin/false")
    argv = with_range(["env", f"PATH={workplace}:/usr/bin:/bin", *driver], tmp_path)
    script = "tr -s ' ' </proc/self/gid_map; tr -s ' ' </proc/self/uid_map; id -u"
    assert output(argv, script) == " 0 65534 1\n 0 65534 1\n0\n"


def broken(tmp_path: Path, **tools: str) -> Argv:
    """A PATH on which these tools come first."""
    for name, script in tools.items():
        (tmp_path / name.replace("_", "-")).write_text(f"#!/bin/sh\n{script}\n")
        (tmp_path / name.replace("_", "-")).chmod(0o755)
    return ["env", f"PATH={tmp_path}:{os.environ['PATH']}"]


@pytest.mark.parametrize(("legacy", "hint"), [
    ("exit 0", "update-alternatives --set iptables /usr/sbin/iptables-legacy"), ("exit 1", "modprobe"),
])
def test_an_iptables_that_does_not_work_is_told_before_it_starts(driver: Argv, tmp_path: Path, legacy: str,
                                                                 hint: str) -> None:
    failing = "echo 'it is out of order' >&2; exit 1"
    tools = broken(tmp_path, iptables=failing, iptables_legacy=legacy, iptables_nft="exit 1")
    done = run([*ROOT, *tools, *driver], "echo never")
    assert (done.returncode, done.stdout) == (1, "")
    assert "iptables does not work with this kernel" in done.stderr
    assert "it is out of order" in done.stderr
    assert hint in done.stderr


def test_the_shell_is_greeted_and_completes(open_terminal: Callable[[Argv], Terminal]) -> None:
    terminal = open_terminal([])
    for text in (b"This is a sandbox", b"thrown away", b"To leave: exit", b"completed"):
        terminal.expect(text)
    terminal.type(b"exit 0\n", b"code=0")


def test_a_program_is_not_greeted(open_terminal: Callable[[Argv], Terminal]) -> None:
    terminal = open_terminal(["sh", "-c", "echo started"])
    terminal.expect(b"code=0")
    assert b"This is a sandbox" not in terminal.whole


@pytest.fixture
def started(sandbox: Argv) -> Iterator[Callable[[str], None]]:
    """Starts sandboxes that run on, by name."""
    processes = []

    def start(name: str) -> None:
        word = f"{name} is up"
        process = subprocess.Popen([*sandbox, "--name", name, "sh", "-c", f"echo {word}; exec cat"], cwd="/",
                                   stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True)
        processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == f"{word}\n"

    yield start
    for process in processes:
        process.communicate(timeout=PATIENCE)


def test_a_second_terminal_joins(sandbox: Argv, started: Callable[[str], None]) -> None:
    name = f"s{uuid.uuid4().hex[:10]}"
    started(name)
    joined = [*sandbox, "--join", name]
    script = "hostname; cat /etc/hostname; echo mine >/run/mine; ip netns add blue; " \
             "echo $VPCCTL_SANDBOX; id -u; exit 7"
    done = run(joined, script)
    assert (done.returncode, done.stdout, done.stderr) == (7, f"{name}\n{name}\n1\n0\n", "")
    assert output(joined, "cat /run/mine; ip netns list; curl -s http://8.8.8.8 | head -1") == (
        "mine\nblue\nthe simulated internet\n")
    assert not Path("/run/netns/blue").exists()


def test_what_has_joined_ends_with_the_sandbox(sandbox: Argv, started: Callable[[str], None]) -> None:
    name, word = f"s{uuid.uuid4().hex[:10]}", uuid.uuid4().hex
    started(name)
    script = "kill -KILL $(pgrep -x cat); sleep 1000; :"
    done = subprocess.run([*sandbox, "--join", name, "sh", "-c", script, word], cwd="/", timeout=PATIENCE)
    assert done.returncode == 137
    assert not processes_with(word)


def test_of_several_one_has_to_be_named(sandbox: Argv, started: Callable[[str], None]) -> None:
    one, other = (f"s{uuid.uuid4().hex[:10]}" for _ in range(2))
    started(one)
    started(other)
    done = run([*sandbox, "--join", ""], "echo never")
    assert (done.returncode, done.stdout) == (1, "")
    assert f"({one}, in /)" in done.stderr
    assert f"({other}, in /)" in done.stderr
    assert "vpcctl sandbox --join " in done.stderr
    done = run([*sandbox, "--join", "nobody-has-this"], "echo never")
    assert "sandbox 'nobody-has-this' is not running" in done.stderr

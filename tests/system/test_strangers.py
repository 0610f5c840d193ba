"""Workloads of different VPCs are strangers: nothing but packets goes from one to another, or to the host."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest
from host import CHECKOUT, Host

as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root may become other users")

VICTIM = """
import socket, time
held = socket.create_server(("0.0.0.0", 9000))
time.sleep(1000)
"""

THIEF = """
import ctypes, os, time
call = ctypes.CDLL(None, use_errno=True).syscall
seen = [int(pid) for pid in os.listdir("/proc") if pid.isdigit()]
stolen = [number for pid in seen if pid != os.getpid() for number in range(20)
          if call(438, os.pidfd_open(pid), number, 0) >= 0]
print("sees", len(seen), "stole", len(stolen), flush=True)
time.sleep(1000)
"""
"""438 is pidfd_getfd(2), the same number on every machine but alpha."""


def run(host: Host, vpc: str, name: str, *argv: str) -> None:
    host.do(f"deploy run --vpc {vpc} --subnet public --name {name} --", *argv)


def log_of(host: Host, vpc: str, name: str, ending: str) -> str:
    """What the workload wrote, once that ends so."""
    def logs() -> str:
        return host.do(f"deploy logs --vpc {vpc} --subnet public --name {name}").out

    host.wait_until(lambda: logs().rstrip().endswith(ending), f"{name} has written {ending}")
    return logs()


def script(host: Host, vpc: str, name: str, text: str) -> str:
    """What a shell script prints that runs as a workload."""
    run(host, vpc, name, "sh", "-c", f"({text}) 2>&1; echo done; exec sleep 1000")
    return log_of(host, vpc, name, "done").removesuffix("done\n")


def pid_of(host: Host, name: str) -> int:
    found = host.do("deploy list --json").json["workloads"]
    return int(next(one["pid"] for one in found if one["name"] == name) or 0)


def test_nobody_takes_a_socket_from_another_vpc(vpc2: Host) -> None:
    run(vpc2, "vpc1", "victim", "/usr/bin/python3", "-c", VICTIM)
    run(vpc2, "vpc2", "thief", "/usr/bin/python3", "-c", THIEF)
    assert log_of(vpc2, "vpc2", "thief", "0") == "sees 2 stole 0\n", "its keeper and itself"


def test_nobody_ends_a_process_of_another_vpc(vpc2: Host) -> None:
    run(vpc2, "vpc1", "victim", "sleep", "1000")
    beside = vpc2.start("vpc2-public", "sleep", "1000")
    all_of_them = "trap '' TERM; kill -TERM -1; kill -9 -1; echo done; exec sleep 1000"
    # It ignores the signal that ends it, too.
    vpc2.do("deploy run --vpc vpc2 --subnet public --name killer --stop-timeout 1s -- sh -c", all_of_them)
    log_of(vpc2, "vpc2", "killer", "done")
    assert vpc2.alive(pid_of(vpc2, "victim"))
    assert vpc2.alive(beside)
    vpc2.stop(beside)


@as_root
def test_each_vpc_has_a_user_of_its_own(vpc2: Host) -> None:
    for vpc, name in (("vpc1", "one"), ("vpc1", "other"), ("vpc2", "stranger")):
        run(vpc2, vpc, name, "sleep", "1000")
    pids = [pid_of(vpc2, name) for name in ("one", "other", "stranger")]
    users = [vpc2.sh(f"stat -c %u:%g /proc/{pid}").strip() for pid in pids]
    assert users == ["1879048192:1879048192", "1879048192:1879048192", "1879048193:1879048193"]


def test_it_sees_its_own_processes_and_settings_only(vpc2: Host) -> None:
    seen = script(vpc2, "vpc1", "look", "ls -d /proc/[0-9]* | wc -l; ls /proc/1/fd; cat /proc/1/environ; "
                                        "echo 0 >/proc/sys/net/ipv4/ip_unprivileged_port_start")
    assert seen.splitlines()[0] in ("3", "4", "5"), "itself, its keeper and what lists them"
    assert seen.count("Permission denied") + seen.count("Read-only") >= 3


def test_it_shares_no_folder_with_others(vpc2: Host) -> None:
    vpc2.sh("mkdir -p /run/service; echo secret >/run/service/key; chmod -R a+rwX /run/service")
    leave = "touch /tmp/mine /var/tmp/mine /dev/shm/mine; ls -A /run /var/lib/vpcctl"
    first = script(vpc2, "vpc1", "first", leave)
    assert "key" not in first
    assert "logs" not in first
    second = script(vpc2, "vpc2", "second", "ls -A /tmp /var/tmp /dev/shm; cat /run/service/key; ls /dev")
    assert "mine" not in second
    assert "secret" not in second
    listed = set(second.split())
    assert {"null", "urandom", "stdout"} <= listed
    assert not {"kmsg", "kvm", "fuse", "vsock", "mem"} & listed
    vpc2.sh("rm -r /run/service")


def test_it_writes_to_dev_stdout_and_stderr_by_name(vpc1: Host) -> None:
    assert script(vpc1, "vpc1", "named", "echo out >/dev/stdout; echo err >/dev/stderr") == "out\nerr\n"


def test_a_umask_of_the_admin_keeps_nothing_from_it(vpc1: Host) -> None:
    nat = "vpcctl nat enable --vpc vpc1"
    look = "vpcctl deploy run --vpc vpc1 --subnet public --name look -- sh -c"
    vpc1.sh(f"umask 077; {nat}; {look} 'umask; cat /etc/resolv.conf; echo done; exec sleep 1000'")
    assert log_of(vpc1, "vpc1", "look", "done").split() == ["0022", "#", "vpcctl:vpc1/public", "nameserver",
                                                           "8.8.8.8", "done"]


def test_it_gets_no_capabilities_in_a_user_namespace_of_its_own(vpc1: Host) -> None:
    climb = "unshare -Urn true && echo climbed; cat /proc/sys/user/max_user_namespaces"
    found = script(vpc1, "vpc1", "climber", climb)
    assert "climbed" not in found
    assert found.splitlines()[-1] == "0"
    assert vpc1.sh("cat /proc/sys/user/max_user_namespaces").strip() != "0", "only in there"


def test_it_has_no_key_of_the_session_that_started_it(vpc1: Host) -> None:
    """add_key(2) and keyctl(2) by number, as glibc has neither; the same as `keyctl session` does."""
    numbers = {"x86_64": (248, 250), "aarch64": (217, 219)}.get(os.uname().machine)
    if numbers is None:
        pytest.skip("the numbers of add_key and keyctl are unknown on this machine")
    starter = f"""
import ctypes, os
call = ctypes.CDLL(None, use_errno=True).syscall
call.restype = ctypes.c_long
assert call({numbers[1]}, 1, None) > 0 and call({numbers[0]}, b"user", b"of-the-admin", b"secret", 6, -3) > 0
print(open("/proc/keys").read(), flush=True)
os.execvp("vpcctl", ["vpcctl", *"deploy run --vpc vpc1 --subnet public --name keys -- sh -c".split(),
                     "cat /proc/keys; echo done; exec sleep 1000"])
"""
    told = vpc1.run("python3", "-c", starter)
    if not told.out:
        pytest.skip(f"this kernel has no keyrings: {told.err}")
    assert "of-the-admin" in told.out
    assert "of-the-admin" not in log_of(vpc1, "vpc1", "keys", "done")


ESCAPES = ["env -i setsid sleep 3333", "env -i VPCCTL_TOOL=1 setsid sleep 3333",
           "env -i setsid sh -c '(setsid sleep 3333 &)'"]


@pytest.mark.parametrize("escape", ESCAPES)
def test_nothing_of_it_is_left_once_it_is_stopped(vpc1: Host, escape: str) -> None:
    run(vpc1, "vpc1", "parent", "sh", "-c", f"{escape} & exec sleep 1000")
    vpc1.wait_until(lambda: vpc1.run("pgrep", "-f", "sleep 3333").code == 0, "the child runs")
    assert vpc1.do("status").err == "", "it is the workload's, and no stranger"
    vpc1.do("deploy stop --vpc vpc1 --subnet public --name parent")
    assert vpc1.run("pgrep", "-f", "sleep 3333").out == ""


def test_nothing_of_it_is_left_once_its_program_has_ended(vpc1: Host) -> None:
    run(vpc1, "vpc1", "parent", "sh", "-c", "env -i setsid sleep 3333 & sleep 0.6")
    vpc1.wait_until(lambda: vpc1.run("pgrep", "-f", "sleep 3333").code != 0, "the child has ended, too")


@as_root
def test_a_stranger_s_name_makes_it_no_tool(vpc1: Host) -> None:
    """A line of its own in /proc/PID/status, if what is read there were split at every odd character."""
    forged = r"import ctypes, time; ctypes.CDLL(None).prctl(15, b'\x0bUid: x 0'); print('named', flush=True)"
    out = vpc1.scratch / "out"
    pid = vpc1.start("vpc1-public", "setpriv", "--reuid=1234", "--clear-groups", "env", "VPCCTL_TOOL=1",
                     "/usr/bin/python3", "-c", f"{forged}; time.sleep(1000)", output=str(out))
    vpc1.wait_until(lambda: out.read_text() == "named\n", "it has its name")
    assert f"(pid {pid}) runs in vpc1-public" in vpc1.do("status").err


@as_root
def test_a_stranger_that_calls_itself_a_tool_is_told(vpc1: Host) -> None:
    """Another user's environment says what that user likes."""
    pid = vpc1.start("vpc1-public", "setpriv", "--reuid=1234", "--clear-groups", "env", "VPCCTL_TOOL=1",
                     "VPCCTL_WORKLOAD=vpc1/public/worker", "sleep", "1000")
    vpc1.wait_until(lambda: vpc1.sh(f"cat /proc/{pid}/comm") == "sleep\n", "it is itself")
    assert f"sleep (pid {pid}) runs in vpc1-public" in vpc1.do("status").err


def test_one_that_an_older_vpcctl_started_is_told_and_replaced(vpc1: Host) -> None:
    run(vpc1, "vpc1", "worker", "sleep", "1000")
    before = pid_of(vpc1, "worker")
    vpc1.sh("sed -i 's/, \"main\": \"[0-9]*\"//' /var/lib/vpcctl/state.json")
    assert "among other VPCs' workloads" in vpc1.vpcctl("status").out
    vpc1.do("restore")
    assert pid_of(vpc1, "worker") not in (0, before)
    assert not vpc1.alive(before)


def test_it_can_ping_though_it_may_have_no_capability(vpc1: Host) -> None:
    assert "1 received" in script(vpc1, "vpc1", "pinger", "ping -c 1 -W 2 10.0.0.1")


def test_no_file_makes_it_root(vpc1: Host) -> None:
    text = ("{version: 1, vpcs: {vpc1: {cidr: 10.0.0.0/16, subnets: {s: {cidr: 10.0.1.0/24, "
            "workloads: {w: {run: [sleep, '9'], user: root}}}}}}}")
    file = vpc1.write("root.yaml", text)
    vpc1.refused("apply -f", file, code=2, says="'root' is root: a workload never runs as root")


@as_root
def test_a_user_of_the_host(vpc1: Host) -> None:
    deploy = "deploy run --vpc vpc1 --subnet public --name real --user"
    vpc1.do(f"{deploy} nobody -- sh -c", "id -un; exec sleep 1000")
    assert log_of(vpc1, "vpc1", "real", "nobody") == "nobody\n"
    vpc1.do("deploy stop --vpc vpc1 --subnet public --name real")
    vpc1.do(f"{deploy} 65534 -- sh -c", "id -un; exec sleep 1000")
    assert log_of(vpc1, "vpc1", "real", "nobody") == "nobody\n"
    for root in ("root", "0"):
        vpc1.refused(f"{deploy} {root} -- sleep 9", code=2, says=f"'{root}' is root")
    for none in ("nixda", "4242", "9999999999999999999999"):
        vpc1.refused(f"{deploy} {none} -- sleep 9", code=2, says=f"user '{none}' does not exist")


FORKS = """
import os, time
made = 0
try:
    while os.fork():
        made += 1
    time.sleep(1000)
except OSError as error:
    print("made", made, error.strerror, flush=True)
    time.sleep(1000)
"""

EATS = """
import time
print("begins", flush=True)
time.sleep(1)
held = [bytearray(1 << 20) for _ in range(256)]
print("ate it all", flush=True)
time.sleep(1000)
"""


@pytest.fixture
def cgroups(vpc1: Host) -> Iterator[Host]:
    """A host with cgroups, which a sandbox has not: those of this machine, which it leaves as they were."""
    one = "mkdir /sys/fs/cgroup/{0} && mount -t cgroup -o {0} {0} /sys/fs/cgroup/{0}"
    old = f"mount -t tmpfs none /sys/fs/cgroup && {one.format('pids')} && {one.format('memory')}"
    new = ("umount /sys/fs/cgroup; mount -t cgroup2 none /sys/fs/cgroup && "
           "grep memory /sys/fs/cgroup/cgroup.controllers")
    done = vpc1.run("sh", "-c", f"({old}) || ({new})")
    if done.code:
        pytest.skip(f"no cgroups for pids and memory can be mounted here: {done.err}")
    # The next test gets a host without them.
    vpc1.kept = None
    yield vpc1
    vpc1.sh("rm -r /run/mount")


def cgroups_of(host: Host, name: str) -> list[str]:
    return host.sh(f"find /sys/fs/cgroup -type d -name 'vpc1.public.{name}.*'").split()


@as_root
def test_it_has_no_more_processes_than_it_may(cgroups: Host) -> None:
    cgroups.do("deploy run --vpc vpc1 --subnet public --name bomb --pids 20 -- /usr/bin/python3 -c", FORKS)
    assert log_of(cgroups, "vpc1", "bomb", "unavailable").startswith("made 19 ")
    assert cgroups_of(cgroups, "bomb")
    cgroups.do("deploy stop --vpc vpc1 --subnet public --name bomb")
    assert cgroups_of(cgroups, "bomb") == []


@as_root
def test_one_that_is_started_again_is_in_its_cgroup_again(cgroups: Host) -> None:
    cgroups.do("deploy run --vpc vpc1 --subnet public --name worker --pids 20 --restart always --",
               "sh", "-c", "sleep 0.5; exec sleep 0.1")
    first = pid_of(cgroups, "worker")
    (folder,) = cgroups_of(cgroups, "worker")
    cgroups.wait_until(lambda: pid_of(cgroups, "worker") not in (0, first) and str(pid_of(cgroups, "worker"))
                       in cgroups.sh(f"cat {folder}/cgroup.procs").split(), "it runs again, in there")
    cgroups.do("deploy stop --vpc vpc1 --subnet public --name worker")
    assert cgroups_of(cgroups, "worker") == []


@as_root
def test_the_emergency_cleanup_leaves_no_cgroup(cgroups: Host) -> None:
    cgroups.do("deploy run --vpc vpc1 --subnet public --name worker --pids 20 -- sleep 1000")
    assert cgroups_of(cgroups, "worker")
    cgroups.sh(f"{CHECKOUT}/cleanup.sh --yes")
    assert cgroups_of(cgroups, "worker") == []
    cgroups.sh("rm -r /var/lib/vpcctl/logs /var/lib/vpcctl/state.json.cleaned")


@as_root
def test_without_a_cgroup_too(vpc1: Host) -> None:
    vpc1.do("deploy run --vpc vpc1 --subnet public --name bomb --pids 20 -- /usr/bin/python3 -c", FORKS)
    assert log_of(vpc1, "vpc1", "bomb", "unavailable").startswith("made 19 ")


@as_root
def test_it_has_no_more_memory_than_it_may(cgroups: Host) -> None:
    cgroups.do("deploy run --vpc vpc1 --subnet public --name eater --memory 64M -- /usr/bin/python3 -c", EATS)
    cgroups.wait_until(lambda: pid_of(cgroups, "eater") == 0, "the kernel has ended it")
    assert log_of(cgroups, "vpc1", "eater", "begins") == "begins\n"
    cgroups.wait_until(lambda: cgroups_of(cgroups, "eater") == [], "its cgroup is gone")


def test_a_limit_that_can_t_be_held_is_refused(vpc1: Host) -> None:
    vpc1.refused("deploy run --vpc vpc1 --subnet public --name w --memory 64M -- sleep 1000",
                 says="no cgroup here can limit its memory")


def test_its_log_is_root_s_alone_and_keeps_the_newest(vpc1: Host) -> None:
    run(vpc1, "vpc1", "chatty", "sh", "-c", "seq 1 2500000; echo done; exec sleep 1000")
    logs = "/var/lib/vpcctl/logs/vpc1/public"
    vpc1.wait_until(lambda: vpc1.sh(f"tail -c 5 {logs}/chatty.log") == "done\n", "all is written")
    modes = vpc1.sh(f"stat -c %a /var/lib/vpcctl/logs {logs} {logs}/chatty.log {logs}/chatty.log.1").split()
    assert modes == ["700", "700", "600", "600"]
    sizes = [int(size) for size in vpc1.sh(f"stat -c %s {logs}/chatty.log {logs}/chatty.log.1").split()]
    assert all(0 < size < (11 << 20) for size in sizes)
    shown = vpc1.do("deploy logs --vpc vpc1 --subnet public --name chatty").out.splitlines()
    assert shown[-2:] == ["2500000", "done"]
    vpc1.do("deploy stop --vpc vpc1 --subnet public --name chatty")
    assert vpc1.run("ls", "/var/lib/vpcctl/logs").code != 0


def test_its_log_leaves_room_on_the_disk(vpc1: Host) -> None:
    vpc1.sh("mount -o remount,size=16m /var/lib/vpcctl")
    fill = "yes $(seq 1000 | tr -d '\\n') | head -c 64000000; echo done >/dev/shm/done; exec sleep 1000"
    run(vpc1, "vpc1", "filler", "sh", "-c", fill)
    pid = pid_of(vpc1, "filler")
    vpc1.wait_until(lambda: vpc1.run("ls", f"/proc/{pid}/root/dev/shm/done").code == 0, "it has written")
    free = int(vpc1.sh("stat -f -c '%a * %S' /var/lib/vpcctl | xargs expr"))
    assert free >= 1 << 20
    vpc1.do("deploy webserver --vpc vpc1 --subnet public --port 80")
    vpc1.do("deploy stop --vpc vpc1 --subnet public --name filler")
    vpc1.reaches("", "10.0.1.2:80")
    vpc1.sh("rm -r /run/mount")


def test_what_it_calls_itself_stops_no_command(vpc2: Host) -> None:
    """A process names itself with any bytes (prctl(2), PR_SET_NAME)."""
    rename = r"import ctypes, time; ctypes.CDLL(None).prctl(15, b'\xff\xfe) \n'); print('named', flush=True)"
    run(vpc2, "vpc2", "odd", "/usr/bin/python3", "-c", f"{rename}; time.sleep(1000)")
    log_of(vpc2, "vpc2", "odd", "named")
    assert vpc2.do("status").out == "in sync\n"
    run(vpc2, "vpc1", "other", "sleep", "1000")
    assert pid_of(vpc2, "odd")
    vpc2.do("deploy stop --vpc vpc2 --subnet public --name odd")


def test_its_log_is_there_after_a_restore_and_after_somebody_removed_it(vpc1: Host) -> None:
    log = "/var/lib/vpcctl/logs/vpc1/public/chatty.log"
    run(vpc1, "vpc1", "chatty", "sh", "-c", "echo begun; while :; do seq 1 200000; sleep 0.1; done")
    vpc1.sh(f"kill -9 {pid_of(vpc1, 'chatty')}")
    vpc1.wait_until(lambda: pid_of(vpc1, "chatty") == 0, "it has ended")
    vpc1.do("restore")
    assert "begun" in vpc1.do("deploy logs --vpc vpc1 --subnet public --name chatty").out
    vpc1.sh(f"rm {log}*")
    vpc1.wait_until(lambda: vpc1.run("ls", log).code == 0, "a new one is begun where the next would be")


def ioctl_owner(pid: int) -> str:
    """A program that prints who made the user namespace of a process (ioctl_ns(2), NS_GET_OWNER_UID)."""
    return ("import array, fcntl; owner = array.array('I', [0]); "
            f"fcntl.ioctl(open('/proc/{pid}/ns/user'), 0xb704, owner); print(owner[0])")


@as_root
def test_what_it_takes_of_limits_for_each_user_is_not_root_s(vpc1: Host) -> None:
    run(vpc1, "vpc1", "worker", "sleep", "1000")
    assert vpc1.run("python3", "-c", ioctl_owner(pid_of(vpc1, "worker"))).out == "1879048192\n"


BLOCKED = """
import os, signal, sys
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD, signal.SIGTERM, signal.SIGUSR1])
signal.signal(signal.SIGTTOU, signal.SIG_IGN)
os.execvp("vpcctl", ["vpcctl", *sys.argv[1:]])
"""


def test_it_hears_signals_that_its_starter_does_not(vpc1: Host) -> None:
    vpc1.sh("python3 -c \"$BLOCKED\" deploy run --vpc vpc1 --subnet public --name deaf -- sleep 1000"
            .replace("$BLOCKED", BLOCKED.replace('"', '\\"')))
    masks = vpc1.sh(f"grep -E '^Sig(Blk|Ign)' /proc/{pid_of(vpc1, 'deaf')}/status").split()[1::2]
    # 32 and 33 are the C library's own (nptl(7)).
    assert {int(mask, 16) & ~(0b11 << 31) for mask in masks} == {0}
    vpc1.sh(f"kill {pid_of(vpc1, 'deaf')}")
    vpc1.wait_until(lambda: pid_of(vpc1, "deaf") == 0, "its end is seen")


def test_files_for_the_namespace_make_none_on_the_host(vpc1: Host) -> None:
    vpc1.sh("mkdir -p /etc/netns/vpc1-public/folder; echo x >/etc/netns/vpc1-public/no-such-file")
    done = vpc1.do("deploy run --vpc vpc1 --subnet public --name worker -- sleep 1000")
    assert "what /etc/netns has for /etc/no-such-file is missing" in done.err
    assert vpc1.run("ls", "/etc/no-such-file", "/etc/folder").out == ""
    vpc1.sh("rm -r /etc/netns/vpc1-public")


def test_it_leaves_nothing_where_all_may_write(vpc1: Host) -> None:
    vpc1.sh("mkdir -m 1777 /etc/shared")
    assert "Read-only" in script(vpc1, "vpc1", "writer", "echo x >/etc/shared/left")
    assert vpc1.sh("ls -A /etc/shared; rmdir /etc/shared") == ""


@as_root
def test_a_start_that_fails_leaves_no_cgroup(cgroups: Host) -> None:
    missing = "deploy run --vpc vpc1 --subnet public --name ghost -- no-such-program"
    cgroups.refused(missing, says="no-such-program")
    assert cgroups_of(cgroups, "ghost") == []


@pytest.mark.parametrize("above", ["/etc", ""])
def test_a_state_folder_may_be_named_from_here(host: Host, above: str) -> None:
    """Without a folder above: below the test's own, which a workload does not see either."""
    folder = f"{above or host.scratch}/here"
    host.sh(f"mkdir {folder}; cd {folder}" + """
there() { vpcctl --state-dir state "$@"; }
there vpc create --name a --cidr 10.7.0.0/16
there subnet add --vpc a --name s --cidr 10.7.1.0/24
there deploy run --vpc a --subnet s --name w -- sh -c 'echo written; exec sleep 1000'
until there deploy logs --vpc a --subnet s --name w | grep written; do :; done
there vpc delete --name a
""" + f"rm -r {folder}")


def test_the_keeper_can_be_restarted_by_nobody_inside(vpc1: Host) -> None:
    """Signals to process 1 from inside its namespace end nothing but the workload that sent them."""
    script(vpc1, "vpc1", "sender", "kill -9 1; kill -STOP 1; kill -HUP 1")
    assert vpc1.alive(pid_of(vpc1, "sender"))


@as_root
def test_its_keeper_can_do_little_once_it_runs(vpc1: Host) -> None:
    run(vpc1, "vpc1", "worker", "sleep", "1000")
    keeper = vpc1.sh(f"ps -o ppid= -p {pid_of(vpc1, 'worker')}").strip()
    held = vpc1.sh(f"grep -E '^Cap(Eff|Prm)' /proc/{keeper}/status").split()[1::2]
    assert {int(mask, 16) for mask in held} == {1 << 5}, "CAP_KILL"
    files = vpc1.sh(f"readlink /proc/{keeper}/fd/*").split("\n")
    assert not [file for file in files if "lock" in file or "state.json" in file or "ns/" in file]


def test_it_ends_with_its_keeper(vpc1: Host) -> None:
    run(vpc1, "vpc1", "worker", "sh", "-c", "env -i setsid sleep 3333 & exec sleep 1000")
    vpc1.wait_until(lambda: vpc1.run("pgrep", "-f", "sleep 3333").code == 0, "the child runs")
    vpc1.sh(f"kill -9 $(ps -o ppid= -p {pid_of(vpc1, 'worker')})")
    vpc1.wait_until(lambda: pid_of(vpc1, "worker") == 0, "it is seen to have stopped")
    vpc1.wait_until(lambda: vpc1.run("pgrep", "-f", "sleep 3333").code != 0, "the kernel has ended the child")


SOCKETS = """
import ctypes, socket, sys
def kind(family):
    try: socket.socket(family, socket.SOCK_DGRAM).close(); return 'made'
    except OSError as error: return error.strerror
libc = ctypes.CDLL(None, use_errno=True)
def call(*words):
    ctypes.set_errno(0); libc.syscall(*map(ctypes.c_ulong, words)); return ctypes.get_errno()
number = {'x86_64': 41}.get(__import__('os').uname().machine, 198)
print(*(kind(family) for family in (1, 2, 16)), '|', *(kind(family) for family in (40, 38, 31, 21)), '|',
      kind(17), '|', call(425, 8, 0), call(number, (1 << 32) | 40, 1, 0), call(0x40000000 | number, 40, 1, 0))
import time; time.sleep(600)
"""


@pytest.mark.parametrize("as_user", [(), ("--user", "nobody")], ids=["the VPC's user", "a user of the host"])
def test_a_workload_makes_no_socket_that_its_network_does_not_confine(
        vpc1: Host, as_user: tuple[str, ...]) -> None:
    """AF_VSOCK, AF_ALG, AF_BLUETOOTH, AF_RDS; nor by io_uring, or numbers of another machine."""
    vpc1.do("deploy run --vpc vpc1 --subnet public --name asks", *as_user, "--", "python3", "-uc", SOCKETS)
    logs = "deploy logs --vpc vpc1 --subnet public --name asks"
    vpc1.wait_until(lambda: "|" in vpc1.do(logs).out, "its answer")
    told = vpc1.do(logs).out.strip()
    refused = "Address family not supported by protocol"
    assert told == f"made made made | {' '.join([refused] * 4)} | Operation not permitted | 38 97 38"


def test_it_reads_no_name_of_another_vpc(vpc2: Host) -> None:
    vpc2.do("nat enable --vpc vpc2")
    names = "cat /proc/self/mountinfo /proc/mounts; ls -A /run /etc/netns"
    assert "vpc2" not in script(vpc2, "vpc1", "names", names)


def test_it_has_no_precedence_of_who_started_it(vpc1: Host) -> None:
    start = "vpcctl deploy run --vpc vpc1 --subnet public --name eager"
    vpc1.sh(f"nice -n -5 {start} -- sh -c 'nice; exec sleep 1000'")
    assert log_of(vpc1, "vpc1", "eager", "0") == "0\n"

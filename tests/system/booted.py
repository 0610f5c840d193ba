"""A real systemd as process 1 of a throw-away host, with its own /dev, control groups and units.

It sees the distribution's targets and journal, and no other unit: nothing that this machine has enabled
starts. What of /proc/sys is the whole machine's is read-only there, as is all of /sys; process 1 lacks the
capabilities for modules, the clock and the like.
"""

from __future__ import annotations

import os
import re
import shlex
import subprocess

from host import CHECKOUT, Host, Result
from neighbours import APART, Neighbour, Street, missing, wait

SYSTEMD = Neighbour("systemd", "/lib/systemd/systemd", start="", restart="", alive="")

KEPT = ("*.target", "systemd-journald.service", "systemd-journald.socket", "systemd-journald-dev-log.socket")
"""The distribution's units that it sees."""

LACKS = ("audit_control", "audit_read", "audit_write", "mac_admin", "mac_override", "sys_boot", "sys_module",
         "sys_rawio", "sys_time", "syslog", "wake_alarm")
"""Capabilities that could reach out of a throw-away host."""

ENVIRONMENT = {"container": "vpcctl-test", "SYSTEMD_LOG_TARGET": "journal-or-kmsg", "LANG": "C.UTF-8",
               "PATH": "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin",
               "SYSTEMD_UNIT_PATH": "/etc/systemd/system:/run/distribution",
               "SYSTEMD_GENERATOR_PATH": "/run/none", "SYSTEMD_ENVIRONMENT_GENERATOR_PATH": "/run/none"}

PROBE = """
folder=$(mktemp -d)
trap 'rmdir "$folder"' EXIT
mount -t cgroup2 cgroup2 "$folder" && mkdir "$folder/$1" && rmdir "$folder/$1"
failed=$?
umount "$folder" 2>/dev/null
exit $failed
"""
PREPARE = f"""
mount --make-rshared /run
mkdir -p /run/none /run/distribution /etc/systemd/system
mount -t tmpfs -o mode=755 tmpfs /etc/systemd/system
cd /lib/systemd/system
cp {' '.join(KEPT)} /run/distribution/
cd /run/distribution
mkdir sockets.target.wants
ln -s ../systemd-journald.socket ../systemd-journald-dev-log.socket sockets.target.wants/
"""
NODES = "null 1 3 zero 1 5 full 1 7 random 1 8 urandom 1 9 tty 5 0 net/tun 10 200"
POWER_ON = f"""
set -e
mkdir -p /sys/fs/cgroup/booted
echo $$ >/sys/fs/cgroup/booted/cgroup.procs
exec unshare --cgroup --pid --fork --kill-child --mount --propagation unchanged --uts --ipc bash -ec '
mount -t proc proc /proc
mount --bind /proc/sys /proc/sys
mount --bind /proc/sys/net /proc/sys/net
mount -o remount,bind,ro /proc/sys
if [ -e /proc/sysrq-trigger ]; then
    mount --bind /proc/sysrq-trigger /proc/sysrq-trigger
    mount -o remount,bind,ro /proc/sysrq-trigger
fi
umount /sys/fs/cgroup
mount -t cgroup2 cgroup2 /sys/fs/cgroup
mount -o remount,bind,ro /sys
mount -t tmpfs -o mode=755 tmpfs /dev
mkdir /dev/net /dev/pts /dev/shm
set -- {NODES}
while [ $# -gt 0 ]; do mknod -m 666 /dev/$1 c $2 $3; shift 3; done
mount -t devpts -o newinstance,ptmxmode=666,mode=620 devpts /dev/pts
mount -t tmpfs tmpfs /dev/shm
touch /dev/kmsg
ln -s pts/ptmx /dev/ptmx
ln -s /proc/self/fd /dev/fd
exec env -i {shlex.join(f'{name}={value}' for name, value in ENVIRONMENT.items())} \
    setpriv --bounding-set {','.join(f'-{name}' for name in LACKS)} \
    /lib/systemd/systemd --unit=multi-user.target'
"""
POWER_OFF = """
for folder in $(find /sys/fs/cgroup/booted -depth -type d); do
    while ! rmdir $folder; do sleep 0.05; done
done
rm -rf /run/systemd /run/vpcctl /run/docker
for name in $(ip netns list | cut -d" " -f1); do
    case $name in vpc*) ip netns del $name ;; esac
done
for link in $(ip -o link show type veth | grep -o "vpc-[a-z0-9]*"); do ip link del $link || true; done
iptables-save | sed -n 's/^\\*/-t /p' | while read -r flag table; do
    iptables $flag $table -F; iptables $flag $table -X
done
nft flush ruleset
"""
"""As a reboot: all programs, namespaces, links of ours and rules go, and what is in /run; files stay."""


def lacking() -> str:
    """What keeps systemd from running here, or nothing: it needs control groups of its own."""
    if lacks := missing(SYSTEMD):
        return lacks
    done = subprocess.run([*APART, PROBE, "_", f"vpcctl-test-{os.getpid()}"], capture_output=True, text=True)
    return f"systemd: no control groups: {done.stderr.strip()}" if done.returncode else ""


class Booted:
    """A host with systemd as process 1; `close` ends all of it."""

    def __init__(self, street: Street) -> None:
        self.host: Host = street.host
        self._pid = self._outer = 0
        self.host.sh(PREPARE)

    def power_on(self) -> None:
        """Start process 1, and wait until it has started everything."""
        self._outer = self.host.start("", "bash", "-c", POWER_ON, output="/run/process1.log")
        self.host.wait_until(lambda: self._process_1() != 0, "there is a process 1")
        self._pid = self._process_1()
        waiting = wait("systemctl is-system-running 2>/dev/null | grep -Eq 'running|degraded'")
        done = self.run("bash", "-c", waiting)
        assert done.code == 0, (done, self.host.run("cat", "/run/process1.log").out)

    def _process_1(self) -> int:
        found = self.host.run("ps", "-o", "pid=,comm=", "--ppid", str(self._outer)).out.split()
        return int(found[0]) if found[1:] == ["systemd"] else 0

    def power_off(self) -> None:
        """Without a warning: nothing is stopped or unmounted in order."""
        self.host.stop(self._outer)
        self.host.sh(POWER_OFF)

    def run(self, *argv: str, stdin: str = "") -> Result:
        """Run a program as if from a shell there."""
        path = f"{CHECKOUT}:{ENVIRONMENT['PATH']}"
        environment = [f"{name}={value}" for name, value in {**ENVIRONMENT, "PATH": path}.items()]
        enter = ("nsenter", f"--target={self._pid}", "--pid", "--mount", "--uts", "--ipc", "--cgroup")
        return self.host.run(*enter, "--", "env", "-i", *environment, *argv, stdin=stdin)

    def sh(self, script: str) -> str:
        """What a script prints that has to succeed."""
        done = self.run("bash", "-ec", script)
        assert done.code == 0, (script, done, self.log())
        return done.out

    def log(self) -> str:
        """What units have printed, and what process 1 says of them."""
        return self.run("journalctl", "--no-pager", "-n", "50").out

    def unit(self, name: str, text: str) -> None:
        """Write a unit's file, and have systemd read it."""
        self.host.write(name, text)
        self.sh(f"cp {self.host.scratch}/{name} /etc/systemd/system/{name}; systemctl daemon-reload")

    def state(self, unit: str) -> str:
        """What systemd says of a unit."""
        return self.run("systemctl", "is-active", unit).out.strip()

    def main_pid(self, unit: str) -> int:
        """The pid of its main process, as systemd sees it."""
        return int(re.sub(r"\D", "", self.sh(f"systemctl show -P MainPID {unit}")))

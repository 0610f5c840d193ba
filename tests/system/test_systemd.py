"""A real systemd as process 1: units in a machine's namespace, and vpcctl's own units at boot."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from booted import SYSTEMD, Booted, lacking
from host import CHECKOUT, REFUSED
from neighbours import Neighbour, Street, missing, wait
from test_containers import bash, check_document, part_of
from test_flow_logs import flows, records, send, until
from test_virtual_machines import BY_PASST, GUEST, KERNEL, QEMU, console

AT = "--vpc vpc1 --subnet public"
SPACE = "vpc1-public.web1"
ADDRESS = "10.0.1.4"
MAKE = f"""
vpcctl vpc create --name vpc1 --cidr 10.0.0.0/16
vpcctl subnet add {AT.replace('--subnet', '--name')} --cidr 10.0.1.0/24 --type public
vpcctl subnet add --vpc vpc1 --name private --cidr 10.0.2.0/24
vpcctl dns enable --vpc vpc1
vpcctl instance add {AT} --name web1
"""
POLICY = {"ingress": [{"port": 80, "protocol": "tcp", "action": "allow", "source": "10.0.2.0/24"}],
          "egress": [{"port": 80, "protocol": "tcp", "action": "allow", "destination": "10.0.2.0/24"}]}
SOCKET = "/run/docker/plugins/vpcctl.sock"
ASK = f"curl -s --max-time 10 --unix-socket {SOCKET} -d '{{1}}' http://x/{{0}}"
ALONE = """
[Service]
PrivateNetwork=yes
DynamicUser=yes
ExecStart=python3 -m http.server 80
AmbientCapabilities=CAP_NET_BIND_SERVICE
"""


@pytest.fixture
def booted(tmp_path: Path) -> Iterator[Booted]:
    """A host on which systemd has started, and nothing else of vpcctl's."""
    if lacks := lacking():
        pytest.skip(f"beside other programs: {lacks}")
    yield from booting(tmp_path, SYSTEMD)


@pytest.fixture
def virtual(tmp_path: Path) -> Iterator[Booted]:
    """One with QEMU and passt, too."""
    if lacks := lacking() or missing(QEMU):
        pytest.skip(f"beside other programs: {lacks}")
    if not KERNEL.is_dir():
        pytest.skip("beside other programs: qemu: no kernel to boot")
    yield from booting(tmp_path, replace(SYSTEMD, also=("qemu", "busybox")))


def booting(scratch: Path, neighbour: Neighbour) -> Iterator[Booted]:
    """A host that is switched on."""
    street = Street(scratch, neighbour)
    try:
        found = Booted(street)
        found.power_on()
        yield found
    finally:
        street.close()


def documented() -> tuple[str, str]:
    """The unit that the document shows, and the lines with which it is passt's."""
    unit, lines = re.findall(r"^```ini\n(.*?)^```", part_of("Units of systemd"), re.MULTILINE | re.DOTALL)
    return unit, lines


def serve(booted: Booted) -> None:
    """The network, and the document's unit in it."""
    booted.sh(MAKE)
    booted.unit("web.service", documented()[0])
    booted.sh("systemctl start web.service")
    answers(booted)


def answers(booted: Booted) -> None:
    """The unit's program answers the host at the machine's address."""
    booted.sh(wait(f"curl -s --max-time 1 -o /dev/null http://{ADDRESS}/"))


def inode(booted: Booted, path: str) -> str:
    return booted.sh(f"stat -L -c %i {path}")


def test_process_1_is_systemd_and_nothing_of_this_machine_runs(booted: Booted) -> None:
    assert booted.sh("cat /proc/1/comm") == "systemd\n"
    running = booted.sh("systemctl list-units --type=service --state=running --plain --no-legend")
    assert {line.split()[0] for line in running.splitlines()} <= {"systemd-journald.service"}
    assert booted.run("sh", "-c", "echo 1 >/proc/sys/kernel/panic").code != 0
    assert booted.run("sh", "-c", "echo 1 >/proc/sysrq-trigger").code != 0


def test_the_document_is_true(booted: Booted) -> None:
    booted.unit("web.service", documented()[0])
    check_document("Units of systemd", lambda line: booted.run("bash", "-c", f"exec 2>&1; {line}").out)


def test_a_unit_is_the_machine(booted: Booted) -> None:
    host = booted.host
    serve(booted)
    pid = booted.main_pid("web.service")
    assert inode(booted, f"/proc/{pid}/ns/net") == inode(booted, f"/run/netns/{SPACE}")
    inside = f"nsenter --target={pid} --mount --net"
    assert "nameserver 169.254.169.253\n" in booted.sh(f"{inside} cat /etc/resolv.conf")
    assert booted.sh(f"{inside} getent hosts private").split()[0] == "10.0.2.2"
    host.listen("vpc1-private", "80", "81")
    for space in ("vpc1-public", "vpc1-private", ""):
        host.reaches(space, f"{ADDRESS}:80")
    host.reaches(SPACE, "10.0.2.2:81")
    # Its machine's policy decides about it, both ways.
    file = host.write("policy.json", POLICY)
    booted.sh(f"vpcctl firewall apply {AT} --policy {file}")
    host.reaches("vpc1-private", f"{ADDRESS}:80")
    host.never_reaches("vpc1-public", f"{ADDRESS}:80")
    connect = f"{inside} timeout 2 bash -c ': </dev/tcp/10.0.2.2/{{}}'".format
    booted.sh(connect(80))
    assert booted.run("bash", "-c", connect(81)).code == 124
    assert booted.sh("vpcctl status") == "in sync\n"


@pytest.mark.slow
def test_a_unit_comes_back_after_its_namespace_was_lost(booted: Booted) -> None:
    host = booted.host
    serve(booted)
    host.sh(f"ip netns del {SPACE}")
    status = booted.run("vpcctl", "status")
    assert status.code == 1
    assert SPACE in status.out
    booted.sh("vpcctl restore")
    # The program is still in the old one, which has no name and no link any more.
    assert host.probe(("vpc1-private", f"{ADDRESS}:80"))[0].verdict == REFUSED
    booted.sh("systemctl restart web.service")
    answers(booted)
    host.reaches("vpc1-private", f"{ADDRESS}:80")
    pid = booted.main_pid("web.service")
    assert inode(booted, f"/proc/{pid}/ns/net") == inode(booted, f"/run/netns/{SPACE}")
    # Who deletes the machine ends what runs in it, and systemd has nowhere to start it again.
    booted.sh(f"vpcctl instance delete {AT} --name web1")
    booted.sh(wait('[ "$(systemctl is-active web.service)" = inactive ]'))
    assert booted.run("systemctl", "start", "web.service").code == 0
    booted.sh(wait('[ "$(systemctl is-active web.service)" = failed ]'))
    assert "Failed to open network namespace path" in booted.log()


@pytest.mark.long
def test_a_boot_brings_everything_back(booted: Booted) -> None:
    host = booted.host
    serve(booted)
    file = host.write("policy.json", POLICY)
    booted.sh(f"""
vpcctl nat enable --vpc vpc1
vpcctl dhcp enable --vpc vpc1
vpcctl firewall apply {AT} --policy {file}
vpcctl deploy webserver --vpc vpc1 --subnet private --port 8080
vpcctl publish add --vpc vpc1 --subnet private --port 8088:8080
vpcctl restore --install-unit
systemctl daemon-reload
systemctl enable vpcctl-restore.service web.service
""")
    before = booted.sh("vpcctl export")
    booted.power_off()
    assert "vpc1" not in host.sh("ip netns list; ip -br link; ps -eo args")
    booted.power_on()
    assert booted.state("vpcctl-restore.service") == "active", booted.log()
    assert booted.sh("vpcctl status") == "in sync\n"
    assert booted.sh("vpcctl export") == before
    booted.sh(wait(f"ip netns exec vpc1-private curl -s --max-time 1 -o /dev/null http://{ADDRESS}/"))
    host.reaches("vpc1-private", f"{ADDRESS}:80")
    host.never_reaches("vpc1-public", f"{ADDRESS}:80")
    host.reaches("", "10.0.2.2:8080", "203.0.113.2:8088")
    # What was started for the unit is not the unit's: it goes on when that is stopped, or started again.
    pids = booted.sh("ip netns pids vpc1-private; ip netns pids vpc1")
    booted.sh("systemctl stop vpcctl-restore.service")
    host.reaches("", "10.0.2.2:8080", "203.0.113.2:8088")
    host.sh("iptables -t nat -F; ip -n vpc1-private route flush table main")
    host.never_reaches("", "10.0.2.2:8080")
    booted.sh("systemctl start vpcctl-restore.service")
    host.reaches("", "10.0.2.2:8080", "203.0.113.2:8088")
    assert booted.sh("ip netns pids vpc1-private; ip netns pids vpc1") == pids


@pytest.mark.long
def test_flow_logs_go_on_after_a_boot(booted: Booted) -> None:
    """In the same files, with nothing twice; what was not read before the boot is said to be missing."""
    host = booted.host
    serve(booted)
    file = host.write("policy.json", POLICY)
    booted.sh(f"""
vpcctl firewall apply {AT} --policy {file}
vpcctl flow-log create --vpc vpc1 --interval 1 --format json
vpcctl flow-log create {AT} --traffic reject --interval 1
vpcctl restore --install-unit
systemctl daemon-reload
systemctl enable vpcctl-restore.service
""")
    flows_of = ("vpc1/public/web1", "ingress", "10.0.2.2", ADDRESS, 17)
    accepted, refused = ("vpc1/private", "egress", *flows_of[2:], 99, "ACCEPT"), (*flows_of, 99, "REJECT")
    folder = "/var/lib/vpcctl/flow-logs"

    def sent(many: int, total: int) -> None:
        send(host, "vpc1-private", ADDRESS, 99, many, source=4000)
        until(lambda: flows(records(host))[refused] >= total, "not all have a record")

    sent(7, 7)
    # What was counted in the last second is in no record.
    send(host, "vpc1-private", ADDRESS, 98, 3, source=4001)
    booted.power_off()
    before = {name: host.sh(f"cat {folder}/{name}") for name in ("vpc1.log", "vpc1.public.log")}
    booted.power_on()
    assert booted.state("vpcctl-restore.service") == "active", booted.log()
    assert booted.sh("vpcctl status") == "in sync\n"
    sent(5, 12)
    for name, text in before.items():
        assert host.sh(f"cat {folder}/{name}").startswith(text), "the same file goes on"
        assert host.run("test", "-e", f"{folder}/{name}.1").code == 1
    found = flows(records(host))
    assert (found[accepted], found[refused]) == (12, 12)
    assert sum(int(line.split()[8]) for line in booted.sh(f"vpcctl flow-log show {AT}").splitlines()
               if line.split()[6] == "99") == 12
    missed = found[(*flows_of, 98, "REJECT")]
    later = host.sh(f"cat {folder}/vpc1.log").removeprefix(before["vpc1.log"]).splitlines()
    said = {one["machine"] for one in map(json.loads, later) if one["log_status"] == "SKIPDATA"}
    assert missed == 3 or {"vpc1/private", "vpc1/public", "vpc1/public/web1"} <= said


FLUSHING = """
[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=bash -c "for table in filter mangle nat security; do iptables -t $$table -F; done"
"""
"""What firewalld 1.x does to the rules of others when it starts."""


@pytest.mark.slow
@pytest.mark.parametrize("name", ["firewalld.service", "docker.service"])
def test_a_restart_of_what_rewrites_the_firewall_is_followed_by_restore(booted: Booted, name: str) -> None:
    host = booted.host
    booted.unit(name, FLUSHING)
    serve(booted)
    booted.sh(f"""
vpcctl nat enable --vpc vpc1
vpcctl restore --install-unit
systemctl daemon-reload
systemctl start {name} vpcctl-restore.service
""")
    assert booted.sh("vpcctl status").endswith("in sync\n")
    pids = booted.sh("ip netns pids vpc1")
    booted.sh(f"systemctl restart {name}")
    # It waits for that unit alone.
    booted.sh(wait("! systemctl list-jobs | grep vpcctl-restore"))
    assert booted.sh("vpcctl status").endswith("in sync\n")
    host.reaches("vpc1-public", "8.8.8.8")
    assert booted.sh("ip netns pids vpc1") == pids
    # Who stops it has not restarted it.
    booted.sh(f"systemctl stop {name}; iptables -t mangle -F")
    assert "VPCCTL-GUARD" in booted.run("vpcctl", "status").out
    host.reaches(SPACE, "10.0.2.2")


@pytest.mark.slow
def test_systemd_starts_the_docker_driver_when_it_is_asked(booted: Booted) -> None:
    booted.host.sh(f"ln -s {CHECKOUT}/vpcctl-docker /usr/bin/vpcctl-docker")
    booted.sh(MAKE)
    for file in (CHECKOUT / "packaging/systemd").iterdir():
        booted.unit(file.name, file.read_text())
    booted.sh("systemctl enable --now vpcctl-docker.socket")
    assert booted.state("vpcctl-docker.service") == "inactive"
    ask = ASK.format
    said = json.loads(booted.sh(ask("Plugin.Activate", "{}")))
    assert said == {"Implements": ["NetworkDriver", "IpamDriver"]}
    assert booted.state("vpcctl-docker.service") == "active"
    network = json.dumps({"NetworkID": "1" * 64, "IPv4Data": [{"Pool": "0.0.0.0/0", "Gateway": "0.0.0.0/0"}],
                          "Options": {"com.docker.network.generic": {"vpc": "vpc1", "subnet": "public"}}})
    assert json.loads(booted.sh(ask("NetworkDriver.CreateNetwork", network))) == {}
    # Docker asks a driver that has died: systemd still holds the socket, and starts it again.
    first = booted.main_pid("vpcctl-docker.service")
    booted.sh(f"kill -9 {first}")
    booted.sh(wait('[ "$(systemctl is-active vpcctl-docker.service)" != active ]'))
    gone = json.dumps({"NetworkID": "1" * 64})
    assert json.loads(booted.sh(ask("NetworkDriver.DeleteNetwork", gone))) == {}
    assert booted.main_pid("vpcctl-docker.service") != first
    booted.sh("systemctl stop vpcctl-docker.socket vpcctl-docker.service")
    assert booted.run("test", "-e", SOCKET).code == 1


@pytest.mark.slow
def test_a_unit_with_a_network_of_its_own_is_attached_by_its_process(booted: Booted) -> None:
    booted.sh(MAKE)
    booted.unit("alone.service", ALONE)
    booted.sh("systemctl start alone.service")
    pid = booted.main_pid("alone.service")
    booted.sh(f"vpcctl instance attach {AT} --name alone --pid {pid}")
    booted.host.listen("vpc1-private", "80")
    booted.host.reaches("vpc1-private", "10.0.1.5:80")


def test_passt_is_such_a_unit(virtual: Booted) -> None:
    host = virtual.host
    unit, lines = documented()
    virtual.sh(f"{MAKE}\nvpcctl nat enable --vpc vpc1")
    host.environment["PATH"] = f"/usr/bin:{host.sh('printf %s $PATH')}"
    bash(host, GUEST)
    host.sh("rmdir /run/vm1; echo 'from the subnet' >/run/www/index.html")
    host.start("vpc1-public", "busybox", "httpd", "-f", "-p", "8080", "-h", "/run/www")
    virtual.unit("passt.service", re.sub("ExecStart=.*\n", lines.replace("-t 22,80", "-t 80"), unit))
    virtual.sh("systemctl start passt.service\n" + wait("[ -S /run/vm1/sock ]"))
    host.start("", "bash", "-c", f"exec {BY_PASST}")
    host.wait_until(lambda: "it is ready" in console(host), "it boots")
    assert "from the subnet" in console(host)
    fetch = f"curl -s -m 3 http://{ADDRESS}/"
    assert host.inside("vpc1-private", *fetch.split()).out == "from the virtual machine\n"
    file = host.write("policy.json", {"ingress": []})
    virtual.sh(f"vpcctl firewall apply {AT} --policy {file}")
    assert host.inside("vpc1-private", *fetch.split()).out == ""

"""Workloads: started to stay, with nothing they don't need, and ready when the command returns."""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import Any

import pytest
from host import Host

WEB = "deploy webserver --vpc vpc1 --subnet public"
RUN = "deploy run --vpc vpc1 --subnet public --name worker --"


def workload(host: Host, name: str = "webserver-8080") -> dict[str, Any]:
    found = [one for one in host.do("deploy list --json").json["workloads"] if one["name"] == name]
    assert len(found) == 1
    return dict(found[0])


def status(host: Host, pid: int) -> dict[str, str]:
    text = host.sh(f"cat /proc/{pid}/status")
    return {key: value.strip() for key, _, value in (line.partition(":") for line in text.splitlines())}


def test_it_answers_when_the_command_returns_and_afterwards(vpc1: Host) -> None:
    done = vpc1.run("vpcctl", *WEB.split())
    assert done.out == "'webserver-8080' runs in vpc1/public: http://10.0.1.2:8080\n"
    for namespace in ("", "vpc1-private", "vpc1-public"):
        vpc1.reaches(namespace, "10.0.1.2:8080")


def test_it_is_a_process_of_its_own(vpc1: Host) -> None:
    vpc1.do(WEB)
    pid = workload(vpc1)["pid"]
    parent, group, session = vpc1.sh(f"ps -o ppid=,pgid=,sid= -p {pid}").split()
    assert (group, session) == (str(pid), str(pid))
    assert status(vpc1, int(parent))["NSpid"].split() == [parent, "1"], "it is process 1 of its own"
    assert vpc1.sh(f"ps -o ppid= -p {parent}").strip() == "1", "and nobody's child"
    assert vpc1.sh(f"readlink /proc/{pid}/fd/0 /proc/{pid}/cwd").split() == ["/dev/null", "/"]
    assert vpc1.sh(f"ip netns identify {pid}").strip() == "vpc1-public"


def test_it_holds_nothing_of_the_command_that_started_it(vpc1: Host) -> None:
    """`run` reads its output to the end, which would never come if the server held the pipe."""
    vpc1.run("vpcctl", *WEB.split())
    names = vpc1.sh(f"readlink /proc/{workload(vpc1)['pid']}/fd/*").split()
    files = {name.partition(":")[0] for name in names if not name.startswith(("socket:", "anon_inode:"))}
    assert files == {"/dev/null", "pipe"}, "its log is root's file, and it has a pipe to it"


@pytest.mark.parametrize("command", [WEB, f"{RUN} sleep infinity"])
def test_it_has_no_privileges(vpc1: Host, command: str) -> None:
    vpc1.do(command)
    found = status(vpc1, workload(vpc1, "worker" if "worker" in command else "webserver-8080")["pid"])
    assert found["NoNewPrivs"] == "1"
    assert {int(found[name], 16) for name in ("CapInh", "CapPrm", "CapEff", "CapBnd", "CapAmb")} == {0}
    if os.geteuid() == 0:
        assert found["Uid"].split() == [str(0x70000000)] * 4
        assert found["Gid"].split() == [str(0x70000000)] * 4
        assert found["Groups"] == ""


def test_where_only_root_is_mapped_it_still_has_none(make_host: Callable[..., Host], rootless: tuple[str, ...]
                                                     ) -> None:
    host = make_host(*rootless)
    host.do("vpc create --name vpc1 --cidr 10.0.0.0/16")
    host.do("subnet add --vpc vpc1 --name public --cidr 10.0.1.0/24")
    told = host.do(f"{WEB} --port 80").err
    assert "vpc1/public/webserver-80: it has no user of its own: only root is mapped here" in told
    host.reaches("", "10.0.1.2:80")
    found = status(host, workload(host, "webserver-80")["pid"])
    assert (found["NoNewPrivs"], int(found["CapEff"], 16), int(found["CapBnd"], 16)) == ("1", 0, 0)
    assert host.vpcctl(*WEB.split(), "--port", "80").code == 0


def test_its_environment_is_clean(vpc1: Host) -> None:
    vpc1.do(f"{RUN} sleep infinity", HISTFILE="/root/.bash_history")
    words = vpc1.sh(f"tr '\\0' '\\n' </proc/{workload(vpc1, 'worker')['pid']}/environ").splitlines()
    assert {word.partition("=")[0] for word in words} == {"PATH", "HOME", "LANG", "VPCCTL_WORKLOAD"}


def test_the_page_says_where_it_runs(vpc1: Host) -> None:
    vpc1.do(WEB)
    page = vpc1.sh("curl -s http://10.0.1.2:8080/")
    for fact in ("vpc1", "public", "10.0.1.2", "8080"):
        assert fact in page
    for path in ("/etc/passwd", "/../../etc/passwd", "/var/", "/%2e%2e/%2e%2e/etc/passwd"):
        other = vpc1.sh(f"curl -s --path-as-is http://10.0.1.2:8080{path}")
        assert other == page, "no folder is listed, no file is served"
    facts = vpc1.sh("curl -s -H 'Accept: application/json' http://10.0.1.2:8080/")
    assert facts == '{"vpc": "vpc1", "subnet": "public", "address": "10.0.1.2", "port": 8080}\n'


def test_the_log_has_what_it_wrote(vpc1: Host) -> None:
    vpc1.do(f"{RUN} sh -c", "echo to-stdout; echo to-stderr >&2; exec sleep infinity")
    shown = vpc1.do("deploy logs --vpc vpc1 --subnet public --name worker").out
    assert shown == "to-stdout\nto-stderr\n"
    vpc1.do(WEB)
    vpc1.sh("curl -s http://10.0.1.2:8080/some/path")
    assert "GET /some/path" in vpc1.do("deploy logs --vpc vpc1 --subnet public --name webserver-8080").out


def test_the_same_again_changes_nothing(vpc1: Host) -> None:
    vpc1.do(WEB)
    pid = workload(vpc1)["pid"]
    assert vpc1.do(WEB).out.startswith("unchanged")
    assert workload(vpc1)["pid"] == pid


def test_one_that_died_is_started_again(vpc1: Host) -> None:
    vpc1.do(WEB)
    vpc1.sh(f"kill -9 {workload(vpc1)['pid']}")
    vpc1.wait_until(lambda: workload(vpc1)["state"] == "stopped", "it is seen to have stopped")
    assert not vpc1.do(WEB).out.startswith("unchanged")
    vpc1.reaches("", "10.0.1.2:8080")


def test_low_ports_and_several_servers(vpc1: Host) -> None:
    for port in (80, 443, 8080):
        vpc1.do(f"{WEB} --port {port}")
    vpc1.do("deploy webserver --vpc vpc1 --subnet private --port 80")
    vpc1.reaches("vpc1-public", "10.0.1.2:80", "10.0.1.2:443", "10.0.1.2:8080", "10.0.2.2:80")


def test_a_port_that_is_taken(vpc1: Host) -> None:
    vpc1.listen("vpc1-public", "8080")
    vpc1.refused(WEB, says="port 8080 is already in use in vpc1-public")
    vpc1.do(WEB, "--port", "8081")


@pytest.mark.parametrize("port", ["0", "65536", "-1", "http"])
def test_a_port_that_is_none(shared_vpc1: Host, port: str) -> None:
    shared_vpc1.refused(WEB, "--port", port, code=2)


def test_a_program_that_dies_at_once(vpc1: Host) -> None:
    # Once something ran there IPv6 stays off; all else has to be as before.
    vpc1.do(f"{RUN} sleep infinity")
    vpc1.do("deploy stop --vpc vpc1 --subnet public --name worker")
    for command, says in ((["sh", "-c", "exit 3"], "exit status 3"), (["false"], "exit status 1"),
                          (["sh", "-c", "kill -9 $$"], "signal 9"), (["no-such-program"], "no-such-program"),
                          (["/etc/passwd"], "/etc/passwd")):
        vpc1.refused(RUN, *command, says=says)
        assert vpc1.do("deploy list --json").json["workloads"] == []
        assert vpc1.run("ls", "/var/lib/vpcctl/logs").code != 0, "it wrote nothing, so no log is left"


def test_a_program_that_dies_at_once_leaves_its_log_and_nothing_else(vpc1: Host) -> None:
    vpc1.do(f"{RUN} sleep infinity")
    vpc1.do("deploy stop --vpc vpc1 --subnet public --name worker")
    before = vpc1.portrait()
    done = vpc1.vpcctl(*RUN.split(), "sh", "-c", "echo last words >&2; exit 3")
    assert (done.code, "its log ends: last words" in done.err) == (1, True), done
    assert "exit status 3" in done.err
    assert vpc1.do("deploy list --json").json["workloads"] == []
    folder = "/var/lib/vpcctl/logs/vpc1/public"
    assert vpc1.sh(f"cat {folder}/worker.log") == "last words\n"
    vpc1.sh("rm -r /var/lib/vpcctl/logs")
    vpc1.check_same(before)


def test_another_program_under_the_same_name(vpc1: Host) -> None:
    vpc1.do(f"{RUN} sleep infinity")
    vpc1.refused(f"{RUN} sleep 1000", says="'worker'")


def test_it_may_be_guarded_by_a_policy(vpc1: Host) -> None:
    """Closed to all: the command still finds out that the server answers."""
    vpc1.do("firewall apply --vpc vpc1 --subnet public --policy", vpc1.write("closed.json", {"ingress": []}))
    vpc1.do(WEB)
    vpc1.never_reaches("vpc1-private", "10.0.1.2:8080")

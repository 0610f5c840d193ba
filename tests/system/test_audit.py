"""The audit log: who ran what when, each command with its exit status and time, and how it ended."""

from __future__ import annotations

import re
import time

from host import Host

LOG = "/var/lib/vpcctl/vpcctl.log"
LINE = re.compile(r"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d[+-]\d{4}) \[(\d+)\] (.*)")


def lines(host: Host) -> list[tuple[str, str]]:
    """Pid and text of each line; every line has to have its form."""
    found = [LINE.fullmatch(line) for line in host.sh(f"cat {LOG}").splitlines()]
    assert all(found)
    return [(match[2], match[3]) for match in found if match]


def texts(host: Host) -> list[str]:
    return [text for _, text in lines(host)]


def test_who_ran_what(host: Host) -> None:
    host.do("vpc create --name vpc1 --cidr 10.0.0.0/16")
    assert texts(host)[0] == "user root ran: vpcctl vpc create --name vpc1 --cidr 10.0.0.0/16"


def test_the_person_behind_sudo(host: Host) -> None:
    host.do("vpc create --name vpc1 --cidr 10.0.0.0/16", SUDO_USER="alice")
    assert texts(host)[0].startswith("user root (sudo by alice) ran: vpcctl vpc create ")


def test_each_command_with_status_and_time(host: Host) -> None:
    host.do("vpc create --name vpc1 --cidr 10.0.0.0/16")
    ran = [text for text in texts(host) if text.startswith("exit ")]
    tools = r"(ip|nft|sysctl|iptables-restore|iptables(-legacy)?-save)"
    assert all(re.match(rf"exit 0 \d+\.\d ms: {tools}( |$)", text) for text in ran), ran
    assert any("netns add vpc1" in text for text in ran)
    assert any(text.startswith("done: ip netns exec vpc1 sysctl -q -e -w net.") for text in texts(host))
    assert any("-A VPCCTL-INPUT" in text for text in ran), "the firewall rules themselves"
    assert len({pid for pid, _ in lines(host)}) == 1


def test_the_time_is_now(host: Host) -> None:
    host.do("vpc create --name vpc1 --cidr 10.0.0.0/16")
    first = host.sh(f"cat {LOG}").partition(" ")[0]
    assert abs(time.mktime(time.strptime(first, "%Y-%m-%dT%H:%M:%S%z")) - time.time()) < 24 * 3600


def test_a_failure_and_its_reason(vpc1: Host) -> None:
    vpc1.refused("subnet add --vpc vpc1 --name more --cidr 10.0.1.128/25")
    assert "ended with 1" in texts(vpc1)[-1]
    assert "overlaps subnet 'public'" in texts(vpc1)[-1]


def test_a_command_that_fails_tells_its_words(vpc1: Host) -> None:
    vpc1.sh("iptables -t nat -F; ip -n vpc1 link del uplink")
    vpc1.vpcctl("nat", "enable", "--vpc", "vpc1")
    failed = [text for text in texts(vpc1) if re.match(r"exit [1-9]", text)]
    assert failed
    assert "Cannot find device" in failed[0]
    vpc1.do("vpc delete --name vpc1")
    vpc1.sh("iptables -t nat -A POSTROUTING -s 192.168.78.0/24 -o eth0 -j MASQUERADE")


def test_a_line_break_can_t_forge_an_entry(vpc1: Host) -> None:
    forged = "x\n2026-01-01T00:00:00+0000 [1] user root ran: nothing"
    vpc1.vpcctl("vpc", "show", "--name", forged)
    vpc1.do("exec --vpc vpc1 --subnet public -- true", forged)
    assert not any(text == "user root ran: nothing" for text in texts(vpc1))


def test_workloads_and_exec_are_logged(vpc1: Host) -> None:
    vpc1.do("deploy run --vpc vpc1 --subnet public --name worker -- sleep infinity")
    vpc1.vpcctl("exec", "--vpc", "vpc1", "--subnet", "public", "--", "sh", "-c", "exit 3")
    log = texts(vpc1)
    assert any("sleep infinity" in text and text.startswith("exit 0 ") for text in log)
    assert any(text.startswith("exit 3 ") and "vpc1-public sh" in text for text in log)


def test_it_grows_line_by_line_from_many_at_once(host: Host) -> None:
    host.sh("for n in 1 2 3 4; do vpcctl vpc create --name v$n --cidr 10.$n.0.0/16 & done; wait")
    assert len([text for text in texts(host) if text.startswith("user root ran: ")]) == 4

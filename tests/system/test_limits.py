"""How much a machine sends and gets: measured with iperf3, and outside the reach of root inside it."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest
import yaml
from host import Host
from test_connections import DOWNLOAD, STREAM, grows, served
from test_mirrors import sent
from test_taps import Guest

LIMITED, FREE, THIRD, FOURTH = "vpc1-public.web1", "vpc1-public.web2", "vpc1-private", "vpc1-public"
LAB = "vpc1-public.lab"
ADDRESSES = {LIMITED: "10.0.1.4", FREE: "10.0.1.5", LAB: "10.0.1.6", THIRD: "10.0.2.2", FOURTH: "10.0.1.2"}
PORT = "i-public.web1"
SET = "instance set --vpc vpc1 --subnet public --name web1 --bandwidth"
MBIT = 100
HEADERS = 0.94
"""The part of a full packet that TCP's payload is."""

TIMES = 4


@pytest.fixture
def host(vpc1: Host) -> Host:
    vpc1.do("instance add --vpc vpc1 --subnet public --name web1")
    vpc1.do("instance add --vpc vpc1 --subnet public --name web2")
    return vpc1


def rates(host: Host, *pairs: tuple[str, str], family: str = "-4", seconds: float = 3) -> list[float]:
    """What each of those receivers got at the same time from its sender, in Mbit/s."""
    servers = [host.start(receiver, "iperf3", "-s", "-p", "9000") for _, receiver in pairs]
    for _, receiver in pairs:
        served(host, receiver)
    targets = [address(host, receiver, family) for _, receiver in pairs]
    told = [host.scratch / f"rate{number}" for number in range(len(pairs))]
    for file in told:
        file.unlink(missing_ok=True)
    asked = ("iperf3", family, "-p", "9000", "-J", "-t", str(seconds), "-c")
    clients = [host.start(sender, *asked, target, output=str(file))
               for (sender, _), target, file in zip(pairs, targets, told, strict=True)]
    for client in clients:
        host.wait_until(lambda client=client: not host.alive(client), "iperf3 has ended")  # type: ignore[misc]
    host.stop(*servers)
    return [json.loads(file.read_text())["end"]["sum_received"]["bits_per_second"] / 1e6 for file in told]


def address(host: Host, namespace: str, family: str) -> str:
    if family == "-4":
        return ADDRESSES[namespace]
    shown = json.loads(host.sh("ip -j -6 addr show dev eth0 scope global", namespace))
    return str(shown[0]["addr_info"][0]["local"])


def check_limited(host: Host, *pairs: tuple[str, str], limit: float = MBIT, family: str = "-4") -> None:
    """All are within a tenth of what is possible; a busy host may need a second time to get so far."""
    found = []
    for _ in range(TIMES):
        found.append(rates(host, *pairs, family=family))
        assert max(found[-1]) < 1.1 * limit, found
        if min(found[-1]) > 0.9 * HEADERS * limit:
            return
    raise AssertionError(found)


def test_both_directions_are_limited_and_no_other_machine(host: Host) -> None:
    host.do(f"{SET} {MBIT}mbit")
    check_limited(host, (LIMITED, FREE))
    check_limited(host, (FREE, LIMITED))
    # At the same time as the limited one sends as fast as it may.
    slow, fast = rates(host, (LIMITED, FREE), (THIRD, FOURTH), seconds=2)
    assert slow < 1.1 * MBIT, slow
    assert fast > 4 * MBIT, fast


def test_both_at_once_and_both_families(host: Host) -> None:
    host.do("vpc set --name vpc1 --ipv6 auto")
    host.do(f"{SET} {MBIT}mbit")
    check_limited(host, (LIMITED, FREE), (THIRD, LIMITED), family="-6")


@pytest.mark.parametrize("plain", ["", " --plain"])
@pytest.mark.parametrize("limit_first", [True, False])
def test_a_mirror_leaves_the_limit_and_gets_its_copies(host: Host, plain: str, limit_first: bool) -> None:
    steps = [f"{SET} 20mbit", f"mirror create --vpc vpc1 --subnet public --instance web1 --to private{plain}",
             "mirror create --vpc vpc1 --subnet public --instance web1 --to public"]
    for step in steps if limit_first else steps[::-1]:
        host.do(step)
    check_limited(host, (LIMITED, FREE), limit=20)
    check_limited(host, (FREE, LIMITED), limit=20)
    before = [sent(host, number) for number in (1, 2)]
    host.reaches(LIMITED, ADDRESSES[FREE])
    assert [sent(host, number) - old for number, old in zip((1, 2), before, strict=True)] == [2, 2]
    assert host.do("status").out == "in sync\n"


def test_root_inside_can_do_nothing_about_it(host: Host) -> None:
    host.do(f"{SET} 20mbit")
    assert "tbf" not in host.sh("tc qdisc show", LIMITED)
    host.sh("tc qdisc add dev eth0 root pfifo limit 100000; ip link set eth0 mtu 1400", LIMITED)
    check_limited(host, (LIMITED, FREE), limit=20)
    # UDP does not slow down by itself.
    server = host.start(FREE, "iperf3", "-s", "-p", "9000")
    served(host, FREE)
    told = json.loads(host.sh("iperf3 -p 9000 -u -b 200M -t 2 -J -c 10.0.1.5", LIMITED))["end"]
    host.stop(server)
    assert told["sum_received"]["bytes"] * 8 / 1e6 / told["sum_received"]["seconds"] < 22


@pytest.fixture
def stream(host: Host) -> Iterator[str]:
    """The file in which a download of the limited machine grows, over one connection."""
    file = str(host.scratch / "stream")
    pids = [host.start(FREE, "python3", "-c", STREAM, "9000")]
    served(host, FREE)
    pids.append(host.start(LIMITED, "python3", "-c", DOWNLOAD, "10.0.1.5", "9000", file))
    host.wait_until(lambda: (host.scratch / "stream").exists(), "the download begins")
    yield file
    assert all(map(host.alive, pids))
    host.stop(*pids)


def test_a_limit_comes_changes_and_goes_under_open_connections(host: Host, stream: str) -> None:
    for rate in ("1gbit", "128kbit", "100mbit", "none"):
        host.do(f"{SET} {rate}")
        grows(host, stream)
    assert host.do(f"{SET} none").out == "unchanged: machine vpc1/public/web1 is not limited\n"
    assert host.do("status").out == "in sync\n"


def test_a_subnet_s_own_machine_and_a_namespace_of_others(host: Host) -> None:
    host.do("instance set --vpc vpc1 --subnet private --bandwidth 30mbit")
    host.do("instance attach --vpc vpc1 --subnet public --name lab --netns /run/netns/other "
            "--interface vpc0")
    host.do("instance set --vpc vpc1 --subnet public --instance lab --bandwidth 40mbit")
    check_limited(host, (THIRD, FREE), limit=30)
    check_limited(host, (LAB, FREE), limit=40)
    host.do("instance detach --vpc vpc1 --subnet public --name lab")
    assert "q-public.lab" not in host.sh("ip -n vpc1 link")


def test_a_virtual_machine_behind_a_tap(host: Host) -> None:
    host.do("instance attach --vpc vpc1 --subnet public --name vm --tap vm0")
    host.do("instance set --vpc vpc1 --subnet public --name vm --bandwidth 128kbit")
    guest = Guest(host, mac="02:10:0a:00:01:06", address="10.0.1.6")
    assert guest.ask(f"ping {ADDRESSES[FREE]}") == "answered"
    for device in ("i-public.vm", "q-public.vm"):
        assert "rate 128Kbit" in host.sh(f"tc -n vpc1 qdisc show dev {device}")
    guest.stop()


LOST = ("ip -n vpc1 link del q-public.web1", f"tc -n vpc1 qdisc del dev {PORT} root",
        f"tc -n vpc1 qdisc del dev {PORT} clsact", f"tc -n vpc1 filter del dev {PORT} ingress pref 50",
        f"tc -n vpc1 qdisc replace dev {PORT} root pfifo", "tc -n vpc1 qdisc del dev q-public.web1 root",
        "ip -n vpc1 link set q-public.web1 down", f"ip -n vpc1 link del {PORT}",
        f"tc -n vpc1 qdisc replace dev {PORT} root tbf rate 1gbit burst 1mb limit 2mb",
        f"tc -n vpc1 filter replace dev {PORT} ingress pref 50 protocol all u32 match u32 0 0 flowid 1:2")


@pytest.mark.parametrize("loss", LOST)
def test_what_is_lost_is_seen_and_put_back(host: Host, loss: str) -> None:
    host.do(f"{SET} {MBIT}mbit")
    before = host.portrait()
    host.sh(loss)
    found = host.vpcctl("status")
    assert found.code == 1
    assert PORT in found.out or "q-public.web1" in found.out
    host.do("restore")
    assert host.do("status").out == "in sync\n"
    host.check_same(before)


def test_what_the_kernel_knows_of_it(host: Host) -> None:
    host.do(f"{SET} 2500kbit")
    host.do("instance set --vpc vpc1 --subnet public --bandwidth 50gbit")
    before = host.do("export").out
    found = yaml.safe_load(before)["vpcs"]["vpc1"]["subnets"]["public"]
    assert (found["bandwidth"], found["instances"]["web1"]["bandwidth"]) == ("50gbit", "2500kbit")
    host.sh("rm /var/lib/vpcctl/state.json*")
    host.do("restore --from-kernel")
    assert host.do("export").out == before
    assert host.do("status").out == "in sync\n"
    host.sh("rm /var/lib/vpcctl/state.json.bak*; true")


def test_a_file_changes_it_in_place(host: Host) -> None:
    host.do(f"{SET} {MBIT}mbit")
    file = host.write("net.yaml", host.do("export").out.replace("100mbit", "1000mbit"))
    told = host.do(f"apply -f {file} --dry-run").out
    assert "machine vpc1/public/web1: bandwidth: 100mbit → 1gbit" in told
    assert "link add" not in told
    host.do(f"apply -f {file}")
    assert host.do("instance list --json").json["instances"][0]["bandwidth"] == "1gbit"


def test_reach_is_sure_of_it(host: Host) -> None:
    host.do(f"{SET} {MBIT}mbit")
    ways = ("--from vpc1/public/web1 --to vpc1/public/web2", "--from vpc1/private --to vpc1/public/web1")
    assert all("unknown" not in host.do(f"reach {way}").out for way in ways)
    host.sh("ip -n vpc1 link set q-public.web1 down")
    assert "unknown" in host.vpcctl("reach", *ways[0].split()).out
    host.sh("ip -n vpc1 link set q-public.web1 up")


@pytest.mark.parametrize(("rate", "says"), [
    ("fast", "'fast' is not a bandwidth"), ("100", "'100' is not a bandwidth"), ("", "'' is not a bandwidth"),
    ("1kbit", "can't be 1kbit"), ("101gbit", "can't be 101gbit")])
def test_what_is_no_bandwidth(host: Host, rate: str, says: str) -> None:
    host.refused(SET, rate, code=2, says=says)


def test_where_the_kernel_has_no_such_thing_nothing_is_touched(host: Host) -> None:
    folder = host.scratch / "tools"
    folder.mkdir()
    # As ip(8) ends where a module is missing.
    (folder / "unshare").write_text("#!/bin/sh\necho 'Error: Unknown device type.' >&2\nexit 2\n")
    (folder / "unshare").chmod(0o755)
    done = host.vpcctl(*f"{SET} {MBIT}mbit".split(), PATH=f"{folder}:/usr/sbin:/usr/bin:/sbin:/bin")
    assert done.code == 1
    assert "this kernel has no" in done.err
    assert "modprobe" in done.err
    assert host.do("status").out == "in sync\n"

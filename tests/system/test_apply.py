"""A whole network from one file: what comes of it in the kernel, and that it is all or nothing."""

from __future__ import annotations

import sys

import pytest
from host import REACHED, Host

FILE = """\
version: 1
vpcs:
  vpc1:
    cidr: 10.0.0.0/16
    nat: {interface: eth0}
    subnets:
      public:
        cidr: 10.0.1.0/24
        type: public
        firewall: {ingress: [{port: 80, protocol: tcp, action: allow}]}
        workloads:
          webserver-80: {webserver: 80}
          worker: {run: [sleep, infinity]}
      private: {cidr: 10.0.2.0/24}
  vpc2:
    cidr: 172.16.0.0/16
    subnets:
      a: {cidr: 172.16.1.0/24}
peerings:
  - [vpc1, vpc2]
"""


@pytest.fixture
def applied(host: Host) -> Host:
    """A host with all of the file."""
    host.do("apply -f", host.write("network.yaml", FILE))
    return host


def test_all_of_the_file_is_there(applied: Host) -> None:
    applied.reaches("vpc1-private", "10.0.1.2:80", "172.16.1.2")
    applied.reaches("vpc2-a", "10.0.1.2:80", "10.0.2.2")
    applied.never_reaches("vpc2-a", "10.0.1.2", "10.0.1.2:81", "8.8.8.8")
    applied.reaches("vpc1-public", "8.8.8.8:80")
    assert applied.do("status").out == "in sync\n"
    workloads = applied.do("deploy list --json").json["workloads"]
    assert [(one["name"], one["state"]) for one in workloads] == [
        ("webserver-80", "running"), ("worker", "running")]


def test_again_changes_nothing(applied: Host) -> None:
    before = applied.portrait()
    again = applied.do("apply --json -f", applied.write("network.yaml", FILE)).json["apply"]
    assert (again["changed"], again["plan"]) == (False, [])
    applied.check_same(before)


def test_a_page_of_somebody_else_is_not_the_web_servers(applied: Host) -> None:
    other = applied.start("vpc1-public", sys.executable, "-m", "http.server", "81")
    served = ("vpc1-public", "127.0.0.1:81")
    applied.wait_until(lambda: applied.probe(served)[0].verdict == REACHED, "it serves")
    before = applied.portrait()
    more = FILE.replace("webserver-80:", "webserver-81: {webserver: 81}\n          webserver-80:")
    done = applied.vpcctl("apply", "-f", applied.write("more.yaml", more))
    assert (done.code, "Address already in use" in done.err) == (1, True), done
    # What it said stays, and nothing else.
    log = "/var/lib/vpcctl/logs/vpc1/public/webserver-81.log"
    assert "Address already in use" in applied.sh(f"cat {log}")
    applied.sh(f"rm {log} {log}.fate")
    applied.check_same(before)
    applied.stop(other)


def test_what_was_exported_gives_the_same_network(applied: Host) -> None:
    file = applied.write("export.yaml", applied.do("export").out)
    assert "unchanged" in applied.do("apply -f", file).out
    before = applied.do("export").out
    applied.delete_all()
    applied.do("apply -f", file)
    assert applied.do("export").out == before
    applied.reaches("vpc2-a", "10.0.1.2:80")


def test_only_what_differs_is_touched(applied: Host) -> None:
    pid = applied.do("deploy list --json").json["workloads"][0]["pid"]
    changed = FILE.replace("port: 80, proto", "port: 81, proto").replace("    nat: {interface: eth0}\n", "")
    told = applied.do("apply -f", applied.write("network.yaml", changed)).out
    assert "~ firewall of vpc1/public" in told
    assert "- nat of vpc1" in told
    assert "subnet" not in told
    assert applied.do("deploy list --json").json["workloads"][0]["pid"] == pid
    applied.never_reaches("vpc1-private", "10.0.1.2:80", "8.8.8.8")
    applied.reaches("vpc1-private", "172.16.1.2")


def test_cidrs_change_in_place(applied: Host) -> None:
    changed = FILE.replace("10.0.0.0/16", "10.0.0.0/20").replace("10.0.1.0/24", "10.0.3.0/25")
    applied.do("apply -f", applied.write("network.yaml", changed))
    assert applied.do("status").out == "in sync\n"
    applied.reaches("vpc1-private", "10.0.3.2:80", "172.16.1.2")
    applied.reaches("vpc2-a", "10.0.3.2:80", "10.0.2.2")
    applied.never_reaches("vpc1-private", "10.0.1.2:80")
    assert "address 10.0.3.2" in applied.sh("curl -s http://10.0.3.2")


def test_a_policy_drops_no_established_connection(applied: Host) -> None:
    listener = "import socket; s = socket.create_server(('0.0.0.0', 90)); c = s.accept()[0]\n" \
               "while (d := c.recv(9)): c.sendall(d)"
    talker = "import socket, sys; c = socket.create_connection(('10.0.1.2', 90))\n" \
             "for _ in sys.stdin: c.sendall(b'x'); print(c.recv(9), flush=True)"
    opened = FILE.replace("{port: 80,", "{port: \"80-90\",")
    applied.do("apply -f", applied.write("network.yaml", opened))
    applied.start("vpc1-public", sys.executable, "-c", listener)
    fifo = f"{applied.scratch}/fifo"
    heard = f"{applied.scratch}/heard"
    applied.sh(f"mkfifo {fifo}")
    applied.wait_until(lambda: ":90 " in applied.inside("vpc1-public", "ss", "-Hltn").out, "it listens")
    applied.start("vpc1-private", "sh", "-c", f"exec python3 -uc \"{talker}\" <{fifo} >{heard}")
    keep = applied.start("", "sh", "-c", f"exec sleep infinity >{fifo}")
    applied.sh(f"echo >{fifo}")
    applied.wait_until(lambda: applied.run("cat", heard).out.count("b'x'") == 1, "one answer")
    applied.do("apply -f", applied.write("network.yaml", FILE))
    applied.never_reaches("vpc1-private", "10.0.1.2:90")
    applied.sh(f"echo >{fifo}")
    applied.wait_until(lambda: applied.run("cat", heard).out.count("b'x'") == 2, "another answer")
    applied.stop(keep)


def test_vpcs_that_the_file_does_not_name_stay(applied: Host) -> None:
    alone = "version: 1\nvpcs:\n  vpc2: {cidr: 172.16.0.0/16}\n"
    file = applied.write("alone.yaml", alone)
    assert applied.do("apply -f", file).out.startswith("- subnet vpc2/a")
    assert [vpc["name"] for vpc in applied.do("vpc list --json").json["vpcs"]] == ["vpc1", "vpc2"]
    applied.do("apply --prune -f", file)
    assert [vpc["name"] for vpc in applied.do("vpc list --json").json["vpcs"]] == ["vpc2"]


def test_a_dry_run_shows_the_plan_and_changes_nothing(host: Host) -> None:
    before = host.portrait()
    told = host.do("apply --dry-run -f", host.write("network.yaml", FILE)).out
    assert "# + vpc vpc1: 10.0.0.0/16 does not exist yet" in told
    assert "\nnetns add vpc1-public\n" in told
    host.check_same(before)


@pytest.mark.parametrize(("old", "new", "says"), [
    ("10.0.2.0/24", "10.0.1.128/25", "line 14: vpcs.vpc1.subnets.private"),
    ("10.0.2.0/24", "10.9.2.0/24", "is not inside the VPC's CIDR"),
    ("interface: eth0", "interface: eth7", "line 5: vpcs.vpc1.nat"),
    ("172.16.0.0/16\n    subnets:\n      a: {cidr: 172.16.1.0/24}", "203.0.113.0/24",
     "overlaps the host's route"),
    ("[vpc1, vpc2]", "[vpc1, vpc3]", "peerings[0]: VPC 'vpc3' does not exist"),
    ("port: 80, protocol", "port: 0, protocol", "firewall.ingress[0].port"),
    ("webserver-80:", "server:", "a web server's name is webserver-PORT"),
    ("subnets:\n      a", "subnet:\n      a", "did you mean subnets?"),
    ("version: 1", "version: 3", "write version: 1"),
])
def test_what_a_command_would_refuse_is_refused_beforehand(host: Host, old: str, new: str, says: str) -> None:
    file = host.write("network.yaml", FILE.replace(old, new))
    before = host.portrait()
    done = host.vpcctl("apply", "-f", file)
    assert (done.code in (1, 2), done.out) == (True, "")
    assert says in done.err
    assert "network.yaml" in done.err
    host.check_same(before)


def test_it_is_all_or_nothing(host: Host) -> None:
    before = host.portrait()
    file = host.write("network.yaml", FILE.replace("[sleep, infinity]", "[/nonexistent/program]"))
    done = host.vpcctl("apply", "-f", file)
    assert done.code == 1
    assert "worker did not start" in done.err
    host.check_same(before)


ONE = "version: 1\nvpcs:\n"


def test_a_vpc_takes_the_cidr_of_one_that_goes(host: Host) -> None:
    host.do("apply -f", host.write("a.yaml", f"{ONE}  a: {{cidr: 10.0.0.0/16}}\n"))
    b = f"{ONE}  b: {{cidr: 10.0.0.0/16, subnets: {{s: {{cidr: 10.0.1.0/24}}}}}}\n"
    renamed = host.do("apply --prune -f", host.write("b.yaml", b))
    assert renamed.err == ""
    assert [vpc["name"] for vpc in host.do("vpc list --json").json["vpcs"]] == ["b"]
    host.reaches("", "10.0.1.2")


def test_vpcs_change_places(host: Host) -> None:
    def file(name: str, a: str, b: str) -> str:
        subnets = [f"subnets: {{s: {{cidr: {cidr.replace('0.0/16', '1.0/24')}}}}}" for cidr in (a, b)]
        return host.write(name, f"{ONE}  a: {{cidr: {a}, {subnets[0]}}}\n  b: {{cidr: {b}, {subnets[1]}}}\n")

    host.do("apply -f", file("one.yaml", "10.0.0.0/16", "10.1.0.0/16"))
    moves = [("10.1.0.0/16", "10.0.0.0/16"), ("10.0.0.0/16", "10.2.0.0/16"), ("10.2.0.0/16", "10.1.0.0/16")]
    for number, (a, b) in enumerate(moves):
        assert host.do("apply -f", file(f"{number}.yaml", a, b)).err == ""
        assert host.do("status").out == "in sync\n"
        for namespace, cidr in (("a-s", a), ("b-s", b)):
            address = cidr.replace("0.0/16", "1.2")
            assert f" {address}/24 " in host.sh("ip address show dev eth0", namespace)
            host.reaches("", address)


def test_words_that_look_like_numbers_come_back_as_they_were(host: Host) -> None:
    words = ("sh", "-c", "exec sleep infinity", "1e5", "NaN", "-Infinity", "80", "true", "a\u2028b", "a\nb")
    host.do("vpc create --name vpc1 --cidr 10.0.0.0/16")
    host.do("subnet add --vpc vpc1 --name a --cidr 10.0.1.0/24")
    done = host.vpcctl("deploy", "run", "--vpc", "vpc1", "--subnet", "a", "--name", "w", "--", *words)
    assert done.code == 0, done.err
    exported = host.do("export").out
    host.do("apply -f", host.write("export.yaml", exported))
    again = host.vpcctl("apply", "-f", "-", stdin=exported)
    assert again.out == "unchanged: the record matches standard input\n"
    host.delete_all()
    host.do("apply -f", host.write("export.yaml", exported))
    assert tuple(host.do("deploy list --json").json["workloads"][0]["command"]) == words

"""A record that is damaged, cut short or gone: nothing is guessed, and the marks bring it back."""

from __future__ import annotations

import os

import pytest
from host import Host

STATE = "/var/lib/vpcctl/state.json"
POLICY = {"ingress": [{"port": "8000-8100", "protocol": "tcp", "action": "allow", "source": "10.0.0.0/16"},
                      {"protocol": "icmp", "action": "allow"}],
          "egress": [{"port": 443, "protocol": "tcp", "action": "deny", "destination": "8.8.8.8/32"}],
          "default": "allow"}


@pytest.fixture
def network(vpc2: Host) -> Host:
    """Of everything one."""
    vpc2.do("nat enable --vpc vpc1")
    vpc2.do("peer create --vpc1 vpc1 --vpc2 vpc2")
    vpc2.do("firewall apply --vpc vpc1 --subnet public --policy", vpc2.write("policy.json", POLICY))
    vpc2.do("deploy webserver --vpc vpc1 --subnet public --port 8080")
    vpc2.do("deploy run --vpc vpc2 --subnet public --name worker -- sleep 86400")
    return vpc2


def test_the_backup_is_the_last_good_one(network: Host) -> None:
    record = network.sh(f"cat {STATE}")
    network.sh(f"head -c 200 {STATE}.bak > {STATE}")
    done = network.refused("vpc list", says=f"{STATE} is damaged")
    assert f"cp {STATE}.bak {STATE}" in done.err
    network.sh(f"cp {STATE}.bak {STATE}")
    assert network.sh(f"cat {STATE}") == record
    assert network.do("status").out == "in sync\n"


@pytest.mark.parametrize("loss", [f"head -c 200 {STATE}.bak > {STATE}", f"rm {STATE}",
                                  f"rm {STATE} {STATE}.bak", f"echo '{{}}' > {STATE}; rm {STATE}.bak"])
def test_the_marks_bring_it_back(network: Host, loss: str) -> None:
    before, exported = network.state(), network.do("vpc list --json").json
    network.sh(loss)
    shown = network.do("restore --from-kernel --dry-run").out
    assert shown == ""
    done = network.do("restore --from-kernel")
    assert "ip_forward" not in done.err, "our jump tells of it"
    assert network.do("status").out == "in sync\n"
    after = network.state()
    assert network.do("vpc list --json").json["vpcs"][0] == exported["vpcs"][0]
    assert [line["kind"] for line in after["ledger"]] == [line["kind"] for line in before["ledger"]]
    assert [one["cidr"] for one in after["topology"]["vpcs"]] == ["10.0.0.0/16", "172.16.0.0/16"]
    assert after["topology"]["vpcs"][0]["subnets"] == before["topology"]["vpcs"][0]["subnets"]
    network.reaches("vpc2-public", "10.0.2.2")
    network.do("vpc delete --name vpc1")
    network.do("vpc delete --name vpc2")
    network.sh(f"sysctl -qw net.ipv4.ip_forward=0; rm -f {STATE}*.lost-*")


def test_name_servers_that_no_subnet_asks_are_those_of_the_host(host: Host) -> None:
    host.do("vpc create --name vpc1 --cidr 10.0.0.0/16")
    host.do("subnet add --vpc vpc1 --name private --cidr 10.0.2.0/24")
    host.do("nat enable --vpc vpc1")
    host.sh("rm /var/lib/vpcctl/state.json*")
    host.do("restore --from-kernel")
    assert host.do("status").out == "in sync\n"
    host.do("subnet set --vpc vpc1 --name private --type public")
    assert "nameserver 8.8.8.8" in host.sh("cat /etc/netns/vpc1-private/resolv.conf")
    # Who else forwarded before the first NAT is lost.
    host.delete_all()
    host.sh("sysctl -qw net.ipv4.ip_forward=0 net.ipv4.conf.all.accept_redirects=1")


def test_a_sound_record_is_not_rebuilt(vpc1: Host) -> None:
    vpc1.refused("restore --from-kernel", says="the record is not lost")


def test_the_unit_is_written_and_goes(host: Host) -> None:
    folder = f"{host.scratch}/units"
    host.sh(f"mkdir {folder}")
    assert "ExecStart=" in host.do(f"restore --install-unit --dry-run --unit-dir {folder}").out
    assert host.sh(f"ls {folder}") == ""
    done = host.do(f"restore --install-unit --unit-dir {folder}")
    assert "systemctl enable vpcctl-restore.service" in done.err
    assert "RemainAfterExit=yes" in host.sh(f"cat {folder}/vpcctl-restore.service")
    host.do(f"restore --remove-unit --unit-dir {folder}")
    assert host.sh(f"ls {folder}") == ""


def test_a_failure_leaves_what_is_left_of_it(network: Host) -> None:
    network.sh(f"sysctl -qw net.ipv4.ip_forward=0; head -c 200 {STATE}.bak > {STATE}")
    network.sh("mkdir /run/none; ln -s /bin/false /run/none/sysctl")
    left = network.sh("cd /var/lib/vpcctl; tail -n +1 state.json*")
    done = network.vpcctl("restore", "--from-kernel", PATH=f"/run/none:{os.environ['PATH']}")
    assert "sysctl failed" in done.err
    assert network.sh("cd /var/lib/vpcctl; tail -n +1 state.json*") == left
    network.sh("rm -r /run/none")
    network.do("restore --from-kernel")
    assert network.do("status").out == "in sync\n"
    network.delete_all()
    network.sh(f"sysctl -qw net.ipv4.ip_forward=0; rm -f {STATE}*.lost-*")


def test_a_folder_with_a_mount_on_it_is_not_removed(vpc1: Host) -> None:
    vpc1.do("vpc delete --name vpc1")
    vpc1.sh("mkdir -p /etc/netns; mount -t tmpfs tmpfs /etc/netns")
    vpc1.do("vpc create --name vpc1 --cidr 10.0.0.0/16")
    vpc1.do("subnet add --vpc vpc1 --name public --cidr 10.0.1.0/24 --type public")
    vpc1.do("nat enable --vpc vpc1")
    vpc1.sh("rm /var/lib/vpcctl/state.json*")
    vpc1.do("restore --from-kernel")
    vpc1.do("vpc delete --name vpc1")
    # Without the record it is not known whether others needed forwarding before: it stays on.
    vpc1.sh("umount /etc/netns; rm -r /run/mount; sysctl -qw net.ipv4.ip_forward=0")

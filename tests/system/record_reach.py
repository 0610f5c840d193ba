"""Records what the kernel's tools print when reach asks about a small network, whole and damaged.

To record anew, after a change of what is asked or of what vpcctl makes:

    ./vpcctl sandbox -- .venv/bin/python tests/system/record_reach.py >tests/unit/recorded/reach_scenes.json

Beside the answers stand the verdicts that reach came to here, so that a test can compare them.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any
from unittest import mock

# First, as it finds the checkout that both stand in.
from record_kernel import CHECKOUT, GONE, Recorder, difference, written

from vpcctl_lib.kernel import netns, proc, run
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.kernel.run import Runner
from vpcctl_lib.managers.reach import find_sender, find_target, question_from
from vpcctl_lib.model.addressing import Family
from vpcctl_lib.model.policies import Protocol
from vpcctl_lib.reach.scene import Scene
from vpcctl_lib.reach.verdict import Analyzer
from vpcctl_lib.record.store import Store

POLICY = """{"subnet": "10.0.1.0/24", "ingress": [{"port": 80, "protocol": "tcp", "action": "allow"},
  {"port": 8080, "protocol": "tcp", "action": "deny", "source": "10.0.2.0/24"}]}"""
RULES = """{"ingress": [{"number": 100, "protocol": "tcp", "port": 80, "action": "allow"},
  {"number": 110, "protocol": "tcp", "port": "1024-65535", "action": "allow"}], "egress": [%s]}"""
ANSWERS = '{"number": 100, "protocol": "tcp", "action": "allow"}'
NO_ANSWERS = '{"number": 100, "protocol": "tcp", "port": 80, "action": "allow"}'
FILES = {"policy.json": POLICY, "acl.json": RULES % ANSWERS, "trap.json": RULES % NO_ANSWERS}
NETWORK = (
    "vpc create --name vpc1 --cidr 10.0.0.0/16 --ipv6 fd12:3456:789a:100::/56",
    "vpc create --name vpc2 --cidr 172.16.0.0/16 --ipv6 fd12:3456:789a:200::/56",
    "subnet add --vpc vpc1 --name public --cidr 10.0.1.0/24 --type public",
    "subnet add --vpc vpc1 --name private --cidr 10.0.2.0/24",
    "subnet add --vpc vpc2 --name shop --cidr 172.16.1.0/24 --type public",
    "nat enable --vpc vpc1",
    "peer create --vpc1 vpc1 --vpc2 vpc2",
    "firewall apply --vpc vpc1 --subnet public --policy {folder}/policy.json",
    "vpc create --name vpc3 --cidr 10.9.0.0/16",
    "subnet add --vpc vpc3 --name open --cidr 10.9.1.0/24 --type public",
    "subnet add --vpc vpc3 --name inner --cidr 10.9.2.0/24",
    "nat enable --vpc vpc3",
    "acl create --vpc vpc3 --name edge",
    "acl apply --vpc vpc3 --name edge --rules {folder}/acl.json",
    "acl associate --vpc vpc3 --subnet open --name edge",
    "eip pool add 198.51.100.0/28",
    "eip allocate --address 198.51.100.1",
    "eip associate --address 198.51.100.1 --vpc vpc3 --subnet open",
    "publish add --vpc vpc3 --subnet inner --port 8081:80",
)

RESTORE = "$VPCCTL restore"
STRICT = """nft -f - <<'EOF'
table inet strict { chain f { type filter hook forward priority 0; policy drop; }; }
EOF"""
SCENES = {
    "whole": ("", ""),
    "nat is flushed": ("iptables -t nat -F", RESTORE),
    "the host's filter is flushed": (
        "iptables -F; iptables -P FORWARD DROP", f"iptables -P FORWARD ACCEPT; {RESTORE}"),
    "the host does not forward": ("sysctl -qw net.ipv4.ip_forward=0", RESTORE),
    "a foreign rule drops": ("iptables -I FORWARD -s 10.0.0.0/16 -j DROP",
                             "iptables -D FORWARD -s 10.0.0.0/16 -j DROP"),
    "a foreign firewall of nft": (STRICT, "nft delete table inet strict"),
    "a router has no default route": ("ip -n vpc1 route del default via 169.254.64.0", RESTORE),
    "a subnet has no default route": ("ip -n vpc1-public route del default", RESTORE),
    "a router's rules are flushed": ("ip netns exec vpc1 iptables -F FORWARD", RESTORE),
    "a router does not forward": ("ip netns exec vpc1 sysctl -qw net.ipv4.ip_forward=0", RESTORE),
    "a router's nft is flushed": ("ip netns exec vpc1 nft flush ruleset", RESTORE),
    "a policy is flushed": ("ip netns exec vpc1-public iptables -F", RESTORE),
    "a port is down": ("ip -n vpc1 link set s-private down", "ip -n vpc1 link set s-private up"),
    "a port is isolated": ("ip -n vpc1 link set s-private type bridge_slave isolated on",
                           "ip -n vpc1 link set s-private type bridge_slave isolated off"),
    "a peering is cut": ("ip -n vpc2 link del pcx-vpc1", RESTORE),
    "the acls are gone": ("ip netns exec vpc3 nft delete table bridge vpcctl-acls", RESTORE),
    "nobody answers for an elastic address": ("ip neigh del proxy 198.51.100.1 dev eth0", RESTORE),
    "elastic addresses are refused": ("iptables -F VPCCTL-ELASTIC", RESTORE),
    "a router translates no elastic address": (
        "ip netns exec vpc3 iptables -t nat -F PREROUTING", RESTORE),
    "published ports are refused": ("iptables -F VPCCTL-PUBLISHED", RESTORE),
    "nat of IPv6 is flushed": ("ip6tables -t nat -F", RESTORE),
    "the host sends no IPv6 on": ("sysctl -qw net.ipv6.conf.vpc-vpc1.force_forwarding=0", RESTORE),
    "a router's rules of IPv6 are flushed": ("ip netns exec vpc1 ip6tables -F", RESTORE),
    "a machine has lost its router": ("ip -6 -n vpc1-public neigh flush dev eth0 nud permanent", RESTORE),
    "IPv6 is off on a link": (
        "ip netns exec vpc1-private sysctl -qw net.ipv6.conf.eth0.disable_ipv6=1", RESTORE),
    # The last, as the record is another one afterwards.
    "a namespace is gone": (f"ip netns del vpc2-shop; {GONE.format('-n vpc2', 's-shop')}", RESTORE),
    "an acl lets no answers out": ("$VPCCTL acl apply --vpc vpc3 --name edge --rules $FOLDER/trap.json",
                                   "$VPCCTL acl apply --vpc vpc3 --name edge --rules $FOLDER/acl.json"),
}
"""Each damage with what mends it."""

QUESTIONS = {
    "web": ("vpc1/private", "vpc1/public", "tcp", 80),
    "closed port": ("vpc1/private", "vpc1/public", "tcp", 8080),
    "other way": ("vpc1/public", "vpc1/private", "icmp", 0),
    "internet": ("vpc1/public", "internet", "udp", 53),
    "private out": ("vpc1/private", "internet", "icmp", 0),
    "without nat": ("vpc2/shop", "internet", "icmp", 0),
    "peer": ("vpc1/private", "vpc2/shop", "tcp", 443),
    "from peer": ("vpc2/shop", "vpc1/public", "tcp", 80),
    "past an acl": ("vpc3/inner", "vpc3/open", "tcp", 80),
    "acl": ("vpc3/inner", "vpc3/open", "tcp", 22),
    "elastic in": ("internet", "198.51.100.1", "tcp", 80),
    "elastic closed": ("internet", "198.51.100.1", "icmp", 0),
    "elastic from a vpc": ("vpc1/public", "198.51.100.1", "tcp", 80),
    "elastic from the host": ("host", "198.51.100.1", "tcp", 80),
    "elastic out": ("vpc3/open", "internet", "tcp", 443),
    "unused elastic": ("internet", "198.51.100.2", "tcp", 80),
    "published in": ("internet", "203.0.113.2", "tcp", 8081),
    "published from a vpc": ("vpc1/public", "203.0.113.2", "tcp", 8081),
    "published from the host": ("host", "203.0.113.2", "tcp", 8081),
    "past the port": ("internet", "vpc3/inner", "tcp", 80),
}

QUESTIONS6 = {
    "web by IPv6": ("vpc1/private", "vpc1/public", "tcp", 80),
    "closed port by IPv6": ("vpc1/private", "vpc1/public", "tcp", 8080),
    "other way by IPv6": ("vpc1/public", "vpc1/private", "icmp", 0),
    "internet by IPv6": ("vpc1/public", "internet", "udp", 53),
    "private out by IPv6": ("vpc1/private", "internet", "icmp", 0),
    "peer by IPv6": ("vpc1/private", "vpc2/shop", "tcp", 443),
    "from the host by IPv6": ("host", "vpc1/private", "icmp", 0),
    "from outside by IPv6": ("internet", "vpc1/public", "tcp", 80),
    "where is none": ("vpc1/public", "vpc3/open", "tcp", 80),
}


def asked(topology: Any) -> dict[str, list[str]]:
    """The verdict on each question: what it is, the code of what stops the packet, and where."""
    found = {}
    for family, questions in ((Family.INET, QUESTIONS), (Family.INET6, QUESTIONS6)):
        analyzer = Analyzer(Scene(Kernel(Runner()), family=family), topology)
        for name, (start, to, protocol, port) in questions.items():
            ends = find_sender(topology, start), find_target(topology, to, family)
            report = analyzer.ask(question_from(*ends, Protocol(protocol), port or None))
            blocked = report.blocked_by
            found[name] = [report.verdict.value, *([blocked.code.value, blocked.where] if blocked else [])]
    return found


def record(store: Store) -> dict[str, Any]:
    """All that reach asks about this network, and what it says."""
    recorder, legacy_tables = Recorder(), proc.legacy_tables

    def tables(namespace: str, *_: object) -> str:
        found = legacy_tables(namespace)
        recorder.settings[f"{namespace} ip_tables_names"] = found
        return found

    with (
        mock.patch.object(run, "_run", recorder.run),
        mock.patch.object(Kernel, "read", lambda *given: recorder.read(*given)),
        mock.patch.object(Kernel, "numbers", lambda *given: recorder.numbers(*given)),
        mock.patch.object(proc, "may_have_legacy", lambda namespace, *_: bool(tables(namespace))),
        mock.patch.object(proc, "legacy_tables", tables),
        mock.patch.object(Kernel, "setting", lambda *given: recorder.setting(*given)),
    ):
        verdicts = asked(store.load().topology)
    return {
        "asked": dict(sorted(recorder.asked.items())),
        "settings": dict(sorted(recorder.settings.items())),
        "names": sorted(netns.names()),
        "identities": {},
        "files": {},
        "keepers": {},
        "record": json.loads(store.file.read_text()),
        "verdicts": verdicts,
    }


def main() -> None:
    """Make the network, damage it in each way, mend it, and print what was recorded of each."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        for name, text in FILES.items():
            (folder / name).write_text(text)
        program = f"{sys.executable} {CHECKOUT / 'vpcctl'}"
        os.environ |= {"VPCCTL_STATE_DIR": str(folder / "state"), "VPCCTL": program, "FOLDER": scratch}
        for line in NETWORK:
            subprocess.run([*program.split(), *line.format(folder=folder).split()], check=True,
                           stdout=subprocess.DEVNULL)
        found: dict[str, Any] = {}
        for name, scripts in SCENES.items():
            for number, script in enumerate(scripts):
                subprocess.run(["sh", "-ec", script], check=True, timeout=30, stdout=subprocess.DEVNULL)
                if number == 0:
                    now = record(Store(folder / "state"))
                    found[name] = difference(found["whole"], now) if found else now
    print(written(found).replace(scratch, "/var/lib/scratch").replace(str(CHECKOUT), "/opt/vpcctl"))


if __name__ == "__main__":
    main()

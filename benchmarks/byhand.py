"""The ways in and out of a VPC built by hand: once with the fewest rules, once with what a VPC holds."""

from __future__ import annotations

import json
from typing import Any

from benchmarks.acls import FEW, rules
from benchmarks.connections import PORT
from benchmarks.timing import run

IPERF = 5201
MACHINES = {"pub": "10.9.1.2", "nat": "10.9.1.5", "prv": "10.9.2.2", "box": "10.9.3.4", "boxed": "10.9.4.2"}
VIA = {"prv": "10.9.1.5", "boxed": "10.9.3.4"}
"""Whose way out is not the router: through the NAT gateway, and through the middlebox."""

KEYS = {"saddr": "source", "daddr": "destination"}
SENDING_ON = ("nat", "box")
CABLES = """
link add {0}0 netns {0}-host type veth peer name eth0 netns {0}-wan
link add cable netns {0}-host type veth peer name uplink netns {0}-router
link add br0 netns {0}-router type bridge
"""
INSIDE = {
    "wan": "addr add 10.72.0.2/24 dev eth0\nlink set eth0 up\nroute add 198.51.100.32/28 via 10.72.0.1\n",
    "host": "addr add 10.72.0.1/24 dev {0}0\nlink set {0}0 up\naddr add 169.254.1.0/31 dev cable\n"
            "link set cable up\nroute add 10.9.0.0/16 via 169.254.1.1\n"
            "route add 198.51.100.33 via 169.254.1.1\n",
    "router": "addr add 169.254.1.1/31 dev uplink\nlink set uplink up\naddr add 10.9.0.1/16 dev br0\n"
              "link set br0 up\nroute add default via 169.254.1.0\nroute add 10.9.4.0/24 via 10.9.3.4\n",
}
ALLOWED = {
    "router": ("-i br0 -o uplink -s 10.9.0.0/16",), "host": ("-i cable -o {0}0 -s 10.9.0.0/16",),
    "nat": ("-i eth0 -o eth0 -s 10.9.0.0/16",)}
LEAVING = tuple(f"-i br0 -o uplink -s 10.9.{number}.0/24" for number in (1, 3, 4))
"""What a guarded router lets out: all but those that have to go by the NAT gateway."""

OPENED = {"router": ("-i uplink -o br0 -d 10.9.1.2",),
          "host": ("-i {0}0 -o cable -d 10.9.1.2", "-i {0}0 -o cable -d 198.51.100.33",
                   "-i cable -o {0}0 -s 198.51.100.33")}
"""What may begin connections outward, and inward."""

TRANSLATED = "-m conntrack --ctstate DNAT"
"""Guarded, nobody outside reaches a machine but by its published ports."""

NAT = {
    "nat": "-A POSTROUTING -j MASQUERADE",
    "router": "-A PREROUTING -d 198.51.100.33 -i uplink -j DNAT --to-destination 10.9.1.2\n"
              "-A POSTROUTING -s 10.9.1.2 -o uplink -j SNAT --to-source 198.51.100.33",
    "host": f"-A PREROUTING -d 10.72.0.1 -p tcp -m multiport --dports {IPERF},{PORT} "
            "-j DNAT --to-destination 10.9.1.2\n-A POSTROUTING -s 10.9.0.0/16 -o {0}0 -j MASQUERADE",
}
"""The fewest rules that work."""


def spaces(prefix: str) -> list[str]:
    """Their namespaces."""
    return [f"{prefix}-{name}" for name in (*INSIDE, *MACHINES)]


def build(prefix: str, is_guarded: bool = False, has_acls: bool = False) -> None:
    """The same namespaces and hops as a VPC's: with the fewest rules, or with the same protection."""
    cables = (f"link add {name} netns {prefix}-router type veth peer name eth0 netns {prefix}-{name}\n"
              for name in MACHINES)
    run("ip", "-batch", "-", stdin="".join(f"netns add {name}\n" for name in spaces(prefix))
        + CABLES.format(prefix) + "".join(cables))
    for name, lines in _inside().items():
        run("ip", "-n", f"{prefix}-{name}", "-batch", "-", stdin=lines.format(prefix))
    for name in ("host", "router", *SENDING_ON):
        own = "eth0" if name in SENDING_ON else "lo"
        run("ip", "netns", "exec", f"{prefix}-{name}", "sysctl", "-qw", "net.ipv4.ip_forward=1",
            "net.ipv4.conf.all.send_redirects=0", f"net.ipv4.conf.{own}.send_redirects=0")
    # Or the router's rules would meet frames that its bridge switches.
    run("ip", "netns", "exec", f"{prefix}-router", "sysctl", "-e", "-qw",
        "net.bridge.bridge-nf-call-iptables=0")
    for name in NAT:
        text = f"*nat\n{nat(name, is_guarded)}\nCOMMIT\n{filters(name, is_guarded)}"
        more = GUARDED.get(name, "") if is_guarded else ""
        run("ip", "netns", "exec", f"{prefix}-{name}", "iptables-restore", stdin=(text + more).format(prefix))
    tables = (guard(prefix) if is_guarded else "") + (acls() if has_acls else "")
    if tables:
        run("ip", "netns", "exec", f"{prefix}-router", "nft", "-f", "-", stdin=tables)


def clear(prefix: str) -> None:
    """Take it away."""
    run("ip", "-batch", "-", stdin="".join(f"netns del {name}\n" for name in spaces(prefix)))


def _inside() -> dict[str, str]:
    ports = "".join(f"link set {name} master br0 up\n" for name in MACHINES)
    return {**INSIDE, "router": f"{ports}{INSIDE['router']}", **{
        name: f"addr add {address}/16 dev eth0\nlink set eth0 up\n"
              f"route add default via {VIA.get(name, '10.9.0.1')}\n" for name, address in MACHINES.items()}}


METADATA = ("169.254.0.0/16", "100.100.100.200", "168.63.129.16", "192.0.0.192")
GUARDED = {
    "router": "*mangle\n-A FORWARD -o uplink -p tcp -m tcp --tcp-flags SYN,RST SYN "
              "-j TCPMSS --clamp-mss-to-pmtu\nCOMMIT\n",
    "host": "*mangle\n-A PREROUTING -s 10.9.0.0/16 ! -i cable -j DROP\n"
            "-A PREROUTING -s 198.51.100.33 ! -i cable -j DROP\nCOMMIT\n",
}
"""For a small MTU outside, and against neighbours of the host that pretend to be machines."""


def nat(name: str, is_guarded: bool) -> str:
    """What is translated; guarded, no machine can choose a port that the host's programs are about to use."""
    return NAT[name].replace("MASQUERADE", "MASQUERADE --random-fully") if is_guarded else NAT[name]


def filters(name: str, is_guarded: bool) -> str:
    """A stateful firewall: what may begin, what belongs to it, and nothing else; guarded also no metadata."""
    is_closed = is_guarded and name == "router"
    refused = "".join(f"-A FORWARD -d {one} -i br0 -o uplink -j REJECT\n" for one in METADATA if is_closed)
    first, *opened = (*OPENED.get(name, ()), "")
    published = f"{first} {TRANSLATED}" if is_guarded and name == "host" else first
    inward = filter(None, (published, *opened))
    outward = LEAVING if is_closed else ALLOWED[name]
    begun = "".join(f"-A FORWARD {match} -j ACCEPT\n" for match in (*outward, *inward))
    return ("*filter\n:FORWARD DROP\n-A FORWARD -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT\n"
            f"-A FORWARD -m conntrack --ctstate INVALID -j DROP\n{refused}{begun}COMMIT\n")


def guard(prefix: str) -> str:
    """At each port of the bridge only its machine may send, and those that send on what others sent.

    What has to go by the middlebox goes there, whatever MAC its sender wrote.
    """
    macs = {name: _mac(f"{prefix}-{name}") for name in MACHINES}
    own = ", ".join(f'"{name}" . {macs[name]} . {address}' for name, address in MACHINES.items()
                    if name != "boxed")
    boxed = f'ether type ip iifname "boxed" ether saddr {macs["boxed"]} ip saddr {MACHINES["boxed"]}'
    others = ", ".join(f'"{name}" . {macs[name]}' for name in SENDING_ON)
    return f"""table bridge guard {{
    set own {{ type ifname . ether_addr . ipv4_addr; elements = {{ {own} }} }}
    set others {{ type ifname . ether_addr; elements = {{ {others} }} }}
    chain frames {{
        type filter hook prerouting priority -200; policy drop;
        ether type ip iifname . ether saddr . ip saddr @own accept
        {boxed} ip daddr != 10.9.0.0/16 ether daddr set {macs["box"]} accept
        {boxed} accept
        ether type ip iifname . ether saddr @others accept
        ether type arp iifname . ether saddr . arp saddr ip @own accept
        ether type arp iifname "boxed" ether saddr {macs["boxed"]} arp saddr ip {MACHINES["boxed"]} accept
    }}
}}
"""


def acls() -> str:
    """The same network ACLs as those of the VPC, for its public and its private machines."""
    found = rules(FEW)
    chains = (f"    chain out {{\n{_listed(found['egress'], 'daddr')}    }}\n"
              f"    chain into {{\n{_listed(found['ingress'], 'saddr')}    }}\n")
    ports = '{ "pub", "prv", "nat" }'
    hooks = {"forward": f"iifname {ports} jump out\n        oifname {ports} jump into",
             "input": f"iifname {ports} jump out", "output": f"oifname {ports} jump into"}
    return f"table bridge acls {{\n{chains}" + "".join(
        f"    chain {hook} {{\n        type filter hook {hook} priority -200\n"
        f"        ether type != ip accept\n        {rule}\n    }}\n" for hook, rule in hooks.items()) + "}\n"


def _listed(found: list[dict[str, Any]], end: str) -> str:
    lines = (f"ip {end} {one[key]} meta l4proto tcp counter drop" if key in one else
             "meta l4proto tcp counter return" for one in found for key in (KEYS[end],))
    return "".join(f"        {line}\n" for line in (*lines, "counter drop"))


def _mac(namespace: str) -> str:
    link: dict[str, Any] = json.loads(run("ip", "-n", namespace, "-j", "link", "show", "eth0"))[0]
    return str(link["address"])

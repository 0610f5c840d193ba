"""All of a host that a program could change, as sorted lines, and what differs between two such portraits."""

from __future__ import annotations

import json
import os
import re
import shutil
import socket
import struct
import subprocess
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import netlink
from probes import within

Portrait = dict[str, list[str]]
LEGACY_TABLES = "/proc/thread-self/net/ip_tables_names"
"""The older iptables' tables in a namespace: empty until it is first asked for one there."""

FOLDERS = ("/etc/netns", "/run", "/var/lib/vpcctl")
RECORDS = ("/var/lib/vpcctl/state.json", "/var/lib/vpcctl/lock", "/var/lib/vpcctl/vpcctl.log",
           "/var/lib/vpcctl/state.json.bak", "/var/lib/vpcctl/.state.json.spare",
           "/run/xtables.lock")
"""Stay when all is deleted (the state is looked at by itself); the last is the older iptables' own."""

NETLINK_NETFILTER, NLM_F_REQUEST, SO_NETNS_COOKIE = 12, 1, 71
AT_ONCE = 1 << 12
"""Bytes: the kernel clears as much memory for each key of /proc/sys that is read."""

COUNTERS = re.compile(r" \[[0-9:]*]$")
NUMBERED = re.compile(r"(index|fh|order|key ht|ref|bind) [0-9a-f:]+")
"""What the kernel numbers in filters of packets."""

VOLATILE = re.compile(r"nf_conntrack_count$|/tcp_fastopen_key$")
PASSING = ("operstate", "flags", "valid_life_time", "preferred_life_time", "stats", "stats64", "tentative",
           "link_netnsid", "link_index", "ifindex", "uid")
"""What the kernel numbers anew, or settles some time after a command."""


def take(mine: frozenset[int]) -> Portrait:
    """The host's portrait; the processes of `mine` are not part of it."""
    portrait = {"files": sorted(_files()), "processes": sorted(_processes(mine)),
                "sysctls": sorted(_sysctls())}
    names = sorted(os.listdir("/run/netns")) if Path("/run/netns").is_dir() else []
    waits = {name: (within(name, _network), within(name, _rules)) for name in ("", *names)}
    for name, (network, rules) in waits.items():
        portrait[f"network of {name or 'host'}"] = network()
        portrait[f"rules of {name or 'host'}"] = rules()
    return portrait


def _output(*argv: str, stdin: str = "") -> str:
    done = subprocess.run(argv, input=stdin, capture_output=True, text=True)
    if done.returncode != 0:
        raise RuntimeError(f"{argv}: {done.stderr}")
    return done.stdout


NETWORK = "addr show\nroute show table all\nrule show\nneigh show nud permanent\n"


def _network() -> list[str]:
    """Links, addresses, routes, rules and lasting neighbours: `ip` is asked after a change only."""
    now = netlink.network()
    if now not in _told:
        _told[now] = _ip()
    return _told[now]


_told: dict[bytes, list[str]] = {}
"""By all that the kernel says of the network of a namespace."""


def _ip() -> list[str]:
    told = _output("ip", "-j", "-batch", "-", stdin=NETWORK)
    lines = [json.dumps(_settled(thing), sort_keys=True)
             for document in told.splitlines() if document.startswith("[") for thing in json.loads(document)]
    return sorted(line for line in lines if line != "{}")


def _settled(thing: dict[str, Any]) -> dict[str, Any]:
    kept = {key: value for key, value in thing.items() if key not in PASSING}
    if "addr_info" in kept:
        kept["addr_info"] = [_settled(address) for address in kept["addr_info"]]
        if thing.get("link_index") is not None or thing.get("link_netnsid") is not None:
            # One end of a cable: its hardware address is drawn anew when it is made again.
            kept.pop("address")
        elif str(thing.get("ifname")).startswith(("q-", "copy")):
            # A link where packets wait, or one for copies, likewise.
            kept.pop("address")
    if thing.get("flags") and "addr_info" in kept:
        kept["up"] = "UP" in thing["flags"]
    return kept


def _rules() -> list[str]:
    """The rules of every firewall there is; a table nobody has used is as good as an empty one."""
    now = _generation()
    if now and now[1] == UNTOUCHED:
        return _others()
    if now not in _held:
        lines = [f"{tool} {line}" for tool in ("iptables", "ip6tables") for line in _saved(tool)]
        # Sorted: the order of tables without a common hook says nothing.
        lines += sorted(f"nft {line}" for line in _output("nft", "list", "tables", "bridge").splitlines())
        if now is None:
            return lines + _others()
        _held[now] = lines
    return _held[now] + _others()


_held: dict[tuple[int, int] | None, list[str]] = {}
"""What nf_tables has, by namespace and generation: to ask the tools again takes most of a portrait's time."""

NEWGEN, GETGEN = 10 << 8 | 15, 10 << 8 | 16
"""Of nf_tables (linux/netfilter/nfnetlink.h, nf_tables.h)."""

UNTOUCHED = 1
"""The generation of a namespace that never had a rule."""


def _generation() -> tuple[int, int] | None:
    """This namespace, and how often its rules have been changed: nf_tables counts, and no cookie comes twice.

    None if that can't be known: with iptables-legacy, or before Linux 5.14, which brought the cookie.
    """
    if not _is_nft():
        return None
    with socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, NETLINK_NETFILTER) as asking:
        try:
            cookie = struct.unpack("Q", asking.getsockopt(socket.SOL_SOCKET, SO_NETNS_COOKIE, 8))[0]
        except OSError:
            return None
        asking.send(struct.pack("=IHHIIBBH", 20, GETGEN, NLM_F_REQUEST, 0, 0, 0, 0, 0))
        answer = asking.recv(4096)
    # The header, that of nfnetlink, and the first attribute: NFTA_GEN_ID, in the network's order.
    assert struct.unpack_from("=H", answer, 4)[0] == NEWGEN, answer
    assert struct.unpack_from("=HH", answer, 20) == (8, 1), answer
    return cookie, struct.unpack_from("!I", answer, 24)[0]


@cache
def _is_nft() -> bool:
    return all("nf_tables" in _output(tool, "--version") for tool in ("iptables", "ip6tables"))


def _others() -> list[str]:
    """What nf_tables does not have: the stations of bridges, and the rules of the older iptables."""
    lines = sorted(f"bridge {station}" for station in netlink.stations())
    if _text(LEGACY_TABLES) and shutil.which("iptables-legacy-save"):
        lines += [f"legacy {line}" for line in _saved("iptables-legacy")]
    if netlink.has_queues():
        lines += sorted(_queues())
    return lines


def _queues() -> Iterator[str]:
    """The queueing disciplines that somebody gave links, and their filters."""
    for line in _output("tc", "qdisc", "show").splitlines():
        _, kind, _, _, device, *rest = line.split()
        if kind not in ("noqueue", "pfifo_fast"):
            yield f"tc {kind} {device} {' '.join(rest)}"
        for way in ("ingress", "egress") if kind == "clsact" else ():
            found = _output("tc", "filter", "show", "dev", device, way)
            yield from (f"tc {device} {way} {NUMBERED.sub('', line.strip())}" for line in found.splitlines())


def _saved(tool: str) -> Iterator[str]:
    done = subprocess.run([f"{tool}-save"], capture_output=True, text=True)
    table = ""
    for line in done.stdout.splitlines():
        if line.startswith("*"):
            table = line
        elif line.startswith("-A") or (line.startswith(":") and " ACCEPT " not in line):
            yield f"{table} {COUNTERS.sub('', line)}"


def _sysctls() -> Iterator[str]:
    for folder, _, names in os.walk("/proc/sys/net"):
        for name in names:
            path = f"{folder}/{name}"
            value = None if VOLATILE.search(path) else _text(path)
            if value is not None:
                yield f"{path} = {value}"


def _text(path: str) -> str | None:
    try:
        # By the system's calls, and as few as can be: there are a thousand keys in /proc/sys/net.
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            found = os.read(file, AT_ONCE)
            if len(found) == AT_ONCE:
                found += b"".join(iter(lambda: os.read(file, AT_ONCE), b""))
            return found.decode(errors="replace").strip()
        finally:
            os.close(file)
    except OSError:
        # Some keys can't be read, or belong to a link that has just gone.
        return None


def _processes(mine: frozenset[int]) -> Iterator[str]:
    for entry in os.listdir("/proc"):
        if entry.isdigit() and int(entry) not in mine:
            stat, argv = _text(f"/proc/{entry}/stat"), _text(f"/proc/{entry}/cmdline")
            if stat and stat.rpartition(")")[2].split()[0] not in "ZX":
                yield f"{entry} {(argv or '').replace(chr(0), ' ')}"


def _files() -> Iterator[str]:
    for top in FOLDERS:
        for folder, folders, names in os.walk(top):
            for name in folders + names:
                path = f"{folder}/{name}"
                if path not in RECORDS:
                    mode = os.lstat(path).st_mode
                    content = "" if os.path.isdir(path) or folder == "/run/netns" else _text(path)
                    yield f"{path} {mode:o} {content}"


def differences(before: Portrait, after: Portrait) -> list[str]:
    """What went (-) and what came (+), each with its part of the host."""
    told: list[str] = []
    for part in sorted(before.keys() | after.keys()):
        old, new = before.get(part, []), after.get(part, [])
        if old == new:
            continue
        gone, come = set(old) - set(new), set(new) - set(old)
        told += [f"- {part}: {line}" for line in sorted(gone)]
        told += [f"+ {part}: {line}" for line in sorted(come)]
        if not gone and not come:
            told.append(f"? {part}: a line more or less often, of {new}")
    return told

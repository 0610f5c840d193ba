"""What ip, bridge, iptables, nft and sysctl say went wrong: as words for a person, and what helps; pure."""

from __future__ import annotations

import re

from vpcctl_lib.frozen import frozen

THERE = r"File exists|already (exists|assigned)"
"""What ip and iptables say of a thing that is there: EEXIST. Patterns are compiled when they are looked for:
most commands end well."""

GONE = (
    r"Cannot find device|No such (process|device|file or directory)|Cannot assign requested address"
    r"|(Device|Address) not found"
    r"|does a matching rule exist|No chain/target/match by that name|does not exist"
)
"""What ip and iptables say, under LC_ALL=C, of a thing that is not there: ENODEV, ESRCH, ENOENT."""


@frozen
class Saying:
    """A pattern in what a tool prints, our words for it (empty: as it stands), and what would help."""

    pattern: str
    words: str
    hint: str = ""

    def fits(self, text: str) -> bool:
        """Whether a tool said this."""
        return re.search(self.pattern, text) is not None


SAYINGS = (
    Saying(r"CHAIN_DEL failed|Too many links|resource busy\): chain", "",
           "a rule that the record does not have leads to a chain of vpcctl's: vpcctl restore removes it"),
    Saying(r"(?m)^(.*: )?line \d+ failed$|iptables-legacy does not say why",
           "the kernel refuses the rules; iptables-legacy does not say why",
           "a rule that the record does not have may lead to a chain of vpcctl's: "
           "vpcctl restore removes it"),
    Saying(THERE, "",
           "it exists already, and vpcctl did not make it: rename or remove one of the two"),
    Saying("Exchange full", "the bridge has no free port (Exchange full)",
           "a bridge takes 1023 ports: use another VPC"),
    Saying("No space left", "",
           "/run is full (df -h /run; df -i /run), or this host allows no more namespaces: sysctl user"),
    Saying("Too many open files", "", "this host allows no more: ulimit -n, or sysctl fs.file-max"),
    Saying("No buffer space available|[Tt]able .*full|Neighbour table overflow",
           "a table of the kernel is full (No buffer space available)",
           "see: sysctl net.ipv4.neigh.default.gc_thresh3; dmesg names the table"),
    Saying("Cannot allocate memory", "the kernel has no memory left for it (Cannot allocate memory)",
           "free some memory (free -m), or raise the limit of this container"),
    Saying("Operation not permitted|Permission denied|must be root", "",
           "run it as root (sudo vpcctl …), or try it in a private host: vpcctl sandbox"),
    Saying("Unknown device type|Operation not supported|Protocol not supported",
           "this kernel has no such thing (Operation not supported)",
           "its modules must be there: modprobe -a veth bridge ip_tables nf_tables"),
    Saying("Table does not exist|can't initialize iptables table|Failed to initialize nft", "",
           "the kernel lacks a module of iptables: modprobe -a ip_tables iptable_filter iptable_nat "
           "nf_tables"),
    Saying("holding the xtables lock|Resource temporarily unavailable",
           "another program holds the lock of iptables", "try again; who holds it: fuser /run/xtables.lock"),
    Saying("Network is unreachable|[Nn]exthop has invalid gateway|Network is down",
           "nothing leads to its gateway (Network is unreachable)",
           "a link may be down: see vpcctl status; vpcctl restore brings it up"),
    Saying("Read-only file system", "", "that file system must be writable: mount -o remount,rw PATH"),
    Saying(GONE, "", "something that vpcctl made may be gone: see vpcctl status; "
                    "vpcctl restore brings it back"),
)
"""The first that fits counts."""

NOISE = r"^(Command failed|Try `|Error occurred at line|For more information|Dump terminated)"
"""Lines that say where in our own input it stopped, or how to read a manual."""

SPEAKER = (r"^(RTNETLINK answers: |Error: |sysctl: |ip: |bridge: "
           r"|[\w-]*tables(-[a-z]+)*( v[\d.]+)?( \([\w-]+\))?: *)+")
"""Who speaks, where the message begins with it: what failed is named in front of it."""

PLAIN = {"File exists": "it already exists", "No such process": "it is not there",
         "No such device": "there is no such device", "Invalid argument": "the kernel takes no such value "
         "(Invalid argument)", "Device or resource busy": "it is in use (Device or resource busy)"}
"""Whole messages of the C library that say too little by themselves."""


def is_there(text: str) -> bool:
    """Whether a tool said that a thing is there already."""
    return re.search(THERE, text) is not None


def is_gone(text: str) -> bool:
    """Whether a tool said that a thing is not there."""
    return re.search(GONE, text) is not None


def sentence(stderr: str) -> str:
    """All that a tool complained of, in one line; empty where it said nothing."""
    return "; ".join(dict.fromkeys(filter(None, map(plain, stderr.splitlines()))))


def plain(line: str) -> str:
    """A line of a tool, in our words if there are any; empty if it tells a person nothing."""
    said = line.strip()
    if re.search(NOISE, said):
        return ""
    text = re.sub(SPEAKER, "", said).rstrip(".")
    if text in PLAIN:
        return PLAIN[text]
    found = _first(text)
    return found.words if found and found.words else text


def advice(stderr: str) -> str:
    """What would help; empty where nobody knows."""
    found = next((one for one in SAYINGS if one.fits(stderr)), None)
    return found.hint if found else ""


def _first(text: str) -> Saying | None:
    return next((one for one in SAYINGS if one.fits(text)), None)

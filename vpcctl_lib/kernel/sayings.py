"""The errors of ip, bridge, iptables, nft and sysctl: in words for a person, and what helps; pure."""

from __future__ import annotations

import re

from vpcctl_lib.frozen import frozen

THERE = r"File exists|already (exists|assigned)|\(TUNSETIFF\): Device or resource busy"
"""What ip and iptables say of a thing that is there: EEXIST; EBUSY for a tap (IFF_TUN_EXCL). Patterns are
compiled when they are looked for: most commands end well."""

GONE = (
    r"Cannot find device|No such (process|device|file or directory)|Cannot assign requested address"
    r"|(Device|Address) not found"
    r"|does a matching rule exist|No chain/target/match by that name|does not exist"
    r"|Invalid handle|qdisc with handle of zero|Filter with specified priority|specified filter chain"
)
"""What ip, tc and iptables print, under LC_ALL=C, for a missing thing: ENODEV, ESRCH, ENOENT, EINVAL."""


@frozen
class Saying:
    """A pattern in a tool's output, our words for it (empty: unchanged), and what helps."""

    pattern: str
    words: str
    hint: str = ""

    def fits(self, text: str) -> bool:
        """Whether a tool printed this."""
        return re.search(self.pattern, text) is not None


SAYINGS = (
    Saying(r"CHAIN_DEL failed|Too many links|resource busy\): chain", "",
           "a rule that is not in the record leads to a chain of vpcctl's: vpcctl restore removes it"),
    Saying(r"(?m)^(.*: )?line \d+ failed$|iptables-legacy does not say why",
           "the kernel refuses the rules; iptables-legacy does not say why",
           "a rule that is not in the record may lead to a chain of vpcctl's: "
           "vpcctl restore removes it"),
    Saying(THERE, "",
           "it already exists, and vpcctl did not make it: rename or remove one of the two"),
    Saying("Exchange full", "the bridge has no free port (Exchange full)",
           "a bridge takes 1023 ports: use another VPC"),
    Saying("No space left", "",
           "/run is full (df -h /run; df -i /run), or this host allows no more namespaces: sysctl user"),
    Saying("Too many open files", "", "raise the limit: ulimit -n, or sysctl fs.file-max"),
    Saying("No buffer space available|[Tt]able .*full|Neighbour table overflow",
           "a table of the kernel is full (No buffer space available)",
           "see: sysctl net.ipv4.neigh.default.gc_thresh3; dmesg names the table"),
    Saying("Cannot allocate memory", "the kernel has no memory left for it (Cannot allocate memory)",
           "free some memory (free -m), or raise the limit of this container"),
    Saying("Operation not permitted|Permission denied|must be root", "",
           "run it as root (sudo vpcctl …), or try it in a private host: vpcctl sandbox"),
    Saying("Unknown device type|Operation not supported|Protocol not supported",
           "this kernel does not support it (Operation not supported)",
           "load its modules: modprobe -a veth bridge ip_tables nf_tables"),
    Saying("Table does not exist|can't initialize iptables table|Failed to initialize nft", "",
           "the kernel lacks a module of iptables: modprobe -a ip_tables iptable_filter iptable_nat "
           "nf_tables"),
    Saying("holding the xtables lock|Resource temporarily unavailable",
           "another program holds the lock of iptables",
           "try again; to see what holds it: fuser /run/xtables.lock"),
    Saying("Network is unreachable|[Nn]exthop has invalid gateway|Network is down",
           "its gateway is unreachable (Network is unreachable)",
           "a link may be down: see vpcctl status; vpcctl restore brings it up"),
    Saying("Read-only file system", "", "that file system must be writable: mount -o remount,rw PATH"),
    Saying(GONE, "", "something that vpcctl made may be gone: see vpcctl status; "
                    "vpcctl restore brings it back"),
)
"""The first match counts."""

NOISE = (r"^(Command failed|We have an error talking to the kernel|Try `|Error occurred at line"
         r"|For more information|Dump terminated)")
"""Lines that say where in our own input it stopped, or how to read a manual."""

SPEAKER = (r"^(RTNETLINK answers: |Error: |sysctl: |ip: |bridge: "
           r"|[\w-]*tables(-[a-z]+)*( v[\d.]+)?( \([\w-]+\))?: *)+")
"""Who speaks, where the message begins with it: what failed is named in front of it."""

PLAIN = {"File exists": "it already exists", "No such process": "it does not exist",
         "No such device": "it does not exist", "Invalid argument": "the kernel refuses the value "
         "(Invalid argument)",
         "No space left on device": "a filter with that handle already exists (No space left on device)",
         "Device or resource busy": "it is in use (Device or resource busy)"}
"""Whole messages of the C library that say too little on their own."""


def is_there(text: str) -> bool:
    """Whether a tool said that a thing is there already."""
    return re.search(THERE, text) is not None


def is_gone(text: str) -> bool:
    """Whether a tool said that a thing is not there."""
    return re.search(GONE, text) is not None


def sentence(stderr: str) -> str:
    """All errors of a tool in one line; empty if it printed none."""
    return "; ".join(dict.fromkeys(filter(None, map(plain, stderr.splitlines()))))


def plain(line: str) -> str:
    """A line of a tool, in our words if there are any; empty if it means nothing to a person."""
    said = line.strip()
    if re.search(NOISE, said):
        return ""
    text = re.sub(SPEAKER, "", said).rstrip(".")
    if text in PLAIN:
        return PLAIN[text]
    found = _first(text)
    return found.words if found and found.words else text


def advice(stderr: str) -> str:
    """What helps; empty if unknown."""
    found = next((one for one in SAYINGS if one.fits(stderr)), None)
    return found.hint if found else ""


def _first(text: str) -> Saying | None:
    return next((one for one in SAYINGS if one.fits(text)), None)

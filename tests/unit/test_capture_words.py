"""What vpcctl has to know of tcpdump's arguments: where it captures, and where it writes."""

from __future__ import annotations

import pytest

from vpcctl_lib.managers.exec import values, writes_elsewhere


@pytest.mark.parametrize(("words", "link"), [
    ("-i lo", "lo"), ("-ilo", "lo"), ("-ni lo", "lo"), ("-nnvi lo icmp", "lo"), ("-enilo", "lo"),
    ("--interface lo", "lo"), ("--interface=lo", "lo"), ("--inter=lo", "lo"), ("icmp -i lo", "lo"),
    ("-i eth0 -ni lo", "lo"), ("-c 2 icmp", None), ("-w -i", None), ("-nw in.pcap", None), ("-Qin", None),
    ("--immediate-mode", None), ("-- -i lo", None), ("icmp", None), ("-", None)])
def test_the_link_is_found_wherever_getopt_finds_it(words: str, link: str | None) -> None:
    assert values(words.split()).get("i") == link


@pytest.mark.parametrize(("words", "expected"), [
    ("-w file", True), ("-wfile", True), ("-nw file", True), ("-n -Uw -", True), ("-W 3", False),
    ("-i w", False), ("-iw", False), ("host www", False), ("", False)])
def test_whether_it_writes_elsewhere(words: str, expected: bool) -> None:
    assert writes_elsewhere(words.split()) == expected

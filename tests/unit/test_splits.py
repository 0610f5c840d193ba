"""How rules are split: which packets a part is for, which rules it keeps, and when it is not worth it."""

from __future__ import annotations

from collections.abc import Iterable
from ipaddress import IPv4Network
from typing import Any

import pytest

from vpcctl_lib.firewall.splits import LAST_PORT, FarEnd, Line, Region, best, joined, line, size
from vpcctl_lib.model.policies import Action, Ports, Protocol, Rule

TCP, UDP, ICMP, ALL = Protocol.TCP, Protocol.UDP, Protocol.ICMP, Protocol.ALL
TEN = 0x0A000000
SOURCE = FarEnd("-s")


def rule(protocol: Protocol, ports: tuple[int, int] | int | None = None, network: str = "") -> Line:
    span = Ports(ports, ports) if isinstance(ports, int) else Ports(*ports) if ports else None
    text = f"{protocol.value} {ports or ''} {network}"
    return line(Rule(protocol, Action.ALLOW, span, IPv4Network(network) if network else None), text)


def hosts(*numbers: int, protocol: Protocol = ALL) -> tuple[Line, ...]:
    return tuple(rule(protocol, None, f"{IPv4Network(TEN + n)}") for n in numbers)


def ports(numbers: Iterable[int]) -> tuple[Line, ...]:
    return tuple(rule(TCP, number) for number in numbers)


@pytest.mark.parametrize(("words", "matches", "test"), [
    ((ALL,), (ALL, 0, 0, 0, LAST_PORT), ""),
    ((ICMP,), (ICMP, 0, 0, 0, LAST_PORT), "-p icmp"),
    ((TCP,), (TCP, 0, 0, 0, LAST_PORT), "-p tcp"),
    ((TCP, (1, LAST_PORT)), (TCP, 0, 0, 1, LAST_PORT), "-p tcp -m tcp --dport 1:65535"),
    ((UDP, 53), (UDP, 0, 0, 53, 53), "-p udp -m udp --dport 53"),
    ((ALL, None, "10.1.2.0/24"), (ALL, TEN + 0x10200, 24, 0, LAST_PORT), "-s 10.1.2.0/24"),
    ((UDP, None, "10.1.2.0/24"), (UDP, TEN + 0x10200, 24, 0, LAST_PORT), "-s 10.1.2.0/24 -p udp"),
    ((TCP, (80, 90), "10.0.0.1/32"), (TCP, TEN + 1, 32, 80, 90),
     "-s 10.0.0.1/32 -p tcp -m tcp --dport 80:90"),
])
def test_what_a_line_matches(words: Any, matches: tuple[object, ...], test: str) -> None:
    found = rule(*words)
    assert found[2:] == matches
    assert found.test(FarEnd("-s")) == test


@pytest.mark.parametrize(("spans", "together"), [
    ([(1, 5), (6, 9)], [(1, 9)]), ([(6, 9), (1, 5), (10, 12)], [(1, 12)]),
    ([(1, 5), (7, 9)], [(1, 5), (7, 9)]),
    ([(1, 9), (3, 5)], [(1, 9)]), ([(1, 5), (3, 9)], [(1, 9)]), ([(1, 9), (3, 5), (8, 12)], [(1, 12)]),
    ([(1, 2), (5, 6), (3, 4)], [(1, 6)])])
def test_adjoining_ports_are_one_line(spans: list[tuple[int, int]], together: list[tuple[int, int]]) -> None:
    found = joined(tuple(rule(TCP, span) for span in spans))
    assert [(one.first, one.last) for one in found] == together


def test_only_of_one_protocol_and_one_far_end() -> None:
    lines = (rule(TCP, 80), rule(UDP, 81), rule(TCP, 81, "10.0.0.0/8"), rule(TCP, 82, "10.0.0.0/16"))
    assert set(joined(lines)) == set(lines)


REGION = Region(TCP, TEN, 16, 80, 90)


@pytest.mark.parametrize(("cover", "covers"), [
    (rule(TCP, (80, 90), "10.0.0.0/16"), True), (rule(TCP, (1, 100), "10.0.0.0/8"), True), (rule(TCP), True),
    (rule(ALL, None, "10.0.0.0/16"), True), (rule(ALL), True), (rule(UDP), False),
    (rule(TCP, (81, 90)), False), (rule(TCP, (80, 89)), False), (rule(ALL, None, "10.0.0.0/17"), False)])
def test_no_packet_gets_past_a_line_that_matches_all_of_a_region(cover: Line, covers: bool) -> None:
    before, behind = rule(TCP, 85), rule(TCP, 86)
    assert REGION.up_to_cover((before, cover, behind)) == (before, cover, *(() if covers else (behind,)))


@pytest.mark.parametrize(("found", "kind"), [
    (rule(TCP, (80, 90), "10.0.0.0/16"), (False, False)), (rule(TCP), (False, False)),
    (rule(TCP, None, "10.0.0.0/17"), (True, False)), (rule(TCP, (81, 95)), (False, True)),
    (rule(TCP, (70, 89)), (False, True)), (rule(TCP, 85, "10.0.0.1/32"), (True, True))])
def test_the_kind_of_a_line_is_what_it_asks_for_in_the_region(found: Line, kind: tuple[bool, bool]) -> None:
    assert REGION.kind(found) == kind


def split(lines: Iterable[Line], region: Region, copies: float = 2.2,
          option: FarEnd = SOURCE) -> list[tuple[str, int]] | None:
    """Each part's test, and how many lines it has."""
    found = best(tuple(lines), region, copies, option)
    return None if found is None else [(branch.test, len(branch.lines)) for branch in found]


def test_protocols_are_told_apart_first() -> None:
    lines = (*ports(range(1, 12)), *(rule(UDP, n) for n in range(1, 10)), rule(ALL, None, "10.0.0.0/8"))
    assert split(lines, Region()) == [("-p tcp", 12), ("-p udp", 10), ("", 1)]
    found = best(lines, Region(), 2.2, FarEnd("-s")) or []
    assert [branch.region.protocol for branch in found] == [TCP, UDP, None]
    assert found[2].lines == lines[-1:], "a packet of another protocol meets what is for all"
    assert size(found) == 23


def test_not_where_most_lines_are_for_all_protocols() -> None:
    lines = (*ports(range(1, 5)), *(rule(UDP, n) for n in range(1, 5)))
    assert split((*lines, *(rule(ALL, None, f"10.0.0.0/{n}") for n in range(8, 10))), Region(), 1.3) is None
    assert split((*lines, rule(ALL, None, "10.0.0.0/8")), Region(), 1.3) == [
        ("-p tcp", 5), ("-p udp", 5), ("", 1)]


def test_single_ports_are_split_into_equal_ranges() -> None:
    lines = ports(range(100, 140))
    assert split(lines, Region(TCP)) == [
        ("-p tcp -m tcp --dport 0:107", 8), ("-p tcp -m tcp --dport 108:115", 8),
        ("-p tcp -m tcp --dport 116:123", 8), ("-p tcp -m tcp --dport 124:131", 8), ("", 8)]
    found = best(lines, Region(TCP), 2.2, FarEnd("-s")) or []
    assert [(branch.region.first, branch.region.last) for branch in found] == [
        (0, 107), (108, 115), (116, 123), (124, 131), (132, LAST_PORT)]
    assert [one.first for one in found[1].lines] == list(range(108, 116))


def test_a_range_is_in_each_part_that_it_spans() -> None:
    lines = [rule(TCP, (n * 10, n * 10 + 15)) for n in range(1, 41)]
    assert split(lines, Region(TCP)) == [
        ("-p tcp -m tcp --dport 0:95", 9), ("-p tcp -m tcp --dport 96:175", 9),
        ("-p tcp -m tcp --dport 176:255", 9), ("-p tcp -m tcp --dport 256:335", 9), ("", 8)]
    assert split(lines, Region(TCP), copies=1.0) is None, "with as many copies as that takes"


def test_a_part_of_one_port_asks_for_that() -> None:
    lines = [rule(TCP, port, "10.0.0.1/32") for port in (1, 2, 3, 4) for _ in range(12)]
    assert split(lines, Region(TCP, TEN, 24, 1, 4)) == [
        ("-p tcp -m tcp --dport 1", 12), ("-p tcp -m tcp --dport 2", 12), ("-p tcp -m tcp --dport 3", 12),
        ("", 12)]


def test_lines_that_begin_or_end_with_the_region_cut_nothing_off() -> None:
    lines = [rule(TCP, span, "10.0.0.1/32") for span in ((80, 85), (86, 90)) for _ in range(20)]
    assert split(lines, Region(TCP, first=80, last=90)) == [("-p tcp -m tcp --dport 80:85", 20), ("", 20)]


def test_between_two_ports_there_may_be_nothing() -> None:
    lines = [rule(TCP, port, f"10.0.0.0/{8 + n}") for n in range(12) for port in (10, 1000)]
    assert split(lines, Region(TCP)) == [
        ("-p tcp -m tcp --dport 0:10", 12), ("-p tcp -m tcp --dport 11:999", 0), ("", 12)]


def test_udp_has_ports_too() -> None:
    found = split([rule(UDP, port) for port in range(100, 140)], Region(UDP)) or []
    assert [count for _, count in found] == [8] * 5


def test_where_no_line_names_a_protocol_or_a_port_far_ends_tell_them_apart() -> None:
    for lines, region in ((hosts(*range(40)), Region()), (hosts(*range(40), protocol=TCP), Region(TCP))):
        found = split(lines, region) or []
        assert found[0][0] == "-s 10.0.0.0/29"
        assert sum(count for _, count in found) == 40


def test_at_most_eight_parts() -> None:
    found = split(ports(range(1, 801)), Region(TCP)) or []
    assert [count for _, count in found] == [100] * 8


@pytest.mark.parametrize("protocol", [ICMP, None])
def test_what_has_no_ports_is_not_split_by_them(protocol: Protocol | None) -> None:
    assert split(ports(range(100, 140)), Region(protocol)) is None


def test_hosts_are_split_into_the_networks_that_hold_as_many() -> None:
    lines = hosts(*((n // 8 << 8) + n % 8 for n in range(40)))
    assert split(lines, Region(None), option=FarEnd("-d")) == [
        *((f"-d 10.0.{n}.0/29", 8) for n in range(5)), ("", 0)]
    found = best(lines, Region(None), 2.2, FarEnd("-d")) or []
    assert [(branch.region.start, branch.region.length) for branch in found] == [
        *((TEN + (n << 8), 29) for n in range(5)), (0, 0)]
    assert found[2].lines == lines[16:24]


def test_narrow_networks_come_before_wide_ones_and_keep_what_is_around_them() -> None:
    around = rule(ALL, None, "10.0.0.0/8")
    elsewhere = rule(ALL, None, "192.168.0.0/16")
    lines = (elsewhere, *hosts(*range(20)), around, *hosts(*range(0x10000, 0x10014)), rule(ALL))
    assert split(lines, Region(None)) == [
        ("-s 10.0.0.0/28", 17), ("-s 10.1.0.0/28", 1), ("-s 10.0.0.0/8", 5), ("", 2)]
    found = best(lines, Region(None), 2.2, FarEnd("-s")) or []
    assert found[0].lines == (*lines[1:17], around)
    assert found[1].lines == (around,), "no packet gets past it to those behind"


def test_the_smaller_parts_win() -> None:
    by_both = [rule(TCP, 1000 + n, f"10.0.0.{n % 3}/32") for n in range(40)]
    assert (split(by_both, Region(TCP)) or [])[0][0].startswith("-p tcp"), "equal ranges of ports"
    two_ports = [rule(TCP, 80 + n % 2, f"10.0.{n}.1/32") for n in range(40)]
    assert (split(two_ports, Region(TCP)) or [])[0][0].startswith("-s "), "more far ends than ports"


def test_what_leaves_nearly_all_together_is_no_split() -> None:
    same = [rule(TCP, 80, "10.0.0.1/32")] * 36
    assert split((*same, *hosts(300, 301, 302, 303, protocol=TCP)), Region(TCP)) is None

"""What the collector of flow logs makes of what the kernel counts: accounts, records, orders, journal."""

from __future__ import annotations

import json
import os
import struct
from collections.abc import Iterator
from ipaddress import IPv6Address, ip_address
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpcctl_lib.flows import accounts, config, records, totals
from vpcctl_lib.flows.accounts import NONE, Account, Interval, Tally
from vpcctl_lib.flows.config import Log, Machine, Watched
from vpcctl_lib.flows.journal import Journal
from vpcctl_lib.flows.names import IN, OUT, SAVED, UNDER_WAY
from vpcctl_lib.flows.reading import counted
from vpcctl_lib.flows.totals import Totals
from vpcctl_lib.kernel.netlink import Netlink, attribute

WEB = Machine("vpc1/web", "eni-0", "vpc1-web", "s-web", "4", "policy", ("10.0.1.2",))
LOG = Log("vpc1.log", "", "", "all", 60, "v2")
NOTHING = {IN: {}, OUT: {}}


def key(source: str, destination: str, protocol: int = 6, sport: int = 40000, dport: int = 80) -> bytes:
    """A key as the kernel has it: each part is padded to four bytes."""
    ends = ip_address(source).packed + ip_address(destination).packed
    return ends + struct.pack(">BxxxHxxHxx", protocol, sport, dport)


KEY = key("10.0.2.2", "10.0.1.2")


def account(length: int = 60) -> Account:
    return Account({length: Interval(0.0)})


def tallies(one: Account) -> dict[bytes, Tally]:
    (interval,) = one.intervals.values()
    return {flow[1]: tally for flow, tally in interval.flows.items()}


def test_what_came_to_rules_and_not_behind_them_is_refused() -> None:
    one = account()
    one.take({IN: {KEY: (5, 500)}, OUT: {}}, {IN: {KEY: (3, 300)}, OUT: {}}, NOTHING)
    assert tallies(one) == {KEY: Tally((3, 300), (2, 200), NONE)}
    one.take(NOTHING, NOTHING, {IN: {KEY: (4, 400)}, OUT: {}})
    assert tallies(one) == {KEY: Tally((7, 700), (2, 200), NONE)}


def test_a_packet_between_the_two_readings_is_not_refused() -> None:
    """It was counted behind the rules at once, and before them only the next time."""
    one = account()
    one.take({IN: {KEY: (1, 60)}, OUT: {}}, {IN: {KEY: (3, 1560)}, OUT: {}}, NOTHING)
    assert tallies(one)[KEY].refused == NONE
    one.take({IN: {KEY: (5, 2200)}, OUT: {}}, {IN: {KEY: (2, 600)}, OUT: {}}, NOTHING)
    assert tallies(one) == {KEY: Tally((5, 2160), (1, 100), NONE)}
    assert one.carried == {}


def test_what_an_acl_drops_on_the_way_out_is_not_accepted_too() -> None:
    one = account()
    one.deny(OUT, KEY, (2, 200))
    one.deny(IN, KEY, (1, 100))
    one.deny(IN, KEY, (1, 100))
    one.take(NOTHING, NOTHING, {IN: {}, OUT: {KEY: (5, 500)}})
    flows = one.intervals[60].flows
    assert flows == {(OUT, KEY): Tally((3, 300), NONE, (2, 200)), (IN, KEY): Tally(NONE, NONE, (2, 200))}
    assert flows[IN, KEY].rejected == (2, 200)
    # Dropped before it was counted at its machine: the next reading sets that right.
    one.deny(OUT, KEY, (1, 100))
    one.take(NOTHING, NOTHING, NOTHING)
    one.take(NOTHING, NOTHING, {IN: {}, OUT: {KEY: (2, 200)}})
    assert flows[OUT, KEY] == Tally((4, 400), NONE, (3, 300))


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 5), st.integers(0, 3)), min_size=1, max_size=20))
def test_however_the_readings_fall_the_sums_are_right(rounds: list[tuple[int, int, int]]) -> None:
    """In each round packets pass and are refused; so many of the passed ones come between the readings."""
    one, late = account(), 0
    for passed, refused, between in rounds:
        between = min(between, passed)
        seen = late + passed - between + refused
        late = between
        one.take({IN: {KEY: (seen, 100 * seen)} if seen else {}, OUT: {}},
                 {IN: {KEY: (passed, 100 * passed)} if passed else {}, OUT: {}}, NOTHING)
    one.take({IN: {KEY: (late, 100 * late)} if late else {}, OUT: {}}, NOTHING, NOTHING)
    found = tallies(one).get(KEY, Tally())
    passed, refused = (sum(one[place] for one in rounds) for place in (0, 1))
    assert (found.accepted, found.refused) == ((passed, 100 * passed), (refused, 100 * refused))


@pytest.mark.parametrize(("since", "length", "now", "over"), [
    (0.0, 60, 59.9, False), (0.0, 60, 60.0, True), (59.0, 60, 60.1, True), (60.1, 60, 119.0, False),
    (10.2, 1, 10.9, False), (10.2, 1, 11.0, True)])
def test_an_interval_ends_by_the_clock(since: float, length: int, now: float, over: bool) -> None:
    assert accounts.due(Interval(since), length, now) is over


def lines(interval: Interval, log: Log = LOG, owners: dict[str, str] | None = None) -> list[str]:
    return list(records.lines(log, WEB, interval, 120.0, owners or {}))


def test_a_record_has_the_fields_of_version_2() -> None:
    interval = Interval(60.0, {(IN, KEY): Tally((3, 300), (2, 200), (1, 100))})
    assert lines(interval) == [
        "2 000000000000 eni-0 10.0.2.2 10.0.1.2 40000 80 6 3 300 60 120 ACCEPT OK",
        "2 000000000000 eni-0 10.0.2.2 10.0.1.2 40000 80 6 3 300 60 120 REJECT OK"]
    assert len(lines(interval)[0].split(" ")) == len(records.FIELDS)
    assert [line.split(" ")[12] for line in lines(interval, LOG._replace(traffic="accept"))] == ["ACCEPT"]
    assert [line.split(" ")[12] for line in lines(interval, LOG._replace(traffic="reject"))] == ["REJECT"]
    six = key("fd00::1", "fd00::2", 58, 0, 0)
    (line,) = lines(Interval(60.0, {(OUT, six): Tally((1, 64))}))
    assert line.split(" ")[3:8] == ["fd00::1", "fd00::2", "0", "0", "58"]


def test_what_is_not_there_and_what_is_not_known_is_said() -> None:
    assert lines(Interval(60.0)) == ["2 000000000000 eni-0 - - - - - - - 60 120 - NODATA"]
    skipped = Interval(60.0, {(IN, KEY): Tally((3, 300))}, True)
    assert [line.rpartition(" ")[2] for line in lines(skipped)] == ["SKIPDATA", "OK"]
    # Only what a log is for has records, but packets came: that is no lack of data.
    assert lines(Interval(60.0, {(IN, KEY): Tally((3, 300))}), LOG._replace(traffic="reject")) == []


def test_json_says_who_refused_and_what_to_ask() -> None:
    log = LOG._replace(format="json")
    interval = Interval(60.0, {(IN, KEY): Tally(NONE, (2, 200), (1, 100))})
    (found,) = map(json.loads, lines(interval, log, {"10.0.2.2": "vpc1/db"}))
    assert (found["refused_by"], found["direction"], found["machine"]) == (
        ["policy", "acl"], "ingress", "vpc1/web")
    assert found["ask"] == "vpcctl reach --from vpc1/db --to vpc1/web --protocol tcp --port 80"
    (found,) = map(json.loads, lines(interval, log))
    assert found["ask"] is None, "nobody knows who sent it"
    out = Interval(60.0, {(OUT, key("10.0.1.2", "8.8.8.8", 1, 0, 0)): Tally(NONE, (1, 84))})
    (found,) = map(json.loads, lines(out, log))
    assert found["ask"] == "vpcctl reach --from vpc1/web --to 8.8.8.8 --protocol icmp"
    assert {*records.FIELDS, "machine", "direction", "refused_by", "ask"} == {*found}
    six = Interval(60.0, {(IN, key("fd00::2", "fd00::1")): Tally(NONE, (1, 84))})
    (found,) = map(json.loads, lines(six, log, {"fd00::2": "vpc1/db", "fd00::1": "vpc1/web"}))
    assert found["ask"] == "vpcctl reach --from vpc1/db --to fd00::1 --protocol tcp --port 80"
    later = Interval(60.0, {(OUT, key("10.0.1.2", "10.0.2.2", 17, 0, 0)): Tally(NONE, (1, 84))})
    (found,) = map(json.loads, lines(later, log))
    assert found["ask"] is None, "a later fragment has no port to ask about"
    (found,) = map(json.loads, lines(Interval(60.0), log))
    assert (found["log_status"], found["srcaddr"], found["action"]) == ("NODATA", None, None)


def test_a_format_is_known_by_its_first_byte() -> None:
    begins = {form: lines(Interval(60.0), LOG._replace(format=form))[0].encode()[:1]
              for form in ("v2", "json")}
    for form, first in begins.items():
        assert [other for other in begins if records.is_of(other, first)] == [form]
        assert records.is_of(form, b""), "nothing is there yet"


def test_orders_are_read_back_and_half_of_them_are_none() -> None:
    told = (config.machine_line(WEB), config.log_line(LOG), config.end_line("acls"))
    text = "\n".join(("# vpcctl:vpc1", *told))
    assert config.parsed(text) == Watched((LOG,), (WEB,), "acls")
    for end in range(len(text) - 1):
        assert config.parsed(text[:end]) is None
    assert LOG.covers("vpc1/web/web1")
    assert not LOG._replace(subnet="db").covers("vpc1/web")
    one = LOG._replace(subnet="web", instance="a")
    assert [one.covers(f"vpc1/web{end}") for end in ("", "/a", "/b")] == [False, True, False]


@pytest.fixture
def journal(tmp_path: Path) -> Iterator[Journal]:
    folder = os.open(tmp_path, os.O_RDONLY)
    yield Journal(folder)
    os.close(folder)


def test_what_is_kept_is_what_was_known(journal: Journal, tmp_path: Path) -> None:
    one = Account({60: Interval(7.0, {(IN, KEY): Tally((1, 2), (3, 4), (5, 6))}, True)}, 8.0, 9, "7 8",
                  {(OUT, KEY): ((-1, -100), NONE)}, {(OUT, KEY): (2, 200)}, -3)
    journal.reads(["vpc1/web"])
    journal.done({"vpc1/web": one, "vpc1/db": Account(missing=None)}, True)
    assert journal.kept() == {"vpc1/web": one, "vpc1/db": Account(missing=None)}
    assert not (tmp_path / UNDER_WAY).exists()


@pytest.mark.parametrize(("readings", "skipped"), [
    # Packets that came while it was read: counted behind the rules at once, before them the next time.
    ([0, -2, 2, -1, 1], []), ([1], [0]), ([-2, 3, 0], [1]), ([5, 0, 2], [0, 2]), ([-3, 1, 1], [])])
def test_packets_that_something_else_took_are_said_to_be_missing(readings: list[int],
                                                                 skipped: list[int]) -> None:
    one, found = account(), []
    for number, packets in enumerate(readings):
        one.miss(packets)
        found += [number] if one.intervals[60].skipped else []
        one.intervals[60].skipped = False
    assert found == skipped


def test_what_is_missing_after_a_loss_is_not_known() -> None:
    one = account()
    one.miss(-4)
    one.lose()
    assert one.missing is None
    one.intervals[60].skipped = False
    one.miss(7)
    assert (one.missing, one.intervals[60].skipped) == (0, False), "half of it was read before"
    one.miss(1)
    assert one.intervals[60].skipped


@pytest.mark.parametrize(("space", "handle", "lost"), [("1 2", 3, False), ("1 2", 4, True), ("1 5", 3, True)])
def test_what_was_counted_in_another_table_is_lost(space: str, handle: int, lost: bool) -> None:
    one = account()
    one.found("1 2", 3)
    assert not one.intervals[60].skipped, "it is the first one"
    one.found(space, handle)
    assert one.intervals[60].skipped is lost
    assert (one.space, one.handle) == (space, handle)


def test_totals_are_kept_with_the_accounts(journal: Journal, tmp_path: Path) -> None:
    assert totals.read(tmp_path) is None
    journal.totals.wrote("vpc1.log", 3, False)
    journal.totals.wrote("vpc1.log", 2, True)
    journal.totals.lose("vpc1/web", 0)
    journal.totals.lose("vpc1/web", 7)
    journal.reads(["vpc1/web"])
    journal.done({"vpc1/web": account()}, True)
    reading = totals.read(tmp_path)
    assert reading is not None
    assert reading.totals == Totals({"vpc1.log": 5}, {"vpc1.log": 1}, {"vpc1/web": 7})
    assert reading.when == (tmp_path / SAVED).stat().st_mtime
    journal.totals = Totals()
    assert list(journal.kept()) == ["vpc1/web"]
    assert journal.totals == reading.totals
    journal.totals.forget("vpc1.log", "vpc1/web", "other")
    assert journal.totals == Totals()


@pytest.mark.parametrize("text", ["", "[]", '{"totals": 1}', '{"totals": {"lost": {"vpc1": "x"}}}'])
def test_what_is_no_reading_is_none(tmp_path: Path, text: str) -> None:
    (tmp_path / "other").write_text('{"totals": {}}')
    (tmp_path / SAVED).write_text(text)
    assert totals.read(tmp_path) is None
    (tmp_path / SAVED).unlink()
    (tmp_path / SAVED).symlink_to("other")
    assert totals.read(tmp_path) is None


def test_who_is_killed_while_it_reads_says_that_something_is_missing(journal: Journal) -> None:
    journal.reads(["vpc1/web"])
    journal.done({"vpc1/web": account(), "vpc1/db": account()}, True)
    journal.reads(["vpc1/web"])
    found = journal.kept()
    assert [one.intervals[60].skipped for one in found.values()] == [True, False]


def test_who_is_killed_while_it_writes_writes_nothing_twice(journal: Journal, tmp_path: Path) -> None:
    log = tmp_path / "vpc1.log"
    log.write_text("old\n")
    journal.reads(["vpc1/web"])
    journal.done({"vpc1/web": account()}, False)
    journal.writes(["vpc1.log", "new.log"])
    log.write_text("old\nnew\n")
    assert not journal.kept()["vpc1/web"].intervals[60].skipped
    assert log.read_text() == "old\n"


def test_what_is_no_flow_is_not_kept(journal: Journal) -> None:
    """An earlier collector may have kept keys of sets that were not as they were made."""
    wrong, six = b"\1\2\3\4", key("fd00::1", "fd00::2")
    flows = {(IN, one): Tally((1, 2)) for one in (wrong, KEY, six)}
    one = Account({60: Interval(7.0, flows)}, 8.0, 9, "", {(OUT, wrong): (NONE, NONE)},
                  {(IN, wrong): (1, 2)})
    journal.reads(["vpc1/web"])
    journal.done({"vpc1/web": one}, True)
    del flows[IN, wrong]
    assert journal.kept() == {"vpc1/web": Account({60: Interval(7.0, flows)}, 8.0, 9)}


@pytest.mark.parametrize(("text", "says"), [
    ("[", "Expecting value"), ('{"vpc1/web": 7}', "not as it was written"),
    ('{"vpc1/web": {"read": "x"}}', "could not convert")])
def test_a_journal_of_others_is_refused(journal: Journal, tmp_path: Path, text: str, says: str) -> None:
    (tmp_path / SAVED).write_text(text)
    with pytest.raises(ValueError, match=says):
        journal.kept()


def element(key: bytes, packets: int, size: int, expressions: bool = False) -> bytes:
    """An element as the kernel lists it (linux/netfilter/nf_tables.h), with its time, and a counter."""
    data = attribute(2, attribute(1, size.to_bytes(8, "big")) + attribute(2, packets.to_bytes(8, "big")))
    counter = attribute(1, b"counter\0") + data
    parts = attribute(11, attribute(1, counter)) if expressions else attribute(7, counter)
    return attribute(1, attribute(1, attribute(1, key)) + attribute(5, bytes(8)) + parts)


def test_elements_are_read_by_their_layout() -> None:
    six = key("fd00::1", "fd00::2")
    some = element(KEY, 3, 180) + element(six, 4, 320) + element(key("10.0.0.1", "10.0.0.2"), 0, 0)
    more = element(key("10.0.0.3", "10.0.0.4"), 1 << 40, 1 << 50, expressions=True)
    said = [bytes(4) + attribute(1, b"t\0") + attribute(3, one) for one in (some, more)]
    assert counted(iter(said)) == {KEY: (3, 180), six: (4, 320),
                                   key("10.0.0.3", "10.0.0.4"): (1 << 40, 1 << 50)}
    assert records.ends(six).source == str(IPv6Address("fd00::1"))


def test_an_element_without_a_counter_is_none_of_ours() -> None:
    bare = attribute(1, attribute(1, attribute(1, KEY)) + attribute(5, bytes(8)))
    everything = attribute(1, attribute(5, bytes(8)))
    for one in (bare, everything):
        with pytest.raises(LookupError):
            counted(iter([bytes(4) + attribute(3, one)]))


def test_more_than_has_room_is_refused() -> None:
    get_link = 18
    with Netlink() as netlink:
        assert netlink.listing(get_link, bytes(16), 1, 1 << 20)
        with pytest.raises(OSError, match="File too large"):
            netlink.listing(get_link, bytes(16), 1, 1)


@pytest.mark.filterwarnings("ignore:datetime.datetime.utcfromtimestamp:DeprecationWarning")
def test_a_public_reader_of_aws_s_flow_logs_takes_the_lines_as_they_are() -> None:
    from flowlogs_reader import FlowRecord

    flows = {(IN, KEY): Tally((3, 300), (2, 200)), (OUT, key("fd00::1", "fd00::2")): Tally((1, 64))}
    written = (*lines(Interval(60.0, flows, True)), *lines(Interval(60.0)))
    found = [FlowRecord.from_cwl_event({"message": line}) for line in written]
    assert [one.log_status for one in found] == ["SKIPDATA", "OK", "OK", "OK", "NODATA"]
    assert [(one.action, one.packets, one.bytes) for one in found[1:4]] == [
        ("ACCEPT", 3, 300), ("REJECT", 2, 200), ("ACCEPT", 1, 64)]
    accepted = found[1]
    assert (accepted.srcaddr, accepted.srcport, accepted.dstaddr, accepted.dstport, accepted.protocol) == (
        "10.0.2.2", 40000, "10.0.1.2", 80, 6)
    assert (accepted.interface_id, accepted.account_id, accepted.version) == ("eni-0", "000000000000", 2)
    assert (accepted.end - accepted.start).total_seconds() == 60

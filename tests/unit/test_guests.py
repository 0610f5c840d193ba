"""What is in somebody else's namespaces: found in the ledger, and left out of what stops a command."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tests.fields import FULL
from vpcctl_lib.blueprint import blueprint
from vpcctl_lib.engine.guests import among, apart_from, calm
from vpcctl_lib.engine.plan import difference
from vpcctl_lib.record.ledger import Entry, Verb
from vpcctl_lib.resources import MISSING

pytestmark = pytest.mark.usefixtures("bare_host")

BOX, LAB = "vpc1-range.box", "vpc1-range.lab"
"""The attached machines of the network."""


@pytest.fixture
def entries() -> list[Entry]:
    """The ledger once all is there."""
    return list(difference((), blueprint(FULL)).after)


def words(found: list[Entry]) -> list[str]:
    return [str(entry.resource) for entry in found]


def test_what_is_in_a_guest_or_on_its_cable_is_found_in_order(entries: list[Entry]) -> None:
    found = words(among(entries, (LAB,)))
    assert found == [
        "namespace vpc1-range.lab of /run/netns/lab", "cable i-range.lab in vpc1 to eth0 in vpc1-range.lab",
        "link i-range.lab in vpc1", "switching of port i-range.lab in vpc1",
        "MAC 02:10:0a:00:04:07 at port i-range.lab in vpc1", "settings of eth0 in vpc1-range.lab",
        "link eth0 in vpc1-range.lab", "address 10.0.4.7/24 on eth0 in vpc1-range.lab",
        *(f"route {route} in vpc1-range.lab" for route in (
            "10.0.0.1/32 dev eth0 scope link", "10.0.0.0/16 via 10.0.0.1 dev eth0",
            "10.40.0.0/24 via 10.0.0.1 dev eth0", "10.50.0.0/16 via 10.0.0.1 dev eth0",
            "default via 10.0.0.1 dev eth0 metric 30320", "192.168.0.0/24 via 10.0.0.1 dev eth0",
            "169.254.64.2/32 via 10.0.0.1 dev eth0")),
        "neighbour 10.0.0.1 on eth0 in vpc1-range.lab"]


def test_what_is_left_of_a_guest_without_its_name_or_cable_is_found(entries: list[Entry]) -> None:
    whole = among(entries, (LAB,))
    for number in (1, 2):
        left = [one for one in entries if one not in whole[:number]]
        inside = [one for one in whole[number:] if LAB in str(one.resource)]
        assert [one for one in among(left, (LAB,)) if LAB in str(one.resource)] == inside


def test_of_several_each_has_its_own(entries: list[Entry]) -> None:
    both, lab, box = (words(among(entries, names)) for names in ((LAB, BOX), (LAB,), (BOX,)))
    assert both == [one for one in words(entries) if one in (*lab, *box)]
    assert len(both) == len(lab) + len(box)
    assert not among(entries, ())
    assert not among(entries, ("vpc1-range.other",))


def test_another_machine_s_things_stay_out(entries: list[Entry]) -> None:
    assert not [one for one in words(among(entries, (LAB,))) if "db" in one or "box" in one]


def test_faults_in_guests_do_not_count(entries: list[Entry]) -> None:
    faults = {entry.resource.key: MISSING for entry in entries}
    left = apart_from(entries, faults, (LAB,))
    theirs = {entry.resource.key for entry in among(entries, (LAB,))}
    assert left == {key: fault for key, fault in faults.items() if key not in theirs}
    assert 0 < len(left) < len(faults)
    assert apart_from(entries, faults, ()) is faults


def test_where_there_is_no_fault_no_guest_is_looked_for(entries: list[Entry]) -> None:
    def nobody() -> list[Entry]:
        raise AssertionError("the ledger is read")
        yield

    assert apart_from(nobody(), {}, (LAB,)) == {}


@pytest.mark.parametrize("verb", Verb)
def test_a_guest_in_which_a_change_is_under_way_is_not_calm(entries: list[Entry], verb: Verb) -> None:
    assert calm(iter(entries), (BOX, LAB)) == {BOX, LAB}
    for entry in among(entries, (LAB,)):
        half = [replace(one, under_way=verb) if one is entry else one for one in entries]
        assert calm(half, (BOX, LAB)) == {BOX}

"""Mirrors and bandwidths of a lost record: what the marks of links tell, and which of them are believed."""

from __future__ import annotations

from ipaddress import IPv4Address
from types import SimpleNamespace
from typing import Any

import pytest

from vpcctl_lib.engine import found_limits
from vpcctl_lib.engine.found_mirrors import mirrors
from vpcctl_lib.model.endpoints import Site
from vpcctl_lib.model.mirrors import Mirror
from vpcctl_lib.model.topology import Machine

WEB = Machine("web", (IPv4Address("10.0.1.4"),))
NAMES = ("vpc1", "public", "web")
OURS = "vpcctl:vpc1~mirror/public/web~"


def mirrored(links: dict[str, str]) -> tuple[list[Mirror], list[str]]:
    """The mirrors of the machine where the router has these links with these marks, and what is noted."""
    notes: list[str] = []
    said = [{"ifname": name, **({"ifalias": alias} if alias else {})} for name, alias in links.items()]
    kernel: Any = SimpleNamespace(links=lambda namespace: said if namespace == "vpc1" else [])
    return [*mirrors(kernel, WEB, NAMES, notes)], notes


def test_mirrors_are_found_by_their_links() -> None:
    links = {"lo": "", "copy1": f"{OURS}tap", "copy7": f"{OURS}tap/box", "copy7-in": f"{OURS}tap/box",
             "copy9": OURS.replace("/web", "/other"), "copy01": f"{OURS}tap", "s-copy2": f"{OURS}tap",
             "copy3": "mine", "copy4": ""}
    assert mirrored(links) == ([Mirror("tap", 1), Mirror("tap/box", 7, plain=True)], [])


@pytest.mark.parametrize(("device", "to"), [("copy1", "a/b/c"), ("copy1", ""), ("copy99999999", "tap")])
def test_a_mirror_that_nobody_may_have_is_noted(device: str, to: str) -> None:
    assert mirrored({device: OURS + to, "copy2": f"{OURS}tap"}) == (
        [Mirror("tap", 2)], ["a mirror of 'vpc1/public/web' can't be rebuilt: its mark is not vpcctl's"])


UNKNOWN = ["the bandwidth of 'vpc1/public/web' is unknown: it has no limit now"]
SHAPER = "vpcctl:vpc1~limit/public/web"


@pytest.mark.parametrize(("mark", "rates", "found", "noted"), [
    (None, {"i-public.web": 10**8}, "", []), ("mine", {"i-public.web": 10**8}, "", []),
    (SHAPER, {"i-public.web": 10**8, "q-public.web": 10**7}, "100mbit", []),
    (SHAPER, {"q-public.web": 10**7}, "10mbit", []), (SHAPER, {"i-public.web": 10**9}, "1gbit", []),
    (SHAPER, {}, "", UNKNOWN), (SHAPER, {"i-public.web": 1}, "", UNKNOWN)])
def test_a_bandwidth_is_that_of_the_queue_behind_a_marked_link(
        monkeypatch: pytest.MonkeyPatch, mark: str | None, rates: dict[str, int], found: str,
        noted: list[str]) -> None:
    monkeypatch.setattr(found_limits, "rate_of", lambda _, space, device: rates.get(device))
    links = {("vpc1", "q-public.web"): {"ifalias": mark}} if mark else {}
    kernel: Any = SimpleNamespace(link=lambda *place: links.get(place))
    notes: list[str] = []
    assert found_limits.bandwidth(kernel, Site(*NAMES), notes) == found
    assert notes == noted

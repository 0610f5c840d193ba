"""Counters of the rules that stay."""

from __future__ import annotations

from vpcctl_lib.kernel.saves import Saved
from vpcctl_lib.resources.kept import kept

LISTING = """*filter
:INPUT ACCEPT [7:7]
[9:900] -A INPUT -m conntrack --ctstate RELATED,ESTABLISHED -j ACCEPT
[0:0] -A INPUT -p tcp -m tcp --dport 22 -m comment --comment "vpcctl:ingress[0]" -j ACCEPT
[3:180] -A INPUT -p tcp -m tcp --dport 80 -m comment --comment "vpcctl:ingress[1]" -j ACCEPT
[2:168] -A INPUT -m comment --comment "vpcctl:ingress.default" -j DROP
COMMIT
"""


def test_a_rule_keeps_its_counters_wherever_it_stands() -> None:
    established = "-A INPUT -m conntrack --ctstate ESTABLISHED,RELATED -j ACCEPT"
    web = "-A INPUT -p tcp -m tcp --dport 80 -m comment --comment vpcctl:ingress[0] -j ACCEPT"
    assert kept(Saved(LISTING), [":INPUT ACCEPT [0:0]", "-F INPUT", established, web]) == \
        {established: "[9:900]", web: "[3:180]"}


def test_another_rule_begins_at_nothing() -> None:
    others = ["-A INPUT -p tcp -m tcp --dport 80 -m comment --comment vpcctl:ingress[1] -j DROP",
              "-A INPUT -s 10.0.0.0/8 -p tcp --dport 80 -m comment --comment vpcctl:ingress[1] -j ACCEPT",
              "-A OUTPUT -p tcp -m tcp --dport 80 -m comment --comment vpcctl:egress[1] -j ACCEPT",
              "-A INPUT -m comment --comment vpcctl:ingress.default -j ACCEPT"]
    assert kept(Saved(LISTING), others) == {}
    assert kept(Saved(""), others) == {}


def test_what_has_counted_nothing_and_what_is_no_rule_is_left_out() -> None:
    ssh = "-A INPUT -p tcp -m tcp --dport 22 -m comment --comment vpcctl:ingress[1] -j ACCEPT"
    assert kept(Saved(LISTING), [ssh, "*filter", "-F INPUT", "COMMIT"]) == {}


def test_others_comments_tell_rules_apart_and_so_do_other_options_with_our_mark() -> None:
    listing = ('[1:60] -A INPUT -m comment --comment "one" -j ACCEPT\n'
               "[2:60] -A INPUT -j vpcctl:x\n[4:60] -A OUTPUT\n")
    assert kept(Saved(listing), ["-A INPUT -m comment --comment two -j ACCEPT", "-A INPUT -j vpcctl:y",
                          "-A INPUT"]) == {}
    same = ["-A INPUT -m comment --comment one -j ACCEPT", "-A OUTPUT"]
    assert kept(Saved(listing), same) == dict(zip(same, ["[1:60]", "[4:60]"], strict=True))

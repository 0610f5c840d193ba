"""What iptables-save printed, read only as far as somebody asks."""

from __future__ import annotations

from vpcctl_lib.kernel import HeldChain, Saved, words

SAVED = """\
# Table `mangle' is incompatible, use 'nft' tool.
*nat
:POSTROUTING ACCEPT [0:0]
-A POSTROUTING -j MASQUERADE
COMMIT
*filter
:INPUT DROP [1:2]
:OURS - [0:0]
-A INPUT -s 10.0.0.0/8 -j ACCEPT
-A INPUT -m comment --comment "a
-A OURS -j ACCEPT
b" -j DROP
COMMIT
"""


def test_chains_with_their_rules() -> None:
    saved = Saved(SAVED)
    assert set(saved) == {("nat", "POSTROUTING"), ("filter", "INPUT"), ("filter", "OURS")}
    assert saved["filter", "INPUT"] == HeldChain("DROP", (
        words("-s 10.0.0.0/8 -j ACCEPT"),
        frozenset({("--comment", "a\n-A OURS -j ACCEPT\nb"), ("-j", "DROP")})))
    assert saved["filter", "OURS"] == HeldChain("")
    assert saved.get(("filter", "OUTPUT")) is None


def test_tables_that_iptables_left_out() -> None:
    assert Saved(SAVED).unreadable == {"mangle"}
    assert Saved("").unreadable == frozenset()


def test_odd_lines_are_no_obstacle() -> None:
    saved = Saved("*filter\n:\n:ODD\n-A\n-A ODD\n-A NONE -j DROP\nwhatever\n")
    assert saved["filter", "ODD"] == HeldChain("", (frozenset(),))

"""A chain with those that it leads to: all there before they are led to, and gone in the same commit."""

from __future__ import annotations

from collections.abc import Mapping

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.kernel.saves import words
from vpcctl_lib.resources import Chain, Operations
from vpcctl_lib.resources.operations import Iptables
from vpcctl_lib.resources.packing import packed, unpacked

ONE = {"A": ("-s 10.0.0.0/8 -g B", "-j DROP"), "B": ("-j ACCEPT",)}
OTHER = {"B": ("-j DROP",), "C": ("-j ACCEPT",)}


def chain(inner: Mapping[str, tuple[str, ...]]) -> Chain:
    return Chain("n", "filter", "INPUT", tuple(f"-j {name}" for name in inner), inner=packed(inner))


def lines(operations: Operations) -> list[str]:
    return [operation.line for operation in operations if isinstance(operation, Iptables)]


def test_made() -> None:
    assert lines(chain(ONE).make()) == [
        ":A - [0:0]", ":B - [0:0]", ":INPUT ACCEPT [0:0]", "-F INPUT", "-A INPUT -j A", "-A INPUT -j B",
        "-A A -s 10.0.0.0/8 -g B", "-A A -j DROP", "-A B -j ACCEPT"]


def test_changed() -> None:
    assert lines(chain(OTHER).change(chain(ONE))) == [
        ":B - [0:0]", ":C - [0:0]", ":INPUT ACCEPT [0:0]", "-F INPUT", "-A INPUT -j B", "-A INPUT -j C",
        "-A B -j DROP", "-A C -j ACCEPT", "-F A", "-X A"]


def test_changed_to_one_that_leads_nowhere_and_back() -> None:
    assert lines(chain({}).change(chain(ONE)))[2:] == ["-F A", "-F B", "-X A", "-X B"]
    assert lines(chain(ONE).change(chain({}))) == lines(chain(ONE).make())


def test_unmade() -> None:
    assert lines(chain(ONE).unmake({})) == [
        ":INPUT ACCEPT [0:0]", "-F INPUT", "-F A", "-F B", "-X A", "-X B"]


names = st.text("ABZ019-", min_size=1, max_size=9).map("VPCCTL-{}".format)
texts = st.builds("-s {}/{} -j {}".format, st.text("0129.", min_size=1, max_size=9), st.integers(0, 99),
                  st.text("ADZ", min_size=1, max_size=9))


@given(st.dictionaries(names, st.lists(texts, min_size=1, max_size=5).map(tuple), max_size=5))
def test_packed_is_unpacked_to_the_same(chains: dict[str, tuple[str, ...]]) -> None:
    assert unpacked(packed(chains)) == chains


@pytest.mark.parametrize("text", ["x", "!!", "é", packed(ONE)[:-3]])
def test_a_damaged_record_is_told(text: str) -> None:
    with pytest.raises(VpcctlError, match="damaged"):
        unpacked(text)


@pytest.mark.parametrize(("rule", "option"), [
    ('-m comment --comment "vpcctl:ingress[0]" -j DROP', ("--comment", "vpcctl:ingress[0]")),
    ('-m comment --comment "two words" -j DROP', ("--comment", "two words")),
    ('-m comment --comment "" -j DROP', ("--comment", "")),
    (r'-m comment --comment "a\"b" -j DROP', ("--comment", 'a"b')),
    ("-m comment --comment \"it's\" -j DROP", ("--comment", "it's")),
])
def test_quotes(rule: str, option: tuple[str, ...]) -> None:
    assert words(rule) == {option, ("-j", "DROP")}


@pytest.mark.parametrize("option", ["-s 0.0.0.0/0 ", "-d 0.0.0.0/0 ", "-m tcp ", "-d 0.0.0.0/0 -m tcp "])
def test_what_iptables_save_leaves_out_or_adds(option: str) -> None:
    assert words(f"{option}-p tcp --dport 80 -j DROP") == words("-p tcp --dport 80 -j DROP")

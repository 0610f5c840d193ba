"""What iptables-save printed, read only as far as somebody asks."""

from __future__ import annotations

import errno
import os
from pathlib import Path

import pytest

from vpcctl_lib.kernel.proc import _read
from vpcctl_lib.kernel.reader import Kernel, Unreadable
from vpcctl_lib.kernel.run import Runner
from vpcctl_lib.kernel.saves import HeldChain, Saved, words
from vpcctl_lib.resources.operations import put

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


def test_a_setting_goes_while_it_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The kernel takes them away under an open file, and read(2) then says ENOENT."""
    file = tmp_path / "forwarding"
    file.write_text("1\n")
    assert _read(str(file)) == "1\n"
    monkeypatch.setattr(os, "read", gone)
    monkeypatch.setattr(os, "pread", gone)
    assert _read(str(file)) is None
    assert not put(str(file), "0")


def gone(*_: object) -> bytes:
    raise FileNotFoundError(errno.ENOENT, "No such file or directory")


FAILING = """#!/bin/sh
echo x >>{counted}
[ $(wc -l <{counted}) -gt {failures} ] || exit 1
printf '*filter\\n:INPUT DROP [0:0]\\nCOMMIT\\n'
"""


@pytest.mark.parametrize("failures", [1, 2])
def test_rules_that_could_not_be_read_once_are_read_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
                                                          failures: int) -> None:
    """A rebuilt record would lack a VPC for one iptables-save that failed."""
    program = tmp_path / "iptables-save"
    program.write_text(FAILING.format(counted=tmp_path / "counted", failures=failures))
    program.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    kernel = Kernel(Runner())
    if failures == 1:
        assert kernel.chain("", "filter", "INPUT") == HeldChain("DROP")
    else:
        with pytest.raises(Unreadable, match="iptables-save failed"):
            kernel.chain("", "filter", "INPUT")

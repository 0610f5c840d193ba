"""What tools print of others' things is read, whatever these are called."""

from __future__ import annotations

import pytest

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.kernel.answers import lenient, parsed
from vpcctl_lib.kernel.run import Command, Outcome
from vpcctl_lib.kernel.saves import whole_lines


def outcome(stdout: str, status: int = 0, stderr: str = "") -> Outcome:
    return Outcome(Command(("ip", "-j", "link"), namespace="vpc1"), status, stdout, stderr, 1.0)


@pytest.mark.parametrize(("text", "value"), [
    ('["a\x1bb\x01\x7f"]', ["a\x1bb\x01\x7f"]),
    ('["a\nb\\n"]', ["a\nb\n"]),
    # iproute2 before 5.0 escapes a quote that needs none.
    (r'["it\'s", "\\\'", "\u0041\"\/"]', ["it's", "\\'", 'A"/']),
    (r'["\x", "\\x"]', ["x", "\\x"]),
])
def test_json_that_is_none_in_the_strict_sense(text: str, value: object) -> None:
    assert lenient(text) == value


def test_what_is_no_json_is_told_of_the_command() -> None:
    assert parsed(outcome("\n")) == []
    assert parsed(outcome("", ), "{}") == {}
    for text in ('[{"ifname"', "[" * 100_000, "what?"):
        with pytest.raises(VpcctlError, match="ip -n vpc1 -j link printed something that is not JSON"):
            parsed(outcome(text))
    with pytest.raises(VpcctlError, match="ip -n vpc1 -j link failed: no such thing"):
        parsed(outcome("", 1, "no such thing\n"))


def test_a_comment_with_line_breaks_is_one_line() -> None:
    forged = '-A INPUT -m comment --comment "a\n-A INPUT -j ACCEPT\n*nat" -j DROP'
    escaped = r'-A INPUT -m comment --comment "say \"no\" \\" -j DROP'
    assert whole_lines(f"*filter\n{forged}\n{escaped}\nCOMMIT") == ["*filter", forged, escaped, "COMMIT"]


def test_what_is_never_closed_is_read_line_by_line() -> None:
    assert whole_lines('*filter\n-A INPUT "a\nCOMMIT') == ["*filter", '-A INPUT "a', "COMMIT"]

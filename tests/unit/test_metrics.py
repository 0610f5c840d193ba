"""The text of metrics, and what it is made from."""

from __future__ import annotations

from pathlib import Path

import pytest

from vpcctl_lib.kernel import traffic
from vpcctl_lib.kernel.traffic import Flow, Traffic
from vpcctl_lib.managers.metrics import _denied
from vpcctl_lib.model.policies import Action, Policy, Protocol, Rule
from vpcctl_lib.views.metrics import Metric, _lines

LISTED = """Inter-|   Receive                                                |  Transmit
 face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop fifo colls carrier compressed
    lo:       0       0    0    0    0     0          0         0        0       0    0    0    0     0       0          0
a:b:0: 1 2 3 4 5 6 7 8 11 12 13 14 15 16 17 18
"""  # noqa: E501


def test_names_of_links_may_have_colons(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dev").write_text(LISTED)
    monkeypatch.setattr(traffic, "NETWORK", tmp_path)
    assert traffic.carried()["a:b:0"] == Traffic(Flow(1, 2, 4), Flow(11, 12, 14))


def test_another_format_is_an_error(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "dev").write_text("\n\nlo: 1 2 3\n")
    monkeypatch.setattr(traffic, "NETWORK", tmp_path)
    with pytest.raises(ValueError, match="another format"):
        traffic.carried()


@pytest.mark.parametrize(("policy", "denied"), [
    (Policy((Rule(Protocol.TCP, Action.DENY), Rule(Protocol.UDP, Action.ALLOW))), {"ingress": 1 + 4}),
    (Policy((Rule(Protocol.TCP, Action.ALLOW), Rule(Protocol.UDP, Action.DENY)), default=Action.ALLOW),
     {"ingress": 2}),
    (Policy(egress=(Rule(Protocol.TCP, Action.DENY),)), {"ingress": 4, "egress": 8}),
])
def test_only_rules_that_refuse_are_counted(policy: Policy, denied: dict[str, int]) -> None:
    held = {"ingress[0]": (1, 0), "ingress[1]": (2, 0), "ingress.default": (4, 0),
            **({"egress[0]": (8, 0)} if policy.egress else {})}
    assert {name: packets for name, packets in _denied(held, policy).items() if packets} == denied


def test_groups_refuse_with_their_last_rule_only() -> None:
    held = {"web:ingress[0]": (1, 0), "groups:ingress.default": (2, 0), "groups:egress.default": (4, 0)}
    assert _denied(held, None) == {"ingress": 2, "egress": 4}


def test_labels_are_quoted() -> None:
    assert list(_lines(Metric("x", "gauge", "X.", (({"a": 'q"\\\n'}, 1),)))) == [
        "# HELP vpcctl_x X.", "# TYPE vpcctl_x gauge", r'vpcctl_x{a="q\"\\\n"} 1']

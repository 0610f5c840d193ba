"""A report of reach as plain values; pure."""

from __future__ import annotations

from typing import TYPE_CHECKING

from vpcctl_lib.views.plain import View

if TYPE_CHECKING:
    from vpcctl_lib.reach.verdict import Nexthop, Report
    from vpcctl_lib.reach.walk import Hop


def report(report: Report) -> View:
    """What a packet meets, hop by hop."""
    blocked, probe, question = report.blocked_by, report.probe, report.question
    return {
        "from": question.origin, "to": question.goal,
        "address": None if question.address.is_unspecified else str(question.address),
        "family": question.family.net, "protocol": question.protocol.value, "port": question.port,
        "verdict": report.verdict.value, "why": report.why or None,
        "hops": [{"where": hop.where, "what": hop.what, "way": _way(hop)} for hop in report.hops],
        "blocked_by": {"code": blocked.code.value, "where": blocked.where, "rule": blocked.rule,
                       "why": blocked.why or None, "fix": blocked.fix, "otherwise": blocked.otherwise,
                       "removes": blocked.removes} if blocked else None,
        "nexthops": [_nexthop(one) for one in report.nexthops],
        "probe": {"result": probe.result, "agrees": probe.agrees} if probe else None,
    }


def _nexthop(one: Nexthop) -> View:
    blocked = one.blocked_by
    return {"nexthop": one.name, "verdict": one.verdict.value, "taken": one.is_real,
            "why": one.why or None, "code": blocked.code.value if blocked else None,
            "where": blocked.where if blocked else None, "rule": blocked.rule if blocked else None}


def _way(hop: Hop) -> str:
    return "back" if hop.back else "there"

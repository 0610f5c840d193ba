"""A report of `vpcctl reach` as lines for people; pure."""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence

from vpcctl_lib.cli import layout
from vpcctl_lib.cli.output import Painted
from vpcctl_lib.model.addressing import Family
from vpcctl_lib.reach.question import Question
from vpcctl_lib.reach.verdict import Report, Verdict

COMMANDS = ("Fix:", "Or:")
NO_COMMAND = "no command opens this"
REMOVES = "removes something made by hand"
MARKS = {Verdict.REACHABLE: ("✔", "green"), Verdict.UNREACHABLE: ("✘", "red"),
         Verdict.UNKNOWN: ("?", "yellow")}


def row(report: Report, draws: bool) -> Sequence[str]:
    """The report as a line of a table."""
    blocked = report.blocked_by
    mark = f"{MARKS[report.verdict][0]} " if draws else ""
    detail = ("-", "-", report.why or "-")
    if blocked:
        detail = (blocked.code.value, blocked.where, blocked.fix or "-")
    return report.question.origin, f"{mark}{report.verdict.value}", *detail


def lines(report: Report, draws: bool, width: int) -> Iterator[str | Painted]:
    """The report for people: numbered hops, the verdict, what stops it and the fix."""
    for text in _lines(report, draws):
        if isinstance(text, Painted) or len(text) <= width:
            yield text
        elif text.startswith(COMMANDS) and not text.endswith(NO_COMMAND):
            # A command has a line of its own, so that it can be copied whole.
            head, _, command = text.partition(":")
            yield from (f"{head}:", command.strip())
        else:
            yield from _folded(text, width)


def _folded(text: str, width: int) -> Iterator[str]:
    """Folded between words; further lines are indented to the text of the first line."""
    columns = re.match(r" +\d+  \S+ +|[A-Z][a-z]+: +", text)
    head = columns[0] if columns else ""
    first, *rest = layout.folded(text[len(head):], max(width - len(head), width // 2))
    yield f"{head}{first}"
    yield from (f"{'':<{len(head)}}{line}" for line in rest)


def _lines(report: Report, draws: bool) -> Iterator[str | Painted]:
    yield _headline(report.question)
    width = max((len(hop.where) for hop in report.hops), default=0)
    for number, hop in enumerate(report.hops, 1):
        if hop.back and not report.hops[number - 2].back:
            yield "and back:"
        yield f"  {number:2}  {hop.where:<{width}}  {hop.what}"
    mark, colour = MARKS[report.verdict]
    verdict = f"{mark} {report.verdict.value}" if draws else report.verdict.value
    yield Painted(f"{verdict}{_because(report)}", colour)
    if report.blocked_by:
        yield f"Where: {report.blocked_by.where}{', on the way back' if report.is_back else ''}"
        yield f"What:  {report.blocked_by.rule}"
        if report.blocked_by.why:
            yield f"Why:   {report.blocked_by.why}"
        yield f"Fix:   {report.blocked_by.fix or NO_COMMAND}"
        if report.blocked_by.otherwise:
            yield f"Or:    {report.blocked_by.otherwise}"
        if report.blocked_by.otherwise or report.blocked_by.removes:
            yield f"Note:  the {'second' if report.blocked_by.otherwise else 'fix'} {REMOVES}"
    yield from _nexthops(report)
    if report.probe:
        yield f"Probe: {report.probe.result}{_agreement(report.probe.agrees)}"


def _nexthops(report: Report) -> Iterator[str]:
    """If the next hop matters, what happens to the packet by each."""
    if len({(one.verdict, one.blocked_by, one.why) for one in report.nexthops}) < 2:
        return
    yield "By next hop:"
    for one in report.nexthops:
        blocked = one.blocked_by
        detail = f": {blocked.code.value}: {blocked.rule}" if blocked else f": {one.why}" if one.why else ""
        mine = "" if one.is_real else ", which other packets take"
        yield f"  {one.name}{mine}: {one.verdict.value}{detail}"


def _headline(question: Question) -> str:
    port = f" port {question.port}" if question.port else ""
    to = question.goal
    address = f" ({question.address})" if to != str(question.address) else ""
    address = "" if question.address.is_unspecified else address
    # Where the other family might have been asked about as well, or has been by default.
    told = question.family is Family.INET6 or question.is_either
    by = f" by {question.family}" if told else ""
    return f"{question.origin} to {to}{address}, {question.protocol.value}{port}{by}:"


def _because(report: Report) -> str:
    if report.blocked_by:
        return f": {report.blocked_by.code.value}"
    return f": {report.why}" if report.why else ""


def _agreement(agrees: bool | None) -> str:
    return "" if agrees is None else ", as the walk says" if agrees else ", which is not what the walk says"

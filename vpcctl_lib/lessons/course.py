"""All lessons, in the order in which they are learnt; one's number is its place."""

from __future__ import annotations

from vpcctl_lib.lessons import (
    acls,
    elastic,
    flow_logs,
    groups,
    ipv6,
    isolation,
    machines,
    method,
    middleboxes,
    names,
    nat,
    nat_gateways,
    peering,
    policies,
    routes,
    subnets,
)
from vpcctl_lib.lessons.lesson import Lesson

COURSE: tuple[Lesson, ...] = tuple(one.LESSON for one in (
    subnets, routes, nat, isolation, peering, policies, machines, groups, acls, nat_gateways, elastic,
    middleboxes, names, ipv6, flow_logs, method))


def number_of(lesson: Lesson) -> int:
    """Its number, from 1."""
    return COURSE.index(lesson) + 1


def named(text: str) -> Lesson | None:
    """The lesson with that number or name."""
    return next((one for number, one in enumerate(COURSE, 1) if text in (str(number), one.name)), None)

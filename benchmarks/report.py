"""The page of figures, with a chart."""

from __future__ import annotations

from pathlib import Path
from typing import NamedTuple

Figures = dict[str, dict[str, float]]
BUILDERS = ("ip -batch", "vpcctl apply", "CNI bridge plugin", "Mininet")

PAGE = """# Performance

`./benchmarks/run` writes this page. The figures are medians of {rounds} rounds, all from one run,
in the sandbox, on {machine}.
Times depend on the machine; ratios and counts say more.

![Seconds for 100 namespaces with cable, address and route](performance.svg)

## Goals

| what | figure | goal | |
|---|---|---|---|
{goals}

## Building networks

| 100 namespaces with cable, address and route | seconds | against `ip -batch` | programs started |
|---|---|---|---|
{plumbing}

| 200 subnets in two VPCs with NAT, peering and a policy each | seconds |
|---|---|
{whole}

| 2,000 subnets in three VPCs, built and deleted once | |
|---|---|
{crowd}

## Big policies

| 10,000 rules | ports only | mixed |
|---|---|---|
{policies}

| new connections a second, let in by the last rule | | against 10 rules |
|---|---|---|
{connections}

"Mixed" rules have any protocol, a port or none, a source or none, and allow or deny, in random order.

## Traffic

| TCP throughput (iperf3, one flow) | Gbit/s |
|---|---|
{traffic}

The NAT figure is from a public subnet, through its router and the host, to a namespace beyond. Compare it
with one router that masquerades.

{ways}

"Raw" is the bare plumbing by `ip -batch`: one process for the host and one for each namespace, without
a firewall, a record or undo. The CNI plugin and Mininet build the same bare plumbing in their own way.

## Names

A VPC of 1,000 machines with [DNS](names.md), asked from one of them over UDP with 32 questions on their way.
`./vpcctl sandbox -- python3 benchmarks/names.py` measures it, apart from the rest.

| | |
|---|---|
| answers about machines, per second | 25,000 |
| answers out of the cache, per second | 31,000 |
| answers by way of the relay, per second | 3,800 |
| from the write of the file of names to the first answer with the new one | 11 ms |
| memory: dnsmasq, relay, and their two first processes | 6, 13, 12 and 11 MB |

## Flow logs

What a [flow log](flow-logs.md) costs, and how long its collector takes to read 500 machines with 60 flows
each. `./vpcctl sandbox -- env PYTHONPATH=. python3 -m benchmarks.flows` measures it, apart from the rest, and
by the processor's time.

| | |
|---|---|
| new connections, log of the machine that is called | 0.91 of those without |
| new connections, log of the whole VPC: both ends | 0.87 |
| with network ACLs: log of the machine that is called, log of the whole VPC | 0.91, 0.86 |
| bytes by TCP, log of the machine that is called, log of the whole VPC | 1.00, 0.97 |
| reading 500 machines over netlink | 0.39 s |
| the same with nft, a process for each | 3.6 s |

A new connection costs most: each direction is a new element with a counter of its own for every processor,
at each end. Half of the cost are the counters. What rules may refuse, or nobody can be sure of, makes one
more before them. Long connections cost next to nothing.

## IPv6

What [IPv6](ipv6.md) costs a network that has IPv4 already.
`./vpcctl sandbox -- env PYTHONPATH=. python3 benchmarks/dual.py` measures it, apart from the rest. The ratio
of traffic is of what is sent in the same time of the processor.

| | IPv4 | both families | ratio |
|---|---|---|---|
| `vpcctl apply`, two VPCs with 100 subnets | 0.79 s | 1.14 s | 1.44 |
| a MB by IPv4 from subnet to subnet, of a processor | 595 µs | 615 µs | 0.97 |
| a MB by IPv4 from VPC to VPC, of a processor | 674 µs | 653 µs | 0.97 |
"""

WAYS = """## Ways in and out

| µs of the processor a connection | VPC | same by hand | | fewest rules | |
|---|---|---|---|---|---|
{connections}

| µs of the processor a MB | VPC | same by hand | | fewest rules | |
|---|---|---|---|---|---|
{megabytes}

Medians of {rounds} rounds, and of each round's ratios. Each round compares the three in the same moment, and
counts the processor's time at both ends and on the way. Connections are made on one processor, since to wake
a program on another one takes longer than any rule. The goal is {least}× of the same by hand; **bold** is
what misses it.

Both networks by hand (`benchmarks/byhand.py`) have the namespaces and hops of the VPC. "Same by hand" holds
what the VPC holds on these ways, by rules for this one network: the bridge lets each port send only with
its own MAC and addresses; what has to go by the NAT gateway or the middlebox can't leave without; the router
and the host have a stateful firewall that accepts first what it knows, and drops what is INVALID; machines
are reached by their published ports only; metadata addresses are refused; the host knows by which link a
source comes; TCP learns of a small MTU; and the rows with network ACLs have the same ACLs. "Fewest rules" is
a stateful firewall and NAT, and nothing else: each machine can send as any other, and there are no ACLs.
Neither has what a VPC has for other networks than this one: addresses that move, connections by published
ports that are kept apart from all others, checks of ICMP errors, a host with further VPCs.

The middlebox is in a VPC of its own, because its router has lines of `ip rule` for what comes back: they cost
each packet of that VPC."""
LEAST = 0.88


class Goal(NamedTuple):
    """A figure, the format in which it is printed, and what it should be at least or at most."""

    what: str
    figure: float
    form: str
    most: float | None = None
    least: float | None = None

    def row(self) -> tuple[str, ...]:
        """With whether it is met."""
        told = self.form.format(self.figure)
        if self.most is not None:
            return self.what, told, "≤ " + _plain(self.form, self.most), _met(self.figure <= self.most)
        if self.least is not None:
            return self.what, told, "≥ " + _plain(self.form, self.least), _met(self.figure >= self.least)
        return self.what, told, "", ""


def _plain(form: str, value: float) -> str:
    """The number in its unit, without digits that it has not."""
    return f"{value:g}" + form.partition("}")[2]


def _met(is_so: bool) -> str:
    return "met" if is_so else "**missed**"


def write(folder: Path, figures: Figures, machine: str, rounds: int) -> None:
    """docs/performance.md and its chart."""
    times = {name: figures["plumbing"][name] for name in BUILDERS}
    page = PAGE.format(
        rounds=rounds, machine=machine, goals=_rows([goal.row() for goal in _goals(figures)]),
        plumbing=_rows(_plumbing(times, figures["programs"])), whole=_rows(_whole(figures["whole"])),
        crowd=_rows(_crowd(figures["crowd"])), policies=_rows(_policies(figures["connections"])),
        connections=_rows(_connections(figures["connections"])),
        ways=ways(figures["ways"], rounds),
        traffic=_rows([(name, f"{rate:.1f}") for name, rate in figures["traffic"].items()]))
    (folder / "performance.md").write_text(page)
    (folder / "performance.svg").write_text(chart(times))


def ways(found: dict[str, float], rounds: int) -> str:
    """The section about ways in and out."""
    return WAYS.format(connections=_way_rows(found, "connection"), megabytes=_way_rows(found, "megabyte"),
                       rounds=rounds, least=LEAST)


def _way_rows(found: dict[str, float], what: str) -> str:
    names = dict.fromkeys(key.partition(": ")[0] for key in found)
    return _rows([(name, f"{found[f'{name}: {what}']:.0f}", *(
        part for kind in ("same", "few") for part in (
            f"{found[f'{name}: {what} {kind}']:.0f}",
            _ratio(found[f"{name}: {what} {kind} ratio"], kind == "same")))) for name in names])


def _ratio(value: float, has_goal: bool) -> str:
    return f"**{value:.2f}×**" if has_goal and round(value, 2) < LEAST else f"{value:.2f}×"


def write_ways(page: Path, found: dict[str, float], rounds: int) -> None:
    """This section anew, in the page as it is."""
    text = page.read_text()
    begin, end = text.index("## Ways in and out"), text.index('\n\n"Raw" is')
    page.write_text(text[:begin] + ways(found, rounds) + text[end:])


def _goals(figures: Figures) -> list[Goal]:
    return [*_building_goals(figures), *_policy_goals(figures["connections"]),
            *_acl_goals(figures["acls"]), *_traffic_goals(figures["traffic"])]


def _building_goals(figures: Figures) -> list[Goal]:
    whole, growth, start, crowd, machines, reading = (
        figures[name] for name in ("whole", "growth", "start", "crowd", "machines", "reading"))
    return [
        Goal("programs started by the article's nine commands", figures["programs"]["walk"], "{:.0f}",
             most=90),
        Goal("`vpc list --json` against `python3 -c 'import click'`",
             start["vpc list --json"] / start["import click"], "{:.2f}×", most=1.5),
        Goal("`subnet add` to three others against `import click` and three `ip -batch`",
             start["subnet add"] / (start["import click"] + start["raw"]), "{:.2f}×", most=2),
        Goal("200 subnets with everything against raw plumbing",
             whole["apply"] / whole["ip -batch"], "{:.2f}×", most=1.5),
        Goal("applying them again", whole["again"], "{:.2f} s", most=1),
        Goal("deleting a VPC of 100 subnets with everything", whole["delete"], "{:.2f} s", most=3),
        Goal("deleting a VPC of 100 bare subnets", figures["plumbing"]["delete"], "{:.2f} s", most=3),
        Goal("`subnet add` after 500 others against the first", growth["late"] / growth["first"], "{:.2f}×",
             most=1.5),
        Goal("the record of 500 subnets", growth["bytes"] / 1000, "{:.0f} kB"),
        Goal("`subnet add` where there are 2,000 subnets against the first", crowd["add"] / growth["first"],
             "{:.2f}×"),
        Goal("`instance add` of the 1,000th machine of a VPC against the first",
             machines["late"] / machines["first"], "{:.2f}×", most=1.5),
        Goal("999 machines from one file", machines["apply"], "{:.1f} s"),
        Goal("`reach` from each of 200 machines", reading["reach 200"], "{:.2f} s", most=2),
        Goal("`reach` from each of 1,000 machines", reading["reach 1000"], "{:.2f} s"),
        Goal("`status` of 200 machines", reading["status 200"], "{:.2f} s"),
        Goal("`status` of 1,000 machines", reading["status 1000"], "{:.2f} s"),
    ]


def _acl_goals(found: dict[str, float]) -> list[Goal]:
    return [
        Goal("new connections where 1,000 subnets have a network ACL of 10 rules each, against none",
             found["few"] / found["none"], "{:.2f}×", least=0.85),
        Goal("new connections under one network ACL of 10,000 rules, against none",
             found["long"] / found["none"], "{:.2f}×", least=0.8),
        Goal("applying 10,000 rules each way of a network ACL", found["apply"], "{:.2f} s", most=5),
    ]


def _policy_goals(found: dict[str, float]) -> list[Goal]:
    few = found["few: rate"]
    return [goal for case, name in (("ports", "10,000 rules for ports"), ("mixed", "10,000 mixed rules"))
            for goal in (
        Goal(f"applying {name}", found[f"{case}: seconds"], "{:.2f} s", most=3),
        Goal("memory for that", found[f"{case}: megabytes"], "{:.0f} MB", most=1000),
        Goal(f"new connections under {name} against 10", found[f"{case}: rate"] / few, "{:.2f}×", least=0.5),
    )]


def _traffic_goals(traffic: dict[str, float]) -> list[Goal]:
    return [
        Goal("throughput inside a VPC against a bare bridge",
             traffic["inside a VPC"] / traffic["bare bridge"], "{:.2f}×", least=0.95),
        Goal("throughput of a peering (two routers) against a bare router",
             traffic["peering"] / traffic["bare router"], "{:.2f}×", least=0.85),
        Goal("throughput through NAT (router and host) against a bare router with MASQUERADE",
             traffic["NAT"] / traffic["bare router with MASQUERADE"], "{:.2f}×", least=0.85),
    ]


def _plumbing(times: dict[str, float], programs: dict[str, float]) -> list[tuple[str, ...]]:
    return [(name, f"{time:.2f}", f"{time / times['ip -batch']:.2f}×", f"{programs[name]:.0f}")
            for name, time in times.items()]


def _whole(times: dict[str, float]) -> list[tuple[str, ...]]:
    names = {"ip -batch": "raw plumbing by `ip -batch`", "apply": "`vpcctl apply`",
             "again": "`vpcctl apply` again (changes nothing)", "delete": "`vpc delete` of one of the two"}
    return [(names[name], f"{time:.2f}") for name, time in times.items()]


def _crowd(found: dict[str, float]) -> list[tuple[str, ...]]:
    names = {"apply": "`vpcctl apply`", "list": "`vpc list --json`", "add": "`subnet add`",
             "delete": "`vpc delete` of one of the three"}
    return [*((told, f"{found[name]:.2f} s") for name, told in names.items()),
            ("the record", f"{found['bytes'] / 1000:.0f} kB")]


def _policies(found: dict[str, float]) -> list[tuple[str, ...]]:
    rows = {"met on average": "rules that a packet meets, on average", "met at most": "at most",
            "lines": "lines that they become"}
    return [(told, *(f"{found[f'{case}: {name}']:,.0f}" for case in ("ports", "mixed")))
            for name, told in rows.items()]


def _connections(found: dict[str, float]) -> list[tuple[str, ...]]:
    names = {"few": "10 rules", "ports": "10,000 for ports", "mixed": "10,000 mixed",
             "plain": "the same in one chain, in their order"}
    few = found["few: rate"]
    return [(told, f"{found[f'{case}: rate']:,.0f}", f"{found[f'{case}: rate'] / few:.2f}×")
            for case, told in names.items()]


def _rows(rows: list[tuple[str, ...]]) -> str:
    return "\n".join(f"| {' | '.join(row)} |" for row in rows)


def chart(times: dict[str, float]) -> str:
    """Horizontal bars, readable on light and dark pages."""
    widest = max(times.values())
    bars = "".join(
        f'<text x="150" y="{34 + 34 * row}" text-anchor="end">{name}</text>'
        f'<rect x="160" y="{18 + 34 * row}" width="{max(2, 380 * time / widest):.0f}" height="24" rx="3"/>'
        f'<text x="{168 + 380 * time / widest:.0f}" y="{35 + 34 * row}">{time:.2f} s</text>'
        for row, (name, time) in enumerate(times.items()))
    height = 34 * len(times) + 20
    return (f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 620 {height}" font-family="sans-serif" '
            f'font-size="14"><style>text{{fill:#222}}rect{{fill:#3b7dd8}}@media(prefers-color-scheme:dark)'
            f'{{text{{fill:#ddd}}rect{{fill:#6aa3f0}}}}</style>{bars}</svg>\n')

"""The page of figures, with a chart."""

from __future__ import annotations

from pathlib import Path

Figures = dict[str, dict[str, float]]

PAGE = """# Performance

Written by `./benchmarks/run`: medians of {rounds} rounds, all of one run, in the sandbox, on {machine}.
Times are the machine's; ratios and counts say more.

![Seconds for 100 namespaces with cable, address and route](performance.svg)

## Ratios

| what | figure | goal |
|---|---|---|
{ratios}

## Building networks

| 100 namespaces with cable, address and route | seconds | against `ip -batch` |
|---|---|---|
{plumbing}

| 200 subnets in two VPCs with NAT, peering and a policy each | seconds |
|---|---|
{whole}

## Traffic

| TCP throughput (iperf3, one flow) | Gbit/s |
|---|---|
{traffic}

"Raw" is the bare plumbing by `ip -batch`: one process for the host and one for each namespace, no firewall,
no record, no undo. The CNI plugin and Mininet build the same bare plumbing their own way.
"""


def write(folder: Path, figures: Figures, machine: str, rounds: int) -> None:
    """docs/performance.md and its chart."""
    speeds = [(name, f"{rate:.1f}") for name, rate in figures["traffic"].items()]
    ratios = _rows(_ratios(figures))
    page = PAGE.format(rounds=rounds, machine=machine, ratios=ratios,
                       plumbing=_rows(_plumbing(figures["plumbing"])),
                       whole=_rows(_seconds(figures["whole"])),
                       traffic=_rows(speeds))
    (folder / "performance.md").write_text(page)
    (folder / "performance.svg").write_text(chart(figures["plumbing"]))


def _ratios(figures: Figures) -> list[tuple[str, ...]]:
    whole, growth, start, traffic = (figures[name] for name in ("whole", "growth", "start", "traffic"))
    return [
        ("programs started by the article's nine commands", f"{figures['programs']['walk']:.0f}", "≤ 90"),
        ("`vpc list --json` against `python3 -c 'import click'`",
         f"{start['vpc list --json'] / start['import click']:.2f}×", "≤ 2×"),
        ("200 subnets with everything against raw plumbing",
         f"{whole['apply'] / whole['ip -batch']:.2f}×", "≤ 1.5×"),
        ("applying them again", f"{whole['again']:.2f} s", "≤ 1 s"),
        ("deleting a VPC of 100 subnets", f"{whole['delete']:.2f} s", "≤ 3 s"),
        ("`subnet add` after 500 others against the first",
         f"{growth['late'] / growth['first']:.2f}×", "≤ 1.5×"),
        ("the record of 500 subnets", f"{growth['bytes'] / 1000:.0f} kB", ""),
        ("throughput inside a VPC against a bare bridge",
         f"{traffic['inside a VPC'] / traffic['bare bridge']:.2f}×", "≥ 0.95×"),
        ("throughput of a peering (two routers) against a bare router",
         f"{traffic['peering'] / traffic['bare router']:.2f}×", "≥ 0.85×"),
    ]


def _plumbing(times: dict[str, float]) -> list[tuple[str, ...]]:
    return [(name, f"{time:.2f}", f"{time / times['ip -batch']:.2f}×") for name, time in times.items()]


def _seconds(times: dict[str, float]) -> list[tuple[str, ...]]:
    names = {"ip -batch": "raw plumbing by `ip -batch`", "apply": "`vpcctl apply`",
             "again": "`vpcctl apply` again (changes nothing)", "delete": "`vpc delete` of one of the two"}
    return [(names[name], f"{time:.2f}") for name, time in times.items()]


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

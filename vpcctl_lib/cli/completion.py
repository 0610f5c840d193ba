"""Completion in shells: live names out of the record, and `vpcctl completion`, which prints the script."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import click

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.model.topology import Subnet, Topology
from vpcctl_lib.record import document
from vpcctl_lib.record.trust import check_folder

SHELLS = ("bash", "zsh", "fish")
PROGRAM = "vpcctl"
VARIABLE = "_VPCCTL_COMPLETE"
"""By which click tells that a shell wants completions: _<PROGRAM>_COMPLETE."""


def _topology(ctx: click.Context) -> Topology:
    folder = ctx.find_root().params.get("state_dir") or document.DEFAULT_FOLDER
    try:
        check_folder(Path(folder))
        return document.topology(Path(folder))
    except VpcctlError:
        # Whoever presses Tab wants names, or else nothing.
        return Topology()


def _beginning(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in dict.fromkeys(names) if name.startswith(incomplete)]


def complete_vpc(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """The names of the VPCs; for --vpc1 and --vpc2 without the one that the other names."""
    both = {"vpc1", "vpc2"} - {parameter.name}
    taken = {ctx.params.get(name) for name in both}
    return _beginning((vpc.name for vpc in _topology(ctx).vpcs if vpc.name not in taken), incomplete)


def complete_subnet(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """The names of the subnets of the VPC that was named, or of all."""
    return _beginning((subnet.name for subnet in _subnets(ctx)), incomplete)


def complete_workload(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """The names of the workloads of the VPC and the subnet that were named, or of all."""
    wanted = ctx.params.get("subnet")
    return _beginning((workload.name for subnet in _subnets(ctx) if wanted in (None, subnet.name)
                       for machine in subnet.machines for workload in machine.workloads), incomplete)


def complete_place(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """The subnets as VPC/SUBNET; where a packet may go to, the VPCs and the internet too."""
    topology = _topology(ctx)
    places = [f"{vpc.name}/{subnet.name}" for vpc in topology.vpcs for subnet in vpc.subnets]
    others = [*(vpc.name for vpc in topology.vpcs), "internet"] if parameter.name == "to" else []
    return _beginning((*places, *others), incomplete)


def _subnets(ctx: click.Context) -> Iterator[Subnet]:
    wanted = ctx.params.get("vpc")
    for vpc in _topology(ctx).vpcs:
        if wanted in (None, vpc.name):
            yield from vpc.subnets


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script by which a shell completes commands, options and live names (in AWS: aws_completer).

    \b
    Example:
      source <(vpcctl completion bash)                                  # in ~/.bashrc
      source <(vpcctl completion zsh)                                   # in ~/.zshrc, after compinit
      vpcctl completion fish > ~/.config/fish/completions/vpcctl.fish

    `vpcctl` has to be on PATH: from a checkout, link it: ln -s "$PWD/vpcctl" /usr/local/bin
    """
    from vpcctl_lib.cli import output

    text = script(ctx, shell)
    if not text:
        raise VpcctlError(f"this click has no completion for {shell}", "upgrade it: pip install -U click")
    output.result(text)


def script(ctx: click.Context, shell: str) -> str:
    """The script for a shell; empty where click has none for it."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    if kind is None:
        return ""
    found = kind(ctx.find_root().command, {}, PROGRAM, VARIABLE)
    # Not found.source(): for bash that starts one to ask for its version.
    return (found.source_template % found.source_vars()).rstrip("\n")

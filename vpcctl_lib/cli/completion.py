"""Completion in shells: live names from the record, and `vpcctl completion`, which prints the script."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from pathlib import Path

import click

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.model import kinds
from vpcctl_lib.model.routes import BUILT_IN, Via
from vpcctl_lib.model.topology import Machine, Subnet, Topology
from vpcctl_lib.model.workloads import Workload
from vpcctl_lib.record import document
from vpcctl_lib.record.trust import check_folder

SHELLS = ("bash", "zsh", "fish")
PROGRAM = "vpcctl"
VARIABLE = "_VPCCTL_COMPLETE"
"""The variable with which a shell asks click for completions: _<PROGRAM>_COMPLETE."""


def _topology(ctx: click.Context) -> Topology:
    folder = ctx.find_root().params.get("state_dir") or document.DEFAULT_FOLDER
    try:
        check_folder(Path(folder))
        return document.topology(Path(folder))
    except VpcctlError:
        # Tab must print names or nothing, never an error.
        return Topology()


def _beginning(names: Iterable[str], incomplete: str) -> list[str]:
    return [name for name in dict.fromkeys(names) if name.startswith(incomplete)]


Completer = Callable[[click.Context, click.Parameter, str], list[str]]


def completing(model: type) -> Completer:
    """Completes the names of things of a kind: those in what the options before it name, or all."""
    def complete(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
        options = [one.option or one.word for one in kinds.way(kinds.REGISTERED[model])]
        found = (thing.names for thing in kinds.everything(_topology(ctx)) if thing.kind.model is model)
        return _beginning((name for *around, name in found if name and all(
            ctx.params.get(option) in (None, other) for option, other in zip(options, around, strict=False))),
            incomplete)

    return complete


complete_subnet = completing(Subnet)
complete_instance = completing(Machine)
complete_workload = completing(Workload)


def complete_vpc(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """The names of the VPCs; for --vpc1 and --vpc2 without the one that the other option names."""
    both = {"vpc1", "vpc2"} - {parameter.name}
    taken = {ctx.params.get(name) for name in both}
    return _beginning((vpc.name for vpc in _topology(ctx).vpcs if vpc.name not in taken), incomplete)


def complete_cidr(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """The secondary CIDRs of the VPC."""
    vpcs = (vpc for vpc in _topology(ctx).vpcs if ctx.params.get("name") in (None, vpc.name))
    return _beginning((str(cidr) for vpc in vpcs for cidr in vpc.cidrs), incomplete)


def complete_route_table(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """The names of the VPC's route tables, with the built-in ones."""
    vpcs = [vpc for vpc in _topology(ctx).vpcs if ctx.params.get("vpc") in (None, vpc.name)]
    own = (table.name for vpc in vpcs for table in vpc.route_tables)
    return _beginning((*BUILT_IN, *own), incomplete)


def complete_target(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """What a route of the VPC can lead to."""
    topology = _topology(ctx)
    vpcs = [vpc for vpc in topology.vpcs if ctx.params.get("vpc") in (None, vpc.name)]
    found = [Via.INTERNET.value, Via.EGRESS.value, Via.BLACKHOLE.value]
    for vpc in vpcs:
        found += [f"{Via.NAT.value}:{one.name}" for one in vpc.nat_gateways]
        found += [f"{Via.PEER.value}:{one.name}" for one in topology.peers_of(vpc.name)]
        found += [f"{Via.INSTANCE.value}:{subnet.name}/{one.name}" for subnet in vpc.subnets
                  for one in subnet.machines if one.forwards]
    return _beginning(found, incomplete)


def complete_target_machine(ctx: click.Context, _: click.Parameter, incomplete: str) -> list[str]:
    """The machines of the VPC as SUBNET/NAME, and a subnet's own as SUBNET."""
    vpcs = [vpc for vpc in _topology(ctx).vpcs if ctx.params.get("vpc") in (None, vpc.name)]
    return _beginning((f"{subnet.name}/{one.name}".rstrip("/") for vpc in vpcs for subnet in vpc.subnets
                       for one in subnet.machines), incomplete)


def complete_place(ctx: click.Context, parameter: click.Parameter, incomplete: str) -> list[str]:
    """The machines as VPC/SUBNET or VPC/SUBNET/NAME, host and internet; also VPCs as a destination."""
    topology = _topology(ctx)
    places = [one.path for one in kinds.everything(topology) if one.kind.model in (Subnet, Machine)]
    routers = [vpc.name for vpc in topology.vpcs] if parameter.name == "to" else []
    return _beginning((*places, *routers, "host", "internet"), incomplete)


@click.command()
@click.argument("shell", type=click.Choice(SHELLS))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print the script with which a shell completes commands, options and live names (in AWS: aws_completer).

    \b
    Example:
      source <(vpcctl completion bash)                                  # in ~/.bashrc
      source <(vpcctl completion zsh)                                   # in ~/.zshrc, after compinit
      vpcctl completion fish > ~/.config/fish/completions/vpcctl.fish

    `vpcctl` must be on PATH: from a checkout, link it: ln -s "$PWD/vpcctl" /usr/local/bin
    """
    from vpcctl_lib.cli import output

    text = script(ctx, shell)
    if not text:
        raise VpcctlError(f"this version of click has no completion for {shell}",
                          "upgrade it: pip install -U click")
    output.result(text)


def script(ctx: click.Context, shell: str) -> str:
    """The script for a shell; empty if click has none for it."""
    from click.shell_completion import get_completion_class

    kind = get_completion_class(shell)
    if kind is None:
        return ""
    found = kind(ctx.find_root().command, {}, PROGRAM, VARIABLE)
    # Not found.source(): for bash it starts a shell to ask for its version.
    return (found.source_template % found.source_vars()).rstrip("\n")

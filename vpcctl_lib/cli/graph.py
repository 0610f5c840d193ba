"""`vpcctl graph`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from vpcctl_lib.cli import output
from vpcctl_lib.cli.params import showing

if TYPE_CHECKING:
    from vpcctl_lib.model.topology import Topology


FORMATS = ("tree", "mermaid", "dot", "svg", "json")


@click.command("graph")
@click.option("--format", "form", type=click.Choice(FORMATS), default="tree", show_default=True,
              help="GitHub draws Mermaid, Graphviz draws DOT.")
@click.option("--all", "whole", is_flag=True,
              help="Name all machines and workloads: without it, six of a subnet.")
@showing
def graph_command(topology: Topology, form: str, whole: bool, as_json: bool) -> None:
    """Draw VPCs, subnets, machines, NAT, peerings, policies, workloads (in AWS: the console's resource map).

    \b
    Example:
      vpcctl graph
      vpcctl graph --format svg > network.svg
    """
    # Imported late: only this command draws.
    from vpcctl_lib import graph
    from vpcctl_lib.graph.text import plain

    drawn = graph.graph(topology)
    if as_json or form == "json":
        output.document("graph", plain(drawn))
    else:
        output.result(graph.draw(drawn, graph.Format(form), whole))

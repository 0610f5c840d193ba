"""`vpcctl apply` and `vpcctl export`."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vpcctl_lib import documents, managers
from vpcctl_lib.cli import output
from vpcctl_lib.cli.params import changing, report, showing
from vpcctl_lib.cli.progress import progress

if TYPE_CHECKING:
    from vpcctl_lib.comparison import Difference
    from vpcctl_lib.managers.base import Context
    from vpcctl_lib.model import Topology


@click.command()
@click.option("-f", "--file", required=True, type=click.Path(path_type=Path), metavar="FILE",
              help="A topology in YAML or JSON.")
@click.option("--prune", is_flag=True, help="Delete the VPCs that the file does not name.")
@changing
def apply(context: Context, file: Path, prune: bool, as_json: bool) -> None:
    """Make the host match a topology file, all or nothing (in AWS: CloudFormation).

    Shows what it adds (+), changes (~) and removes (-), and why.

    \b
    Example:
      vpcctl apply -f network.yaml
      vpcctl apply -f network.yaml --dry-run
    """
    shown: list[Difference] = []

    def show(plan: Sequence[Difference]) -> None:
        shown.extend(plan)
        for line in plan if not as_json else ():
            output.result(f"# {line}" if context.dry_run else str(line))
        progress.resume()

    change = managers.TopologyManager(context).apply(file, prune, show)
    plan = [{"action": line.sign.name.lower(), "what": line.what, "why": line.why} for line in shown]
    report(change, as_json, "apply", lambda _: {"file": str(file), "plan": plan},
           f"the host matches {file}", f"the host matches {file}")


@click.command()
@showing
def export(topology: Topology, as_json: bool) -> None:
    """Write today's network as a topology file (in AWS: CloudFormation's IaC generator).

    \b
    Example:
      vpcctl export > network.yaml
    """
    from vpcctl_lib.topology_file import to_document

    document = to_document(topology)
    if as_json:
        output.document("topology", document)
    else:
        output.result(documents.written(document))

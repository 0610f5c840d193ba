"""`vpcctl apply` and `vpcctl export`."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import click

from vpcctl_lib import managers
from vpcctl_lib.cli import output
from vpcctl_lib.cli.params import FileName, changing, report, showing
from vpcctl_lib.cli.progress import progress

if TYPE_CHECKING:
    from vpcctl_lib.files.documents import Document
    from vpcctl_lib.managers.base import Context
    from vpcctl_lib.model.comparison import Difference
    from vpcctl_lib.model.topology import Topology


@click.command()
@click.option("-f", "--file", required=True, type=FileName(allow_dash=True), metavar="FILE",
              help="A topology in YAML or JSON; - is standard input.")
@click.option("--prune", is_flag=True, help="Delete the VPCs that the file does not name.")
@changing
def apply(context: Context, file: str, prune: bool, as_json: bool) -> None:
    """Make the host match a topology file, all or nothing (in AWS: CloudFormation).

    Shows what it adds (+), changes (~) and removes (-), and why, compared with the record. `vpcctl status`
    shows whether the host still matches the record.

    \b
    Example:
      vpcctl apply -f network.yaml
      vpcctl apply -f network.yaml --dry-run
      generate-network | vpcctl apply -f -
    """
    document, folder = _read(file)
    shown: list[Difference] = []

    def show(plan: Sequence[Difference]) -> None:
        shown.extend(plan)
        for line in plan if not as_json else ():
            output.result(f"# {line}" if context.dry_run else str(line))
        progress.resume()

    change = managers.TopologyManager(context).apply(document, folder, prune, show)
    plan = [{"action": line.sign.name.lower(), "what": line.what, "why": line.why} for line in shown]
    report(change, as_json, "apply", lambda _: {"file": file, "plan": plan},
           f"the host matches {document.name}", f"the record matches {document.name}")


def _read(file: str) -> tuple[Document, Path]:
    """The document, and the folder that its paths are relative to."""
    from vpcctl_lib.files import documents

    # As typed: a Path does not distinguish ./- from -.
    if file != "-":
        return documents.read(Path(file)), Path(file).parent
    progress.stop()
    document = documents.read_stream(sys.stdin.buffer, "standard input")
    progress.resume()
    return document, Path()


@click.command()
@showing
def export(topology: Topology, as_json: bool) -> None:
    """Write the current network as a topology file (in AWS: CloudFormation's IaC generator).

    \b
    Example:
      vpcctl export > network.yaml
    """
    from vpcctl_lib.files.documents import written
    from vpcctl_lib.files.topology import to_document
    from vpcctl_lib.model.guests import without_brought

    document = to_document(without_brought(topology))
    if as_json:
        output.document("topology", document)
    else:
        output.result(written(document))

"""`vpcctl metrics`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import click

from vpcctl_lib import managers
from vpcctl_lib.cli import output
from vpcctl_lib.cli.params import reading

if TYPE_CHECKING:
    from vpcctl_lib.managers.base import Context


@click.command()
@reading
def metrics(context: Context, as_json: bool) -> None:
    """Print measurements as OpenMetrics (in AWS: CloudWatch metrics).

    Traffic of each machine and VPC, packets that were refused, NAT's connections, the kernel's tables
    against their limits, workloads, and drift as `vpcctl status` sees it. For the textfile collector of
    node_exporter, write another file and rename it: the collector must not read half of one.

    \b
    Example:
      vpcctl metrics >vpcctl.prom.new && mv vpcctl.prom.new /var/lib/node_exporter/vpcctl.prom
    """
    # Imported late: completion needs only this module's help.
    from vpcctl_lib.views.metrics import text, values

    measured = managers.MetricsManager(context).measure()
    if as_json:
        output.document("metrics", values(measured))
    else:
        output.result(text(measured))

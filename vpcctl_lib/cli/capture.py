"""`vpcctl capture`."""

from __future__ import annotations

import sys

import click

from vpcctl_lib import managers
from vpcctl_lib.cli.params import Settings, at_machine, options_for
from vpcctl_lib.errors import BadInput
from vpcctl_lib.model.endpoints import Site


@click.command(context_settings={"ignore_unknown_options": True})
@at_machine
@click.argument("words", nargs=-1, type=click.UNPROCESSED, metavar="[-- TCPDUMP ARGUMENTS...]")
@click.pass_obj
def capture(settings: Settings, site: Site, words: tuple[str, ...]) -> int:
    """Write a machine's packets to stdout, for Wireshark or a file (in AWS: traffic mirroring).

    What follows -- are arguments of tcpdump, such as a filter. With -i LINK among them, it captures at a link
    inside of the machine, such as lo, and otherwise at the machine's port of the bridge.

    \b
    Example:
      vpcctl capture --vpc vpc1 --subnet public | wireshark -k -i -
      vpcctl capture --vpc vpc1 --subnet public -- -c 10 tcp port 80 > web.pcap
      vpcctl capture --vpc vpc1 --subnet public -- -w web.pcap
      vpcctl capture --vpc vpc1 --subnet public -- -i lo -w lo.pcap

    To read packets as text instead: vpcctl exec --vpc vpc1 --subnet public -- tcpdump -n
    """
    from vpcctl_lib.managers.exec import writes_elsewhere

    if sys.stdout.isatty() and not writes_elsewhere(words):
        raise BadInput("packets are binary: a terminal can't show them",
                       "pipe them to wireshark -k -i -, or write a file: -- -w FILE; to read them as text: "
                       f"vpcctl exec {options_for(site)} -- tcpdump -n")
    return managers.ExecManager(settings.context()).capture(site, words)

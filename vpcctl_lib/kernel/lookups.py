"""The address of a name, looked up as the programs of a machine do it: by its own resolv.conf."""

from __future__ import annotations

from vpcctl_lib.kernel.run import Runner


def address_of(runner: Runner, namespace: str, name: str) -> str:
    """The first IPv4 address of a name in a namespace; empty if it has none there, or nobody answers."""
    looked_up = runner.ask(("ip", "netns", "exec", namespace, "getent", "ahostsv4", name))
    return looked_up.stdout.partition(" ")[0] if looked_up.status == 0 else ""

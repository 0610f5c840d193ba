"""The systemd unit that restores the VPCs when the host starts; pure."""

from __future__ import annotations

import shlex
from pathlib import Path

FOLDER = Path("/etc/systemd/system")
OTHERS = ("ufw.service", "firewalld.service", "nftables.service", "netfilter-persistent.service",
          "docker.service")
"""They rewrite the host's firewall when they start."""

NAME = "vpcctl-restore.service"


def text(program: str, state: Path) -> str:
    """The unit. It runs after everything that rewrites the firewall, so that our jumps come before theirs.

    When one of these is restarted, so is it (`PartOf`, systemd.unit(5)).
    """
    command = shlex.join((program, "--state-dir", str(state), "restore"))
    others = " ".join(OTHERS)
    return f"""\
# Written by: vpcctl restore --install-unit
[Unit]
Description=Restore vpcctl's VPCs
After=network.target {others}
PartOf={others}
ConditionPathExists={state}/state.json

[Service]
Type=oneshot
ExecStart={command}
# Workloads live on when the command has ended, and are nobody's to stop but vpcctl's.
RemainAfterExit=yes
KillMode=process
TimeoutStartSec=10min

[Install]
WantedBy=multi-user.target
"""

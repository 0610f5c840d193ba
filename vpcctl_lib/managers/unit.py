"""The systemd unit that restores the VPCs when the host starts; pure."""

from __future__ import annotations

import shlex
from pathlib import Path

FOLDER = Path("/etc/systemd/system")
NAME = "vpcctl-restore.service"


def text(program: str, state: Path) -> str:
    """The unit. After all that writes the firewall anew, so that our jumps stand before theirs."""
    command = shlex.join((program, "--state-dir", str(state), "restore"))
    return f"""\
# Written by: vpcctl restore --install-unit
[Unit]
Description=Restore vpcctl's VPCs
After=network.target ufw.service firewalld.service nftables.service netfilter-persistent.service
After=docker.service
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

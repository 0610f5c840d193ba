"""One manager for each group of commands: it checks and changes the topology, and returns a result.

Each is loaded on first use: what it needs takes longer to load than most commands take to run.
"""

from importlib import import_module
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from vpcctl_lib.managers.acl import AclManager as AclManager
    from vpcctl_lib.managers.deploy import DeployManager as DeployManager
    from vpcctl_lib.managers.dhcp import DhcpManager as DhcpManager
    from vpcctl_lib.managers.dns import DnsManager as DnsManager
    from vpcctl_lib.managers.eip import EipManager as EipManager
    from vpcctl_lib.managers.exec import ExecManager as ExecManager
    from vpcctl_lib.managers.firewall import FirewallManager as FirewallManager
    from vpcctl_lib.managers.flowlog import FlowLogManager as FlowLogManager
    from vpcctl_lib.managers.group import GroupManager as GroupManager
    from vpcctl_lib.managers.host import HostManager as HostManager
    from vpcctl_lib.managers.instance import InstanceManager as InstanceManager
    from vpcctl_lib.managers.lesson import LessonManager as LessonManager
    from vpcctl_lib.managers.metrics import MetricsManager as MetricsManager
    from vpcctl_lib.managers.mirror import MirrorManager as MirrorManager
    from vpcctl_lib.managers.nat import NatManager as NatManager
    from vpcctl_lib.managers.natgateway import NatGatewayManager as NatGatewayManager
    from vpcctl_lib.managers.overview import OverviewManager as OverviewManager
    from vpcctl_lib.managers.peer import PeerManager as PeerManager
    from vpcctl_lib.managers.publish import PublishManager as PublishManager
    from vpcctl_lib.managers.routetable import RouteTableManager as RouteTableManager
    from vpcctl_lib.managers.subnet import SubnetManager as SubnetManager
    from vpcctl_lib.managers.topology import TopologyManager as TopologyManager
    from vpcctl_lib.managers.vpc import VpcManager as VpcManager
else:
    def __getattr__(name: str) -> type:
        """`VpcManager` from the module `vpc`, and so on (PEP 562)."""
        home = name.removesuffix("Manager").lower()
        if not name.endswith("Manager"):
            raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
        return getattr(import_module(f"{__name__}.{home}"), name)

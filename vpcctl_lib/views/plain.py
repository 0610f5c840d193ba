"""The topology as plain values, from which both JSON and tables are made; pure."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime, timezone
from typing import TYPE_CHECKING, Any

from vpcctl_lib.model import addressing, endpoints, naming
from vpcctl_lib.model.endpoints import Endpoint, Site
from vpcctl_lib.model.names import folder
from vpcctl_lib.model.routing import route_table, routed
from vpcctl_lib.model.topology import Peering, Subnet, Topology, Vpc
from vpcctl_lib.model.workloads import Upkeep

if TYPE_CHECKING:
    from vpcctl_lib.keeper.fate import Fate
    from vpcctl_lib.managers.deploy import Running
    from vpcctl_lib.managers.firewall import InForce
    from vpcctl_lib.managers.instance import Instance
    from vpcctl_lib.managers.overview import Overview
    from vpcctl_lib.uplink.packets import Passage

View = dict[str, Any]


def vpc(topology: Topology, vpc: Vpc) -> View:
    """A VPC with its subnets."""
    return {
        "name": vpc.name, "cidr": str(vpc.cidr), "cidrs": [*map(str, vpc.cidrs)],
        "ipv6": str(vpc.ipv6) if vpc.ipv6 else None, "gateway": str(addressing.gateway(vpc.cidr)),
        "bridge": naming.device("br-", vpc.name), "namespace": vpc.name,
        "uplink": {"device": naming.device("vpc-", vpc.name), "host": str(addressing.host_end(vpc.link)),
                   "router": str(addressing.router_end(vpc.link)), "routed": routed(topology, vpc)},
        "nat": {"interface": vpc.nat.interface, "auto": vpc.nat.follows} if vpc.nat else None,
        "dns": _dns(topology, vpc), "dhcp": _dhcp(topology, vpc),
        "subnets": [subnet(vpc, one) for one in vpc.subnets],
        "peers": sorted(peer.name for peer in topology.peers_of(vpc.name)),
        "routes": [{"destination": str(row.destination), "target": row.target}
                   for row in route_table(topology, vpc)],
    }


def _dns(topology: Topology, vpc: Vpc) -> View | None:
    if vpc.dns is None:
        return None
    # Imported late: most VPCs have no DNS.
    from vpcctl_lib.views.names import server

    return server(topology, vpc.name)


def _dhcp(topology: Topology, vpc: Vpc) -> View | None:
    if vpc.dhcp is None:
        return None
    from vpcctl_lib.views.names import leases

    return leases(topology, vpc.name)


def _records(vpc: Vpc) -> Iterator[View]:
    if vpc.dns and vpc.dns.records:
        from vpcctl_lib.views.names import record

        yield from (record(vpc, one) for one in vpc.dns.records)


def _flow_logs(vpc: Vpc) -> Iterator[View]:
    if vpc.flow_logs:
        from vpcctl_lib.views.flows import flow_logs

        yield from flow_logs(vpc)


def overview(overview: Overview) -> View:
    """A VPC with everything about it, and the plain commands that show the same."""
    # Imported late: other views have no need of it.
    from vpcctl_lib.views.acls import acl
    from vpcctl_lib.views.grouped import group
    from vpcctl_lib.views.routed import all_tables, gateway
    from vpcctl_lib.views.things import listed, others

    view = vpc(overview.topology, overview.vpc)
    size, bridge = sum(network.num_addresses for network in overview.vpc.networks), view["bridge"]
    inside = sum(subnet.cidr.num_addresses for subnet in overview.vpc.subnets)
    name = overview.vpc.name
    return {
        **view, "guarded": bool(overview.topology.guarded),
        "addresses": {"total": size, "in_subnets": inside, "free": size - inside},
        "peerings": [{"vpc": peer.name, "cidr": str(peer.cidr), "cidrs": [*map(str, peer.cidrs)],
                      "device": naming.device("pcx-", peer.name)}
                     for peer in overview.topology.peers_of(name)],
        "policies": [{**firewall(name, force), "see": _see_rules(overview.vpc, force.subnet)}
                     for force in overview.policies],
        "workloads": [{**workload(one), "see": f"ip netns pids {one.site.namespace}"}
                      for one in overview.workloads],
        "instances": [instance(one) for one in overview.instances],
        "groups": [group(one) for one in overview.groups],
        "acls": [acl(one) for one in overview.acls],
        "route_tables": all_tables(overview.topology, overview.vpc),
        "nat_gateways": [gateway(overview.topology, overview.vpc, one) for one in overview.vpc.nat_gateways],
        "records": [*_records(overview.vpc)],
        "flow_logs": [*_flow_logs(overview.vpc)],
        **{kind.plural: listed(overview.topology, kind, name) for kind in others()
           if kind.home is not Topology},
        "see": {**_see_flows(overview.vpc), "vpc": f"ip -n {name} addr show {bridge}",
                "uplink": f"ip addr show {view['uplink']['device']}",
                "nat": "iptables -t nat -S VPCCTL-POSTROUTING", "routes": f"ip -n {name} route",
                "subnets": f"ip -n {name} link show master {bridge}",
                "instances": f"ip -n {name} link show master {bridge}",
                **({"groups": f"ip netns exec {name} nft list table ip {naming.GROUP_TABLE}"}
                   if overview.groups and overview.topology.guarded else {}),
                **({"publishes": f"iptables -t nat -S {naming.HOST_PORTS}"}
                   if overview.vpc.is_published else {}),
                **({"mirrors": f"ip -n {name} link | grep -A 2 copy"} if overview.vpc.is_mirrored else {}),
                **({"dns": f"ip netns pids {name}; cat {folder(name)}/hosts"} if overview.vpc.dns else {}),
                **({"acls": f"ip netns exec {name} nft list table bridge {naming.ACL_TABLE}"}
                   if overview.acls else {}),
                **({"route_tables": f"ip -n {name} rule; ip -n {name} route show table all"}
                   if overview.vpc.route_tables else {}),
                "peerings": f"ip -n {name} -br addr show type veth",
                "guard": f"ip netns exec {name} nft list table bridge {naming.BRIDGE_TABLE}"},
    }


def _see_flows(vpc: Vpc) -> View:
    """What shows the counters of a machine that a flow log is of."""
    if not vpc.flow_logs:
        return {}
    from vpcctl_lib.views.flows import see

    return see(vpc)


def _see_rules(vpc: Vpc, subnet: Subnet) -> str:
    """At the first machine that follows the policy: all have the same rules. Empty if none does."""
    machines = endpoints.following(vpc, subnet)
    return f"ip netns exec {machines[0].namespace} iptables -nvL" if machines else ""


def subnet(vpc: Vpc, subnet: Subnet) -> View:
    """A subnet."""
    machines = endpoints.in_subnet(vpc, subnet)
    size = subnet.cidr.num_addresses
    used = addressing.used(subnet.cidr, vpc.cidr, (
        address for one in endpoints.all_in_subnet(vpc, subnet) for address in one.ipv4))
    own = endpoints.own(vpc, subnet)
    return {
        "vpc": vpc.name, "name": subnet.name, "cidr": str(subnet.cidr),
        "ipv6": str(subnet.ipv6) if subnet.ipv6 else None, "type": subnet.type.value,
        "route_table": subnet.route_table or None,
        "namespace": own.namespace if own else None,
        "address": str(own.address) if own else None,
        "address6": str(own.ipv6[0]) if own and own.ipv6 else None,
        "gateway": str(addressing.gateway(vpc.cidr)),
        "addresses": {"total": size, "used": used, "free": size - used},
        "firewall": subnet.policy is not None, "groups": list(own.groups) if own else [],
        "acl": subnet.acl or None, "bandwidth": own.bandwidth or None if own else None,
        "instances": [one.site.machine for one in machines if one.site.machine],
        "workloads": [workload.name for one in machines for workload in one.workloads],
    }


def peering(topology: Topology, peering: Peering) -> View:
    """A peering with the CIDRs that it joins."""
    view: View = {"vpc1": peering.vpc1, "vpc2": peering.vpc2}
    for number, name in enumerate((peering.vpc1, peering.vpc2), 1):
        found = topology.vpc(name)
        view[f"cidr{number}"] = str(found.cidr) if found else ""
        view[f"cidrs{number}"] = [*map(str, found.cidrs)] if found else []
    return view


def place(site: Site) -> View:
    """A machine's place; `instance` is null for a subnet's own machine."""
    return {"vpc": site.vpc, "subnet": site.subnet, "instance": site.machine or None}


def instance(found: Instance) -> View:
    """A machine, and whether it exists."""
    where = found.where
    return {
        "vpc": where.site.vpc, "subnet": where.site.subnet, "name": where.site.machine or None,
        "namespace": where.namespace, "address": str(where.address),
        "addresses": [str(one.ip) for one in where.addresses], "mac": where.mac, "forwards": where.forwards,
        "bandwidth": where.bandwidth or None,
        "interface": where.interface, "container": where.attached.container or None,
        "netns": where.attached.path or None, "tap": where.tap or None, "groups": list(where.groups),
        "state": found.state.value,
        "workloads": [one.name for one in where.workloads],
    }


def _guest(where: Endpoint) -> list[View]:
    """What the guest of a tap must set, by family."""
    # Imported late: few machines are virtual ones.
    from vpcctl_lib.blueprint.taps import needs

    return [one._asdict() for one in needs(where)]


def instance_shown(found: Instance) -> View:
    """A machine, and the plain commands that show the same."""
    where, vpc = found.where, found.where.site.vpc
    within = f"ip netns exec {where.namespace}"
    return {**instance(found), "port": where.port, "guest": _guest(where) if where.tap else None, "see": {
        "addresses": f"ip -n {where.namespace} neigh show dev {where.tap} nud permanent" if where.tap else
                     f"ip -n {where.namespace} addr show {where.interface}",
        "mac": f"bridge -n {vpc} fdb show dev {where.port} | grep static",
        "port": f"ip -n {vpc} link show {where.port}",
        **({"tap": f"ip -n {where.namespace} -d link show {where.tap}"} if where.tap else {}),
        "forwards": f"{within} sysctl net.ipv4.ip_forward",
        "bandwidth": f"tc -n {vpc} qdisc show dev {where.port}",
        "workloads": f"ip netns pids {where.namespace}"}}


def workload(running: Running) -> View:
    """A workload, and whether it runs."""
    return {
        **place(running.site), "name": running.workload.name,
        "state": running.life.value, "pid": running.pid, "port": running.workload.port,
        "command": list(running.workload.argv) or ["webserver"], "log": str(running.log),
        "url": next(iter(running.urls), None), "url6": next(iter(running.urls[1:]), None),
        "user": running.workload.user or None, "pids": running.workload.pids,
        "memory": running.workload.memory, **_upkeep(running.workload.upkeep), **_fate(running.fate),
    }


def ending(running: Running) -> View:
    """A workload that does not run, and how it ended."""
    return {**place(running.site), "name": running.workload.name, **_fate(running.fate)}


def passage(passage: Passage) -> View:
    """Whether a VPC's packets leave, and what stops them."""
    return {"vpc": passage.vpc, "interface": passage.interface or None, "state": passage.state.value,
            "causes": [{"why": cause.why, "help": cause.help or None, "sure": cause.sure}
                       for cause in passage.causes]}


def _upkeep(upkeep: Upkeep) -> View:
    # Imported late, here and below: most views show no workload.
    from vpcctl_lib.workloads.upkeep import variables

    return {
        "env": variables(upkeep.env), "workdir": upkeep.workdir or None,
        "stop_signal": upkeep.stop_signal or None, "stop_timeout": upkeep.stop_timeout,
        "restart": upkeep.restart.value, "log_max": upkeep.log_max,
    }


def _fate(fate: Fate | None) -> View:
    """How and when the program last ended; null for what did not happen, or can't be read without root."""
    if fate is None:
        return {"restarts": None, "exit_code": None, "signal": None, "ended": None}
    from vpcctl_lib.workloads.upkeep import signal_name

    code = fate.code
    ended = None if fate.ended is None else f"{datetime.fromtimestamp(fate.ended, timezone.utc):%FT%TZ}"
    return {"restarts": fate.restarts, "exit_code": code if code is None or code >= 0 else 128 - code,
            "signal": signal_name(-code) if code is not None and code < 0 else None, "ended": ended}


def firewall(vpc_name: str, force: InForce) -> View:
    """What decides about a machine, with its counters: its groups, else its subnet's policy, else nothing."""
    subnet = force.subnet
    view: View = {**place(Site(vpc_name, subnet.name, force.machine)), "policy": None, "counters": {},
                  "groups": []}
    if force.groups:
        from vpcctl_lib.views.grouped import in_force

        view["groups"] = [in_force(one, force.of(one)) for one in force.groups]
    elif subnet.policy is not None:
        # Imported late: it brings the readers of JSON and YAML.
        from vpcctl_lib.files.policy import to_document

        view["policy"] = to_document(subnet.policy, subnet.cidr)
        view["counters"] = {index: {"packets": packets, "bytes": size}
                            for index, (packets, size) in force.counters.items()}
    return view

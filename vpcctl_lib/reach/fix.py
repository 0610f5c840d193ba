"""The command that removes an obstacle: vpcctl's own if there is one, else the one that undoes the damage."""

from __future__ import annotations

import json
import shlex
from dataclasses import replace
from ipaddress import IPv4Network, ip_network

from vpcctl_lib.firewall.families import word
from vpcctl_lib.firewall.filter_rules import is_ingress
from vpcctl_lib.kernel.saves import split, words
from vpcctl_lib.kernel.ways import Hop, Way
from vpcctl_lib.model import elastic
from vpcctl_lib.model.addressing import Address, Family, host_end, router_end
from vpcctl_lib.model.addressing6 import host_end as end6
from vpcctl_lib.model.endpoints import Endpoint
from vpcctl_lib.model.lookup import find_vpc
from vpcctl_lib.model.naming import device
from vpcctl_lib.model.policies import Action, Group, Policy, Ports, Protocol, Rule
from vpcctl_lib.model.routing import routed
from vpcctl_lib.model.topology import Nat, Subnet, Vpc
from vpcctl_lib.reach import acl_fix, elastic_ends
from vpcctl_lib.reach.detours import Progress, quoted, tool
from vpcctl_lib.reach.governed import Judge, Packet, Refusal
from vpcctl_lib.reach.intent import Intent
from vpcctl_lib.reach.packet import Blocked, Code
from vpcctl_lib.reach.question import Outside, Question
from vpcctl_lib.reach.routes import Lookup, Route
from vpcctl_lib.reach.routing import WHOLE, lookup
from vpcctl_lib.reach.scene import HOST, Scene
from vpcctl_lib.reach.ways import shut
from vpcctl_lib.resources.forwarding6 import key_of
from vpcctl_lib.uplink.packets import aside

RESTORE = "vpcctl restore"
DIVERTED = frozenset({Code.FIREWALL_DENY, Code.NO_NAT, Code.NO_ROUTE})
"""The codes that a packet gets if it leaves by another link than its NAT."""

PAST = (("raw", "PREROUTING"), ("mangle", "PREROUTING"), ("mangle", "FORWARD"))
"""The chains that lead answers by published ports past what their subnet's route table leads to."""

HALFWAY = 1
"""More steps than between refusing a packet and refusing its answer in the same place."""

RESTORED = frozenset({Code.NAMESPACE_MISSING, Code.NO_NAT})


class Fixer:
    """Finds the fix for an obstacle; None if there is no such command."""

    def __init__(self, scene: Scene, intent: Intent) -> None:
        self._scene = scene
        self._intent = intent

    def fix(self, question: Question, blocked: Blocked, is_back: bool, progress: Progress) -> str | None:
        """The command for an obstacle; another obstacle may be behind this one."""
        here = HOST if blocked.where == "host" else blocked.where
        way = shut(self._intent.topology, question, is_back)
        if way is not None and way.code is blocked.code and way.why == blocked.rule:
            return way.fix
        idle = elastic_ends.idle(self._intent.topology, question)
        if idle is not None and here == HOST and not is_back:
            return idle.command
        other = question.to_vpc or self._intent.vpc_of(question.vpc, question.address)
        offered = opened(question, blocked.code, other) or self._published(question, here, blocked)
        if offered:
            return offered
        if here == HOST and other is None and not is_back and question.vpc and question.vpc.nat:
            strayed, fix = self._way_out(question, question.vpc, question.vpc.nat, blocked)
            if strayed:
                return fix
        if blocked.code is Code.ACL_DENY:
            return self._edge(here, blocked)
        if blocked.code is Code.FIREWALL_DENY or blocked.cause.table == "nat":
            return self._firewall(question, here, blocked, is_back)
        if blocked.code is Code.LINK_DOWN:
            return self._link(here, blocked)
        if blocked.code in (Code.NO_ROUTE, Code.NO_ADDRESS):
            return self._route(here, blocked)
        if blocked.code is Code.NO_NEIGHBOUR:
            return self._neighbour(question, here, blocked)
        if blocked.cause.setting:
            return self._setting(here, blocked, progress)
        if blocked.code is Code.SOURCE_REFUSED or (blocked.code in RESTORED and self._is_ours(here)):
            return RESTORE
        return None

    def _published(self, question: Question, here: str, blocked: Blocked) -> str | None:
        """The command that lets the internet in to a machine that no port of the host leads to."""
        vpc, subnet = question.to_vpc, question.to_subnet
        closed = blocked.code in (Code.FIREWALL_DENY, Code.NO_FORWARDING)
        if vpc is None or subnet is None or question.port is None or not closed:
            return None
        if question.outside is not Outside.INTERNET or here not in (HOST, vpc.name) \
                or not vpc.holds(question.address):
            return None
        machine = question.to_machine.name
        where = f"--vpc {vpc.name} --subnet {subnet.name}{f' --instance {machine}' if machine else ''}"
        udp = " --protocol udp" if question.protocol is Protocol.UDP else ""
        return f"vpcctl publish add {where} --port {question.port}{udp}"

    def _way_out(self, question: Question, vpc: Vpc, nat: Nat, blocked: Blocked) -> tuple[bool, str | None]:
        """Whether the host's way out differs from NAT's, and the command that makes NAT follow it."""
        cable = device("vpc-", vpc.name)
        route = lookup(self._scene.of(HOST), Lookup(question.address, self._source(question, vpc), cable))
        if route is None:
            # Only the host's own network set-up can bring back its way out.
            return blocked.code is Code.NO_ROUTE, None
        if route.kind != "unicast" or route.devices == (nat.interface,) or blocked.code not in DIVERTED:
            return False, None
        if route.hops:
            # Only IPv4 can be led aside.
            way = _way(route)
            return True, (aside(vpc, nat.interface, way) or None) if way else None
        ours = {"lo", *(device("vpc-", vpc.name) for vpc in self._intent.topology.vpcs)}
        if route.device in ours:
            return True, None
        enable = f"vpcctl nat enable --vpc {vpc.name} --interface {route.device}"
        return True, RESTORE if nat.follows else enable

    def _source(self, question: Question, vpc: Vpc) -> Address:
        """The packet's source address when it reaches the host."""
        own = self._scene.family is Family.INET6 or routed(self._intent.topology, vpc)
        return question.source if own and question.source else router_end(vpc.link)

    def _is_ours(self, here: str) -> bool:
        return here == HOST or here in self._intent.namespaces

    def _firewall(self, question: Question, here: str, blocked: Blocked, is_back: bool) -> str | None:
        cause, question = blocked.cause, _arriving(question, blocked)
        if not self._intent.has_rule(here, cause.table, cause.chain, cause.rule):
            name = f"{self._scene.family.tool}{'-legacy' if cause.legacy else ''}"
            table = "" if cause.table == "filter" else f" -t {cause.table}"
            chain = shlex.quote(cause.chain)
            # A comment is its writer's, who may be root in a container.
            what = f"-D {chain} {shlex.join(split(cause.rule))}" if cause.rule else f"-P {chain} ACCEPT"
            return f"{_inside(here)}{name}{table} {what}"
        if cause.seeks:
            return RESTORE
        one = self._intent.machine(here)
        if one and one.translates and not self._lost(here, cause.table, cause.chain):
            # Nothing gets in by a NAT gateway, unless its router has lost what leads answers past it.
            lost = (self._lost(one.site.vpc, *chain) for chain in PAST)
            return RESTORE if is_back and any(lost) else None
        if one and one.groups:
            return self._joined(one, question, blocked, is_back)
        found = self._intent.subnet(here)
        if self._lost(here, cause.table, cause.chain):
            return RESTORE
        if found and found[1].policy and not is_back:
            return _allowed(*found, question, is_ingress(cause.chain), _sent_from(question, found[0]))
        # A VPC is closed to strangers, unless a rule is missing that opens it to them.
        lacking = any(self._lost(here, *place) for place in self._intent.chains_of(here))
        return RESTORE if question.vpc or lacking else None

    def _edge(self, here: str, blocked: Blocked) -> str | None:
        """A rule more in the network ACL; if the kernel has other ACLs than the record, the record's."""
        held, vpc = self._scene.of(here).passage().acls, self._intent.topology.vpc(here)
        wanted = self._intent.acls(here)
        if held is None or vpc is None or wanted is None or wanted.differs(held):
            return RESTORE
        acl = vpc.acl(acl_fix.asked(blocked)[0])
        return acl_fix.command(vpc, acl, blocked) if acl else RESTORE

    def refusal(self, question: Question, blocked: Blocked, is_back: bool) -> Refusal | None:
        """What the groups of the machine where the packet is refused have against it."""
        one = self._intent.machine(blocked.where)
        if one is None or not one.groups or is_back or blocked.code is not Code.FIREWALL_DENY \
                or not self._intent.has_rule(one.namespace, blocked.cause.table, blocked.cause.chain,
                                             blocked.cause.rule):
            return None
        topology, question = self._intent.topology, _arriving(question, blocked)
        source = _sent_from(question, find_vpc(topology, one.site.vpc))
        packet = Packet(source, question.address, question.protocol, question.port)
        return Judge(topology).refusal(one, packet, is_ingress(blocked.cause.chain))

    def _joined(self, one: Endpoint, question: Question, blocked: Blocked, is_back: bool) -> str:
        """A membership that lets it through, else a rule more in the machine's first group."""
        refusal = self.refusal(question, blocked, is_back)
        if refusal is None or self._lost(one.namespace, blocked.cause.table, blocked.cause.chain):
            return RESTORE
        if refusal.who:
            site = refusal.who.site
            instance = f" --instance {site.machine}" if site.machine else ""
            where = f"--vpc {site.vpc} --subnet {site.subnet}{instance}"
            return f"vpcctl group join {where} --name {refusal.group}"
        vpc = find_vpc(self._intent.topology, one.site.vpc)
        group = vpc.group(one.groups[0])
        if group is None:
            return RESTORE
        return _widened(vpc, group, question, is_ingress(blocked.cause.chain))

    def _lost(self, here: str, table: str, chain: str) -> bool:
        """Whether rules of ours are missing from a chain."""
        wanted = self._intent.rules(here, table, chain)
        held = [words(rule.words) for tables in self._scene.of(here).tables
                for rule in (tables[table][chain].rules if chain in tables.get(table, {}) else ())]
        return any(rule not in held for rule in wanted)

    def _link(self, here: str, blocked: Blocked) -> str | None:
        if here == HOST and not self._intent.has_link(here, blocked.cause.device):
            link = self._scene.of(here).links.get(blocked.cause.device)
            if link and link.is_up:
                # Without a carrier: only somebody at the other end can plug it in.
                return None
            ours = any(blocked.cause.device == device("vpc-", vpc.name) for vpc in self._intent.topology.vpcs)
            return RESTORE if ours else f"ip link set dev {blocked.cause.device} up"
        if blocked.cause.device == self._scene.taps.get(here):
            tap = self._scene.of(here).links.get(blocked.cause.device)
            # Only whoever runs the virtual machine can open it.
            return None if tap and tap.is_up else RESTORE
        return RESTORE

    def _route(self, here: str, blocked: Blocked) -> str | None:
        """A refusing route was added by hand; a missing one is in the record, or unknown."""
        if blocked.cause.rule and blocked.code is Code.NO_ROUTE:
            is_route = blocked.rule == f"route {blocked.cause.rule}"
            return f"{self._tool(here)} route del {quoted(blocked.cause.rule)}" if is_route else None
        if blocked.code is Code.NO_ADDRESS and here == HOST and \
                not self._intent.has_link(here, blocked.cause.device):
            # Only the host's own network set-up can give a link of its own an address.
            return None
        return RESTORE if self._is_ours(here) else None

    def _neighbour(self, question: Question, here: str, blocked: Blocked) -> str | None:
        """Removes a hand-made route to a gateway that nobody has; else the record says who must answer."""
        for route in self._scene.of(here).routes:
            leads = route.gateway is not None and route.gateway == blocked.cause.address
            if leads and route.device == blocked.cause.device and not self._intent.made(here, route):
                device = shlex.quote(route.device)
                return f"{self._tool(here)} route del {route.network} via {route.gateway} dev {device}"
        if blocked.rule == self._intent.nobody_at(question.vpc, question.address):
            return None
        why, command = elastic.unused(self._intent.topology, question.address)
        if why == blocked.rule:
            return command or None
        return RESTORE if self._is_ours(here) else None

    def _setting(self, here: str, blocked: Blocked, progress: Progress) -> str | None:
        """Restores a setting that is in the record, sets others, if that alone lets the packet through."""
        cause = blocked.cause
        if blocked.code is Code.NO_FORWARDING:
            restored = cause.setting in WHOLE.values() and self._is_ours(here) \
                and not self._intent.is_subnet(here)
            if here == HOST and self._scene.family is Family.INET6:
                return self._sent_on(cause.device)
            return RESTORE if restored else f"{_inside(here)}sysctl -w {cause.setting}=1"
        if blocked.code is Code.NO_IPV6:
            return RESTORE
        if blocked.code is Code.SOURCE_REFUSED and cause.address and self._is_lost(here, cause.address):
            return RESTORE
        names = [cause.setting]
        if blocked.code is Code.SOURCE_REFUSED:
            names = [f"net/ipv4/conf/{name}/rp_filter" for name in ("all", cause.device)
                     if self._scene.of(here).per_link(name, "rp_filter")]
            if not self._helps(here, names, progress):
                return self._astray(here, cause.address)
        return f"{_inside(here)}sysctl -w {shlex.join(f'{name}=0' for name in names)}"

    def _sent_on(self, device: str) -> str:
        """What has the host send IPv6 on that comes in by a link, and keep its own default route."""
        if self._intent.topology.whole6 or device in self._intent.forwards6:
            return RESTORE
        if self._scene.of(HOST).setting(key_of("all")) is not None:
            return f"sysctl -w {shlex.quote(f'{key_of(device)}=1')}"
        links = dict.fromkeys(vpc.nat.interface for vpc in self._intent.topology.vpcs if vpc.nat)
        accepts = (shlex.quote(f"net/ipv6/conf/{link}/accept_ra=2") for link in links)
        return f"sysctl -w {' '.join(accepts)} {WHOLE[Family.INET6]}=1"

    def _tool(self, here: str) -> str:
        return tool(self._scene.of(here))

    def _helps(self, here: str, names: list[str], progress: Progress) -> bool:
        """Whether the packet gets further with these settings off."""
        namespace, before = self._scene.of(here), progress()
        held = namespace.setting
        namespace.setting = lambda key: "0" if key in names else held(key)
        try:
            return progress() > before + HALFWAY
        finally:
            namespace.setting = held

    def _astray(self, here: str, address: Address | None) -> str | None:
        """The command that removes the hand-made route that sends the answer elsewhere."""
        route = lookup(self._scene.of(here), Lookup(address)) if address else None
        if route is None or route.hops or route.kind == "local" or self._intent.made(here, route):
            return None
        return f"{self._tool(here)} route del {quoted(route)}"

    def _is_lost(self, here: str, address: Address) -> bool:
        """Whether the record has a way back to an address, and the kernel does not."""
        route = self._intent.route(here, address)
        return route is not None and not self._intent.holds(route, self._scene.of(here))


def _way(route: Route) -> Way | None:
    """A route of IPv4 as `status` shows it."""
    if not isinstance(route.network, IPv4Network):
        return None
    hops = tuple(Hop(hop.device, str(hop.gateway or "")) for hop in route.hops)
    return Way(hops=hops, network=route.network, table=route.table)


def _inside(namespace: str) -> str:
    return f"ip netns exec {namespace} " if namespace else ""


def opened(question: Question, code: Code, other: Vpc | None) -> str | None:
    """The command that opens it the way a VPC offers it."""
    vpc, subnet = question.vpc, question.subnet
    if code is Code.NOTHING_LISTENS:
        return _served(question)
    if vpc is None or subnet is None:
        return None
    if code is Code.NOT_PEERED and other is not None:
        return f"vpcctl peer create --vpc1 {vpc.name} --vpc2 {other.name}"
    enable = f"vpcctl nat enable --vpc {vpc.name}"
    if code is Code.NO_NAT and vpc.nat is None:
        return enable
    if code is Code.PRIVATE_SUBNET:
        # In place: running programs and their addresses must not be lost.
        opened = f"vpcctl subnet set --vpc {vpc.name} --name {subnet.name} --type public"
        return opened if vpc.nat else f"{opened} && {enable}"
    if code is Code.HOST_CLOSED:
        port = f" --dport {question.port}" if question.port else ""
        cable = device("vpc-", vpc.name)
        return f"{question.family.tool} -I INPUT -i {cable} -p {word(question.protocol)}{port} -j ACCEPT"
    return None


def _served(question: Question) -> str | None:
    vpc, subnet = question.to_vpc, question.to_subnet
    if vpc is None or subnet is None or question.protocol is not Protocol.TCP or question.to_machine.tap:
        return None
    return f"vpcctl deploy webserver --vpc {vpc.name} --subnet {subnet.name} --port {question.port}"


def _allowed(vpc: Vpc, subnet: Subnet, question: Question, is_ingress: bool, source: Address) -> str:
    """The subnet's policy with one rule more, before all others, for exactly this."""
    # Imported late, here and below: most questions need no policy written.
    from vpcctl_lib.files.policy import to_document

    policy = _with_rule(subnet.policy or Policy(), question, is_ingress, source)
    return _applied(to_document(policy), f"firewall apply --vpc {vpc.name} --subnet {subnet.name}")


def _arriving(question: Question, blocked: Blocked) -> Question:
    """The question as the machine sees it that refuses it, if the packet was translated on its way."""
    flow = blocked.cause.flow
    port = flow.destination_port.first if flow and flow.destination_port else None
    if flow is None or (flow.destination, port) == (question.address, question.port):
        return question
    return replace(question, address=flow.destination, port=port, seen_as=flow.source)


def _sent_from(question: Question, vpc: Vpc) -> Address:
    """The packet's source address in a VPC: the host's is that of its end of the cable there."""
    if question.source:
        return question.source
    return end6(vpc.ipv6) if question.family is Family.INET6 and vpc.ipv6 else host_end(vpc.link)


def _widened(vpc: Vpc, group: Group, question: Question, is_ingress: bool) -> str:
    """The group with one rule more, for exactly this."""
    from vpcctl_lib.files.policy import group_to_document

    policy = _with_rule(group.policy, question, is_ingress, _sent_from(question, vpc))
    return _applied(group_to_document(replace(group, policy=policy)),
                    f"group apply --vpc {vpc.name} --name {group.name}")


def _with_rule(policy: Policy, question: Question, is_ingress: bool, source: Address) -> Policy:
    ports = Ports(question.port, question.port) if question.port else None
    far = ip_network(source if is_ingress else question.address)
    rule = Rule(question.protocol, Action.ALLOW, ports, far)
    if is_ingress:
        return replace(policy, ingress=(rule, *policy.ingress))
    return replace(policy, egress=(rule, *(policy.egress or ())))


def _applied(document: dict[str, object], command: str) -> str:
    text = shlex.quote(json.dumps(document))
    return f"policy=$(mktemp) && echo {text} >$policy && vpcctl {command} --policy $policy"

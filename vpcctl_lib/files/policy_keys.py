"""The keys of policies and groups, a line for each: files are read and written by them, and schemas made."""

from __future__ import annotations

from dataclasses import replace

from vpcctl_lib.files import policy_values as values
from vpcctl_lib.files.keys import Key, Kind
from vpcctl_lib.files.policy_values import POLICY_WORDS, lacks
from vpcctl_lib.model.policies import Action, Group, Policy, Protocol, Rule


def _rule(direction: str, far_end: str, other: str, others_end: str) -> tuple[Kind, Kind]:
    """The rules of a direction, of a subnet and of a group; they have a key of their own for the far end."""
    not_here = (f"an {direction} rule has no {others_end}: that key is for {other}",
                f'write "{far_end}", or move it to {other}')
    port = Key("port", values.PORTS, 'A port, or a range such as "8000-8100". All ports if missing.',
               ("ports",))
    protocol = Key("protocol", values.choice(Protocol), "What the rule matches.",
                   required=lacks("protocol", Protocol))
    description = Key("description", values.DESCRIPTION, "A text for people.", listed=-1)
    about = f"A rule for {direction} traffic"
    subnets = Kind(f"{direction}_rule", "a rule", Rule, f"{about}; the first match decides.", (
        port, protocol,
        Key("action", values.choice(Action), "allow, or deny without an answer.",
            required=lacks("action", Action)),
        Key(far_end, values.NETWORK, f"The {far_end}: a CIDR or an address. Anywhere if missing.",
            ("network",)),
        description), elsewhere={others_end: not_here}, words=POLICY_WORDS, rules=values.NO_PORTS)
    groups = replace(subnets, id=f"group_{direction}_rule", about=f"{about} of a group's members.", keys=(
        port, protocol,
        Key("action", values.ALLOW, "allow: a group only allows.",
            required=("the rule has no action", "add one: allow")),
        Key(far_end, values.FAR_END, f"The {far_end}: a CIDR, an address, or group:NAME, also of a peer: "
            "group:VPC/NAME. Anywhere if missing.", ("network", "group")),
        description))
    return subnets, groups


INGRESS_RULE, GROUP_INGRESS_RULE = _rule("ingress", "source", "egress", "destination")
EGRESS_RULE, GROUP_EGRESS_RULE = _rule("egress", "destination", "ingress", "source")

POLICY = Kind("policy", "a policy", Policy, "A stateful firewall policy of a subnet.", (
    Key("description", values.DESCRIPTION, "A text for people."),
    Key("subnet", values.SUBNET, "The CIDR of the subnet that it is for. Any subnet if missing.", ()),
    Key("ingress", values.rules(INGRESS_RULE, "ingress"), "Rules for incoming connections, in order.",
        kept=True),
    Key("egress", values.rules(EGRESS_RULE, "egress"),
        "Rules for outgoing connections, in order. If missing, outgoing traffic stays open."),
    Key("default", values.choice(Action), "What happens to everything that no rule matches.", kept=True),
), words=POLICY_WORDS)

GROUP = Kind("group", "a group", Group, "A security group: what it allows its members.", (
    Key("description", values.DESCRIPTION, "A text for people.", ("policy.description",)),
    Key("ingress", values.rules(GROUP_INGRESS_RULE, "ingress"), "What may come in; nothing if missing.",
        ("policy.ingress",)),
    Key("egress", values.rules(GROUP_EGRESS_RULE, "egress"), "What may go out; everything if missing.",
        ("policy.egress",)),
    Key("default", values.DENY, "deny: a group only allows.", ()),
), named="group", words=POLICY_WORDS, elsewhere={
    "subnet": ("a group is not for a subnet", "leave out the key, or use it with: vpcctl firewall apply")})

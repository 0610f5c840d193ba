"""The keys of a policy, a line for each: a file is read and written by this table, and its schema made."""

from __future__ import annotations

from vpcctl_lib.files import policy_values as values
from vpcctl_lib.files.keys import Key, Kind
from vpcctl_lib.files.policy_values import POLICY_WORDS, lacks
from vpcctl_lib.model.topology import Action, Policy, Protocol, Rule


def _rule(direction: str, far_end: str, other: str, others_end: str) -> Kind:
    """The rules of a direction, which have a key of their own for the far end."""
    not_here = (f"an {direction} rule has no {others_end}: that key is for {other}",
                f'write "{far_end}", or move it to {other}')
    return Kind(
        f"{direction}_rule", "a rule", Rule, f"A rule for {direction} traffic; the first match decides.", (
            Key("port", values.PORTS, 'A port, or a range such as "8000-8100". All ports if missing.',
                ("ports",)),
            Key("protocol", values.choice(Protocol), "What the rule matches.",
                required=lacks("protocol", Protocol)),
            Key("action", values.choice(Action), "allow, or deny without an answer.",
                required=lacks("action", Action)),
            Key(far_end, values.NETWORK, f"The {far_end}: a CIDR or an address. Anywhere if missing.",
                ("network",)),
            Key("description", values.DESCRIPTION, "A text for people.", listed=-1)),
        elsewhere={others_end: not_here}, words=POLICY_WORDS, rules=values.NO_PORTS)


INGRESS_RULE = _rule("ingress", "source", "egress", "destination")
EGRESS_RULE = _rule("egress", "destination", "ingress", "source")

POLICY = Kind("policy", "a policy", Policy, "A stateful firewall policy of a subnet.", (
    Key("description", values.DESCRIPTION, "A text for people."),
    Key("subnet", values.SUBNET, "The CIDR of the subnet that it is for. Any subnet if missing.", ()),
    Key("ingress", values.rules(INGRESS_RULE, "ingress"), "Rules for incoming connections, in order.",
        kept=True),
    Key("egress", values.rules(EGRESS_RULE, "egress"),
        "Rules for outgoing connections, in order. If missing, outgoing traffic stays open."),
    Key("default", values.choice(Action), "What happens to everything that no rule matches.", kept=True),
), words=POLICY_WORDS)

"""What users of `aws ec2`, `docker`, `kubectl` and `ip` type, and our command for it; pure."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

Commands = Mapping[str, Collection[str]]
"""Our commands, each with its subcommands."""

PROGRAMS = frozenset(("aws", "ec2", "docker", "podman", "nerdctl", "kubectl", "incus", "lxc", "ip"))
"""Skipped in front of a command."""

SHOWN = frozenset(("describe", "get", "info", "inspect", "view"))
"""Verbs for one thing or for many, depending on the noun."""

VERBS: tuple[frozenset[str], ...] = tuple(frozenset(words.split()) for words in (
    "create add enable apply new make mk set up allow authorize attach associate allocate accept request put "
    "run",
    "list show ls ps get describe status info inspect view print all",
    "show get describe info inspect view cat print",
    "delete del rm remove destroy disable clear stop kill terminate down detach disassociate release revoke "
    "reject flush prune drop off",
    "run create add start launch deploy apply",
    "stop delete del rm remove kill terminate halt down",
    "logs log tail attach",
))
"""Words that mean the same: the noun's own verb is among them."""

WORDS: Mapping[str, str] = {
    word: ours for ours, words in {
        "vpc": "vpc vpcs network networks net vnet default-vpc router routers bridge bridges br vrf cluster",
        "subnet": "subnet subnets netns ns namespace namespaces subnetwork",
        "nat": "nat nats natgw nat-gateway nat-gateways internet-gateway internet-gateways igw gateway "
               "gateways masquerade egress-only-internet-gateway eip address-translation internet",
        "peer": "peer peers peering peerings vpc-peering vpc-peering-connection vpc-peering-connections pcx "
                "transit-gateway tgw connect",
        "firewall": "firewall fw security-group security-groups securitygroup sg sgs security-group-ingress "
                    "security-group-egress security-group-rule security-group-rules policy policies "
                    "networkpolicy networkpolicies netpol iptables nft ufw firewalld rule rules ingress",
        "acl": "acl acls network-acl network-acls nacl nacls",
        "vpc set": "vpc-cidr-block cidr-block",
        "acl apply": "network-acl-entry replace-network-acl-entry",
        "acl associate": "replace-network-acl-association",
        "instance": "instance instances machine machines vm vms server servers",
        "deploy": "deploy deployment deployments workload workloads container containers "
                  "pod pods service services task job webserver",
        "vpc show": "route routes route-table route-tables addr address addresses a r link links l interface "
                    "interfaces network-interface network-interfaces eni neigh inspect describe show get",
        "vpc list": "list ls networks-list overview",
        "vpc create": "create add new init network-create",
        "vpc delete": "delete del rm remove destroy down terminate prune",
        "deploy list": "ps top jobs",
        "instance add": "run-instances",
        "instance attach": "attach-network-interface",
        "instance detach": "detach-network-interface",
        "instance delete": "terminate-instances",
        "deploy run": "run start launch",
        "deploy logs": "logs log tail",
        "deploy stop": "stop kill stop-instances",
        "deploy webserver": "serve server httpd nginx",
        "exec": "exec execute ssh shell sh bash enter attach ping curl nsenter start-session",
        "reach": "reach trace traceroute tracepath mtr test connectivity analyze path network-insights-path "
                 "network-insights-analysis start-network-insights-analysis can",
        "capture": "capture tcpdump sniff dump-packets",
        "flow-log create": "flow-logs flow flows create-flow-logs netflow ipfix",
        "flow-log list": "describe-flow-logs",
        "flow-log delete": "delete-flow-logs",
        "flow-log show": "get-log-events filter-log-events",
        "mirror": "mirror traffic-mirror-session traffic-mirror-sessions traffic-mirror-target "
                  "traffic-mirror-filter span",
        "instance set": "modify-instance-attribute limit throttle bandwidth shape",
        "status": "status check verify doctor health diff drift events",
        "restore": "restore repair fix heal sync recover reconcile reload restart",
        "apply": "apply compose import load up-file deploy-file plan",
        "export": "export dump save backup cat",
        "graph": "graph diagram draw tree picture map topology",
        "sandbox": "sandbox try play demo lab unshare",
    }.items() for word in words.split()}
"""Their words, each with our noun or whole command."""


def meant(words: Sequence[str], commands: Commands) -> tuple[tuple[str, ...], int] | None:
    """Our command for the words, and how many of them name it; None if there is none.

    The words are noun and verb in either order (`network create`, `get pods`), or both in one (`create-vpc`).
    """
    skipped = next((number for number, word in enumerate(words) if word not in PROGRAMS), len(words))
    typed = [word.lower() for word in words[skipped:]]
    for count, noun, verb in _readings(typed):
        found = _command(noun, verb, commands)
        if found:
            return found, skipped + count
    return None


def verb_of(group: str, verb: str, commands: Commands, one: bool = False) -> str:
    """Our noun's verb for another program's, `one` if a single thing is meant; empty if it has none."""
    own = commands.get(group, ())
    classes = [found for found in VERBS if verb in found]
    if one and verb in SHOWN:
        classes.sort(key=lambda found: "cat" not in found)
    return next((word for found in classes for word in own if word in found), "")


def _readings(typed: Sequence[str]) -> list[tuple[int, str, str]]:
    """How many words each reading uses, its noun and its verb; the most specific comes first."""
    if not typed:
        return []
    first, second = typed[0], typed[1] if len(typed) > 1 else ""
    found = []
    if first in WORDS and _is_verb(second):
        found.append((2, first, second))
    if _is_verb(first) and second in WORDS:
        found.append((2, second, first))
    if first in WORDS and second in WORDS:
        # Such as `netns exec`: the second word is enough.
        found.append((2, second, ""))
    if first in WORDS:
        found.append((1, first, ""))
    verb, _, noun = first.partition("-")
    if _is_verb(verb) and noun in WORDS:
        found.append((1, noun, verb))
    return found


def _is_verb(word: str) -> bool:
    return any(word in found for found in VERBS)


def _command(noun: str, verb: str, commands: Commands) -> tuple[str, ...] | None:
    head, _, own = WORDS[noun].partition(" ")
    below = commands.get(head)
    if not below:
        return None if below is None else (head,)
    wanted = own or verb_of(head, verb or "create", commands, one=not noun.endswith("s"))
    return (head, wanted) if wanted else None

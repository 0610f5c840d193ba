"""Views as tables for a person, if several commands show them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from vpcctl_lib.cli import layout, output
from vpcctl_lib.model.names import lease_of
from vpcctl_lib.views import things

View = dict[str, Any]
MOST_MEMBERS = 5
"""So many members of a group are shown by name."""


def overview(view: View) -> None:
    """Everything about one VPC."""
    see = view["see"]
    output.result(_head(view))
    _routes(view)
    if view["subnets"]:
        _heading("Subnets", see["subnets"])
        _subnets(view["subnets"])
    if view["instances"]:
        _heading("Instances", see["instances"])
        instances(view["instances"], "")
    if view["groups"]:
        _heading("Groups", *filter(None, [see.get("groups")]))
        groups(view["groups"], "")
    if view["acls"]:
        _heading("Network ACLs", *filter(None, [see.get("acls")]))
        acls(view["acls"], "")
    if view["nat_gateways"]:
        _heading("NAT gateways", see["instances"])
        nat_gateways(view["nat_gateways"], "")
    if view["records"]:
        _heading("Records", *filter(None, [see.get("records")]))
        records(view["records"], "")
    if view["flow_logs"]:
        _heading("Flow logs", *filter(None, [see.get("flow_logs")]))
        flow_logs(view["flow_logs"], "")
    for kind in things.others():
        if view.get(kind.plural):
            _heading(kind.plural.replace("_", " ").capitalize(), *filter(None, [see.get(kind.plural)]))
            columns, rows = things.rows(view[kind.plural])
            output.table(columns, list(rows), "")
    if view["peerings"]:
        _heading("Peerings", see["peerings"])
        output.table(("PEER", "CIDR", "DEVICE"),
                     [(one["vpc"], networks(one), one["device"]) for one in view["peerings"]], "")
    for one in view["policies"]:
        _heading(f"Policy of {one['subnet']}", one["see"] or "no machine follows it")
        policy(one)
    if view["workloads"]:
        _heading("Workloads", *dict.fromkeys(one["see"] for one in view["workloads"]))
        workloads(view["workloads"], "")


def route_tables(found: list[View], empty: str) -> None:
    """Route tables, a line for each route."""
    rows = [(one["vpc"], one["name"], ", ".join(one["subnets"]) or "-", *_route(row))
            for one in found for row in one["routes"]]
    output.table(("VPC", "NAME", "SUBNETS", "DESTINATION", "TARGET", "STATE"), rows, empty, keys=2)


def route_table(view: View) -> None:
    """One route table."""
    output.result("\n".join(line for name, value in (
        ("Name", f"{view['vpc']}/{view['name']}"), ("Subnets", ", ".join(view["subnets"]) or "none"))
        for line in _fact(name, value, "", 0)))
    output.result("")
    routes(view)


def routes(view: View) -> None:
    """The routes of a table."""
    output.table(("DESTINATION", "TARGET", "STATE"), [_route(row) for row in view["routes"]], "")


def _route(row: View) -> tuple[str, str, str]:
    return row["destination"], row["target"], row["state"]


def nat_gateways(found: list[View], empty: str) -> None:
    """NAT gateways, and the routes that lead to them."""
    rows = [(one["vpc"], one["subnet"], one["name"], one["address"], one["elastic_ip"] or "-",
             one["namespace"], ", ".join(one["routes"]) or "-") for one in found]
    output.table(("VPC", "SUBNET", "NAME", "ADDRESS", "ELASTIC IP", "NAMESPACE", "ROUTES"), rows, empty)


def records(found: list[View], empty: str) -> None:
    """Names, and what they lead to."""
    rows = ((one["fqdn"], ", ".join(one["addresses"]) or one["cname"], one["machine"] or "-")
            for one in found)
    output.table(("NAME", "LEADS TO", "MACHINE"), rows, empty)


def flow_logs(found: list[View], empty: str) -> None:
    """Flow logs."""
    rows = [(one["id"], "/".join(filter(None, (one["vpc"], one["subnet"], one["instance"]))), one["traffic"],
             f"{one['interval']} s", one["format"], str(len(one["interfaces"]))) for one in found]
    output.table(("ID", "OF", "TRAFFIC", "INTERVAL", "FORMAT", "MACHINES"), rows, empty)


def interfaces(found: list[View]) -> None:
    """The interfaces that the records of flow logs name."""
    machines = {one["id"]: one["machine"] for view in found for one in view["interfaces"]}
    if machines:
        output.result("")
        output.table(("INTERFACE", "MACHINE"), list(machines.items()), "")


def _routes(view: View) -> None:
    """The one table of all subnets; where a person made others, each with its subnets."""
    if "route_tables" not in view["see"]:
        _heading("Route table", view["see"]["routes"])
        output.table(("DESTINATION", "TARGET"),
                     [(row["destination"], row["target"]) for row in view["routes"]], "")
        return
    for one in view["route_tables"]:
        _heading(f"Route table {one['name']} of {', '.join(one['subnets']) or 'no subnet'}",
                 view["see"]["route_tables"])
        routes(one)


def _heading(what: str, *commands: str) -> None:
    line = f"{what}: {', '.join(commands)}".removesuffix(": ")
    if len(line) > output.width():
        line = "\n  ".join((f"{what}:", *commands))
    output.result(f"\n{line}")


def addresses(subnet: View) -> str:
    """Those of a subnet's own machine, in both families."""
    return ", ".join(filter(None, (subnet["address"], subnet["address6"]))) or "-"


def networks(view: View) -> str:
    """All CIDRs of a VPC."""
    return ", ".join((view["cidr"], *view["cidrs"]))


def _head(view: View) -> str:
    uplink, size = view["uplink"], view["addresses"]
    lines = {"Name": view["name"], "CIDR": networks(view), **({"IPv6": view["ipv6"]} if view["ipv6"] else {}),
             "Addresses": f"{size['total']}: {size['in_subnets']} in subnets, {size['free']} free",
             "Gateway": f"{view['gateway']} on {view['bridge']}", "Namespace": view["namespace"],
             "Uplink": f"{uplink['device']} {uplink['host']} (host) - {uplink['router']} (router)",
             "NAT": _uplink(view["nat"]) if view["nat"] else "off",
             "Ports": "guarded" if view["guarded"] else "not guarded",
             **({"DNS": f"{view['dns']['domain']} at {' and '.join(view['dns']['addresses'])}"}
                if view["dns"] else {}),
             **({"DHCP": _leases(view["dhcp"])} if view["dhcp"] else {}),
             "Peers": ", ".join(view["peers"]) or "none"}
    commands = {"Gateway": "vpc", "Uplink": "uplink", "NAT": "nat",
                **({"Ports": "guard"} if view["guarded"] else {}),
                **({"DNS": "dns"} if view["dns"] else {})}
    facts = {name: (value, view["see"][commands[name]] if name in commands else "")
            for name, value in lines.items()}
    return _facts(facts)


def _leases(view: View) -> str:
    ntp = f", NTP {' and '.join(view['ntp'])}" if view["ntp"] else ""
    return f"leases of {lease_of(view['lease'])}{ntp}"


def _facts(facts: Mapping[str, tuple[str, str]]) -> str:
    """A line for each value, with the command that shows it."""
    wide = max(len(value) for value, command in facts.values() if command)
    longest = max(len(command) for _, command in facts.values())
    beside = 11 + wide + 2 + longest <= output.width()
    return "\n".join(line for name, (value, command) in facts.items()
                     for line in _fact(name, value, command, wide if beside else 0))


def _fact(name: str, value: str, command: str, wide: int) -> Iterator[str]:
    """The value, and the command that shows it: beside it if there is room for all, else below."""
    if command and wide:
        yield f"{name + ':':<11}{value:<{wide}}  {command}"
        return
    first, *rest = layout.folded(value, output.width() - 11)
    yield f"{name + ':':<11}{first}"
    yield from (f"{'':<11}{line}" for line in rest)
    if command:
        yield f"{'':<11}{command}"


def _uplink(nat: View) -> str:
    return f"auto ({nat['interface']})" if nat["auto"] else str(nat["interface"])


def _subnets(found: list[View]) -> None:
    rows = [(one["name"], one["cidr"], one["type"], one["namespace"] or "-", addresses(one),
             str(one["addresses"]["used"]), str(one["addresses"]["free"]),
             _decides(one), ", ".join(one["workloads"]) or "-") for one in found]
    columns = ("NAME", "CIDR", "TYPE", "NAMESPACE", "ADDRESS", "USED", "FREE", "FIREWALL", "WORKLOADS")
    output.table(*limited(found, columns, rows), "no subnets")


def limited(found: list[View], columns: Sequence[str], rows: Sequence[tuple[str, ...]]
            ) -> tuple[Sequence[str], Sequence[tuple[str, ...]]]:
    """The columns and rows with the bandwidth of each machine, if any is limited."""
    if not any(one["bandwidth"] for one in found):
        return columns, rows
    return (*columns, "BANDWIDTH"), [(*row, one["bandwidth"] or "-")
                                     for row, one in zip(rows, found, strict=True)]


def _decides(subnet: View) -> str:
    """What decides about the machines that are in no group, about its own machine if that is in some, and
    what is asked at its edge.
    """
    told = "policy" if subnet["firewall"] else "open"
    joined = f"; own in {', '.join(subnet['groups'])}" if subnet["groups"] else ""
    return f"{told}{joined}{'; acl ' + subnet['acl'] if subnet['acl'] else ''}"


def instances(found: list[View], empty: str) -> None:
    """Machines, and whether they exist."""
    rows = [(one["vpc"], one["subnet"], one["name"], ", ".join(one["addresses"]), one["mac"],
             ", ".join(one["groups"]) or "-", one["state"], ", ".join(one["workloads"]) or "-")
            for one in found]
    columns = ("VPC", "SUBNET", "NAME", "ADDRESS", "MAC", "GROUPS", "STATE", "WORKLOADS")
    output.table(*limited(found, columns, rows), empty)


def instance(view: View) -> None:
    """Everything about one machine, with the plain commands that show the same."""
    see, facts = view["see"], {
        "Name": (view["name"], ""), "Subnet": (f"{view['vpc']}/{view['subnet']}", ""),
        "Namespace": (view["namespace"], ""), "State": (_state(view), ""),
        "Addresses": (", ".join(view["addresses"]), "addresses"), "MAC": (view["mac"], "mac"),
        "Port": (view["port"], "port"), **({"Tap": (view["tap"], "tap")} if view["tap"] else {}),
        **({"Guest": (_needed(view["guest"]), "")} if view["guest"] else {}),
        "Groups": (", ".join(view["groups"]) or "none", ""),
        "Forwards": ("yes" if view["forwards"] else "no", "forwards"),
        "Bandwidth": (view["bandwidth"] or "no limit", "bandwidth"),
        "Workloads": (", ".join(view["workloads"]) or "none", "workloads")}
    output.result(_facts({name: (value, see.get(key, "")) for name, (value, key) in facts.items()}))


def _needed(guest: list[View]) -> str:
    """What a virtual machine must set."""
    # Imported late: few machines are virtual ones.
    from vpcctl_lib.blueprint.taps import Needed

    return f"must set {', '.join(str(Needed(**one)) for one in guest)}"


def _state(view: View) -> str:
    """Whether it exists, and what it is attached to."""
    guest, state = view["container"] or view["netns"], str(view["state"])
    if not guest:
        return state
    return f"attached to {guest} by {view['interface']}" if state == "attached" else f"{state}: {guest}"


def groups(found: list[View], empty: str) -> None:
    """Groups, with the numbers of their rules and members."""
    rows = [(one["vpc"], one["name"], str(len(one["policy"].get("ingress", ()))),
             str(len(one["policy"]["egress"])) if "egress" in one["policy"] else "open",
             _members(one["members"]), ", ".join(one["stale"]) or "-") for one in found]
    columns = ("VPC", "NAME", "IN", "OUT", "MEMBERS", "STALE")
    stale = any(one["stale"] for one in found)
    output.table(columns if stale else columns[:-1], [row if stale else row[:-1] for row in rows], empty)


def _members(sites: list[str]) -> str:
    more = f" and {len(sites) - MOST_MEMBERS} more" if len(sites) > MOST_MEMBERS else ""
    return f"{', '.join(sites[:MOST_MEMBERS])}{more}" or "-"


def group(view: View) -> None:
    """Everything about one group."""
    description = view["policy"].get("description", "")
    output.result("\n".join(line for name, value in (
        ("Name", f"{view['vpc']}/{view['name']}"), ("Members", _members(view["members"])),
        ("About", description), ("Stale", ", ".join(view["stale"])))
        if value for line in _fact(name, value, "", 0)))
    output.result("")
    policy(view)


def acls(found: list[View], empty: str) -> None:
    """Network ACLs, with the numbers of their rules, and the subnets that have them."""
    rows = [(one["vpc"], one["name"], str(len(one["ingress"])), str(len(one["egress"])),
             _members(one["subnets"])) for one in found]
    output.table(("VPC", "NAME", "IN", "OUT", "SUBNETS"), rows, empty)


def acl(view: View) -> None:
    """Everything about one network ACL: its rules as packets meet them, each with its counters."""
    facts = {"Name": f"{view['vpc']}/{view['name']}", "Subnets": _members(view["subnets"]),
             "About": view.get("description", "")}
    output.result("\n".join(line for name, value in facts.items() if value
                            for line in _fact(name, value, "", 0)))
    output.result("")
    rest = {"number": "*", "action": "deny", "protocol": "all"}
    rows = [_acl_rule(view, direction, rule) for direction in ("ingress", "egress")
            for rule in (*view[direction], rest)]
    output.table(("DIRECTION", "RULE", "ACTION", "PROTOCOL", "PORT", "FROM/TO", "PACKETS", "BYTES",
                  "DESCRIPTION"), rows, "")


def _acl_rule(view: View, direction: str, rule: View) -> tuple[str, ...]:
    _, *rest = _rule(view, f"{direction} {rule['number']}", rule)
    return (direction, str(rule["number"]), *rest)


def workloads(found: list[View], empty: str) -> None:
    """Workloads, and whether they run."""
    columns = {
        "VPC": [one["vpc"] for one in found], "SUBNET": [one["subnet"] for one in found],
        "INSTANCE": [one["instance"] or "-" for one in found],
        "NAME": [one["name"] for one in found], "STATE": [one["state"] for one in found],
        "PID": [str(one["pid"] or "-") for one in found],
        "RESTARTS": [str(one["restarts"] or "-") for one in found],
        "LAST END": [end(one) for one in found],
        "URL OR COMMAND": [" ".join(filter(None, (one["url"], one["url6"]))) or " ".join(one["command"])
                           for one in found]}
    # Most never end, are never restarted, and run in a subnet's own machine: then the table is shorter.
    shown = {name: column for name, column in columns.items()
             if name not in ("INSTANCE", "RESTARTS", "LAST END") or set(column) != {"-"}}
    output.table(tuple(shown), list(zip(*shown.values(), strict=True)), empty,
                 below="URL OR COMMAND", keys=4 if "INSTANCE" in shown else 3)


def end(one: View) -> str:
    """How and when a workload last ended."""
    if one["ended"] is None:
        return "-"
    how = f"signal {one['signal']}" if one["signal"] else f"exit status {one['exit_code']}"
    return f"{how}, {one['ended']}"


def groups_of(view: View) -> None:
    """The groups that a machine is in, with the counters of their rules there."""
    for number, one in enumerate(view["groups"]):
        output.result(f"{'' if number == 0 else chr(10)}group {one['name']}:")
        policy(one)


def policy(view: View) -> None:
    """A policy, rule by rule, each with its counters; ? if they can't be read, - if no machine follows it."""
    output.table(("RULE", "ACTION", "PROTOCOL", "PORT", "FROM/TO", "PACKETS", "BYTES", "DESCRIPTION"),
                 _rules(view), "no rules")


def _rules(view: View) -> list[tuple[str, ...]]:
    rows: list[tuple[str, ...]] = []
    for direction in ("ingress", "egress"):
        rules = view["policy"].get(direction)
        if rules is None and direction == "egress":
            rows.append(("egress", "allow", "all", "any", "any", "", "", "outgoing traffic is open"))
            continue
        for number, rule in enumerate(rules or []):
            rows.append(_rule(view, f"{direction}[{number}]", rule))
        if "default" in view["policy"]:
            default = {"action": view["policy"]["default"], "protocol": "all"}
            rows.append(_rule(view, f"{direction}.default", default))
    return rows


def _rule(view: View, index: str, rule: View) -> tuple[str, ...]:
    unread = "?" if view.get("see", "?") else "-"
    counted = view["counters"].get(index, {"packets": unread, "bytes": unread})
    return (index, rule["action"], rule["protocol"], str(rule.get("port", "any")),
            rule.get("source") or rule.get("destination") or "any",
            str(counted["packets"]), str(counted["bytes"]), rule.get("description", ""))

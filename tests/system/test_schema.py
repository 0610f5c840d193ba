"""Every JSON document that the program prints fits docs/schema.json, which knows each key of it."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from host import Host

SCHEMA = json.loads((Path(__file__).resolve().parents[2] / "docs/schema.json").read_text())
POLICY = {"description": "web", "ingress": [
    {"port": 8080, "protocol": "tcp", "action": "allow", "source": "10.0.0.0/16", "description": "x"},
    {"port": "90-99", "protocol": "udp", "action": "deny"}],
    "egress": [{"protocol": "all", "action": "allow"}]}
GROUP = {"description": "data", "ingress": [
    {"port": 5432, "protocol": "tcp", "action": "allow", "source": "group:web", "description": "x"}],
    "egress": [{"protocol": "all", "action": "allow", "destination": "10.0.0.0/16"}]}
ACL = {"description": "edge", "ingress": [
    {"number": 90, "port": "90-99", "protocol": "udp", "action": "deny", "source": "10.0.0.0/16"},
    {"number": 100, "port": 80, "protocol": "tcp", "action": "allow", "description": "x"}],
    "egress": [{"number": 100, "protocol": "any", "action": "allow", "destination": "10.0.1.0/24"}]}
STORY = (
    "lesson list", "lesson start subnets", "lesson start subnets", "lesson list", "lesson hint", "restore",
    "lesson check", "lesson solution", "lesson quit", "lesson start none",
    "vpc create --name vpc1 --cidr 10.0.0.0/16 --dry-run", "vpc create --name vpc1 --cidr 10.0.0.0/16",
    "vpc create --name vpc1 --cidr 10.0.0.0/16", "vpc create --name vpc2 --cidr 172.16.0.0/16",
    "subnet add --vpc vpc1 --name public --cidr 10.0.1.0/24 --type public",
    "subnet add --vpc vpc1 --name private --cidr 10.0.2.0/24", "nat enable --vpc vpc1",
    "peer create --vpc1 vpc1 --vpc2 vpc2", "firewall apply --vpc vpc1 --subnet public --policy {policy}",
    "deploy webserver --vpc vpc1 --subnet public",
    "deploy run --vpc vpc1 --subnet private --name worker -- sleep infinity",
    "instance add --vpc vpc1 --subnet private --name web1 --forwards",
    "deploy run --vpc vpc1 --subnet private --instance web1 --name job -- sleep infinity", "instance list",
    "instance show --vpc vpc1 --subnet private --name web1",
    "instance set --vpc vpc1 --subnet private --name web1 --bandwidth 100mbit",
    "instance set --vpc vpc1 --subnet private --bandwidth 1gbit", "subnet list",
    "instance attach --vpc vpc1 --subnet private --name lab --netns /run/netns/other --interface vpc0",
    "instance list", "instance detach --vpc vpc1 --subnet private --name lab",
    "firewall show --vpc vpc1 --subnet private --instance web1",
    "subnet add --vpc vpc1 --name range --cidr 10.0.3.0/24 --bare",
    "mirror create --vpc vpc1 --subnet public --to private/web1",
    "mirror create --vpc vpc1 --subnet private --to public --plain", "mirror list", "vpc show --name vpc1",
    "graph", "mirror delete --vpc vpc1 --subnet private",
    "mirror delete --vpc vpc1 --subnet public --to private/web1",
    "group create --vpc vpc1 --name web", "group create --vpc vpc1 --name data",
    "group apply --vpc vpc1 --name data --policy {group}", "group show --vpc vpc1 --name data",
    "instance add --vpc vpc1 --subnet range --name db --group data",
    "group join --vpc vpc1 --subnet private --instance web1 --name web", "group list",
    "group show --vpc vpc1 --name data", "firewall show --vpc vpc1 --subnet range --instance db",
    "reach --from vpc1/public --to vpc1/range/db --port 5432",
    "dns enable --vpc vpc1", "dns add --vpc vpc1 --name db --address 10.0.1.9", "dns list",
    "dhcp enable --vpc vpc1", "dhcp disable --vpc vpc1", "dns delete --vpc vpc1 --name db",
    "dns disable --vpc vpc1",
    "flow-log create --vpc vpc1 --interval 1", "flow-log list", "flow-log show --vpc vpc1",
    "flow-log create --vpc vpc1 --subnet public --instance web1 --traffic reject --format json",
    "vpc show --name vpc1", "flow-log delete --vpc vpc1 --subnet public --instance web1",
    "flow-log delete --vpc vpc1",
    "acl create --vpc vpc1 --name edge", "acl apply --vpc vpc1 --name edge --rules {acl}", "acl list",
    "acl associate --vpc vpc1 --subnet range --name edge", "acl show --vpc vpc1 --name edge",
    "reach --from vpc1/public --to vpc1/range/db", "vpc show --name vpc1",
    "publish add --vpc vpc1 --subnet public --port 9080:8080", "publish list",
    "eip pool add 198.51.100.0/28", "eip pool list", "eip allocate",
    "eip associate --address 198.51.100.0 --vpc vpc1 --subnet public", "eip list", "vpc show --name vpc1",
    "publish delete --port 9080", "eip dissociate --address 198.51.100.0",
    "eip release --address 198.51.100.0", "eip pool delete 198.51.100.0/28",
    "nat-gateway create --vpc vpc1 --subnet public --name nat1", "nat-gateway list",
    "route-table create --vpc vpc1 --name app",
    "route-table add-route --vpc vpc1 --name app --to 0.0.0.0/0 --via nat:nat1",
    "route-table associate --vpc vpc1 --subnet private --name app", "route-table list",
    "route-table show --vpc vpc1 --name app", "vpc show --name vpc1",
    "vpc list", "vpc show --name vpc1", "vpc show --name vpc2", "subnet list", "peer list", "deploy list",
    "deploy logs --vpc vpc1 --subnet public --name webserver-8080",
    "firewall show --vpc vpc1 --subnet public",
    "firewall show --vpc vpc1 --subnet private",
    "firewall allow --vpc vpc1 --subnet private --protocol icmp",
    "vpc create --name six --cidr 10.6.0.0/16 --ipv6", "vpc list", "vpc show --name six",
    "subnet add --vpc six --name one --cidr 10.6.1.0/24 --type public",
    "subnet add --vpc six --name two --cidr 10.6.2.0/24", "subnet list", "instance list",
    "nat enable --vpc six", "deploy webserver --vpc six --subnet one --port 8086", "deploy list",
    "route-table create --vpc six --name out",
    "route-table add-route --vpc six --name out --to ::/0 --via egress-only", "route-table list",
    "route-table show --vpc six --name out", "reach -6 --from six/two --to six/one --port 8086",
    "reach -6 --from six/two --to 2001:db8::1", "reach -6 --from vpc1/public --to six/one",
    "vpc show --name six", "graph --format json", "export", "vpc delete --name six",
    "status", "graph", "graph --format json", "export",
    "reach --from vpc1/private --to vpc1/public --port 8080", "reach --from vpc1/private --to 8.8.8.8",
    "reach --to vpc1/public --port 8080 --probe",
    "restore", "apply -f {topology}", "deploy stop --vpc vpc1 --subnet private --name worker",
    "group leave --vpc vpc1 --subnet private --instance web1 --name web",
    "route-table dissociate --vpc vpc1 --subnet private",
    "route-table delete-route --vpc vpc1 --name app --to 0.0.0.0/0",
    "route-table delete --vpc vpc1 --name app", "nat-gateway delete --vpc vpc1 --name nat1",
    "acl dissociate --vpc vpc1 --subnet range", "acl delete --vpc vpc1 --name edge",
    "instance delete --vpc vpc1 --subnet range --name db", "group delete --vpc vpc1 --name data",
    "instance delete --vpc vpc1 --subnet private --name web1",
    "firewall clear --vpc vpc1 --subnet public", "peer delete --vpc1 vpc1 --vpc2 vpc2",
    "nat disable --vpc vpc1", "subnet delete --vpc vpc1 --name private",
    "vpc delete --name vpc1", "vpc delete --name vpc1", "vpc show --name vcp2",
    "vpc create --name UPPER --cidr x",
    "no-such-command",
)


def strict(schema: Any) -> Any:
    """The schema with every object closed, as a key that it does not know is to be added to it."""
    if isinstance(schema, list):
        return [strict(one) for one in schema]
    if not isinstance(schema, dict):
        return schema
    closed = {key: strict(value) for key, value in schema.items()}
    if isinstance(schema.get("properties"), dict) and schema.get("type") == "object":
        closed.setdefault("additionalProperties", False)
    return closed


@pytest.fixture(scope="module")
def validator() -> Any:
    jsonschema.Draft202012Validator.check_schema(SCHEMA)
    return jsonschema.Draft202012Validator(strict(SCHEMA))


def test_every_document_fits(host: Host, validator: Any) -> None:
    policy = host.write("policy.json", POLICY)
    group = host.write("group.json", GROUP)
    acl = host.write("acl.json", ACL)
    topology = host.write("net.yaml", "version: 1\nvpcs:\n  vpc3: {cidr: 10.3.0.0/16}\n")
    seen = set()
    for line in STORY:
        ours, dashes, theirs = line.format(policy=policy, group=group, acl=acl,
                                                 topology=topology).partition(" -- ")
        done = host.vpcctl(*ours.split(), "--json", *(("--", *theirs.split()) if dashes else ()))
        if ours.startswith("graph --format json"):
            done = host.vpcctl(*ours.split())
        document = done.json
        validator.validate(document)
        assert ("error" in document) == (done.code != 0 and "reach" not in document), (line, document)
        seen |= document.keys()
    assert seen == SCHEMA["properties"].keys()
    # Which lessons are solved stays until the sandbox ends.
    host.sh("rm /var/lib/vpcctl/lesson.json")


def test_a_key_that_the_schema_does_not_know_is_refused(validator: Any) -> None:
    with pytest.raises(jsonschema.ValidationError):
        validator.validate({"version": 1, "error": {"message": "", "hint": "", "code": 1, "more": 1}})
    with pytest.raises(jsonschema.ValidationError):
        validator.validate({"version": 1})

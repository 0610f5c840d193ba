"""The tables of keys: no field of the model is left out, and the schemas made from them say what is read."""

from __future__ import annotations

import re
import subprocess
import sys
from collections import Counter
from collections.abc import Iterator, Sequence
from copy import copy
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import jsonschema
import pytest
from hypothesis import given
from hypothesis import strategies as st

from tests.dear import SLOW, by_lot, examples
from tests.fields import FIELDS, FULL, POLICY, Field, hints, made, parts
from tests.topologies import topologies
from tests.unit import test_fields
from vpcctl_lib.errors import BadInput
from vpcctl_lib.files import documents, policy
from vpcctl_lib.files.documents import Document
from vpcctl_lib.files.keys import Key, Kind, write
from vpcctl_lib.files.policy_keys import INGRESS_RULE
from vpcctl_lib.files.schema import schemas, within
from vpcctl_lib.files.topology import Reader, to_document
from vpcctl_lib.files.topology_keys import SUBNET, TOPOLOGY, VPC, WORKLOAD
from vpcctl_lib.model.policies import Policy
from vpcctl_lib.model.topology import Machine, Subnet, Topology
from vpcctl_lib.model.workloads import Workload

pytestmark = pytest.mark.usefixtures("bare_host")

ROOT = Path(__file__).parents[2]
SCHEMAS = {name: jsonschema.Draft7Validator(schema) for name, schema in schemas().items()}
KINDS = list({kind.id: kind for kind in within(TOPOLOGY)}.values())
KEYS = [(kind, key) for kind in KINDS for key in kind.keys]
PAGES = "".join((ROOT / "docs" / f"{name}.md").read_text()
                for name in ("commands", "names", "policies", "workloads"))
NETWORK = IPv4Network("10.0.1.0/24")
WEB = Workload("web", ("sleep", "1"))


def stood_for(kind: Kind, key: Key) -> Iterator[Field]:
    """The fields of the model that a key stands for, with those of the parts on the way."""
    yield from (Field(one, name) for one in key.value.whole for name in hints(one))
    for path in key.stands_for:
        model = kind.model
        for step in filter(None, path.split(".")):
            yield Field(model, step)
            model = next(parts(hints(model)[step]))


def test_every_field_has_a_key_or_a_reason_to_have_none() -> None:
    with_a_key = {one for kind, key in KEYS for one in stood_for(kind, key)}
    names = {Field(kind.model, "name") for kind in KINDS if kind.named}
    reasons = {Field(kind.model, name) for kind in KINDS for name in kind.found}
    assert not [str(field) for field in FIELDS
                if [field in some for some in (with_a_key, names, reasons)].count(True) != 1]


def test_reasons_are_of_fields_that_there_are() -> None:
    assert {Field(kind.model, name): why for kind in KINDS for name, why in kind.found.items()} == (
        test_fields.FOUND)


def test_two_keys_have_no_name_and_no_field_in_common() -> None:
    for kind in KINDS:
        for some in ([key.name for key in kind.keys], [path for key in kind.keys for path in key.stands_for]):
            assert not [one for one, times in Counter(some).items() if times > 1], kind.id


def test_every_key_is_described_in_a_line() -> None:
    for kind, key in KEYS:
        assert key.about.endswith("."), (kind.id, key.name)
        assert "\n" not in key.about, (kind.id, key.name)
        assert key.of in ("", *kind.either), (kind.id, key.name)


def test_every_key_is_in_the_documents() -> None:
    shown = {*re.findall(r"`\{?([a-z0-9_]+)", PAGES)}
    assert not [(kind.id, key.name) for kind, key in KEYS if key.name not in shown]


def test_messages_list_keys_in_their_own_order() -> None:
    assert {kind.id: " ".join(kind.names) for kind in (VPC, SUBNET, WORKLOAD, INGRESS_RULE)} == {
        "vpc": "cidr cidrs ipv6 nat dns dhcp groups acls route_tables nat_gateways flow_logs subnets "
               "allow_overlap",
            "subnet": "cidr ipv6 type route_table firewall workloads groups acl publish "
                      "bandwidth mirrors bare instances",
        "workload": "webserver run user env workdir stop_signal pids memory restart stop_timeout log_max",
        "ingress_rule": "description port protocol action source"}


def test_what_is_exported_has_its_keys_in_the_order_of_the_table() -> None:
    whole: Any = to_document(FULL)
    subnet = whole["vpcs"]["vpc1"]["subnets"]["public"]
    assert list(subnet["workloads"]["worker"]) == [key.name for key in WORKLOAD.keys][1:]
    assert list(subnet["firewall"]["ingress"][0]) == [key.name for key in INGRESS_RULE.keys]


@pytest.mark.parametrize(("machines", "workloads"), [
    ((), None), ((Machine("a", workloads=(WEB,)),), None),
    ((Machine("a"), Machine(workloads=(WEB,))), ["web"])])
def test_the_workloads_in_a_file_are_those_of_the_machine_without_a_name(
        machines: tuple[Machine, ...], workloads: list[str] | None) -> None:
    document = write(SUBNET, Subnet("s", NETWORK, machines=machines))
    found: Any = document.get("workloads")
    assert (found and list(found)) == workloads


def test_the_schemas_are_current() -> None:
    done = subprocess.run([sys.executable, ROOT / "docs/schemas/write.py", "--check"], capture_output=True,
                          text=True)
    assert (done.returncode, done.stderr) == (0, ""), "docs/schemas/write.py writes them again"


def objects(schema: Any) -> Iterator[dict[str, Any]]:
    """Every mapping of a schema that has properties."""
    for one in schema.values() if isinstance(schema, dict) else schema if isinstance(schema, list) else ():
        yield from objects(one)
    if isinstance(schema, dict) and schema.get("type") == "object" and "properties" in schema:
        yield schema


@pytest.mark.parametrize("name", SCHEMAS)
def test_a_schema_describes_all_and_leaves_nothing_open(name: str) -> None:
    schema = schemas()[name]
    jsonschema.Draft7Validator.check_schema(schema)
    assert {"$schema", "$id", "title", "description"} <= schema.keys()
    for one in objects(schema):
        assert one["additionalProperties"] is False
        assert one["description"]
        assert all(inner["description"] for inner in one["properties"].values())


def fits(document: object, name: str = "topology") -> bool:
    """Whether the schema takes it."""
    return bool(SCHEMAS[name].is_valid(document))


def is_read(document: object) -> bool:
    """Whether `apply` takes it, as far as the file goes."""
    try:
        Reader(Document("file", document), ROOT / "docs/examples").read()
    except BadInput:
        return False
    return True


@examples(25)
@given(topologies())
def test_what_is_exported_fits_the_schema(topology: Topology) -> None:
    assert fits(to_document(topology))


@examples(25)
@given(made(Policy), st.none() | st.just(NETWORK))
def test_so_does_a_policy(found: Policy, subnet: IPv4Network | None) -> None:
    assert fits(policy.to_document(found, subnet), "policy")


@pytest.mark.parametrize("path", sorted((ROOT / "docs/examples").glob("*.*")), ids=lambda path: path.name)
def test_the_examples_fit(path: Path) -> None:
    kind, dash, _ = path.name.partition("-")
    kind = kind if dash and kind in ("group", "acl") else "policy"
    assert fits(documents.read(path).data, "topology" if path.suffix == ".yaml" else kind)


WRITTEN: Any = to_document(FULL)
"""A file with every key."""

WRITTEN["vpcs"]["vpc1"]["subnets"]["public"]["firewall"] = policy.to_document(POLICY, NETWORK)
WRITTEN["vpcs"]["vpc1"]["subnets"]["public"]["firewall"]["egress"][0] |= {
    "destination": "10.0.0.1", "description": "x"}
WRITTEN["vpcs"]["more"] = {
    "cidr": "10.0.0.0/16", "allow_overlap": True, "nat": {"interface": "auto"}, "subnets": {
        "s": {"cidr": "10.0.1.0/24", "firewall": "policy.json", "workloads": {
            "w": {"run": ["sleep", 1], "restart": False, "stop_timeout": 90, "env": {"A": 1}}}}}}

JUNK: Sequence[Any] = (
    None, True, False, 0, 80, 70000, -1, 1.5, "", "x", "10.0.0.0/16", "10.0.0.5", "-5", [], ["x"],
    [["a", "b"]], {}, {"x": 1}, {"interface": None}, "9G", "10s")


SEVERAL = 7
"""As many of them stand in each place; with --slow all."""


def ways(data: Any) -> Iterator[tuple[Any, ...]]:
    """The way to each value in a file."""
    for key in data if isinstance(data, dict) else range(len(data)) if isinstance(data, list) else ():
        yield (key,)
        yield from ((key, *rest) for rest in ways(data[key]))


def at(way: tuple[Any, ...], data: Any = WRITTEN) -> Any:
    """What a file has there."""
    for step in way:
        data = data[step]
    return data


WAYS = list(ways(WRITTEN))
BY_NAME = {"vpcs", *(key.name for _, key in KEYS if key.value.several)}


def changed(way: tuple[Any, ...], value: Any, alone: bool = False) -> Any:
    """The file with another value there, and without other VPCs; what lies beside the way is not copied.

    `alone`: without other things beside those on the way. The schema says of each thing what it may be,
    whatever else is there, and takes the whole file: to show it all of that again takes far longer.
    """
    vpcs = {way[1]: WRITTEN["vpcs"][way[1]]} if way[:1] == ("vpcs",) and len(way) > 2 else WRITTEN["vpcs"]
    return _put({**WRITTEN, "vpcs": vpcs}, ("", *way), value, alone)


def _put(data: Any, way: tuple[Any, ...], value: Any, alone: bool) -> Any:
    before, step, *rest = way
    is_alone = alone and rest and before in BY_NAME and isinstance(data, dict)
    whole = {step: data[step]} if is_alone else copy(data)
    whole[step] = _put(data[step], (step, *rest), value, alone) if rest else value
    return whole


def pattern(way: tuple[Any, ...]) -> tuple[str, ...]:
    """The way with no numbers and no names: what is at the end of two that are alike is read alike."""
    around = ("", *way)
    return tuple("*" if isinstance(step, int) or before in BY_NAME else step
                 for before, step in zip(around, way, strict=False))


FEW = 60
"""As many ways that are not alike are tried, with --slow all, and those that are like one of them."""


def once(found: list[tuple[Any, ...]]) -> list[Any]:
    """The ways as values of a parameter; instead of those that are left to a run with --slow, one to skip."""
    first = list({pattern(way): way for way in reversed(found)}.values())[::-1]
    chosen = found if SLOW else by_lot(first, FEW, len(found))
    left = len(found) - len(chosen)
    more = [pytest.param((), id=f"{left} more", marks=pytest.mark.slow)] if left else []
    return [*(pytest.param(way, id=".".join(map(str, way))) for way in chosen), *more]


def test_the_file_has_every_key() -> None:
    assert {key.name for _, key in KEYS} <= {step for way in WAYS for step in way}
    assert is_read(WRITTEN)
    assert fits(WRITTEN)


@pytest.mark.parametrize("way", once(WAYS))
def test_what_is_read_fits_the_schema(way: tuple[Any, ...]) -> None:
    """An editor marks nothing that vpcctl takes."""
    assert not [value for value in by_lot(JUNK, SEVERAL, way) if is_read(changed(way, value))
                and not fits(changed(way, value, alone=True))]


@pytest.mark.parametrize("way", once([way for way in WAYS if way[-1] in {key.name for _, key in KEYS}]))
def test_the_schema_marks_what_can_not_stand_after_a_key(way: tuple[Any, ...]) -> None:
    for value in ({"x": {"y": 1}}, [[[]]], 1.5):
        assert not is_read(changed(way, value))
        assert not fits(changed(way, value, alone=True))


@pytest.mark.parametrize("name", ["A", "1a", "a_b", "a-", "a" * 32, "", "ä"])
@pytest.mark.parametrize("way", [("vpcs",), ("vpcs", "vpc1", "subnets"),
                                 ("vpcs", "vpc1", "subnets", "public", "workloads")], ids=lambda way: way[-1])
def test_the_schema_marks_names_that_can_not_be(way: tuple[str, ...], name: str) -> None:
    good = next(iter(at(way).values()))
    assert is_read(changed(way, {"a" * 31: good}))
    assert fits(changed(way, {"a" * 31: good}))
    assert not is_read(changed(way, {name: good}))
    assert not fits(changed(way, {name: good}))


@pytest.mark.parametrize("key", ["run", *(key.name for key in WORKLOAD.keys if key.of)])
def test_the_schema_marks_what_a_web_server_has_not(key: str) -> None:
    workloads = ("vpcs", "vpc1", "subnets", "public", "workloads")
    mixed = {"webserver": 90, key: at((*workloads, "worker", key))}
    assert not is_read(changed((*workloads, "webserver-90"), mixed))
    assert not fits(changed((*workloads, "webserver-90"), mixed))


@pytest.mark.parametrize("way", once([(), *(way for way in WAYS if isinstance(at(way), dict))]))
def test_the_schema_marks_keys_that_there_are_not(way: tuple[Any, ...]) -> None:
    more = changed((*way, "zzz"), [])
    assert not is_read(more)
    assert not fits(more)


@pytest.mark.parametrize("way", once(WAYS))
def test_the_schema_knows_which_keys_must_be_there(way: tuple[Any, ...]) -> None:
    fewer, alone = changed(way, None), changed(way, None, alone=True)
    for one in (fewer, alone):
        del at(way[:-1], one)[way[-1]]
    # No schema knows which groups machines and rules name, nor which network ACLs subnets have.
    names_less = way[2:3] in (("groups",), ("acls",)) and len(way) <= 4 and way[3:] != ("spare",)
    # Nor in which CIDR or prefix a subnet is.
    names_less |= way[2:] in (("cidrs",), ("cidrs", 1), ("ipv6",)) and way[1:] != ("vpc3", "ipv6")
    # Nor of what flow logs are.
    names_less |= way[1:3] == ("office", "subnets") and way[3:] in (
        (), ("public",), ("public", "instances"), ("public", "instances", "web2"))
    assert is_read(fewer) == (fits(alone) and not names_less)

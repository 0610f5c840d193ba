"""The values of flow logs in a topology file: how each is read and written back."""

from __future__ import annotations

from functools import partial

from vpcctl_lib.files.documents import Place, shown, told
from vpcctl_lib.files.keys import Kind, Reading, Value, alone, read, reference, write
from vpcctl_lib.model import flowlogs
from vpcctl_lib.model.flowlogs import LONGEST, SHORTEST, FlowLog, Form, Traffic
from vpcctl_lib.model.naming import is_name
from vpcctl_lib.model.topology import Subnet


def _name(what: str, example: str) -> Value:
    def read_one(data: object, place: Place) -> str:
        if not isinstance(data, str) or not is_name(data):
            raise place.refusal(f"{shown(data)} is not {what}", f"write for example {example}")
        return data

    return alone(read_one, str, {"$ref": "#/definitions/name"})


def _one_of(kind: type[Traffic] | type[Form]) -> Value:
    words = [one.value for one in kind]

    def read_one(data: object, place: Place) -> Traffic | Form:
        if data not in words:
            raise place.refusal(f"{shown(data)} is not one of {', '.join(words)}",
                                f"write for example {words[0]}")
        return kind(data)

    return alone(read_one, lambda one: one.value, {"enum": words})


def _interval(data: object, place: Place) -> int:
    if isinstance(data, bool) or not isinstance(data, int):
        raise place.refusal(f"{shown(data)} is not a number of seconds", f"use {SHORTEST} to {LONGEST}")
    return told(place, partial(flowlogs.check_interval, data))


SUBNET, INSTANCE = _name("a subnet", "public"), _name("a machine", "web1")
TRAFFIC, FORMAT = _one_of(Traffic), _one_of(Form)
INTERVAL: Value = alone(_interval, int, {"type": "integer", "minimum": SHORTEST, "maximum": LONGEST})


def listed(kind: Kind) -> Value:
    """Flow logs in a list; no two are of the same."""
    def read_all(data: object, place: Place, here: Reading) -> tuple[FlowLog, ...]:
        if not isinstance(data, list):
            raise place.refusal(f"{shown(data)} is not a list of flow logs",
                                "write for example [{interval: 60}]")
        found: list[FlowLog] = []
        for number, one in enumerate(data):
            log = read(kind, one, place.at(number), here)
            if log.instance and not log.subnet:
                raise place.at(number).refusal("a machine is in a subnet", "write its subnet, too")
            if log.name in {other.name for other in found}:
                raise place.at(number).refusal("there is another flow log of the same",
                                               "leave one of the two out")
            found.append(log)
        return tuple(found)

    return Value(read_all, lambda logs: [write(kind, one) for one in logs],
                 {"type": "array", "items": reference(kind)}, (kind,))


def check(subnets: tuple[Subnet, ...], logs: tuple[FlowLog, ...], place: Place) -> None:
    """Refuse a log of what the file does not have."""
    for number, log in enumerate(logs):
        here = place.at("flow_logs").at(number)
        subnet = next((one for one in subnets if one.name == log.subnet), None)
        if log.subnet and subnet is None:
            raise here.at("subnet").refusal(f"subnet {shown(log.subnet)} is not in the file",
                                            "name one of the VPC's subnets")
        if subnet and log.instance and subnet.machine(log.instance) is None:
            raise here.at("instance").refusal(f"machine {shown(log.instance)} is not in the file",
                                              "name one of the subnet's instances")

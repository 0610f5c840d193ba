"""How workloads are looked after, as people write it."""

from __future__ import annotations

from pathlib import Path

import pytest
import yaml

from vpcctl_lib.engine.keepers import upkeep_of
from vpcctl_lib.errors import BadInput
from vpcctl_lib.files import topology
from vpcctl_lib.files.documents import read
from vpcctl_lib.keeper import orders
from vpcctl_lib.model.quantities import parse_log_size
from vpcctl_lib.model.workloads import Restart, Upkeep
from vpcctl_lib.resources.processes import Start
from vpcctl_lib.workloads.upkeep import (
    parse_seconds,
    parse_signal,
    parse_variable,
    signal_name,
    signal_number,
)


@pytest.mark.parametrize(("text", "seconds"), [("0", 0), ("10", 10), ("90s", 90), ("2m", 120), ("1h", 3600)])
def test_times(text: str, seconds: int) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "-1", "1.5", "10 s", "s", "1d", "3601", "61m", "9999999", "1m30s"])
def test_what_is_no_time(text: str) -> None:
    with pytest.raises(BadInput):
        parse_seconds(text)


@pytest.mark.parametrize(("text", "name"), [
    ("TERM", "TERM"), ("SIGINT", "INT"), ("sigquit", "QUIT"), ("15", "TERM"), ("9", "KILL"), ("USR1", "USR1"),
])
def test_signals(text: str, name: str) -> None:
    assert parse_signal(text) == name
    assert signal_name(signal_number(name)) == name


@pytest.mark.parametrize("text", ["", "SIG", "TREM", "0", "99", "STOP", "19", "CONT", "SIGSIGINT"])
def test_what_is_no_signal(text: str) -> None:
    with pytest.raises(BadInput):
        parse_signal(text)


def test_variables() -> None:
    assert parse_variable("A=b=c") == ("A", "b=c")
    assert parse_variable("A=") == ("A", "")
    for text in ("", "A", "=x", "VPCCTL_WORKLOAD=x", "A\0=x", "A=\0"):
        with pytest.raises(BadInput):
            parse_variable(text)


def test_sizes_of_logs() -> None:
    assert parse_log_size("4k") == 4096
    for text in ("", "4095", "1", "many"):
        with pytest.raises(BadInput):
            parse_log_size(text)


@pytest.mark.parametrize("upkeep", [
    Upkeep(), Upkeep(stop_timeout=10),
    Upkeep(("A=1", "B=x=y"), "/srv", "INT", 0, Restart.ON_FAILURE, 64 << 10),
])
def test_a_keeper_s_orders_tell_all_of_it(upkeep: Upkeep) -> None:
    start = Start("n", "v/s/w", ("sleep", "1"), "logs/v/s/w.log", user="nobody", upkeep=upkeep)
    found = orders.of(start.command(Path("/var/lib/vpcctl")).argv)
    assert found is not None
    assert upkeep_of(found) == upkeep


def network(folder: Path, name: str, workload: dict[str, object]) -> topology.TopologyFile:
    """What a topology file with that workload asks for."""
    subnet = {"cidr": "10.0.1.0/24", "workloads": {name: workload}}
    file = folder / "network.yaml"
    vpc = {"cidr": "10.0.0.0/16", "subnets": {"s": subnet}}
    file.write_text(yaml.safe_dump({"version": 1, "vpcs": {"v": vpc}}))
    return topology.Reader(read(file), folder).read()


@pytest.mark.parametrize(("key", "value", "says"), [
    ("env", ["A=1"], "is not variables by name"), ("env", {"A": True}, "is not text"),
    ("env", {"A": 1.5}, "is not text"), ("env", {"": "x"}, "can't be the name"),
    ("workdir", "srv", "is not an absolute path"), ("workdir", True, "is not valid"),
    ("stop_signal", "TREM", "is not a signal"), ("stop_signal", True, "is not valid"),
    ("stop_timeout", "soon", "is not a time"), ("stop_timeout", 1.5, "is not a time"),
    ("restart", "sometimes", "is not a way to restart"), ("restart", True, "is not a way to restart"),
    ("log_max", 5, "is not the size of a log"), ("log_max", "1", "too small"),
])
def test_keys_that_can_t_be_right(tmp_path: Path, key: str, value: object, says: str) -> None:
    with pytest.raises(BadInput, match=rf"{key}.*{says}"):
        network(tmp_path, "w", {"run": ["sleep", "1"], key: value})


def test_keys_that_are_right(tmp_path: Path) -> None:
    keys = {"env": {"B": 1, "A": "x"}, "workdir": "/srv", "stop_signal": "SIGINT", "stop_timeout": 90,
            "restart": "always", "log_max": "1M"}
    found = network(tmp_path, "w", {"run": ["sleep", "1"], **keys})
    assert found.vpcs[0].vpc.subnets[0].machines[0].workloads[0].upkeep == Upkeep(
        ("A=x", "B=1"), "/srv", "INT", 90, Restart.ALWAYS, 1 << 20)
    empty = network(tmp_path, "w", {"run": ["sleep", "1"], **dict.fromkeys(keys)})
    assert empty.vpcs[0].vpc.subnets[0].machines[0].workloads[0].upkeep == Upkeep()


@pytest.mark.parametrize("key", ["env", "workdir", "stop_signal", "user"])
def test_what_a_web_server_has_not(tmp_path: Path, key: str) -> None:
    with pytest.raises(BadInput, match=f"a web server has no {key}"):
        network(tmp_path, "webserver-80", {"webserver": 80, key: "x"})

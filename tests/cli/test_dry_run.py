"""--dry-run prints what would run, in order, as a person could paste it; it writes and changes nothing."""

from __future__ import annotations

import json
import shlex
from pathlib import Path
from typing import Any

import pytest

from vpcctl_lib.kernel import netns

PLANS = {
    "vpc create --name new --cidr 10.7.0.0/16": "netns add new",
    "vpc create --name new --cidr 10.99.0.0/16 --allow-overlap": "netns add new",
    "vpc delete --name vpc1": "netns del vpc1",
    "vpc set --name vpc1 --add-cidr 10.7.0.0/16": "ip -n vpc1 route add 10.7.0.0/16 dev br-vpc1 scope link",
    "subnet add --vpc vpc1 --name new --cidr 10.0.7.0/24 --type public": "netns add vpc1-new",
    "subnet set --vpc vpc1 --name public --type private": ":VPCCTL-FORWARD",
    "subnet delete --vpc vpc1 --name public": "netns del vpc1-public",
    "instance add --vpc vpc1 --subnet public --name new --address 10.0.1.20": "addr add 10.0.1.20/24",
    "instance delete --vpc vpc1 --subnet private --name db": "netns del vpc1-private.db",
    "deploy run --vpc vpc1 --subnet private --instance db --name w -- sleep 1": "namespace=vpc1-private.db",
    "nat enable --vpc vpc2": "-o eth0",
    "nat disable --vpc vpc1": "-D POSTROUTING",
    "peer create --vpc1 vpc3 --vpc2 vpc2": "pcx-vpc3",
    "peer delete --vpc1 vpc2 --vpc2 vpc1": "link del pcx-vpc2",
    "firewall apply --vpc vpc1 --subnet private --policy {policy}": "--dport 443",
    "firewall clear --vpc vpc1 --subnet public": "-F INPUT",
    "firewall allow --vpc vpc1 --subnet private --protocol tcp --port 80": "--dport 80 ",
    "firewall deny --vpc vpc1 --subnet private --protocol udp": "-j DROP",
    "deploy webserver --vpc vpc2 --subnet web --port 81": "VPCCTL_WORKLOAD=vpc2/web/webserver-81",
    "deploy run --vpc vpc2 --subnet web --name w -- sleep 1": "__main__.py namespace=vpc2-web",
    "deploy stop --vpc vpc1 --subnet public --name worker": "VPCCTL_WORKLOAD=vpc1/public/worker",
    "restore": "netns add vpc1",
}


@pytest.fixture
def policy(tmp_path: Path) -> str:
    file = tmp_path / "policy.json"
    file.write_text('{"ingress": [{"port": 443, "protocol": "tcp", "action": "allow"}]}')
    return str(file)


@pytest.mark.parametrize("words", PLANS)
@pytest.mark.parametrize("uid", [0, 1000])
def test_commands_are_printed_and_nothing_is_written(
        words: str, uid: int, prepared: Any, policy: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if words == "restore":
        if uid:
            return  # it has to look into every namespace first, which takes root
        monkeypatch.setattr(netns, "names", frozenset)
    before, lock = prepared.files(), prepared.folder / "lock"
    ours, dashes, theirs = words.format(policy=policy).partition(" -- ")
    rest = ("--", *theirs.split()) if dashes else ()
    done = prepared(*ours.split(), "--dry-run", *rest, uid=uid)
    assert done.code == 0
    assert PLANS[words] in done.out
    assert not lock.exists()
    assert prepared.files() == before
    as_json = prepared(*ours.split(), "--dry-run", "--json", *rest, uid=uid)
    document = json.loads(as_json.out)
    assert document["version"] == 1
    pasted = "".join(f"{command}\n" for command in document["commands"])
    assert done.out.startswith(pasted)
    assert all(line.startswith("# ") for line in done.out.removeprefix(pasted).splitlines())


def test_nothing_is_made_where_nothing_is_recorded(vpcctl: Any) -> None:
    done = vpcctl("vpc", "create", "--name", "vpc1", "--cidr", "10.0.0.0/16", "--dry-run")
    assert done.out.startswith("ip netns add vpc1\n")
    assert done.err == ""
    assert not vpcctl.folder.exists()


@pytest.mark.parametrize("words", [
    "vpc create --name vpc1 --cidr 10.0.0.0/16", "vpc set --name vpc1 --add-cidr 10.0.0.0/16",
    "subnet add --vpc vpc1 --name private --cidr 10.0.2.0/24",
    "nat enable --vpc vpc1", "nat enable --vpc vpc1 --interface eth0", "nat disable --vpc vpc2",
    "peer create --vpc1 vpc2 --vpc2 vpc1", "firewall clear --vpc vpc1 --subnet private",
])
def test_the_same_again_is_unchanged(words: str, prepared: Any) -> None:
    rehearsed = prepared(*words.split(), "--dry-run")
    assert (rehearsed.code, rehearsed.out, rehearsed.err) == (0, "", "")
    before = prepared.files()
    done = prepared(*words.split())
    assert (done.code, done.err) == (0, "")
    assert done.out.startswith("unchanged: ")
    as_json = json.loads(prepared(*words.split(), "--json").out)
    assert as_json["version"] == 1
    assert next(value for key, value in as_json.items() if key != "version")["changed"] is False
    assert prepared.files() == before


def test_what_is_printed_is_what_a_shell_reads(prepared: Any) -> None:
    done = prepared("deploy", "run", "--vpc", "vpc2", "--subnet", "web", "--name", "w", "--dry-run", "--",
                    "sh", "-c", "echo 'it is'; $(id)")
    assert shlex.join(["sh", "-c", "echo 'it is'; $(id)"]) in done.out


@pytest.mark.parametrize("words", [words for words in PLANS if words != "restore"])
def test_a_wrong_command_is_refused_as_without_it(words: str, vpcctl: Any, policy: str) -> None:
    if words.startswith("vpc create"):
        return
    ours, dashes, theirs = words.format(policy=policy).partition(" -- ")
    done = vpcctl(*ours.split(), "--dry-run", *(("--", theirs) if dashes else ()))
    assert done.code == 1
    assert "VPC 'vpc" in done.one_line()
    assert "does not exist" in done.one_line()
    assert not vpcctl.folder.exists()


def test_after_a_restart_all_that_is_missing_is_made(prepared: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(netns, "names", frozenset)
    done = prepared("vpc", "delete", "--name", "vpc1", "--dry-run")
    assert "netns add vpc2\n" in done.out
    assert "netns add vpc1\n" not in done.out
    assert done.err.startswith("vpcctl: vpc2, vpc2-web, vpc3: recorded, but missing")
    refused = prepared("vpc", "delete", "--name", "vpc1", "--dry-run", uid=1000)
    assert "this command needs root" in refused.one_line()

"""What a person gets wrong is reported in one line, with what would be right, and changes nothing."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from vpcctl_lib.kernel import run

NAMES = ["Vpc1", "1vpc", "vpc-", "-vpc", "a" * 32, "my vpc", ";rm -rf", "../x", "", "vpç", "a\nb", "a_b",
         "a.b", "a/b", "$(id)", "\x1b[31m", "a" * 5000]


@pytest.mark.parametrize("name", NAMES)
@pytest.mark.parametrize("words", [
    ("vpc", "create", "--cidr", "10.0.0.0/16", "--name"),
    ("subnet", "add", "--vpc", "vpc1", "--cidr", "10.0.3.0/24", "--name"),
    ("deploy", "run", "--vpc", "vpc1", "--subnet", "private", "--name"),
], ids=["vpc", "subnet", "workload"])
def test_a_name_that_can_not_be(words: tuple[str, ...], name: str, prepared: Any) -> None:
    before = prepared.files()
    command = ("--", "sleep", "1") if "run" in words else ()
    done = prepared(*words, name, *command)
    assert done.code == 2
    assert "can't be a" in done.one_line()
    assert "beginning with a letter" in done.err
    assert "\x1b" not in done.err
    assert prepared.files() == before


CIDRS = {
    "10.0.0.1/16": "did you mean 10.0.0.0/16?", "10.0.0.0/33": "not a CIDR",
    "0.0.0.0/0": "can't be a private", "ten": "no prefix length", "ten/8": "not a CIDR",
    "": "no prefix length", "10.0.0.0": "no prefix length",
    "fd00::/8": "IPv6", "127.0.0.0/16": "loopback", "224.0.0.0/16": "multicast", "0.0.0.0/8": "this network",
    "169.254.0.0/16": "link-local", "10.0.0.0/29": "too small for a VPC", "10.0.0.0/16; id": "not a CIDR",
    "10.0.0.0/1\n6": "not a CIDR", "1" * 5000: "no prefix length",
}


@pytest.mark.parametrize("verb", ["add --vpc vpc1 --subnet private", "delete"])
@pytest.mark.parametrize("port", ["0", "0:80", "80:0", "65536", "80:65536"])
def test_a_port_that_no_machine_can_have(verb: str, port: str, prepared: Any) -> None:
    before = prepared.files()
    done = prepared("publish", *verb.split(), "--port", port)
    assert done.code == 2
    assert "is not a port" in done.one_line()
    assert prepared.files() == before


@pytest.mark.parametrize("cidr", CIDRS)
def test_a_cidr_that_no_vpc_can_have(cidr: str, vpcctl: Any) -> None:
    done = vpcctl("vpc", "create", "--name", "vpc1", "--cidr", cidr)
    assert done.code == 2
    assert CIDRS[cidr] in done.one_line()
    assert "Hint: " in done.err
    assert not vpcctl.folder.exists()


def test_a_cidr_wider_than_aws_allows_is_warned_about(vpcctl: Any) -> None:
    done = vpcctl("vpc", "create", "--name", "vpc1", "--cidr", "172.16.0.0/12", "--dry-run")
    assert done.code == 0
    assert done.err == "vpcctl: 172.16.0.0/12 is wider than the /16 that AWS allows\n"


@pytest.mark.parametrize(("cidr", "code", "told"), [
    ("10.1.0.0/24", 2, "not inside the VPC's CIDR 10.0.0.0/16"),
    ("10.0.0.0/15", 2, "not inside"),
    ("10.0.3.0/30", 2, "too small for a subnet"),
    ("10.0.2.128/25", 1, "overlaps subnet 'private' (10.0.2.0/24)"),
    ("10.0.1.2/24", 2, "did you mean 10.0.1.0/24?"),
])
def test_a_cidr_that_no_subnet_can_have(cidr: str, code: int, told: str, prepared: Any) -> None:
    before = prepared.files()
    done = prepared("subnet", "add", "--vpc", "vpc1", "--name", "new", "--cidr", cidr)
    assert done.code == code
    assert told in done.one_line()
    assert prepared.files() == before


@pytest.mark.parametrize("port", ["0", "70000", "-1", "abc", "", "80.0", "８０x", "1e3"])
def test_a_port_that_can_not_be(port: str, prepared: Any) -> None:
    done = prepared("deploy", "webserver", "--vpc", "vpc1", "--subnet", "private", "--port", port)
    assert done.code == 2
    assert "--port" in done.one_line()


POLICIES = {
    "wrong.json": ('{"ingress": [}', "line 1"), "unknown.json": ('{"ingres": []}', 'did you mean "ingress"?'),
    "type.json": ('{"ingress": {}}', "a list of rules"), "empty.yaml": ("", "is empty"),
    "port.json": ('{"ingress": [{"port": 70000, "protocol": "tcp", "action": "allow"}]}', "ingress[0].port"),
    "case.yaml": ("ingress: [{protocol: tcp, action: Allow}]", 'did you mean "allow"?'),
    "tag.yaml": ("ingress: !!python/object/apply:os.system ['touch owned']", "line 1"),
    "other.json": ('{"subnet": "10.0.2.0/24"}', "the subnet is 10.0.1.0/24"),
    "list.json": ("[]", "a mapping"),
}


@pytest.mark.parametrize("name", POLICIES)
def test_a_policy_that_is_wrong(name: str, prepared: Any, tmp_path: Path) -> None:
    content, told = POLICIES[name]
    (tmp_path / name).write_text(content)
    check_policy(prepared, tmp_path / name, told)
    assert not Path("owned").exists()


def test_a_policy_that_is_no_file(prepared: Any, tmp_path: Path) -> None:
    check_policy(prepared, tmp_path / "nowhere.json", "no such file")
    check_policy(prepared, tmp_path, "is a folder")
    (tmp_path / "binary.json").write_bytes(b"\x7fELF\x00\xff")
    check_policy(prepared, tmp_path / "binary.json", "not UTF-8")
    (tmp_path / "huge.json").write_bytes(b" " * 10_000_000)
    check_policy(prepared, tmp_path / "huge.json", "too large")


def check_policy(prepared: Any, file: Path, told: str) -> None:
    before = prepared.files()
    done = prepared("firewall", "apply", "--vpc", "vpc1", "--subnet", "public", "--policy", str(file))
    assert done.code == 2
    assert told in done.one_line()
    assert str(file) in done.err
    assert prepared.files() == before


UNKNOWN = [
    ("vpc show --name vcp1", "VPC 'vcp1' does not exist", "did you mean 'vpc1'?"),
    ("vpc delete --name zzz", "VPC 'zzz' does not exist", "use one of: vpc1, vpc2, vpc3"),
    ("subnet list --vpc vpc9", "VPC 'vpc9' does not exist", "did you mean"),
    ("subnet add --vpc vpc9 --name a --cidr 10.0.5.0/24", "VPC 'vpc9' does not exist", "did you mean"),
    ("subnet delete --vpc vpc1 --name publik", "subnet 'publik' does not exist in VPC 'vpc1'", "'public'?"),
    ("subnet delete --vpc vpc3 --name web", "subnet 'web' does not exist", "add it: vpcctl subnet add"),
    ("nat enable --vpc zzz", "VPC 'zzz' does not exist", "use one of"),
    ("nat disable --vpc zzz", "VPC 'zzz' does not exist", "use one of"),
    ("nat enable --vpc vpc1 --interface eth9", "'eth9' is not an interface", "eth0"),
    ("nat enable --vpc vpc1 --interface lo", "'lo' can't be an uplink", "eth0"),
    ("peer create --vpc1 vpc1 --vpc2 zzz", "VPC 'zzz' does not exist", "use one of"),
    ("peer create --vpc1 vpc1 --vpc2 vpc1", "can't be peered with itself", "name two VPCs"),
    ("peer delete --vpc1 vpc1 --vpc2 vpc3", "are not peered", "vpcctl peer list"),
    ("firewall show --vpc vpc1 --subnet x", "subnet 'x' does not exist", "use one of: private, public"),
    ("firewall clear --vpc vpc1 --subnet x", "subnet 'x' does not exist", "use one of"),
    ("firewall allow --vpc vpc1 --subnet x --protocol tcp", "subnet 'x' does not exist", "use one of"),
    ("firewall deny --vpc vpc1 --subnet public --protocol tcp --port 80", "no effect: ingress[0] allows",
     "firewall apply"),
    ("firewall apply --vpc vpc1 --subnet x --policy x", "subnet 'x' does not exist", "use one of"),
    ("deploy webserver --vpc vpc1 --subnet x", "subnet 'x' does not exist", "use one of"),
    ("deploy stop --vpc vpc1 --subnet public --name worke", "does not exist in vpc1/", "'worker'?"),
    ("deploy logs --vpc vpc1 --subnet private --name w", "does not exist in vpc1/", "vpcctl deploy"),
    ("deploy list --vpc zzz", "VPC 'zzz' does not exist", "use one of"),
    ("exec --vpc vpc1 --subnet x -- true", "subnet 'x' does not exist", "use one of"),
    ("vpc create --name vpc1 --cidr 10.7.0.0/16", "already exists with CIDR 10.0.0.0/16", "delete it"),
    ("vpc set --name vpc1 --add-cidr 10.99.3.0/24", "the host's route to 10.99.0.0/16 (dev tun0)",
     "choose another CIDR; only a VPC that was created with --allow-overlap"),
    ("vpc set --name vpc1 --add-cidr 10.0.3.0/24", "overlaps the VPC's own CIDR 10.0.0.0/16",
     "other addresses"),
    ("vpc set --name vpc1 --remove-cidr 10.0.0.0/16", "is the first CIDR of VPC 'vpc1'", "vpc delete"),
    ("vpc set --name vpc1 --remove-cidr 10.7.0.0/16", "has no CIDR 10.7.0.0/16", "only its first one"),
    ("vpc create --name new --cidr 10.99.3.0/24",
     "the host's route to 10.99.0.0/16 (dev tun0)", "--allow-overlap"),
    ("vpc create --name vpc1-public --cidr 10.7.0.0/16", "same namespace vpc1-public", "choose"),
    ("subnet add --vpc vpc1 --name public --cidr 10.0.7.0/24", "already exists in VPC", "delete it"),
    ("subnet add --vpc vpc1 --name public --cidr 10.0.1.0/24", "already exists in VPC",
     "vpcctl subnet set --vpc vpc1 --name public --type private"),
    ("deploy run --vpc vpc1 --subnet public --name worker -- id", "with another command or other options",
     "stop it first"),
]


@pytest.mark.parametrize(("words", "told", "hint"), UNKNOWN)
def test_what_the_network_does_not_allow(words: str, told: str, hint: str, prepared: Any) -> None:
    before = prepared.files()
    done = prepared(*words.split())
    assert done.code in (1, 2)
    message, hinted = done.one_line().splitlines()
    assert told in message
    assert hint in hinted
    assert prepared.files() == before


@pytest.mark.parametrize("words", [words for words, _, _ in UNKNOWN if not words.startswith("exec")])
def test_every_failure_is_a_json_document_and_nothing_else(words: str, prepared: Any) -> None:
    plain = prepared(*words.split())
    ours, _, theirs = words.partition(" -- ")
    done = prepared(*ours.split(), "--json", *(("--", theirs) if theirs else ()))
    assert (done.code, done.err) == (plain.code, "")
    message, hint = (line.split(": ", 1)[1] for line in plain.err.splitlines())
    assert json.loads(done.out) == {
        "version": 1, "error": {"message": message, "hint": hint, "code": plain.code}}


def test_words_that_are_not_text(prepared: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    words = ("deploy", "run", "--vpc", "vpc1", "--subnet", "private", "--name", "new", "--", "echo", "\udcff")
    monkeypatch.setattr("sys.argv", ["vpcctl", *words])
    done = prepared(*words)
    assert done.code == 2
    assert r'"\udcff" is not UTF-8 text' in done.one_line()
    assert r"echo '\udcff'" in (prepared.folder / "vpcctl.log").read_text()


ODD = "x\udcff"
"""A byte that is not UTF-8, as Python tells it (PEP 383)."""

NOT_TEXT = [
    ("vpc create --cidr 10.7.0.0/16 --name", "can't be a VPC name"),
    ("subnet add --vpc vpc1 --cidr 10.0.7.0/24 --name", "can't be a subnet name"),
    ("deploy run --vpc vpc1 --subnet public -- sleep --name", "Missing option '--name'"),
    ("deploy run --vpc vpc1 --subnet private --name new -- sleep", "is not UTF-8 text"),
    ("deploy run --dry-run --vpc vpc1 --subnet private --name new -- sleep", "is not UTF-8 text"),
    ("vpc show --name", "does not exist"), ("exec --subnet public --vpc", "Missing argument"),
    ("apply -f", "no such file"), ("firewall apply --vpc vpc1 --subnet public --policy", "no such file"),
    ("reach --from vpc1/public --to", "does not exist"),
    ("nat enable --vpc vpc2 --interface", "not an interface"),
    ("exec --vpc vpc1 --subnet public --", "command not found"),
]


@pytest.mark.parametrize(("words", "told"), NOT_TEXT, ids=[words for words, _ in NOT_TEXT])
def test_a_byte_that_is_not_utf_8_is_refused_and_spelt_out(words: str, told: str, prepared: Any) -> None:
    before = prepared.files()
    done = prepared(*words.split(), ODD)
    assert done.code in (1, 2, 127)
    assert told in done.one_line()
    assert done.err.replace("\n", "").isprintable()
    assert prepared.files() == before


@pytest.mark.parametrize("word", [ODD, "\0"])
def test_a_topology_file_holds_no_command_that_can_not_run(word: str, prepared: Any, tmp_path: Path) -> None:
    subnets = {"s": {"cidr": "10.8.0.0/24", "workloads": {"w": {"run": ["sleep", word]}}}}
    file = tmp_path / "t.json"
    file.write_text(json.dumps({"version": 1, "vpcs": {"q": {"cidr": "10.8.0.0/16", "subnets": subnets}}}))
    done = prepared("apply", "-f", str(file), "--dry-run")
    assert done.code == 2
    assert "vpcs.q.subnets.s.workloads.w.run" in done.one_line()


def test_overlapping_vpcs_are_not_peered(prepared: Any) -> None:
    done = prepared("vpc", "create", "--name", "twin", "--cidr", "10.0.0.0/20", "--dry-run")
    assert done.code == 0
    assert "overlaps VPC 'vpc1' (10.0.0.0/16)" in done.err


CHANGES = [
    ("vpc", "create", "--name", "new", "--cidr", "10.7.0.0/16"), ("vpc", "delete", "--name", "vpc1"),
    ("subnet", "add", "--vpc", "vpc1", "--name", "new", "--cidr", "10.0.7.0/24"),
    ("subnet", "delete", "--vpc", "vpc1", "--name", "public"), ("nat", "enable", "--vpc", "vpc2"),
    ("nat", "disable", "--vpc", "vpc1"), ("peer", "create", "--vpc1", "vpc2", "--vpc2", "vpc3"),
    ("peer", "delete", "--vpc1", "vpc1", "--vpc2", "vpc2"),
    ("firewall", "clear", "--vpc", "vpc1", "--subnet", "public"),
    ("deploy", "webserver", "--vpc", "vpc2", "--subnet", "web"),
    ("deploy", "run", "--vpc", "vpc2", "--subnet", "web", "--name", "new", "--", "sleep", "1"),
    ("deploy", "stop", "--vpc", "vpc1", "--subnet", "public", "--name", "worker"), ("restore",),
    ("exec", "--vpc", "vpc1", "--subnet", "public", "--", "id"),
]


@pytest.mark.parametrize("words", CHANGES, ids=" ".join)
def test_a_plain_user_hears_what_to_type(words: tuple[str, ...], prepared: Any,
                                         monkeypatch: pytest.MonkeyPatch) -> None:
    before = prepared.files()
    monkeypatch.setattr("sys.argv", ["./vpcctl", *words])
    done = prepared(*words, uid=1000)
    assert done.code == 1
    assert done.one_line().startswith("Error: this command needs root\nHint: run: sudo ./vpcctl ")
    assert " ".join(words) in done.err
    assert prepared.files() == before


@pytest.mark.parametrize("words", CHANGES, ids=" ".join)
def test_missing_tools_are_told_before_anything_is_touched(words: tuple[str, ...], prepared: Any,
                                                           monkeypatch: pytest.MonkeyPatch) -> None:
    before = prepared.files()
    monkeypatch.setattr(run, "_located", lambda tool, path: None)
    done = prepared(*words)
    assert done.code == 1
    assert "not found" in done.one_line()
    assert "apt-get install" in done.err
    assert "iproute2" in done.err
    assert prepared.files() == before


@pytest.mark.parametrize(("tool", "package"), [
    ("ip", "iproute2"), ("iptables", "iptables"), ("sysctl", "procps")])
def test_one_missing_tool_is_told_with_its_package(tool: str, package: str, vpcctl: Any,
                                                   monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "_located", lambda name, path: None if name == tool else name)
    done = vpcctl("vpc", "create", "--name", "vpc1", "--cidr", "10.0.0.0/16")
    assert done.code == 1
    assert done.one_line() == f"Error: {tool} not found\nHint: install it: apt-get install {package}\n"
    assert not vpcctl.folder.exists()


RECORDS = {
    "cut": b'{"version": 1,\n"topology": {', "empty": b"", "binary": b"\x00\xff\xfe", "no-version": b"{}",
    "newer": b'{"version": 99, "topology": {}, "ledger": []}', "shell": b'{"version": 1, "topology": {}, '
    b'"ledger": [{"kind": "shell", "command": "id"}]}',
}
READS = [("vpc", "list"), ("vpc", "show", "--name", "vpc1"), ("subnet", "list"), ("peer", "list"),
         ("deploy", "list"), ("firewall", "show", "--vpc", "vpc1", "--subnet", "public"),
         ("status",), ("export",)]


@pytest.mark.parametrize("record", RECORDS)
@pytest.mark.parametrize("words", [*CHANGES, *READS], ids=" ".join)
def test_a_record_that_is_damaged_or_newer_is_left_alone(words: tuple[str, ...], record: str,
                                                         vpcctl: Any) -> None:
    vpcctl.folder.mkdir()
    vpcctl.store.file.write_bytes(RECORDS[record])
    if record == "shell" and words in READS[:4] + READS[-1:]:
        return  # what only shows the topology does not read the ledger
    done = vpcctl(*words)
    assert done.code == 1
    assert str(vpcctl.store.file) in done.one_line()
    assert ("has version 99" if record == "newer" else "is damaged") in done.err
    assert vpcctl.files() == {str(vpcctl.store.file): RECORDS[record]}


@pytest.mark.parametrize("words", [*CHANGES, ("vpc", "list")], ids=" ".join)
def test_a_state_folder_that_can_not_be(words: tuple[str, ...], vpcctl: Any, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    done = vpcctl("--state-dir", str(tmp_path / "file"), *words)
    assert done.code == 2
    assert "--state-dir" in done.one_line()
    beneath = vpcctl("--state-dir", str(tmp_path / "file" / "state"), *words)
    assert beneath.code == 1
    assert str(tmp_path / "file" / "state") in beneath.one_line()
    assert "--state-dir" in beneath.err
    assert "damaged" not in beneath.err
    assert (tmp_path / "file").read_text() == "mine"


REFUSED_MACHINES = [
    ("--name db --address 10.0.2.9", "machine 'db' already exists in vpc1/private, has 10.0.2.4",
     "delete it"),
    ("--name db --forwards", "has 10.0.2.4 and does not forward", "delete it"),
    ("--name new --address 10.0.2.4", "10.0.2.4 already belongs to machine 'db'", "from 10.0.2.4 on"),
    ("--name new --address 10.0.2.2", "already belongs to the subnet's own machine", "from 10.0.2.4 on"),
    ("--name new --address 10.0.2.3", "10.0.2.3 is reserved", "from 10.0.2.4 on"),
    ("--name new --address 10.0.2.255", "is the subnet's broadcast address", "from 10.0.2.4 on"),
    ("--name new --address 10.0.3.4", "is not inside the subnet's CIDR 10.0.2.0/24", "10.0.2.0/24"),
    ("--name new --address 10.0.2.5 --address 10.0.2.5", "10.0.2.5 is given twice", "once"),
    ("--name new --address x", "'x' is not an IPv4 address", "10.0.1.10"),
    ("--name New", "'New' can't be a machine name", "a-z"),
]


@pytest.mark.parametrize(("words", "problem", "hint"), REFUSED_MACHINES)
def test_refused_machines(words: str, problem: str, hint: str, prepared: Any) -> None:
    before = prepared.files()
    done = prepared("instance", "add", "--vpc", "vpc1", "--subnet", "private", *words.split())
    assert done.code in (1, 2)
    message, hinted = done.one_line().splitlines()
    assert problem in message
    assert hint in hinted
    assert prepared.files() == before


@pytest.mark.parametrize("words", ["instance delete --vpc vpc1 --subnet private --name",
                                   "instance show --vpc vpc1 --subnet private --name",
                                   "deploy stop --vpc vpc1 --subnet private --name w --instance"])
def test_an_empty_name_is_not_the_subnet_s_own_machine(words: str, prepared: Any) -> None:
    done = prepared(*words.split(), "")
    assert (done.code, "'' can't be a machine name" in done.one_line()) == (2, True)


def test_a_machine_that_is_not_there(prepared: Any) -> None:
    done = prepared("exec", "--vpc", "vpc1", "--subnet", "private", "--instance", "dp", "--", "true")
    assert "machine 'dp' does not exist in vpc1/private" in done.one_line()
    assert "did you mean 'db'?" in done.err

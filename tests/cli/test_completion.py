"""Completion: live names where a name belongs, the scripts that shells load, and the shells themselves."""

from __future__ import annotations

import json
import os
import pty
import select
import subprocess
import sys
import time
from pathlib import Path
from shutil import which

import pytest
from click.testing import CliRunner

from vpcctl_lib.cli import root
from vpcctl_lib.record.document import VERSION

CHECKOUT = Path(__file__).resolve().parents[2]
RECORD = {"version": VERSION, "ledger": [], "topology": {"vpcs": [
    {"name": "vpc1", "cidr": "10.0.0.0/16", "subnets": [
        {"name": "public", "cidr": "10.0.1.0/24", "type": "public",
         "machines": [{"workloads": [{"name": "webserver-80", "port": 80},
                                     {"name": "worker", "argv": ["sleep", "1"]}]}]},
        {"name": "private", "cidr": "10.0.2.0/24", "machines": [
            {"workloads": [{"name": "batch", "argv": ["true"]}]},
            {"name": "db1", "addresses": ["10.0.2.4"], "workloads": [{"name": "job", "argv": ["true"]}]},
            {"name": "db2", "addresses": ["10.0.2.5"]}]}]},
    {"name": "vpc2", "cidr": "172.16.0.0/16", "link": 1,
     "cidrs": ["10.7.0.0/16", "10.80.0.0/24"], "subnets": [
        {"name": "web", "cidr": "172.16.1.0/24"}]},
    {"name": "office", "cidr": "192.168.0.0/24", "link": 2}]}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "state.json").write_text(json.dumps(RECORD))
    return tmp_path


def completed(folder: Path, words: str) -> list[str]:
    """What a shell is told to offer for the last word."""
    environment = {"_VPCCTL_COMPLETE": "bash_complete", "COMP_WORDS": words,
                   "COMP_CWORD": str(len(words.split(" ")) - 1), "VPCCTL_STATE_DIR": str(folder)}
    done = CliRunner().invoke(root, [], env=environment, prog_name="vpcctl")
    assert done.exit_code == 0, done.output
    return [line.partition(",")[2] for line in done.output.splitlines() if line]


@pytest.mark.parametrize(("words", "offered"), [
    ("vpcctl vpc show --name ", ["vpc1", "vpc2", "office"]),
    ("vpcctl vpc delete --name vp", ["vpc1", "vpc2"]),
    ("vpcctl vpc create --name ", []),
    ("vpcctl vpc set --name vpc2 --remove-cidr ", ["10.7.0.0/16", "10.80.0.0/24"]),
    ("vpcctl vpc set --name vpc2 --remove-cidr 10.8", ["10.80.0.0/24"]),
    ("vpcctl vpc set --name vpc1 --remove-cidr ", []),
    ("vpcctl vpc set --name vpc2 --add-cidr ", []),
    ("vpcctl subnet add --vpc o", ["office"]),
    ("vpcctl subnet add --vpc vpc1 --name ", []),
    ("vpcctl subnet set --vpc vpc1 --name ", ["public", "private"]),
    ("vpcctl subnet set --vpc vpc1 --name public --type p", ["public", "private"]),
    ("vpcctl subnet delete --vpc vpc1 --name ", ["public", "private"]),
    ("vpcctl subnet list --vpc vpc2", ["vpc2"]),
    ("vpcctl exec --vpc vpc1 --subnet pu", ["public"]),
    ("vpcctl exec --vpc nowhere --subnet ", []),
    ("vpcctl exec --subnet p", ["public", "private"]),
    ("vpcctl peer create --vpc1 ", ["vpc1", "vpc2", "office"]),
    ("vpcctl peer create --vpc1 vpc1 --vpc2 ", ["vpc2", "office"]),
    ("vpcctl deploy logs --vpc vpc1 --subnet public --name ", ["webserver-80", "worker"]),
    ("vpcctl deploy stop --vpc vpc1 --name w", ["webserver-80", "worker"]),
    ("vpcctl deploy stop --vpc vpc1 --subnet private --name ", ["batch"]),
    ("vpcctl deploy run --vpc vpc1 --subnet public --name ", []),
    ("vpcctl exec --vpc vpc1 --subnet private --instance ", ["db1", "db2"]),
    ("vpcctl instance delete --vpc vpc1 --subnet private --name db1", ["db1"]),
    ("vpcctl instance add --vpc vpc1 --subnet private --name ", []),
    ("vpcctl deploy stop --vpc vpc1 --subnet private --instance db1 --name ", ["job"]),
    ("vpcctl nat e", ["enable"]),
    ("vpcctl st", ["status"]),
    ("vpcctl subnet add --ty", ["--type"]),
    ("vpcctl subnet add --type p", ["public", "private"]),
    ("vpcctl completion ", ["bash", "zsh", "fish"]),
])
def test_live_names(folder: Path, words: str, offered: list[str]) -> None:
    assert completed(folder, words) == offered


def test_another_state_folder(folder: Path, tmp_path: Path) -> None:
    assert completed(tmp_path / "empty", f"vpcctl --state-dir {folder} vpc show --name o") == ["office"]


@pytest.mark.parametrize("text", ["not JSON", "{}", '{"version": 99}'])
def test_a_record_that_cannot_be_read_offers_nothing(folder: Path, text: str) -> None:
    (folder / "state.json").write_text(text)
    assert completed(folder, "vpcctl vpc show --name ") == []


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_the_script_is_one_that_the_shell_understands(shell: str, tmp_path: Path) -> None:
    done = CliRunner().invoke(root, ["completion", shell], prog_name="vpcctl")
    assert done.exit_code == 0
    assert "_VPCCTL_COMPLETE" in done.output
    if which(shell):
        script = tmp_path / "script"
        script.write_text(done.output)
        subprocess.run([shell, "-n", str(script)], check=True)


def test_an_unknown_shell() -> None:
    done = CliRunner().invoke(root, ["completion", "csh"], prog_name="vpcctl")
    assert done.exit_code == 2


class Terminal:
    """A program on a terminal of its own."""

    def __init__(self, argv: list[str], environment: dict[str, str]) -> None:
        self._end, other = pty.openpty()
        self._process = subprocess.Popen(argv, stdin=other, stdout=other, stderr=other, env=environment,
                                         cwd=environment["HOME"], start_new_session=True)
        os.close(other)
        self.seen = ""

    def type(self, keys: str) -> None:
        os.write(self._end, keys.encode())

    def wait_for(self, text: str) -> None:
        deadline = time.monotonic() + 30
        while text not in self.seen:
            assert time.monotonic() < deadline, self.seen
            if select.select([self._end], [], [], 0.2)[0]:
                self.seen += os.read(self._end, 4096).decode(errors="replace")

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        os.close(self._end)


def test_bash_completes_a_name_when_tab_is_pressed(folder: Path, tmp_path: Path) -> None:
    tools = tmp_path / "bin"
    tools.mkdir()
    (tools / "vpcctl").write_text(f'#!/bin/sh\nexec "{sys.executable}" "{CHECKOUT}/vpcctl" "$@"\n')
    (tools / "vpcctl").chmod(0o755)
    (tmp_path / "rc").write_text(
        "bind 'set enable-bracketed-paste off'; source <(vpcctl completion bash); echo ready\n")
    environment = {**os.environ, "PATH": f"{tools}:{os.environ['PATH']}", "VPCCTL_STATE_DIR": str(folder),
                   "HOME": str(tmp_path), "TERM": "dumb"}
    terminal = Terminal(["bash", "--rcfile", str(tmp_path / "rc"), "-i"], environment)
    try:
        terminal.wait_for("ready")
        terminal.type("vpcctl vpc show --name off\t")
        terminal.wait_for("--name office")
    finally:
        terminal.close()

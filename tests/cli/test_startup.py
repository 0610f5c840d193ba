"""What a start costs: commands that only show the record load little more than click, and so does Tab."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Collection
from pathlib import Path

import pytest

CHECKOUT = Path(__file__).resolve().parents[2]
HEAVY = {
    "asyncio", "concurrent.futures", "ctypes", "difflib", "hashlib", "http", "hypothesis", "logging", "pydoc",
    "rich", "shutil", "socket", "ssl", "subprocess", "tempfile", "unittest", "urllib", "yaml",
    "vpcctl_lib.blueprint", "vpcctl_lib.engine.transaction", "vpcctl_lib.files.documents",
    "vpcctl_lib.files.keys", "vpcctl_lib.files.policy", "vpcctl_lib.kernel.reader", "vpcctl_lib.kernel.run",
    "vpcctl_lib.managers.base", "vpcctl_lib.record.store", "vpcctl_lib.resources", "vpcctl_lib.sandbox",
}
MODULES_OF_A_CHANGE, MODULES_OF_A_LIST = 104, 38
"""Two of a change's read links and routes over netlink, in the place of two starts of `ip`. Both have the
classes of route tables, of what leads into VPCs from outside, of names, of flow logs and of IPv6, which are
part of every topology."""

# An editable install has loaded pathlib, with all that it needs, before any program's first line.
LOADED = """
import atexit, click, json, pathlib, sys
before = set(sys.modules)
from vpcctl_lib.cli import main
atexit.register(lambda: print(json.dumps(sorted(set(sys.modules) - before)), file=sys.stderr))
main()
"""
RECORD = {"version": 1, "ledger": [], "topology": {"vpcs": [
    {"name": "vpc1", "cidr": "10.0.0.0/16", "nat": {"interface": "eth0"}, "subnets": [
        {"name": "public", "cidr": "10.0.1.0/24", "type": "public",
         "workloads": [{"name": "webserver-80", "port": 80}]}]},
    {"name": "vpc2", "cidr": "172.16.0.0/16", "link": 1}], "peerings": [{"vpc1": "vpc1", "vpc2": "vpc2"}]}}


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "state.json").write_text(json.dumps(RECORD))
    return tmp_path


def loaded(folder: Path, *words: str, statuses: Collection[int] = (0,), **environment: str) -> set[str]:
    """What a run of the program imports beside click and pathlib."""
    done = subprocess.run([sys.executable, "-c", LOADED, *words], text=True, capture_output=True,
                          cwd=CHECKOUT, env={**os.environ, "VPCCTL_STATE_DIR": str(folder), **environment})
    assert done.returncode in statuses
    assert done.stdout
    # Before it may stand what the program warns of, on the machine that this is.
    return set(json.loads(done.stderr.splitlines()[-1]))


def ours(found: set[str]) -> set[str]:
    """Of them the project's own: how many the library's are depends on Python's version."""
    return {name for name in found if name.startswith("vpcctl_lib")}


@pytest.mark.parametrize("words", ["vpc list --json", "subnet list --json", "peer list --json",
                                   "graph --json", "--version"])
def test_what_only_shows_the_record_loads_little(folder: Path, words: str) -> None:
    assert not loaded(folder, *words.split()) & HEAVY


def test_a_change_loads_nothing_that_only_some_changes_need(tmp_path: Path) -> None:
    needless = {"base64", "bz2", "concurrent.futures", "email", "getpass", "http", "logging", "lzma", "rich",
                "shutil", "ssl", "sysconfig", "tempfile", "urllib", "yaml", "zlib",
                "vpcctl_lib.engine.inspection", "vpcctl_lib.engine.kept", "vpcctl_lib.engine.programs",
                "vpcctl_lib.engine.rebuild", "vpcctl_lib.engine.rivals", "vpcctl_lib.firewall.filter_rules",
                "vpcctl_lib.firewall.splits", "vpcctl_lib.keeper.folders", "vpcctl_lib.keeper.limits",
                "vpcctl_lib.kernel.conntrack", "vpcctl_lib.kernel.users", "vpcctl_lib.workloads.interpreter",
                "vpcctl_lib.workloads.report", "vpcctl_lib.workloads.upkeep"}
    # A name that no VPC of this machine has.
    name = f"v{os.getpid()}"
    create = ("vpc", "create", "--name", name, "--cidr", "10.0.0.0/16", "--allow-overlap", "--dry-run")
    found = loaded(tmp_path, *create)
    assert not found & needless
    # A module takes 0.1 to 1 ms: whoever has to raise this says why.
    assert len(ours(found)) <= MODULES_OF_A_CHANGE


def test_a_list_loads_no_more_modules_than_it_did(folder: Path) -> None:
    assert len(ours(loaded(folder, "vpc", "list", "--json"))) <= MODULES_OF_A_LIST


@pytest.mark.parametrize("words", ["firewall clear --vpc vpc1 --subnet public", "status",
                                   "firewall show --vpc vpc1 --subnet public",
                                   "subnet add --vpc vpc2 --name a --cidr 172.16.1.0/24"])
def test_what_reads_no_file_loads_no_table_of_keys(folder: Path, words: str) -> None:
    dry = () if words.startswith(("status", "firewall show")) else ("--dry-run",)
    # Nothing of what is recorded is there: `status` says so.
    assert "vpcctl_lib.files.keys" not in loaded(folder, *words.split(), *dry, statuses=(0, 1))


@pytest.mark.parametrize("words", ["vpcctl ", "vpcctl vpc show --name ", "vpcctl deploy logs --name ",
                                   "vpcctl exec --vpc vpc1 --subnet "])
def test_completion_loads_little(folder: Path, words: str) -> None:
    given = {"_VPCCTL_COMPLETE": "bash_complete", "COMP_WORDS": words, "COMP_CWORD": str(words.count(" "))}
    assert not loaded(folder, **given) & HEAVY


def cpu_time(argv: list[str], environment: dict[str, str]) -> float:
    """The processor time of the quickest of several runs: that of a busy machine, too, is about the same."""
    times = []
    for _ in range(5):
        with subprocess.Popen(argv, stdout=subprocess.DEVNULL, env=environment, cwd=CHECKOUT) as process:
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = status
        assert status == 0
        times.append(usage.ru_utime + usage.ru_stime)
    return min(times)


COMPLETION = {"_VPCCTL_COMPLETE": "zsh_complete", "COMP_WORDS": "vpcctl subnet delete --vpc ",
              "COMP_CWORD": "4"}


@pytest.mark.parametrize(("words", "given"), [("vpc list --json", {}), ("", COMPLETION)])
def test_a_start_takes_at_most_twice_that_of_click(folder: Path, words: str, given: dict[str, str]) -> None:
    environment = {**os.environ, "VPCCTL_STATE_DIR": str(folder)}
    click = cpu_time([sys.executable, "-c", "import click, pathlib"], environment)
    ours = cpu_time([sys.executable, str(CHECKOUT / "vpcctl"), *words.split()], {**environment, **given})
    assert ours <= 2 * click


@pytest.mark.parametrize("closed", ["<&-", ">&-", "2>&-", "<&- >&- 2>&-"])
def test_a_closed_file_is_no_reason_to_fail(closed: str, tmp_path: Path) -> None:
    line = f"exec '{sys.executable}' '{CHECKOUT}/vpcctl' --state-dir '{tmp_path}' vpc list {closed}"
    assert subprocess.run(["sh", "-c", line], capture_output=True).returncode == 0

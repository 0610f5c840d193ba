"""The state folder of root's is nobody else's, in a sandbox without root too."""

from __future__ import annotations

import os
from collections.abc import Callable

import pytest
from host import Host

FOLDER = "/var/lib/vpcctl"
STRANGER = "54321"


def test_nobody_else_may_open_the_lock_and_all_may_read_the_record(vpc1: Host) -> None:
    other = ("setpriv", "--reuid", STRANGER, "--regid", STRANGER, "--clear-groups")
    refused = vpc1.run(*other, "flock", "--exclusive", f"{FOLDER}/lock", "true")
    assert refused.code != 0
    assert "Permission denied" in refused.err
    for name in ("state.json", "state.json.bak", "vpcctl.log"):
        assert vpc1.run(*other, "cat", f"{FOLDER}/{name}").code == 0


def test_a_umask_closes_nothing_that_readers_need(host: Host) -> None:
    host.sh("umask 077; vpcctl vpc create --name vpc1 --cidr 10.0.0.0/16")
    modes = host.sh(f"cd {FOLDER}; stat -c '%a %n' . lock state.json state.json.bak vpcctl.log")
    assert modes == "755 .\n600 lock\n644 state.json\n644 state.json.bak\n644 vpcctl.log\n"


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give a folder to somebody else")
def test_a_stranger_s_record_tells_root_nothing(host: Host) -> None:
    theirs, precious = host.scratch / "theirs", host.scratch / "precious"
    theirs.mkdir()
    precious.write_text("precious")
    entry = {"kind": "file", "path": str(precious), "content": ""}
    (theirs / "state.json").write_text(
        f'{{"version": 2, "topology": {{}}, "ledger": [{str(entry).replace(chr(39), chr(34))}]}}')
    os.chown(theirs, int(STRANGER), -1)
    for words in ("restore", "status", "vpc list", "deploy list", "export", "graph",
                  "vpc create --name x --cidr 10.9.0.0/16", "apply -f /dev/null", "restore --from-kernel"):
        host.refused(f"--state-dir {theirs} {words}", says=f"it belongs to uid {STRANGER}")
    assert precious.read_text() == "precious"
    assert [path.name for path in theirs.iterdir()] == ["state.json"]


def test_in_a_sandbox_without_root_a_folder_of_the_user_s_own_will_do(
        make_host: Callable[..., Host], rootless: tuple[str, ...]) -> None:
    host = make_host(*rootless)
    own = host.scratch / "own"
    own.mkdir()
    host.do(f"--state-dir {own} vpc create --name vpc1 --cidr 10.0.0.0/16")
    host.do(f"--state-dir {own} vpc delete --name vpc1")
    own.chmod(0o777)
    host.refused(f"--state-dir {own} vpc list", says="it is writable by others (mode 0777)")

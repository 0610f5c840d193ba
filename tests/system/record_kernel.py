"""Records what the kernel's tools print of a small network, whole and damaged, for unit tests.

To record anew, after a change of what is asked or of what vpcctl makes:

    ./vpcctl sandbox -- .venv/bin/python tests/system/record_kernel.py >tests/unit/recorded/kernel.json

Kept are the answers, never what vpcctl makes of them: the tests say that by hand. Of a damaged network those
answers are kept that differ from the whole one's.
"""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
import tempfile
from collections.abc import Collection
from pathlib import Path
from types import SimpleNamespace
from typing import Any
from unittest import mock

CHECKOUT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(CHECKOUT))
# From the checkout that this stands in.

from vpcctl_lib.blueprint.host import NAMESPACE_FILES  # noqa: E402
from vpcctl_lib.engine import keepers  # noqa: E402
from vpcctl_lib.engine.inspection import findings, inspect  # noqa: E402
from vpcctl_lib.engine.rebuild import Rebuilder  # noqa: E402
from vpcctl_lib.errors import VpcctlError  # noqa: E402
from vpcctl_lib.kernel import (  # noqa: E402
    netns,
    processes,  # noqa: E402
    run,
)
from vpcctl_lib.kernel.reader import Kernel, Reading  # noqa: E402
from vpcctl_lib.kernel.run import Command, Outcome, Runner  # noqa: E402
from vpcctl_lib.model.topology import Variant  # noqa: E402
from vpcctl_lib.record.store import Store  # noqa: E402
from vpcctl_lib.workloads import members  # noqa: E402

POLICY = """{"subnet": "10.0.1.0/24", "ingress": [{"port": 80, "protocol": "tcp", "action": "allow"},
  {"port": "8000-8100", "protocol": "tcp", "action": "deny", "source": "10.0.0.0/16"}],
  "egress": [{"port": 53, "protocol": "udp", "action": "allow"}]}"""
NETWORK = (
    "vpc create --name vpc1 --cidr 10.0.0.0/16",
    "vpc create --name vpc2 --cidr 172.16.0.0/16",
    "subnet add --vpc vpc1 --name public --cidr 10.0.1.0/24 --type public",
    "subnet add --vpc vpc1 --name private --cidr 10.0.2.0/24",
    "subnet add --vpc vpc2 --name a-name-that-is-hashed --cidr 172.16.1.0/24",
    "nat enable --vpc vpc1",
    "peer create --vpc1 vpc1 --vpc2 vpc2",
    "firewall apply --vpc vpc1 --subnet public --policy {folder}/policy.json",
    "deploy webserver --vpc vpc1 --subnet public --port 80",
    "deploy run --vpc vpc1 --subnet private --name worker -- sleep infinity",
)

NUMBERS = ("ip", "-j", "netns", "list")
"""Stands for the numbers of a namespace for others, as this command prints them."""

GONE = "for _ in $(seq 100); do ip {} link show {} || exit 0; sleep 0.1; done; exit 1"
"""The kernel takes a cable away after its namespace."""

DAMAGES = {
    "whole": "",
    "a policy is flushed": "ip netns exec vpc1-public iptables -F",
    "a router forgets": "ip netns exec vpc1 iptables -F FORWARD; ip netns exec vpc1 nft flush ruleset",
    "a cable is gone": "ip -n vpc1 link del s-private",
    "a link is another's": "ip link add lan type bridge; ip link set lan alias vpcctl:vpc7",
    "a namespace bears the mark": "ip netns add other; ip -n other link set lo alias vpcctl:vpc1/other",
    "a route is gone": "ip -n vpc1 route del default",
    "a setting is another's": "ip netns exec vpc1 sysctl -qw net.ipv4.ip_forward=0",
    "a peering is cut": "ip -n vpc2 link del pcx-vpc1",
    "a namespace is gone": "ip netns pids vpc1-public | xargs kill -KILL; ip netns del vpc1-public; "
    + GONE.format("-n vpc1", "s-public"),
    "a router has no address": "ip -n vpc2 addr flush dev br-vpc2",
    "a router is gone": "ip netns del vpc1; " + GONE.format("", "vpc-vpc1"),
}
"""Each on top of those before it."""


class Recorder:
    """Listens to what is asked, and looks itself at what is read without a command."""

    def __init__(self) -> None:
        self.asked: dict[str, dict[str, Any]] = {}
        self.settings: dict[str, str | None] = {}
        self._run, self._setting, self._all = run._run, Kernel.setting, Kernel.settings
        self._read, self._numbers = Kernel.read, Kernel.numbers

    def run(self, command: Command, **how: Any) -> Outcome:
        outcome = self._run(command, **how)
        self.asked[question(command)] = {
            "status": outcome.status,
            "stdout": _shown(outcome.stdout),
            "stderr": outcome.stderr,
        }
        return outcome

    def read(self, held: Kernel, namespace: str, *readings: Reading) -> list[list[dict[str, Any]]]:
        """Kept as if the commands had printed it that print the same."""
        said: list[Any] = []
        for reading in readings:
            key = question(Command(reading.value, "", namespace))
            try:
                said += self._read(held, namespace, reading)
            except VpcctlError as error:
                self.asked[key] = {"status": 1, "stdout": "", "stderr": error.message}
                raise
            shown = {"nftables": said[-1]} if reading is Reading.CHAINS else said[-1]
            self.asked[key] = {"status": 0, "stdout": shown, "stderr": ""}
        return said

    def numbers(self, held: Kernel, namespace: str, first: Collection[str] = ()) -> Any:
        """Only those that are asked for."""
        found, key = self._numbers(held, namespace, first), question(Command(NUMBERS, "", namespace))

        def name(wanted: int) -> str:
            said = {"id": wanted, "name": found.name(wanted)}
            kept = self.asked.setdefault(key, {"status": 0, "stdout": [], "stderr": ""})["stdout"]
            kept += [said] if said["name"] and said not in kept else []
            return str(said["name"])

        return SimpleNamespace(name=name)

    def setting(self, held: Kernel, namespace: str, key: str) -> str | None:
        found = self.settings[f"{namespace} {key}"] = self._setting(held, namespace, key)
        return found

    def all_settings(self, held: Kernel, namespace: str, keys: Any) -> dict[str, str]:
        keys = list(keys)
        found = self._all(held, namespace, keys)
        self.settings.update({f"{namespace} {key}": found.get(key) for key in keys})
        return found


def question(command: Command) -> str:
    """What is asked, where, and with what input."""
    return json.dumps(
        [command.namespace, *command.argv, *([{"stdin": command.stdin}] if command.stdin else [])]
    )


def _shown(text: str) -> Any:
    """JSON as such, so that a test can change it; counters and times as if nothing had happened yet."""
    if text.lstrip().startswith(("[", "{")) and not text.startswith("[0:"):
        return json.loads(text)
    text = re.sub(r"^# (Generated|Completed).*\n", "", text, flags=re.MULTILINE)
    return re.sub(r"\[\d+:\d+\]", "[0:0]", text)


def record(store: Store) -> dict[str, Any]:
    """All that is asked by who looks at this network."""
    recorder = Recorder()
    with (
        mock.patch.object(run, "_run", recorder.run),
        mock.patch.object(Kernel, "read", lambda *given: recorder.read(*given)),
        mock.patch.object(Kernel, "setting", lambda *given: recorder.setting(*given)),
        mock.patch.object(Kernel, "settings", lambda *given: recorder.all_settings(*given)),
    ):
        state = store.load()
        try:
            Rebuilder(Kernel(Runner()), Variant.NFT).state()
        except VpcctlError as error:
            print(error, file=sys.stderr)
        held = Kernel(Runner())
        findings(held, state.ledger, (), inspect(held, state.ledger))
    names = sorted(netns.names())
    return {
        "asked": dict(sorted(recorder.asked.items())),
        "settings": dict(sorted(recorder.settings.items())),
        "names": names,
        "identities": {name: netns.identity(name) for name in ("", *names) if name}
        | {"": netns.own_identity()},
        "files": {
            str(path.relative_to(NAMESPACE_FILES)): path.read_text()
            for path in sorted(Path(NAMESPACE_FILES).rglob("*"))
            if path.is_file()
        },
        "keepers": {
            name: {
                mark: {
                    "pid": leader.pid,
                    "argv": processes.argv(leader),
                    "facts": members.kept_identity(leader),
                }
                for mark, (leader, _) in keepers.keepers(Kernel(Runner()), name).items()
            }
            for name in names
        },
        "record": json.loads(store.file.read_text()),
    }


def difference(whole: Any, now: Any) -> Any:
    """What is not as in the whole network; what is gone is null."""
    if not isinstance(whole, dict) or not isinstance(now, dict):
        return now
    return {
        key: difference(whole.get(key), now.get(key))
        for key in (*whole, *(set(now) - set(whole)))
        if whole.get(key) != now.get(key)
    }


def main() -> None:
    """Make the network, damage it more and more, and print what was recorded of each."""
    with tempfile.TemporaryDirectory() as scratch:
        folder = Path(scratch)
        (folder / "policy.json").write_text(POLICY)
        os.environ["VPCCTL_STATE_DIR"] = str(folder / "state")
        for line in NETWORK:
            subprocess.run(
                [sys.executable, CHECKOUT / "vpcctl", *line.format(folder=folder).split()],
                check=True,
                stdout=subprocess.DEVNULL,
            )
        found: dict[str, Any] = {}
        for name, script in DAMAGES.items():
            subprocess.run(["sh", "-c", script], check=True, timeout=30, stdout=subprocess.DEVNULL)
            now = record(Store(folder / "state"))
            found[name] = difference(found["whole"], now) if found else now
    print(written(found).replace(scratch, "/var/lib/scratch").replace(str(CHECKOUT), "/opt/vpcctl"))


def written(found: dict[str, Any]) -> str:
    """JSON with one answer a line, for those who read what changed."""
    if not isinstance(found, dict) or not any(isinstance(part, dict) for part in found.values()):
        return json.dumps(found, ensure_ascii=False, sort_keys=True)
    parts = (f"{json.dumps(name)}: {written(part)}" for name, part in found.items())
    return "{" + ",\n".join(parts) + "}"


if __name__ == "__main__":
    main()

"""What the kernel's tools said of a recorded network, played back (tests/system/record_kernel.py)."""

from __future__ import annotations

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import pytest

from vpcctl_lib.blueprint import host
from vpcctl_lib.engine import found_subnets, rebuild, strays
from vpcctl_lib.keeper import orders
from vpcctl_lib.kernel import netns, proc, run
from vpcctl_lib.kernel.answers import parsed
from vpcctl_lib.kernel.processes import Process
from vpcctl_lib.kernel.reader import Kernel, Reading
from vpcctl_lib.kernel.run import Command, Outcome
from vpcctl_lib.record.ledger import State
from vpcctl_lib.record.store import Store
from vpcctl_lib.workloads import members

FOLDER = Path(__file__).with_name("unit") / "recorded"
RECORDED = json.loads((FOLDER / "kernel.json").read_text())
REACHED = json.loads((FOLDER / "reach_scenes.json").read_text())
"""Two networks, each whole and damaged: for status and rebuild, and for reach (record_reach.py)."""


def question(command: Command) -> str:
    """What is asked, where, and with what input: the key under which the answer is kept."""
    return json.dumps(
        [command.namespace, *command.argv, *([{"stdin": command.stdin}] if command.stdin else [])]
    )


NUMBERS = ("ip", "-j", "netns", "list")
"""Under this command stand the numbers of a namespace for others."""

LEGACY = "ip_tables_names"
"""Stands among the settings for the tables of iptables-legacy in use."""


class Recorded:
    """One recorded network. A test may change what was recorded; who asks what was not fails."""

    def __init__(self, scene: str, folder: Path, scenes: Any = RECORDED) -> None:
        held = json.loads(_text(scene, scenes))
        self.asked: dict[str, Any] = held["asked"]
        self.settings: dict[str, str | None] = scenes["whole"]["settings"] | scenes[scene].get("settings", {})
        self.names: list[str] = held["names"]
        self.identities: dict[str, str] = held["identities"]
        self.keepers: dict[str, dict[str, Any]] = held["keepers"]
        self.folder = folder / "netns"
        self.folder.mkdir()
        for name, text in held["files"].items():
            (self.folder / name).parent.mkdir(exist_ok=True)
            (self.folder / name).write_text(text)
        self._state = folder / "state"
        self._state.mkdir(mode=0o700)
        text = json.dumps(held["record"]).replace("/etc/netns", str(self.folder))
        Store(self._state).file.write_text(text)

    def state(self) -> State:
        """The record that vpcctl wrote of it."""
        return Store(self._state).load()

    def play(self, patch: pytest.MonkeyPatch) -> None:
        """From now on, this is what there is."""
        patch.setattr(run, "_run", self._answer)
        patch.setattr(Kernel, "read", lambda _, *given: self._read(*given))
        patch.setattr(Kernel, "numbers", lambda _, namespace, *first: Numbered(self, namespace))
        patch.setattr(Kernel, "setting", lambda _, namespace, key: self.settings[f"{namespace} {key}"])
        patch.setattr(Kernel, "settings", lambda _, *given: self._all_settings(*given))
        patch.setattr(Kernel, "has_tool", lambda *_: True)
        patch.setattr(proc, "legacy_tables",
                      lambda namespace, *_: self.settings[f"{namespace} {LEGACY}"] or "")
        patch.setattr(proc, "may_have_legacy",
                      lambda namespace, *_: bool(self.settings[f"{namespace} {LEGACY}"]))
        patch.setattr(netns, "names", lambda: frozenset(self.names))
        patch.setattr(netns, "exists", lambda name: name in self.names)
        patch.setattr(netns, "identity", lambda name: self.identities.get(name, ""))
        patch.setattr(netns, "own_identity", lambda: self.identities[""])
        patch.setattr(rebuild, "keepers", self._keepers)
        patch.setattr(found_subnets, "keepers", self._keepers)
        patch.setattr(members, "kept_identity", self._facts)
        patch.setattr(Kernel, "process", lambda _, facts: self._recognise(facts))
        patch.setattr(Kernel, "is_inside", lambda _, one, space: one.pid in self._pids(space))
        for module in (host, rebuild, strays):
            patch.setattr(module, "NAMESPACE_FILES", str(self.folder))

    def _answer(self, command: Command, **_: object) -> Outcome:
        key = question(command)
        assert key in self.asked, f"not recorded: {key}; see tests/system/record_kernel.py"
        said = self.asked[key]
        printed = said["stdout"] if isinstance(said["stdout"], str) else json.dumps(said["stdout"])
        return Outcome(command, said["status"], printed, said["stderr"], 1.0)

    def _read(self, namespace: str, *readings: Reading) -> list[list[dict[str, Any]]]:
        return [self.listed(namespace, reading.value) for reading in readings]

    def listed(self, namespace: str, argv: tuple[str, ...]) -> list[dict[str, Any]]:
        """What a namespace says: a list, in which nft has more than its chains."""
        found = parsed(self._answer(Command(argv, "", namespace)))
        chains = found["nftables"] if isinstance(found, dict) else None
        return found if chains is None else [one for one in chains if "chain" in one]

    def _all_settings(self, namespace: str, keys: Iterable[str]) -> dict[str, str]:
        found = {key: self.settings[f"{namespace} {key}"] for key in keys}
        return {key: value for key, value in found.items() if value is not None}

    def _keepers(self, _: Kernel, space: str) -> dict[str, tuple[Process, orders.Orders]]:
        found = {}
        for mark, one in (self.keepers.get(space, {}) if space in self.names else {}).items():
            given = orders.of(tuple(one["argv"]))
            assert given is not None
            found[mark] = Process(one["pid"], int(one["facts"]["start"]), 0, 0), given
        return found

    def _facts(self, leader: Process) -> dict[str, str]:
        return next(
            one["facts"]
            for space in self.keepers.values()
            for one in space.values()
            if one["pid"] == leader.pid
        )

    def _pids(self, space: str) -> set[int]:
        return {one["pid"] for one in self.keepers.get(space, {}).values()}

    def _recognise(self, facts: dict[str, str]) -> Process | None:
        known = set().union(*map(self._pids, self.keepers))
        return Process(int(facts["pid"]), int(facts["start"]), 0, 0) if int(facts["pid"]) in known else None

    # For tests that change what was recorded.

    def printed(self, namespace: str, *argv: str) -> Any:
        """What a command printed, to be changed."""
        return self.asked[json.dumps([namespace, *argv])]["stdout"]

    def links(self, namespace: str) -> dict[str, dict[str, Any]]:
        """The links of a namespace by name, each to be changed."""
        return {link["ifname"]: link for link in self.printed(namespace, "ip", "-j", "-d", "addr", "show")}

    def without_link(self, namespace: str, device: str) -> None:
        """A link less."""
        links = self.printed(namespace, "ip", "-j", "-d", "addr", "show")
        links[:] = [link for link in links if link["ifname"] != device]

    def routes(self, namespace: str) -> list[dict[str, Any]]:
        """The routes of a namespace, to be changed."""
        routes: list[dict[str, Any]] = self.printed(
            namespace, "ip", "-j", "-4", "route", "show", "table", "main"
        )
        return routes

    def edit_rules(self, namespace: str, old: str, new: str) -> None:
        """Another text in the place of one that iptables-save printed."""
        said = self.asked[json.dumps([namespace, "iptables-save"])]
        assert old in said["stdout"], said["stdout"]
        said["stdout"] = said["stdout"].replace(old, new)

    def fail(self, namespace: str, *argv: str, says: str) -> None:
        """A command that fails."""
        self.asked[json.dumps([namespace, *argv])] = {"status": 1, "stdout": "", "stderr": says}


_texts: dict[tuple[int, str], str] = {}
"""What was recorded of each network, by its file: to read JSON takes a fifth of what it takes to copy it."""


def _text(scene: str, scenes: Any) -> str:
    key = id(scenes), scene
    if key not in _texts:
        _texts[key] = json.dumps(_with(scenes["whole"], scenes[scene] if scene != "whole" else {}))
    return _texts[key]


class Numbered:
    """The recorded numbers of one namespace for others."""

    def __init__(self, recorded: Recorded, namespace: str) -> None:
        self._recorded, self._namespace = recorded, namespace

    def name(self, wanted: int) -> str:
        """As kernel.numbers.Numbers has it."""
        found = self._recorded.listed(self._namespace, NUMBERS)
        return next((one["name"] for one in found if one.get("id") == wanted), "")


def _with(whole: Any, changed: Any) -> Any:
    """The whole with what differs put in; null takes away."""
    if not isinstance(changed, dict) or not isinstance(whole, dict):
        return changed
    found = {key: value for key, value in whole.items() if key not in changed}
    return found | {key: _with(whole.get(key), value) for key, value in changed.items() if value is not None}

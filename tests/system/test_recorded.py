"""What unit tests take for the kernel's answers is what it still says: recorded anew, and compared."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
from host import CHECKOUT

RECORDED = CHECKOUT / "tests/unit/recorded"
RECORDERS = {"kernel.json": "record_kernel.py", "reach_scenes.json": "record_reach.py"}
SAME = frozenset(("ifname", "ifalias", "master", "mtu", "addr_info", "family", "local", "prefixlen",
                  "linkinfo", "info_kind", "dst", "gateway", "dev", "metric", "protocol", "lladdr", "type"))
"""What of ip's and bridge's answers is asked for; the rest is another in every host or kernel."""

ANEW = ("identities", "keepers", "record")
"""What is another in every run."""


def both(name: str) -> tuple[dict[str, Any], dict[str, Any]]:
    """A network as it was recorded, and the same recorded now."""
    recorder = Path(__file__).with_name(RECORDERS[name])
    done = subprocess.run([sys.executable, CHECKOUT / "vpcctl", "sandbox", "--", sys.executable, recorder],
                          capture_output=True, text=True, timeout=400)
    assert done.returncode == 0, done.stderr
    return json.loads((RECORDED / name).read_text()), json.loads(done.stdout)


def essence(answer: Any) -> Any:
    """What counts of an answer."""
    if isinstance(answer, list):
        return [essence(one) for one in answer if not isinstance(one, dict) or not is_random(one)]
    if isinstance(answer, dict):
        if "nftables" in answer:
            return sorted({kind for one in answer["nftables"] for kind in one})
        return {key: essence(value) for key, value in answer.items() if key in SAME and value != []}
    return answer


def is_random(one: dict[str, Any]) -> bool:
    """Whether it is an address that a link made of its MAC, or a route to one; MACs are random."""
    return one.get("family") == "inet6" or re.match("fe80::[0-9a-f]+:", str(one.get("dst"))) is not None


def answers(scene: dict[str, Any]) -> dict[str, Any]:
    return {question: (said["status"], essence(said["stdout"])) for question, said in scene["asked"].items()
            # A bridge forgets its other stations when it likes.
            if "fdb" not in question and "neigh" not in question}


# Both in one test: several workers would record once each.
@pytest.mark.long
@pytest.mark.parametrize("name", RECORDERS)
def test_the_same_is_asked_and_answered_and_the_same_damages_are_seen(name: str) -> None:
    scenes, anew = both(name)
    check_answers(scenes["whole"], anew["whole"])
    check_damages(scenes, anew)


def check_answers(whole: dict[str, Any], now: dict[str, Any]) -> None:
    """The same is asked of a network as it was recorded, and the same answered."""
    assert whole.keys() == now.keys()
    assert whole["asked"].keys() == now["asked"].keys(), "record anew: see the recorder"
    assert answers(whole) == answers(now)
    for part in whole.keys() - {"asked", *ANEW}:
        assert whole[part] == now[part], part


def check_damages(scenes: dict[str, Any], anew: dict[str, Any]) -> None:
    """The same is seen of each damage."""
    assert scenes.keys() == anew.keys()
    for name in scenes.keys() - {"whole"}:
        known = anew["whole"]["asked"].keys() | anew[name].get("asked", {}).keys()
        assert scenes[name].get("asked", {}).keys() <= known, name
        assert scenes[name].get("names") == anew[name].get("names"), name
        assert scenes[name].get("settings") == anew[name].get("settings"), name
        # Reach comes to the same verdicts on what it is told now.
        assert scenes[name].get("verdicts") == anew[name].get("verdicts"), name

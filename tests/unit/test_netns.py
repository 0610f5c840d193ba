"""The names of namespaces, though others make and delete theirs at the same time."""

from __future__ import annotations

from pathlib import Path

import pytest

from vpcctl_lib import netns


def test_a_name_that_goes_while_we_look_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    # Listed, but not to be looked at any more.
    (tmp_path / "gone").symlink_to(tmp_path / "nowhere")
    (tmp_path / "there").symlink_to("/proc/self/ns/net")
    monkeypatch.setattr(netns, "NAMES", tmp_path)
    assert netns.names() == {"there"}

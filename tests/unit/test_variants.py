"""Which of the two iptables a host uses: told by what holds rules, and by what writes them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from vpcctl_lib.engine.plan import Plan
from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.kernel import proc, run, variants
from vpcctl_lib.kernel.run import Command, Outcome, Runner
from vpcctl_lib.managers.base import Context, Manager
from vpcctl_lib.model.topology import Topology, Variant
from vpcctl_lib.record.ledger import State
from vpcctl_lib.record.store import Store

EMPTY = "*filter\n:INPUT ACCEPT [0:0]\n:FORWARD ACCEPT [0:0]\n:OUTPUT ACCEPT [0:0]\nCOMMIT\n"
CLOSED = EMPTY.replace("FORWARD ACCEPT", "FORWARD DROP")
RULES = EMPTY.replace("COMMIT", "-A INPUT -p tcp -j ACCEPT\nCOMMIT")
Given = Callable[..., Runner]


@pytest.fixture
def given(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Given:
    """A host whose `iptables-restore` leads to a program of that name, and what the two kinds hold."""
    def host(program: str, nft: str = EMPTY, legacy: str = EMPTY, tables: str = "filter\n",
             version: str = "") -> Runner:
        (tmp_path / program).touch()
        for tool in ("iptables-restore", "ip6tables-restore"):
            (tmp_path / tool).symlink_to(tmp_path / program)
        (tmp_path / "ip_tables_names").write_text(tables)
        usual = legacy if "legacy" in program or "legacy" in version else nft
        says = {"iptables-save": usual, "iptables-nft-save": nft, "iptables-legacy-save": legacy,
                "iptables-restore": version}

        def answer(command: Command, **_: object) -> Outcome:
            assert command.argv[0] != "iptables-restore" or command.argv[1:] == ("--version",)
            return Outcome(command, 0, says[command.argv[0]], "", 0.0)

        monkeypatch.setattr(run, "_run", answer)
        monkeypatch.setattr(proc, "NETWORK", tmp_path)
        monkeypatch.setattr(run, "_located", lambda tool, path: str(tmp_path / tool))
        return Runner()

    return host


@pytest.mark.parametrize(("program", "version", "kind"), [
    ("xtables-nft-multi", "", Variant.NFT), ("xtables-legacy-multi", "", Variant.LEGACY),
    ("wrapper", "iptables-restore v1.8.9 (nf_tables)", Variant.NFT),
    ("wrapper", "iptables-restore v1.6.1", Variant.LEGACY),
])
def test_what_iptables_restore_stands_for(given: Given, program: str, version: str, kind: Variant) -> None:
    assert variants.standard(given(program, version=version)) is kind


def test_an_iptables_of_another_kind_does_not_count(given: Given, tmp_path: Path) -> None:
    runner = given("xtables-nft-multi")
    (tmp_path / "iptables").symlink_to(tmp_path / "xtables-legacy-multi")
    assert variants.standard(runner) is Variant.NFT


@pytest.mark.parametrize(("nft", "legacy", "chosen"), [
    (EMPTY, EMPTY, "usual"), (EMPTY, "", "usual"),
    (RULES, EMPTY, Variant.NFT), (EMPTY, RULES, Variant.LEGACY),
    (EMPTY, CLOSED, Variant.LEGACY), (CLOSED, EMPTY, Variant.NFT), (RULES, CLOSED, "usual"),
])
@pytest.mark.parametrize(("program", "usual"), [
    ("xtables-nft-multi", Variant.NFT), ("xtables-legacy-multi", Variant.LEGACY)])
def test_the_one_in_use_is_chosen(given: Given, program: str, usual: Variant, nft: str, legacy: str,
                                  chosen: Variant | str) -> None:
    runner = given(program, nft, legacy)
    assert variants.choose(runner) is (usual if chosen == "usual" else chosen)


def test_legacy_is_not_asked_where_it_has_no_table(given: Given) -> None:
    assert variants.choose(given("xtables-nft-multi", legacy=RULES, tables="")) is Variant.NFT


def test_only_the_unusual_one_has_other_names(given: Given) -> None:
    runner = given("xtables-nft-multi")
    assert variants.names(runner, None) == variants.names(runner, Variant.NFT) == {}
    older = Runner(names=variants.names(runner, Variant.LEGACY))
    restore = Command(("iptables-restore", "-w"), "*filter\n", "vpc1")
    assert str(older.spelt(restore)).startswith("ip netns exec vpc1 iptables-legacy-restore -w <<")
    assert older.spelt(Command(("ip", "link"))).argv == ("ip", "link")


def test_each_family_chooses_its_kind_and_both_use_that_of_our_rules(given: Given, tmp_path: Path) -> None:
    runner = given("xtables-nft-multi")
    save = Command(("ip6tables-save", "-c"))
    older = Runner(names=variants.names(runner, Variant.LEGACY))
    assert older.spelt(save).argv == ("ip6tables-legacy-save", "-c")
    (tmp_path / "xtables-legacy-multi").touch()
    (tmp_path / "ip6tables-restore").unlink()
    (tmp_path / "ip6tables-restore").symlink_to(tmp_path / "xtables-legacy-multi")
    assert variants.names(runner, Variant.NFT) == {
        tool: tool.replace("ip6tables", "ip6tables-nft")
        for tool in ("ip6tables", "ip6tables-save", "ip6tables-restore")}


def test_a_host_may_lack_the_tools_of_ipv6(given: Given, monkeypatch: pytest.MonkeyPatch) -> None:
    runner = given("xtables-nft-multi")
    found = run._located
    monkeypatch.setattr(run, "_located", lambda tool, path: None if "ip6" in tool else found(tool, path))
    names = variants.names(runner, Variant.LEGACY)
    assert [tool for tool in names if "ip6" in tool] == []
    monkeypatch.setattr(run, "_located", found)
    whole = variants.names(runner, Variant.LEGACY)
    assert whole.keys() > names.keys()
    assert variants.needed(whole) == variants.needed(names) == list(names.values())


def test_where_both_hold_rules_that_is_told(given: Given) -> None:
    runner = given("xtables-nft-multi", legacy=RULES)
    (warning,) = variants.warnings(runner, Variant.NFT)
    assert "iptables-legacy-save" in warning
    assert variants.warnings(runner, Variant.LEGACY) == []


@pytest.mark.parametrize(("nft", "legacy", "found"), [
    (RULES, RULES.replace("ACCEPT\nC", "ACCEPT -m comment --comment vpcctl:a\nC"), Variant.LEGACY),
    (RULES.replace("ACCEPT\nC", "ACCEPT -m comment --comment vpcctl:a\nC"), RULES, Variant.NFT),
    (EMPTY, RULES, Variant.LEGACY),
])
def test_the_one_with_the_mark_is_found(given: Given, nft: str, legacy: str, found: Variant) -> None:
    assert variants.marked(given("xtables-nft-multi", nft, legacy), "vpcctl:") is found


def test_nothing_is_begun_without_the_tools_that_hold_our_rules(tmp_path: Path) -> None:
    store = Store(tmp_path)
    manager = Manager(Context(store, Runner(names={"iptables-restore": "iptables-other-restore"})))
    with pytest.raises(VpcctlError, match="iptables-other-restore not found") as error:
        manager._apply(Plan((), (), ()), State(), Topology())
    assert error.value.hint == "install it: apt-get install iptables"
    assert not store.file.exists()

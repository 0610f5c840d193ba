"""The record: replaced as a whole, never overwritten when it can't be understood, one writer at a time."""

from __future__ import annotations

import errno
import fcntl
import json
import os
import re
import resource
from contextlib import suppress
from dataclasses import replace
from ipaddress import IPv4Network
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.dear import DEAR
from tests.topologies import topologies
from vpcctl_lib.blueprint import blueprint
from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.kernel import disk as kept_files
from vpcctl_lib.kernel.run import Command, Runner
from vpcctl_lib.model.topology import Topology, Vpc
from vpcctl_lib.record import document, seal
from vpcctl_lib.record import store as store_module
from vpcctl_lib.record.ledger import Entry, State, Verb
from vpcctl_lib.record.store import Store
from vpcctl_lib.resources import Namespace

SPARE = ".state.json.spare"
GOOD: dict[str, Any] = {"version": 1, "topology": {}, "ledger": []}


@pytest.fixture
def store(tmp_path: Path) -> Store:
    return Store(tmp_path)


@given(topology=topologies(), previous=st.none() | topologies(),
       verb=st.none() | st.sampled_from(Verb))
@settings(DEAR, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_what_is_saved_is_loaded(store: Store, topology: Topology, previous: Topology | None,
                                 verb: Verb | None) -> None:
    ledger = tuple(Entry(resource, {"pid": "7"} if verb else {}, verb) for resource in blueprint(topology))
    store.save(State(topology, ledger, previous))
    assert store.load() == State(topology, ledger, previous)


def test_nothing_recorded_is_an_empty_state(tmp_path: Path) -> None:
    assert Store(tmp_path / "nowhere").load() == State()
    assert document.topology(tmp_path / "nowhere") == Topology()
    assert document.read(tmp_path / "nowhere" / "state.json") is None
    assert not (tmp_path / "nowhere").exists()


def test_the_file_has_a_line_a_resource(store: Store) -> None:
    ledger = tuple(map(Entry, blueprint(Topology((Vpc("vpc1", IPv4Network("10.0.0.0/16")),)))))
    store.save(State(ledger=ledger))
    lines = [line for line in store.file.read_text().splitlines() if line.startswith('{"kind"')]
    assert len(lines) == len(ledger)
    assert "found" not in store.file.read_text()


@pytest.mark.parametrize("blank", [" ", "\t", "  ", "\n"])
def test_a_file_edited_by_hand_is_written_well_again(store: Store, blank: str) -> None:
    ledger = (Entry(Namespace("vpc1", "vpcctl:vpc1")), Entry(Namespace("vpc2", "vpcctl:vpc2")))
    store.save(State(ledger=ledger))
    text = store.file.read_text()
    for end in ("},\n", "}\n]"):
        store.file.write_text(text.replace(end, f"{end[0]}{blank}{end[1:]}").replace("},\n", f"}},{blank}\n"))
        other = Store(store.folder)
        other.save(other.load())
        assert Store(store.folder).load() == State(ledger=ledger)


@pytest.mark.parametrize(("where", "call", "is_new"), [
    (os, "open", False), (os, "fsync", False), (Path, "replace", False), (Store, "_sync_folder", True)])
def test_a_crash_while_saving_leaves_the_old_file_or_the_new(
        store: Store, monkeypatch: pytest.MonkeyPatch, where: Any, call: str, is_new: bool) -> None:
    store.save(State())
    new = State(previous=Topology())

    def crash(*_: object) -> int:
        raise KeyboardInterrupt

    monkeypatch.setattr(where, call, crash)
    with pytest.raises(KeyboardInterrupt):
        store.save(new)
    monkeypatch.undo()
    assert store.load() == (new if is_new else State())


def test_the_file_is_on_the_disk_before_it_has_its_name(
        store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    events: list[str] = []
    sync, rename = os.fsync, Path.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (events.append("sync"), sync(fd))[1])
    monkeypatch.setattr(Path, "replace", lambda self, to: (events.append("rename"), rename(self, to))[1])
    store.save(State())
    assert events == ["sync", "sync", "rename", "rename", "sync"], "the copy of the last good one too"


def test_a_disk_that_takes_nothing_is_told(store: Store) -> None:
    store.save(State())
    (store.folder / ".state.json.new").mkdir()
    with pytest.raises(VpcctlError, match=r"can't write .*state\.json: Is a directory"):
        store.save(State())
    assert store.load() == State()


NAMESPACE = {"kind": "namespace", "name": "a", "owner": "vpcctl:a"}


@pytest.mark.parametrize(("content", "told"), [
    (b"", "is damaged: "),
    (b"{", "is damaged: "),
    (b"\xff\xfe", "is damaged: "),
    (b"null", "its version is unknown"),
    (b"[]", "its version is unknown"),
    (b"{}", "its version is unknown"),
    (b"[" * 100_000, "is damaged: "),
    (json.dumps(GOOD).encode()[:-2], "is damaged: "),
    ({**GOOD, "version": 0}, "its version is unknown"),
    ({**GOOD, "version": "1"}, "its version is unknown"),
    ({**GOOD, "version": True}, "its version is unknown"),
    ({**GOOD, "version": 1.0}, "its version is unknown"),
    ({**GOOD, "version": 3, "topology": [1]}, "it is not a record of version 3"),
    ({**GOOD, "version": 3, "topology": {"vpcs": [{"subnets": [5]}]}}, "it is not a record of version 3"),
    ({**GOOD, "version": 3, "topology": {"vpcs": 5}}, "it is not a record of version 3"),
    ({**GOOD, "version": document.VERSION + 1}, f"this vpcctl knows up to {document.VERSION}"),
    ({**GOOD, "version": 99, "topology": "unknown"}, "has version 99"),
    ({"version": 1}, "topology: dict belongs here"),
    ({**GOOD, "topology": {"vpcs": [{}]}}, "topology.vpcs[0]: "),
    ({**GOOD, "previous": []}, "previous: dict belongs here"),
    ({**GOOD, "ledger": None}, "ledger: list belongs here"),
    ({**GOOD, "ledger": {}}, "ledger: list belongs here"),
    ({**GOOD, "ledger": [NAMESPACE, "x"]}, "ledger[1]: dict belongs here, not 'x'"),
    ({**GOOD, "ledger": [{}]}, "ledger[0]: None is not a kind of resource"),
    ({**GOOD, "ledger": [{**NAMESPACE, "kind": "shell"}]}, "ledger[0]: 'shell' is not a kind of resource"),
    ({**GOOD, "ledger": [{**NAMESPACE, "kind": ["veth"]}]}, "ledger[0]: ['veth'] is not a kind of resource"),
    ({**GOOD, "ledger": [{**NAMESPACE, "command": "rm"}]}, "ledger[0].command: not a field of Namespace"),
    ({**GOOD, "ledger": [{**NAMESPACE, "found": 7}]}, "ledger[0].found: dict belongs here"),
    ({**GOOD, "ledger": [{**NAMESPACE, "under_way": "burn"}]}, "ledger[0].under_way: 'burn' is not"),
    ({**GOOD, "ledger": [{**NAMESPACE, "under_way": ""}]}, "ledger[0].under_way: '' is not"),
])
def test_what_is_not_understood_is_told_and_left_alone(store: Store, content: Any, told: str) -> None:
    written = content if isinstance(content, bytes) else json.dumps(content).encode()
    store.file.write_bytes(written)
    with pytest.raises(VpcctlError) as caught:
        store.load()
    assert str(store.file) in caught.value.message
    assert told in caught.value.message
    assert "nothing was changed" in caught.value.hint
    assert store.file.read_bytes() == written


@pytest.mark.parametrize(("data", "told"), [
    ({**GOOD, "topology": []}, "topology: dict belongs here"),
    ({**GOOD, "previous": {"vpcs": [{}]}}, "previous.vpcs[0]: ")])
def test_a_topology_alone_is_not_understood_in_the_same_words(store: Store, data: Any, told: str) -> None:
    store.file.write_text(json.dumps(data))
    with pytest.raises(document.Damaged) as caught:
        document.topology(store.folder)
    assert caught.value.message.startswith(f"{store.file} is damaged: {told}")
    assert caught.value.hint == ("nothing was changed; rebuild it from the marks in the kernel: "
                                 "vpcctl restore --from-kernel; or remove everything that bears a mark: "
                                 "cleanup.sh")


@given(st.data())
@settings(DEAR, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_a_file_cut_short_or_with_a_byte_changed_is_never_a_crash(store: Store, data: st.DataObject) -> None:
    topology = data.draw(topologies())
    store.save(State(topology, tuple(map(Entry, blueprint(topology)))))
    raw = bytearray(store.file.read_bytes())
    place = data.draw(st.integers(0, len(raw) - 1))
    if data.draw(st.booleans()):
        raw = raw[:place]
    else:
        raw[place] = data.draw(st.integers(0, 255))
    store.file.write_bytes(raw)
    with suppress(VpcctlError):
        store.load()


def test_a_record_that_is_no_file_of_its_own(store: Store) -> None:
    (store.folder / "elsewhere").write_text(json.dumps(GOOD))
    store.file.symlink_to(store.folder / "elsewhere")
    with pytest.raises(VpcctlError, match="is a symbolic link, which vpcctl does not follow") as caught:
        store.load()
    assert caught.value.hint == "put the file itself there, or name its folder with --state-dir"
    store.file.unlink()
    store.file.mkdir()
    with pytest.raises(VpcctlError, match="state.json is damaged"):
        store.load()


def test_a_file_that_may_not_be_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> int:
        raise PermissionError

    monkeypatch.setattr(os, "open", refuse)
    with pytest.raises(VpcctlError, match="can't read .*state.json: permission denied") as caught:
        store.load()
    assert "sudo" in caught.value.hint


@pytest.mark.parametrize(("uid", "way_on"), [
    (0, "name another folder with --state-dir"), (1000, "run it as root: sudo vpcctl …")])
def test_a_folder_that_may_not_be_written(store: Store, monkeypatch: pytest.MonkeyPatch,
                                          uid: int, way_on: str) -> None:
    monkeypatch.setattr(os, "access", lambda *_: False)
    monkeypatch.setattr(os, "geteuid", lambda: uid)
    with pytest.raises(VpcctlError, match="can't write to .*: permission denied") as caught, store.locked():
        pass
    assert caught.value.hint == way_on


def test_a_folder_that_can_not_be(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    store = Store(tmp_path / "file" / "x")
    with pytest.raises(VpcctlError, match="can't be the state folder") as caught, store.locked():
        pass
    assert "--state-dir" in caught.value.hint


def test_the_lock_makes_the_folder_and_names_its_holder(tmp_path: Path) -> None:
    store = Store(tmp_path / "a" / "b")
    lock = store.folder / "lock"
    with store.locked():
        assert lock.read_text() == f"{os.getpid()}\n"
    assert lock.read_text() == ""


def test_a_full_disk_is_told_by_the_lock(store: Store) -> None:
    # A limit on the size of files is told at the same places as a full disk, and needs no disk.
    limits = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (0, limits[1]))
    try:
        with pytest.raises(VpcctlError, match=r"can't write .*lock: File too large"), store.locked():
            pass
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, limits)


def test_who_waits_too_long_hears_who_has_the_lock(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vpcctl_lib.record.store.LOCK_SECONDS", 0.05)
    told = rf"another vpcctl \(pid {os.getpid()}\)"
    with store.locked(), pytest.raises(VpcctlError, match=told), store.locked():
        pass
    with store.locked():
        pass


def test_who_waits_gets_the_lock_when_it_is_free(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    waits: list[float] = []
    with (store.folder / "lock").open("a+") as other:
        fcntl.flock(other, fcntl.LOCK_EX)

        def let_go(seconds: float) -> None:
            waits.append(seconds)
            fcntl.flock(other, fcntl.LOCK_UN)

        monkeypatch.setattr("time.sleep", let_go)
        with store.locked():
            assert len(waits) == 1


def test_tools_that_change_something_hold_the_lock_and_no_others(store: Store) -> None:
    held = "readlink /proc/$$/fd/* || true"
    lock = str(store.folder / "lock")
    reader, writer = os.pipe()
    with store.locked(), os.fdopen(reader) as report:
        assert lock in Runner().change(Command(("sh", "-c", held))).stdout
        assert lock not in Runner().ask(("sh", "-c", held)).stdout
        assert Runner().spawn(Command(("sh", "-c", held)), {}, writer).wait() == 0
        os.close(writer)
        told = report.read()
    assert "pipe:" in told
    assert lock not in told


def test_the_lock_is_free_after_a_failure(store: Store) -> None:
    with pytest.raises(ZeroDivisionError), store.locked():
        raise ZeroDivisionError
    with store.locked():
        pass


def lost(tmp_path: Path) -> tuple[Store, dict[str, str]]:
    """A store whose record is damaged, and the files that are left of it."""
    for name in ("state.json", "state.json.bak"):
        (tmp_path / name).write_text(f"half of {name}")
    return Store(tmp_path), files(tmp_path)


def files(folder: Path) -> dict[str, str]:
    """What the files in it hold, but for the spare, which stays whatever becomes of the record."""
    return {path.name: path.read_text() for path in folder.iterdir() if path.name != SPARE}


def test_what_is_left_of_a_lost_record_is_kept_under_other_names(tmp_path: Path) -> None:
    store, before = lost(tmp_path)
    with store.set_aside() as kept:
        store.save(State())
    assert {path.name.partition(".lost-")[0]: path.read_text() for path in kept} == before
    assert store.load() == State()


def save_and_fail(store: Store) -> None:
    with store.set_aside():
        store.save(State())
        raise VpcctlError("no way")


def test_it_is_as_it_was_if_a_new_one_can_t_be_made(tmp_path: Path) -> None:
    store, before = lost(tmp_path)
    with pytest.raises(VpcctlError, match="no way"):
        save_and_fail(store)
    assert files(tmp_path) == before


@pytest.mark.parametrize("number", [1, 2])
def test_or_can_t_be_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int) -> None:
    store, before = lost(tmp_path)
    links, real = [], os.link

    def link(old: Path, new: Path) -> None:
        links.append(new)
        if len(links) == number:
            raise OSError(errno.ENOSPC, "No space left on device", str(old))
        real(old, new)

    monkeypatch.setattr(os, "link", link)
    with pytest.raises(VpcctlError, match="can't keep .*: No space left"), store.set_aside():
        pass
    assert files(tmp_path) == before


def test_or_not_even_begun(tmp_path: Path) -> None:
    with pytest.raises(VpcctlError, match="no way"), Store(tmp_path).set_aside():
        raise VpcctlError("no way")


def test_a_record_that_was_gone_is_gone_again(tmp_path: Path) -> None:
    with pytest.raises(VpcctlError, match="no way"):
        save_and_fail(Store(tmp_path))
    assert files(tmp_path) == {}


LEDGER = (Entry(Namespace("vpc1", "vpcctl:vpc1"), {"identity": "a 1"}),
          Entry(Namespace("vpc2", "vpcctl:vpc2"), {}, Verb.MAKE), Entry(Namespace("vpc3", "vpcctl:vpc3")))


SETTLED = tuple(replace(entry, under_way=None) for entry in LEDGER)


def encoded(monkeypatch: pytest.MonkeyPatch) -> list[object]:
    """What is spelt from now on, and not taken as it was read."""
    found: list[object] = []
    real = store_module.written

    def written(part: object, kind: str = "") -> str:
        found.append(part)
        return real(part, kind)

    monkeypatch.setattr(store_module, "written", written)
    return found


def sealed(store: Store, monkeypatch: pytest.MonkeyPatch) -> str:
    """A record with a seal, and its text."""
    monkeypatch.setattr(store_module, "MANY", len(SETTLED))
    store.save(State(ledger=SETTLED, parts=(2, 1)))
    return store.file.read_text()


def test_what_was_read_is_written_as_it_was_read(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    before = sealed(store, monkeypatch)
    fresh = Store(store.folder)
    state, spelt = fresh.load(), encoded(monkeypatch)
    assert (state.parts, *(entry.kind for entry in state.ledger)) == ((2, 1), *["namespace"] * 3)
    more = Entry(Namespace("vpc4", "vpcctl:vpc4"), {"identity": "a 2"}, Verb.CHANGE)
    fresh.save(State(state.topology, (*state.ledger, more), Topology()))
    assert [one for one in spelt if one != Topology()] == [more.resource], "the rest stays as it is"
    head, _, _ = before.partition('\n],\n"parts"')
    assert store.file.read_text() == head.replace('"ledger"', '"previous": {},\n"ledger"') + (
        ',\n{"kind": "namespace", "name": "vpc4", "owner": "vpcctl:vpc4", '
        '"found": {"identity": "a 2"}, "under_way": "change"}\n]}\n')
    # Nor is anything that this store has written before.
    fresh.save(replace(state, ledger=(*state.ledger, more), previous=state.topology))
    spelt.clear()
    fresh.save(replace(state, ledger=(*state.ledger, more), previous=state.topology))
    assert spelt == []
    assert Store(store.folder).load().ledger == (*SETTLED, more)


def test_an_entry_is_decoded_once_somebody_looks(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    sealed(store, monkeypatch)
    first, second, _ = Store(store.folder).load().ledger
    names = re.compile("vpc2")
    assert (first.may_name(names), second.may_name(names)) == (False, True)
    assert (first.found, second.resource) == (SETTLED[0].found, SETTLED[1].resource)
    assert first.may_name(names), "it may have changed since"
    third = Store(store.folder).load().ledger[2]
    for entry in (third, first, SETTLED[0]):
        assert not hasattr(entry, "color")


def test_a_sealed_record_is_plain_json_that_says_the_same(
        store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    text = sealed(store, monkeypatch)
    assert all("resource" not in vars(entry) for entry in Store(store.folder).load().ledger)
    assert document.topology(store.folder) == Topology()
    data = json.loads(text)
    assert (list(data), data["parts"]) == (["version", "topology", "ledger", "parts", "seal"], [2, 1])
    store.file.write_text(json.dumps(data, indent=2))
    loaded = Store(store.folder).load()
    assert (loaded.ledger, loaded.parts) == (SETTLED, ())
    # An older one, one of a change under way and a small one have none.
    for state in (State(ledger=SETTLED), State(ledger=SETTLED, previous=Topology(), parts=(2, 1)),
                  State(ledger=SETTLED[:0], parts=(2, 1))):
        store.save(state)
        assert "seal" not in store.file.read_text()


@pytest.mark.parametrize(("old", "new"), [
    (f'"version": {document.VERSION}', f'"version":  {document.VERSION}'),
    ('"name": "vpc1"', '"name": "vpc9"'),
    ('"parts": [2, 1]', '"parts": [1, 2]'), ('"seal": "', '"seal": "0'), ('}\n', '}\n\n'), (',\n{', ', \n{')])
def test_what_was_not_written_by_us_is_decoded(store: Store, monkeypatch: pytest.MonkeyPatch,
                                               old: str, new: str) -> None:
    whole = sealed(store, monkeypatch)
    assert old in whole
    store.file.write_text(whole.replace(old, new))
    state = Store(store.folder).load()
    assert state.parts == ()
    assert [entry.resource for entry in state.ledger] == [
        replace(entry.resource, name="vpc9") if "vpc9" in new and number == 0 else entry.resource
        for number, entry in enumerate(SETTLED)]


def test_a_seal_that_can_t_be_made_is_left_out(
        store: Store, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Where the program's own files are not to be read, no version can be told from another."""
    whole = sealed(store, monkeypatch)
    monkeypatch.setattr("vpcctl_lib.record.seal.FOLDER", tmp_path / "nothing")
    seal.program.cache_clear()
    try:
        assert Store(store.folder).load().parts == ()
        store.save(State(ledger=SETTLED, parts=(2, 1)))
        assert "seal" not in store.file.read_text()
        assert Store(store.folder).load().ledger == SETTLED
    finally:
        seal.program.cache_clear()
    assert whole


def test_any_change_of_the_program_makes_another_seal(
        monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setattr("vpcctl_lib.record.seal.FOLDER", tmp_path)
    (tmp_path / "room").mkdir()
    seen = set()
    for at, (path, content) in enumerate((
            ("a.py", "1"), ("a.py", "2"), ("room/a.py", ""), ("room/a.py", "1"), ("b.py", ""))):
        (tmp_path / path).write_text(content)
        # No two are written at one time, as here they could be by the kernel's coarse clock.
        os.utime(tmp_path / path, (at, at))
        seal.program.cache_clear()
        seen.add(seal.program())
    monkeypatch.setattr("vpcctl_lib.__version__", "another")
    seal.program.cache_clear()
    seen.add(seal.program())
    seal.program.cache_clear()
    assert len(seen) == 6


def refuse_to_write(monkeypatch: pytest.MonkeyPatch, number: int, *, after: int = 0) -> None:
    """The disk has that trouble with every new file, but for the first few."""
    real, written = kept_files.write_new, []

    def write_new(path: Path, content: bytes) -> None:
        written.append(path)
        if len(written) > after:
            raise OSError(number, os.strerror(number))
        real(path, content)

    monkeypatch.setattr(kept_files, "write_new", write_new)


def test_a_full_disk_has_the_room_that_was_kept_for_the_record(store: Store,
                                                                monkeypatch: pytest.MonkeyPatch) -> None:
    store.save(State(ledger=LEDGER))
    store.save(State(ledger=LEDGER, previous=Topology()))
    refuse_to_write(monkeypatch, errno.ENOSPC)
    store.save(State(ledger=LEDGER[:1]))
    assert Store(store.folder).load() == State(ledger=LEDGER[:1])
    assert document.backup(store.file).read_bytes() == store.file.read_bytes()
    assert sorted(path.name for path in store.folder.iterdir()) == [SPARE, "state.json", "state.json.bak"]


def test_another_trouble_of_the_disk_is_no_full_disk(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.save(State(ledger=LEDGER))
    refuse_to_write(monkeypatch, errno.EIO)
    with pytest.raises(VpcctlError, match="Input/output error"):
        store.save(State())
    assert store.load().ledger == LEDGER


def test_what_could_not_be_written_leaves_nothing_beside_the_record(
        store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    store.save(State(ledger=LEDGER))
    before = sorted(path.name for path in store.folder.iterdir())
    refuse_to_write(monkeypatch, errno.EIO, after=1)
    with pytest.raises(VpcctlError):
        store.save(State())
    assert sorted(path.name for path in store.folder.iterdir()) == before
    assert store.load().ledger == LEDGER


def test_what_could_not_be_renamed_leaves_nothing_beside_the_record(store: Store) -> None:
    document.backup(store.file).mkdir()
    with pytest.raises(VpcctlError, match="Is a directory"):
        store.save(State())
    assert sorted(path.name for path in store.folder.iterdir()) == ["state.json", "state.json.bak"]


def test_room_is_kept_for_the_record_once_it_is_whole(store: Store) -> None:
    store.save(State(previous=Topology()))
    assert not (store.folder / SPARE).exists()
    assert not document.backup(store.file).exists()
    store.save(State())
    size = store.file.stat().st_size
    assert (store.folder / SPARE).stat().st_size == 2 * size + 48 * 1024
    assert document.backup(store.file).exists()


def test_saving_and_locking_leave_no_file_open(store: Store) -> None:
    before = len(os.listdir("/proc/self/fd"))
    for _ in range(3):
        with store.locked():
            store.save(State())
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_record_is_lost_if_it_is_gone_or_damaged_and_not_if_it_is_sound(store: Store) -> None:
    assert store.lost()
    store.save(State())
    assert not store.lost()
    store.file.write_text("{")
    assert store.lost()
    store.file.unlink()
    assert store.lost()


def test_a_lock_that_is_no_file(store: Store) -> None:
    (store.folder / "lock").mkdir()
    with pytest.raises(VpcctlError, match=r"can't open .*lock: Is a directory"), store.locked():
        pass


def test_whoever_could_open_the_lock_of_an_older_vpcctl_can_no_more(store: Store) -> None:
    lock = store.folder / "lock"
    lock.write_text("12345678901234567890\n")
    lock.chmod(0o644)
    with store.locked():
        assert lock.read_text() == f"{os.getpid()}\n", "and nothing of who had it before"
        assert lock.stat().st_mode & 0o777 == 0o600


def test_a_lock_that_nobody_signed(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("vpcctl_lib.record.store.LOCK_SECONDS", 0.05)
    with store.locked():
        (store.folder / "lock").write_text("")
        with pytest.raises(VpcctlError, match=r"another vpcctl \(pid unknown\)"), store.locked():
            pass


def test_on_a_full_disk_the_lock_goes_unsigned(store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> int:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "write", full)
    with store.locked():
        monkeypatch.undo()
        assert (store.folder / "lock").read_text() == ""


def test_a_folder_that_is_not_to_be_trusted_is_refused_once_it_is_there(
        store: Store, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(folder: Path) -> None:
        raise VpcctlError(f"{folder} is another's")

    monkeypatch.setattr(store_module, "check_folder", refuse)
    with pytest.raises(VpcctlError, match="is another's"), store.locked():
        pass

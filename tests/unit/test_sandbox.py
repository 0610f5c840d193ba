"""The sandbox's pure parts: what it mounts, plugs, answers and says."""

from __future__ import annotations

import os
import socket
import time
from collections.abc import Callable
from pathlib import Path

import pytest

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.kernel.syscalls import MountFlag
from vpcctl_lib.sandbox import entry, joining, mapping, plan
from vpcctl_lib.sandbox.child import CannotRun, fork_until_ready
from vpcctl_lib.sandbox.dns import answer
from vpcctl_lib.sandbox.inside import exit_code
from vpcctl_lib.sandbox.internet import knock, page
from vpcctl_lib.sandbox.joining import Sandbox
from vpcctl_lib.sandbox.plan import Copy, Cover, File, Folder, Mirror, Mount, Step
from vpcctl_lib.sandbox.refusal import explain
from vpcctl_lib.sandbox.shell import banner, prepared, shortfall


def targets(steps: tuple[Step, ...]) -> list[tuple[str, str]]:
    return [(step.kind, step.target) for step in steps if isinstance(step, Mount)]


def test_nothing_is_mounted_before_propagation_to_the_host_is_cut() -> None:
    first = plan.filesystem(has_state=True, has_netns=False)[0]
    assert first == Mount("", "/", MountFlag.PRIVATE | MountFlag.RECURSIVE)


def test_where_vpcctl_is_in_use_its_folder_is_covered_and_left_as_it_is() -> None:
    steps = plan.filesystem(has_state=True, has_netns=False)
    assert targets(steps) == [
        ("", "/"), ("proc", "/proc"), ("sysfs", "/sys"), ("tmpfs", "/run"), ("overlay", "/etc"),
        ("", "/run/lib"), ("tmpfs", "/var/lib"), ("tmpfs", "/var/lib/vpcctl"), ("tmpfs", "/run"),
    ]
    assert Folder("/var/lib/vpcctl") not in steps


def test_var_lib_is_mirrored_so_that_the_folder_can_be_made() -> None:
    steps = plan.filesystem(has_state=False, has_netns=False)
    mirror = steps.index(Mirror("/run/lib", "/var/lib"))
    assert steps[mirror + 1] == Folder("/var/lib/vpcctl")
    assert targets(steps[mirror + 2:]) == [("tmpfs", "/var/lib/vpcctl"), ("tmpfs", "/run")]


def test_namespaces_that_the_host_configures_are_hidden() -> None:
    mounts = targets(plan.filesystem(has_state=True, has_netns=True))
    assert mounts.index(("tmpfs", "/etc/netns")) > mounts.index(("overlay", "/etc"))


def test_an_etc_that_cannot_be_overlaid_is_copied_and_still_gets_our_files() -> None:
    steps = plan.filesystem(has_state=True, has_netns=False)
    overlay = next(step for step in steps if isinstance(step, Mount) and step.kind == "overlay")
    assert overlay.instead[0] == Copy("/etc", "/run/etc")
    assert File("/run/etc/resolv.conf", "nameserver 8.8.8.8\n") in overlay.instead
    assert overlay.instead[-1] == Mount("", "/etc", MountFlag.BIND, source="/run/etc")


def test_the_internet_has_no_route_but_its_cable() -> None:
    batch = plan.internet_links(sandbox_pid=1, ipv6=True).splitlines()
    assert "link add sandbox index 8 type veth peer name eth0 netns 1" in batch
    assert "addr add 8.8.8.8/32 dev lo" in batch
    assert [line for line in batch if line.startswith("route")] == ["route add 198.51.100.0/24 dev sandbox"]
    without = plan.internet_links(sandbox_pid=1, ipv6=False).splitlines()
    assert set(batch) - set(without) == {
        "link set sandbox addrgenmode none", "addr add 2001:db8::1/64 dev sandbox nodad",
        "addr add fe80::1/64 dev sandbox nodad",
        "addr add 2001:4860:4860::8888/128 dev lo", "addr add 2606:4700:4700::1111/128 dev lo"}


def test_the_host_reaches_it_through_eth0() -> None:
    ipv4 = ["link set lo up", "addr add 203.0.113.2/24 dev eth0", "link set eth0 up",
            "route add default via 203.0.113.1"]
    assert plan.host_links(ipv6=False).splitlines() == ipv4
    assert plan.host_links(ipv6=True).splitlines() == [
        *ipv4, "addr add 2001:db8::2/64 dev eth0 nodad", "route add ::/0 via 2001:db8::1"]


def test_the_program_sees_the_default_state_folder_and_finds_vpcctl() -> None:
    outside = {"HOME": "/root", "PATH": "/bin", "VPCCTL_STATE_DIR": "/elsewhere"}
    assert plan.environment(outside, "/bin:/sbin", "/opt/vpcctl") == {
        "HOME": "/root", "PATH": "/opt/vpcctl:/bin:/sbin", "VPCCTL_SANDBOX": "1",
    }
    assert plan.environment(outside, "/bin", None)["PATH"] == "/bin"


def test_the_checkout_s_launcher_comes_first() -> None:
    assert entry.launcher_folder() == str(Path(__file__).resolve().parents[2])


@pytest.mark.parametrize(("wanted", "found"), [("/bin/cat", "/bin/cat"), ("/no/such/shell", "/bin/bash")])
def test_the_shell_is_the_person_s_own_if_it_exists(
    monkeypatch: pytest.MonkeyPatch, wanted: str, found: str,
) -> None:
    monkeypatch.setenv("SHELL", wanted)
    assert entry.shell() == found


@pytest.mark.parametrize(("uid", "capabilities", "powerful"), [
    (0, "000001ffffffffff", True),
    (1000, "000001ffffffffff", False),
    (0, "0000000000000000", False),
    (0, "000001ffffdfffff", False),
    (0, "000001ffffffefff", False),
])
def test_only_root_with_both_capabilities_needs_no_user_namespace(
    uid: int, capabilities: str, powerful: bool,
) -> None:
    assert entry.is_powerful(uid, f"Name:\tpython\nCapEff:\t{capabilities}\nCapBnd:\t0\n") is powerful


@pytest.mark.parametrize(("setting", "value", "remedy"), [
    ("user.max_user_namespaces", "0", "sysctl -w user.max_user_namespaces=15000"),
    ("kernel.unprivileged_userns_clone", "0", "sysctl -w kernel.unprivileged_userns_clone=1"),
    ("kernel.apparmor_restrict_unprivileged_userns", "1",
     "sysctl -w kernel.apparmor_restrict_unprivileged_userns=0"),
])
def test_a_refusal_names_the_setting_and_the_way_out(setting: str, value: str, remedy: str) -> None:
    error = explain(OSError(1, "Operation not permitted", "unshare"), True, {setting: value}.get)
    assert f"{setting} = {value}" in error.message
    assert "sudo" in error.hint
    assert remedy in error.hint


def test_root_is_not_told_about_settings_for_plain_users() -> None:
    refused = OSError(1, "Operation not permitted", "unshare")
    error = explain(refused, False, {"kernel.apparmor_restrict_unprivileged_userns": "1"}.get)
    assert "unshare: Operation not permitted" in error.message
    assert "--privileged" in error.hint
    assert "sudo" not in error.hint


def test_a_masked_proc_is_called_by_its_name() -> None:
    error = explain(OSError(1, "Operation not permitted", "mount proc on /proc"), True, {}.get)
    assert "/proc of its own" in error.message
    assert "unmask=ALL" in error.hint


@pytest.mark.parametrize(("status", "code"), [(0, 0), (7 << 8, 7), (15, 143), (9, 137)])
def test_a_signal_becomes_128_and_its_number(status: int, code: int) -> None:
    assert exit_code(status) == code


def test_the_page_tells_the_source() -> None:
    said = "your address: 203.0.113.2\n"
    head, body = page(said, with_body=True).decode().split("\r\n\r\n")
    assert head.startswith("HTTP/1.0 200 OK\r\n")
    assert f"Content-Length: {len(body)}" in head
    assert body == said
    assert page(said, with_body=False).decode() == f"{head}\r\n\r\n"


def test_the_internet_knocks_at_a_port() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        target = f"127.0.0.1:{server.getsockname()[1]}"
        assert knock(target) == f"{target}: answered"
    assert knock(target) == f"{target}: refused there"
    for wrong in ("", "127.0.0.1", "127.0.0.1:", "127.0.0.1:x", "127.0.0.1:65536", "127.0.0.1:-1",
                  "localhost:80", ":80"):
        assert knock(wrong) == "write /knock/ADDRESS:PORT"


def query(name: str, kind: int = 1, questions: int = 1) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    header = b"\x12\x34\x01\x00" + questions.to_bytes(2, "big") + bytes(6)
    return header + labels + b"\0" + kind.to_bytes(2, "big") + b"\0\1"


def reply(wire: bytes) -> bytes:
    answered = answer(wire)
    assert answered is not None
    return answered


@pytest.mark.parametrize("name", ["example.com", "internet.test", "EXAMPLE.Com"])
def test_a_known_name_has_the_address(name: str) -> None:
    asked = query(name)
    answered = reply(asked)
    assert answered[:2] == asked[:2]
    assert answered[2] & 0x80
    assert answered[3] & 0x0F == 0
    assert answered[4:8] == b"\0\1\0\1"
    assert answered[12:len(asked)] == asked[12:]
    assert answered[-4:] == bytes([8, 8, 8, 8])


def test_an_unknown_name_does_not_exist() -> None:
    answered = reply(query("nowhere.test"))
    assert answered[3] & 0x0F == 3
    assert answered[6:8] == b"\0\0"


def test_a_known_name_without_such_a_record_is_no_error() -> None:
    answered = reply(query("example.com", kind=28))
    assert answered[3] & 0x0F == 0
    assert answered[6:8] == b"\0\0"


@pytest.mark.parametrize("wire", [b"", b"x", bytes(11), reply(query("example.com"))])
def test_what_is_no_query_gets_no_answer(wire: bytes) -> None:
    assert answer(wire) is None


@pytest.mark.parametrize("wire", [
    query("example.com", questions=0),
    query("example.com", questions=2),
    query("example.com")[:-1],
    query("example.com")[:-5],
    query("example.com")[:12] + b"\xc0\x0c\0\1\0\1",
    query("example.com")[:12] + b"\x3fshort",
])
def test_a_broken_question_is_a_format_error(wire: bytes) -> None:
    answered = reply(wire)
    assert answered[3] & 0x0F == 1
    assert len(answered) == 12


def test_garbage_never_raises() -> None:
    for _ in range(2000):
        answer(os.urandom(12 + os.urandom(1)[0] % 60))


def test_a_child_is_waited_for_until_it_is_ready(tmp_path: Path) -> None:
    def work(ready: Callable[[], None]) -> int:
        time.sleep(0.05)
        (tmp_path / "done").touch()
        ready()
        return 7

    pid = fork_until_ready(work)
    assert (tmp_path / "done").exists()
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == 7


@pytest.mark.parametrize(("met", "message"), [
    (VpcctlError("no cable", "plug it in"), "no cable"),
    (CannotRun("x: command not found", "plug it in", 127), "x: command not found"),
    (OSError(98, "Port taken"), "could not set up the sandbox: [Errno 98] Port taken"),
])
def test_what_stops_a_child_stops_its_parent(met: Exception, message: str) -> None:
    def work(ready: Callable[[], None]) -> int:
        raise met

    with pytest.raises(VpcctlError) as caught:
        fork_until_ready(work)
    assert (type(caught.value) is CannotRun) == (type(met) is CannotRun)
    assert caught.value.message == message
    assert getattr(caught.value, "status", None) == getattr(met, "status", None)


def test_a_child_that_ends_without_a_word_is_an_error() -> None:
    with pytest.raises(VpcctlError, match="ended before it was ready"):
        fork_until_ready(lambda ready: 0)


TREE = {
    "/": ("/bin", "/dev", "/etc", "/home", "/opt", "/proc", "/run", "/sys", "/tmp", "/usr", "/var"),  # noqa: S108
    "/var": ("/var/lib", "/var/log"), "/var/lib": ("/var/lib/a", "/var/lib/store"),
    "/home": ("/home/me", "/home/you"), "/opt": ("/opt/a", "/opt/b"), "/opt/a": ("/opt/a/c", "/opt/a/d"),
    "/var/lib/store": tuple(f"/var/lib/store/{number}" for number in range(plan.MANY)),
}


def covered(*mounted: str) -> set[str]:
    return set(plan.covered(mounted, lambda path: TREE.get(path, ())))


ALL = {"/bin", "/home", "/opt", "/tmp", "/usr", "/var/log", "/var/lib/a", "/var/lib/store"}  # noqa: S108


@pytest.mark.parametrize(("mounted", "more", "less"), [
    ((), set(), set()),
    # What is the kernel's, or has a way of its own, does not count.
    (("/", "/proc", "/sys/fs/cgroup", "/dev/shm", "/run/user/1000", "/etc/hosts"), set(), set()),  # noqa: S108
    # A mount is covered as it is; what has one below, part by part.
    (("/home",), set(), set()),
    (("/home/me",), {"/home/me", "/home/you"}, {"/home"}),
    (("/opt/a/c/x",), {"/opt/b", "/opt/a/d"}, {"/opt"}),
    # Hundreds of layers of containers are left alone.
    (("/var/lib/store/7",), set(), {"/var/lib/store"}),
])
def test_folders_are_covered_whole_where_nothing_is_mounted_below(
    mounted: tuple[str, ...], more: set[str], less: set[str],
) -> None:
    assert covered(*mounted) == ALL - less | more


def test_only_root_of_the_host_itself_may_write_the_attributes_of_layers() -> None:
    (cover,) = plan.covers(["/home"], is_whole=True)
    assert cover == Cover("/home", "/run/0", "lowerdir=/home,upperdir=/run/0/upper,workdir=/run/0/work")
    (odd,) = plan.covers(["/a,b:c"], is_whole=False)
    assert isinstance(odd, Cover)
    assert odd.options == "lowerdir=/a\\,b\\:c,upperdir=/run/0/upper,workdir=/run/0/work,userxattr"


def test_all_is_covered_before_our_own_folders_are_made() -> None:
    cover, file = Cover("/tmp", "/run/0", "x"), File("/etc/vpcctl/bashrc", "x")  # noqa: S108
    steps = plan.filesystem(has_state=True, has_netns=False, covers=[cover], more=[file], hostname="mine")
    overlay = next(step for step in steps if isinstance(step, Mount) and step.kind == "overlay")
    assert steps.index(cover) < steps.index(overlay) < steps.index(file)
    assert File("/run/etc/hostname", "mine\n") in steps
    assert File("/run/etc/hosts", "127.0.0.1 localhost mine\n::1 localhost\n") in steps


@pytest.mark.parametrize(("text", "found"), [
    ("", None),
    ("you:100000:65536\n", None),
    ("me:100000:65536\n", (100000, 65536)),
    ("me:1:2\n1000:200000:10\nme:100:9\n", (200000, 10)),
    ("me:one:2\nme:1\n# me:1:2\n", None),
])
def test_the_largest_range_of_a_user_counts(text: str, found: tuple[int, int] | None) -> None:
    assert mapping.set_aside(text, "me", 1000) == found


ONE, OTHER = Sandbox(7, "sandbox", "/a"), Sandbox(9, "lab", "/b")


@pytest.mark.parametrize(("wanted", "found"), [("", [ONE]), ("lab", [ONE, OTHER]), ("9", [ONE, OTHER])])
def test_the_one_that_is_meant_is_joined(wanted: str, found: list[Sandbox]) -> None:
    assert joining.chosen(found, wanted) == (OTHER if wanted else ONE)


@pytest.mark.parametrize(("found", "wanted", "message", "hint"), [
    ([], "", "no sandbox of yours is running", "vpcctl sandbox"),
    ([ONE, OTHER], "", "7 (sandbox, in /a), 9 (lab, in /b)", "vpcctl sandbox --join 9"),
    ([ONE], "8", "sandbox '8' is not running", "7 (sandbox, in /a)"),
])
def test_where_it_is_not_clear_all_are_named(found: list[Sandbox], wanted: str, message: str,
                                             hint: str) -> None:
    with pytest.raises(VpcctlError) as caught:
        joining.chosen(found, wanted)
    assert message in caught.value.message
    assert hint in caught.value.hint


def test_a_sandbox_is_told_by_its_process_1(tmp_path: Path) -> None:
    for pid, comm, spaces in ((7, joining.COMM, "7\t1"), (8, joining.COMM, "8\t2"), (9, "bash", "9\t1"),
                              (1, joining.COMM, "1"), (33, joining.COMM, "33\t5\t1")):
        process = tmp_path / str(pid)
        (process / "root/etc").mkdir(parents=True)
        (process / "comm").write_text(f"{comm}\n")
        (process / "status").write_text(f"Name:\tx\nNSpid:\t{spaces}\n")
        (process / "root/etc/hostname").write_text(f"name-{pid}\n")
        (process / "cwd").symlink_to("/somewhere")
    (tmp_path / "34").mkdir()
    assert joining.running(tmp_path) == [Sandbox(pid, f"name-{pid}", "/somewhere") for pid in (7, 33)]


@pytest.mark.parametrize(("comm", "inside"), [(joining.COMM, True), ("systemd", False)])
def test_who_is_process_1_says_whether_we_are_inside(tmp_path: Path, comm: str, inside: bool) -> None:
    assert not joining.is_inside(tmp_path)
    (tmp_path / "1").mkdir()
    (tmp_path / "1/comm").write_text(f"{comm}\n")
    assert joining.is_inside(tmp_path) is inside


@pytest.mark.parametrize(("program", "words", "text"), [
    ("/bin/bash", ("--rcfile", "/etc/vpcctl/bashrc"), "[ ! -r ~/.bashrc ] || . ~/.bashrc\nSCRIPT\n"),
    ("/usr/bin/fish", ("--init-command", "source /etc/vpcctl/vpcctl.fish"), "SCRIPT\n"),
    ("/bin/zsh", (),
     "ZDOTDIR=~\n[ ! -r ~/.zshrc ] || . ~/.zshrc\nautoload -U compinit && compinit\nSCRIPT\n"),
])
def test_a_shell_reads_its_own_file_and_then_the_completion(program: str, words: tuple[str, ...],
                                                            text: str) -> None:
    shell = prepared(program, "SCRIPT")
    assert shell.argv == (program, *words)
    (file,) = (step.text for step in shell.files if isinstance(step, File))
    assert file.startswith(text)
    assert "lesson.json" in file.removeprefix(text)
    assert dict(shell.variables) == ({"ZDOTDIR": "/etc/vpcctl"} if "zsh" in program else {})
    assert prepared("/bin/dash", "SCRIPT").argv == ("/bin/dash",)
    assert prepared(program, "").files == ()


def test_the_greeting_says_what_stays_and_how_to_leave() -> None:
    assert "exit" in banner((), has_users=True)
    assert "uidmap" not in banner((), has_users=True)
    assert "uidmap" in banner((), has_users=False)
    assert "except in /work" in banner(("/work",), has_users=True)


@pytest.mark.parametrize(("left", "named"), [
    (["/opt"], ""), (["/home"], "/home/me, /home/me/src"), (["/home/me/src"], "/home/me/src"),
    (["/tmp"], "/tmp"),  # noqa: S108
])
def test_only_what_a_person_counts_on_is_told_of(left: list[str], named: str) -> None:
    told = shortfall(left, {"HOME": "/home/me"}, "/home/me/src")
    assert told == (f"this kernel can't throw away what is written to {named}: it stays" if named else "")

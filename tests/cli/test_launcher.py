"""The launcher: which libraries it takes, how it makes .venv, and what it says when it can't.

Each test has a checkout of its own with a stand-in for the command line, a Python without libraries to start
it with, and a folder of tiny packages in place of a package index, so nothing is downloaded.
"""

from __future__ import annotations

import ast
import fcntl
import os
import re
import runpy
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import zipfile
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import NamedTuple

import pytest

ROOT = Path(__file__).resolve().parents[2]
FIRST_RUN = "vpcctl: first run: setting up .venv …\n"
LIBRARIES = {"click": "click", "rich": "rich", "pyyaml": "yaml"}
STAND_IN = """
import sys
def main() -> None:
    import click, rich, yaml
    print(*sys.argv[1:], click.__file__, sys.pycache_prefix, sep="\\n")
    sys.exit(7)
"""
VERSION = "python{}.{}".format(*sys.version_info)
NOBODY = 65534


class Done(NamedTuple):
    """How a run ended."""

    returncode: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Checkout:
    """A copy of the launcher, and the Python that has none of its libraries."""

    folder: Path
    python: Path
    index: Path

    @property
    def venv(self) -> Path:
        return self.folder / ".venv"

    @property
    def libraries(self) -> Path:
        return self.venv / "lib" / VERSION / "site-packages"

    def environment(self, **more: str) -> dict[str, str]:
        kept = {key: value for key, value in os.environ.items() if not key.startswith(("PIP_", "PYTHON"))}
        pip = {"PIP_NO_INDEX": "1", "PIP_FIND_LINKS": str(self.index), "PIP_CONFIG_FILE": "/dev/null"}
        return {**kept, **pip, **more}

    def start(self, *arguments: str, script: Path | None = None, **more: str) -> subprocess.Popen[str]:
        return subprocess.Popen(
            [self.python, script or self.folder / "vpcctl", *arguments], env=self.environment(**more),
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd="/",
        )

    def run(self, *arguments: str, script: Path | None = None, **more: str) -> Done:
        process = self.start(*arguments, script=script, **more)
        out, err = process.communicate(timeout=120)
        return Done(process.returncode, out, err)

    def reaches(self, libraries: Path, *arguments: str, script: Path | None = None, said: str = "") -> None:
        """Run it: it must come to the command line with these arguments and the libraries of that folder."""
        done = self.run(*arguments, script=script)
        assert (done.returncode, done.stderr) == (7, said)
        assert done.stdout.splitlines()[:-1] == [*arguments, str(libraries / "click" / "__init__.py")]


def write_wheel(folder: Path, name: str, module: str, version: str = "99.0") -> None:
    """A package that pip can install, with one empty module."""
    metadata = f"{name}-{version}.dist-info"
    with zipfile.ZipFile(folder / f"{name}-{version}-py3-none-any.whl", "w") as wheel:
        wheel.writestr(f"{module}/__init__.py", "")
        wheel.writestr(f"{metadata}/METADATA", f"Metadata-Version: 2.1\nName: {name}\nVersion: {version}\n")
        wheel.writestr(f"{metadata}/WHEEL", "Wheel-Version: 1.0\nRoot-Is-Purelib: true\nTag: py3-none-any\n")
        wheel.writestr(f"{metadata}/RECORD", "")


def place_libraries(folder: Path, version: str = "99.0", record: bool = False) -> None:
    """What a distribution's packages look like once installed, or with a RECORD those of pip."""
    for name, module in LIBRARIES.items():
        (folder / module).mkdir(parents=True)
        (folder / module / "__init__.py").touch()
        (folder / f"{name}-{version}.dist-info").mkdir()
        if record:
            (folder / f"{name}-{version}.dist-info" / "RECORD").touch()


@pytest.fixture
def checkout() -> Iterator[Checkout]:
    """Outside of pytest's own folder, which nobody but its owner may enter."""
    with tempfile.TemporaryDirectory(prefix="vpcctl-launcher-") as name:
        base = Path(name)
        base.chmod(0o755)
        folder, index = base / "check out", base / "index"
        (folder / "vpcctl_lib" / "cli").mkdir(parents=True)
        (folder / "vpcctl_lib" / "__init__.py").touch()
        (folder / "vpcctl_lib" / "cli" / "__init__.py").write_text(STAND_IN)
        shutil.copy2(ROOT / "vpcctl", folder / "vpcctl")
        index.mkdir()
        for library, module in LIBRARIES.items():
            write_wheel(index, library, module)
        subprocess.run([sys.executable, "-m", "venv", "--without-pip", base / "bare"], check=True)
        yield Checkout(folder, base / "bare" / "bin" / "python", index)


@pytest.fixture
def system(checkout: Checkout) -> Path:
    """Where the Python that starts the launcher keeps its own libraries."""
    return checkout.python.parents[1] / "lib" / VERSION / "site-packages"


def test_it_asks_for_what_the_project_asks_for() -> None:
    launcher = (ROOT / "vpcctl").read_text()
    project = (ROOT / "pyproject.toml").read_text()
    needed = re.findall(r"^NEEDED = \{(.*)\}$", launcher, re.MULTILINE)[0]
    asked = re.findall(r"^dependencies = \[(.*)\]$", project, re.MULTILINE)[0]
    ours = re.findall(r'"(\w+)": \((\d+), (\d+)\)', needed)
    theirs = re.findall(r'"(\w+)>=(\d+)\.?(\d*)"', asked)
    assert len(ours) == 3
    assert ours == [(name, major, minor or "0") for name, major, minor in theirs]


def test_libraries_of_the_python_that_starts_it_need_no_venv(checkout: Checkout, system: Path) -> None:
    place_libraries(system)
    checkout.reaches(system)
    assert not checkout.venv.exists()


@pytest.mark.slow
def test_libraries_that_are_too_old_are_passed_over(checkout: Checkout, system: Path) -> None:
    place_libraries(system, version="6.0.1")
    checkout.reaches(checkout.libraries, said=FIRST_RUN)


@pytest.mark.slow
def test_links_to_links_are_followed(checkout: Checkout) -> None:
    elsewhere = checkout.index / "bin"
    elsewhere.mkdir()
    (elsewhere / "first").symlink_to(checkout.folder / "vpcctl")
    (elsewhere / "second").symlink_to("first")
    checkout.reaches(checkout.libraries, "x", script=elsewhere / "second", said=FIRST_RUN)


@pytest.mark.slow
def test_a_half_made_venv_is_made_anew(checkout: Checkout) -> None:
    place_libraries(checkout.libraries)
    (checkout.libraries / "leftover").touch()
    checkout.reaches(checkout.libraries, said=FIRST_RUN)
    assert not (checkout.libraries / "leftover").exists()


@pytest.mark.slow
def test_a_checkout_that_was_moved_goes_on_with_its_venv(checkout: Checkout) -> None:
    assert checkout.run().stderr == FIRST_RUN
    moved = Checkout(checkout.folder.with_name("moved"), checkout.python, checkout.index)
    checkout.folder.rename(moved.folder)
    moved.reaches(moved.libraries)


def test_a_venv_of_another_python_is_run_by_that_python(checkout: Checkout) -> None:
    place_libraries(checkout.venv / "lib" / "python3.99" / "site-packages", record=True)
    other = checkout.venv / "bin" / "python"
    other.parent.mkdir()
    other.write_text('#!/bin/sh\nprintf "other %s\\n" "$@"\n')
    other.chmod(0o755)
    assert checkout.run("a b").stdout == f"other {checkout.folder}/vpcctl\nother a b\n"


@pytest.mark.slow
def test_a_venv_whose_interpreter_is_gone_is_made_anew(checkout: Checkout) -> None:
    place_libraries(checkout.venv / "lib" / "python3.99" / "site-packages", record=True)
    (checkout.venv / "bin").mkdir()
    (checkout.venv / "bin" / "python").symlink_to("/nowhere/python3.99")
    checkout.reaches(checkout.libraries, said=FIRST_RUN)


@pytest.mark.slow
def test_a_venv_whose_interpreter_became_another_version_is_made_anew(checkout: Checkout) -> None:
    """As when the system's python3, to which .venv links, moves from 3.11 to 3.13."""
    assert checkout.run().stderr == FIRST_RUN
    (checkout.venv / "lib" / VERSION).rename(checkout.venv / "lib" / "python3.99")
    checkout.reaches(checkout.libraries, said=FIRST_RUN)


# To make a .venv takes five seconds of a processor: by default one is made, and has to be all of this.
def test_two_first_runs_at_once_make_one_venv_of_a_half_made_one_and_later_runs_use_it(
        checkout: Checkout) -> None:
    place_libraries(checkout.libraries)
    (checkout.libraries / "leftover").touch()
    both = [checkout.start("vpc", "create", "--name", "a b") for _ in range(2)]
    said = [process.communicate(timeout=120) for process in both]
    assert [process.returncode for process in both] == [7, 7]
    assert sorted(err for _, err in said) == ["", FIRST_RUN]
    words = ["vpc", "create", "--name", "a b", str(checkout.libraries / "click" / "__init__.py")]
    assert [out.splitlines()[:-1] for out, _ in said] == [words, words]
    assert not (checkout.libraries / "leftover").exists()
    checkout.reaches(checkout.libraries, "vpc", "list")
    assert subprocess.run([checkout.venv / "bin" / "pip", "--version"], capture_output=True).returncode == 0


@pytest.mark.slow
def test_killed_half_way_the_next_run_makes_it_anew(checkout: Checkout) -> None:
    with checkout.start() as killed:
        wait_for(lambda: checkout.libraries.exists())
        killed.send_signal(signal.SIGKILL)
    assert is_locked(checkout.folder), "the step that was under way has to finish first"
    checkout.reaches(checkout.libraries, said=FIRST_RUN)


def is_locked(folder: Path) -> bool:
    """Whether another process sets up .venv there."""
    descriptor = os.open(folder, os.O_RDONLY)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        return True
    finally:
        os.close(descriptor)
    return False


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + 60
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


@pytest.mark.slow
def test_without_a_package_index_it_says_what_to_install(checkout: Checkout) -> None:
    done = checkout.run(PIP_FIND_LINKS="")
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr.startswith(FIRST_RUN)
    error = done.stderr.removeprefix(FIRST_RUN)
    assert error.count("\n") == 1
    assert "No matching distribution found for click" in error
    assert "apt-get install python3-click python3-rich python3-yaml" in error
    assert not checkout.venv.exists()


def test_without_ensurepip_it_names_the_package(checkout: Checkout, system: Path) -> None:
    (system / "none.pth").write_text("import sys; sys.modules['ensurepip'] = None\n")
    done = checkout.run()
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == (
        "vpcctl: can't make .venv: this Python has no ensurepip. Run: apt-get install python3-venv\n"
    )


def test_tools_that_are_missing_are_told_in_the_same_line(monkeypatch: pytest.MonkeyPatch) -> None:
    launcher = runpy.run_path(str(ROOT / "vpcctl"), run_name="launcher")
    monkeypatch.setattr(shutil, "which", lambda tool, path: None if tool != "ip" else "/usr/sbin/ip")
    assert launcher["missing_tools"]() == " iptables procps"


def test_an_old_python_gets_a_sentence(checkout: Checkout) -> None:
    script = checkout.folder / "vpcctl"
    old = "import runpy, sys; sys.version_info = (3, 9, 2); "
    pretend = old + f"runpy.run_path({str(script)!r}, run_name='__main__')"
    done = subprocess.run([checkout.python, "-c", pretend], capture_output=True, text=True)
    assert (done.returncode, done.stdout) == (1, "")
    assert done.stderr == f"vpcctl: needs Python 3.10 or newer; {checkout.python} is 3.9.2\n"


def test_old_pythons_can_parse_it() -> None:
    ast.parse((ROOT / "vpcctl").read_text(), feature_version=(3, 7))


@pytest.mark.slow
@pytest.mark.skipif(os.geteuid() != 0, reason="only root can start it as another user's root")
def test_root_leaves_nothing_of_its_own_in_a_persons_checkout(checkout: Checkout) -> None:
    for path in [checkout.folder, *checkout.folder.rglob("*")]:
        os.chown(path, NOBODY, NOBODY)
    private = """
        mount -t tmpfs tmpfs /var/cache
        "$@"; code=$?
        find /var/cache -name "*.pyc" | wc -l
        exit $code
    """
    done = subprocess.run(
        ["unshare", "--mount", "sh", "-c", private, "sh", checkout.python, checkout.folder / "vpcctl"],
        env=checkout.environment(), capture_output=True, text=True,
    )
    assert (done.returncode, done.stderr) == (7, FIRST_RUN)
    assert int(done.stdout.splitlines()[-1]) > 0
    assert {path.lstat().st_uid for path in checkout.folder.rglob("*")} == {NOBODY}


@pytest.mark.parametrize("path", [None, "", ".", ":", "bin:/nowhere"])
@pytest.mark.parametrize("script", ["vpcctl --version", "cleanup.sh --help", "demo.sh --no-such-option"])
def test_nothing_that_lies_here_is_run(tmp_path: Path, path: str | None, script: str) -> None:
    name, option = script.split()
    (tmp_path / "bin").mkdir()
    for folder in (tmp_path, tmp_path / "bin"):
        for tool in ("python3", "bash", "sh", "cat", "id", "dirname", "readlink", "ip", "ls"):
            planted = folder / tool
            planted.write_text(f"#!/bin/sh\n: > '{tmp_path}/was-run'\n")
            planted.chmod(0o755)
    kept = {key: value for key, value in os.environ.items() if key != "PATH"}
    environment = kept if path is None else {**kept, "PATH": path}
    done = subprocess.run([str(ROOT / name), option], env=environment, cwd=tmp_path, stdin=subprocess.DEVNULL,
                          capture_output=True, text=True, timeout=60)
    assert not (tmp_path / "was-run").exists()
    assert done.returncode == (2 if name == "demo.sh" else 0), done

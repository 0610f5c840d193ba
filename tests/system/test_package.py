"""The Debian package: clean, complete, and one that works where it is installed."""

from __future__ import annotations

import gzip
import os
import re
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import dataclass
from io import BytesIO
from pathlib import Path
from shutil import which

import click
import pytest

from vpcctl_lib import __version__
from vpcctl_lib.cli import root

ROOT = Path(__file__).resolve().parents[2]
BUILD = ROOT / "packaging/build-deb"
PLUGINS = ("cni", "docker", "netavark")
"""What container runtimes start, each an executable beside vpcctl."""
COMPLETIONS = {
    "bash": "usr/share/bash-completion/completions/vpcctl",
    "zsh": "usr/share/zsh/vendor-completions/_vpcctl",
    "fish": "usr/share/fish/vendor_completions.d/vpcctl.fish",
}
DEPENDS = ("python3", "python3-click", "python3-rich", "python3-yaml", "iproute2", "iptables", "procps")
PATIENCE = 60.0
Words = tuple[str, ...]


def built(folder: Path) -> Path:
    if which("dpkg-deb") is None:
        pytest.skip("NOT TRIED: dpkg-deb, which builds the package, is not here")
    done = subprocess.run([BUILD, folder], capture_output=True, text=True, timeout=PATIENCE, check=True,
                          env={**os.environ, "SOURCE_DATE_EPOCH": "1700000000"})
    return Path(done.stdout.strip())


@pytest.fixture(scope="module")
def package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return built(tmp_path_factory.mktemp("deb"))


@dataclass(frozen=True)
class Installed:
    """A file of the package."""

    mode: int
    owner: int
    content: bytes

    @property
    def text(self) -> str:
        packed = self.content.startswith(b"\x1f\x8b")
        return (gzip.decompress(self.content) if packed else self.content).decode()


@pytest.fixture(scope="module")
def files(package: Path) -> dict[str, Installed]:
    """What the package installs, by path."""
    packed = subprocess.run(["dpkg-deb", "--fsys-tarfile", package], capture_output=True, check=True).stdout
    found = {}
    with tarfile.open(fileobj=BytesIO(packed)) as archive:
        for member in archive:
            if (content := archive.extractfile(member)) is not None:
                path = member.name.removeprefix("./")
                found[path] = Installed(member.mode, member.uid or member.gid, content.read())
    return found


def field(package: Path, name: str) -> str:
    return subprocess.run(["dpkg-deb", "--field", package, name], capture_output=True, text=True,
                          check=True).stdout.strip()


def plain(page: str) -> str:
    """A man page's text without what is for roff."""
    return page.replace("\\-", "-").replace("\\&", "").replace("\\e", "\\")


def leaves(command: click.Command, path: Words = ()) -> Iterator[tuple[Words, click.Command]]:
    if isinstance(command, click.Group):
        for name, child in sorted(command.commands.items()):
            yield from leaves(child, (*path, name))
    else:
        yield path, command


@pytest.mark.slow
def test_lintian_has_nothing_to_say(package: Path) -> None:
    if which("lintian") is None:
        pytest.skip("NOT TRIED: lintian is not here")
    done = subprocess.run(["lintian", "--allow-root", "--info", "--fail-on", "error,warning", package],
                          capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stdout) == (0, ""), done.stdout + done.stderr


def test_it_says_what_it_is_and_what_it_needs(package: Path) -> None:
    assert field(package, "Package") == "vpcctl"
    assert field(package, "Version") == __version__
    assert [entry.split()[0] for entry in field(package, "Depends").split(", ")] == list(DEPENDS)
    assert field(package, "Recommends").split(", ") == ["conntrack", "nftables"]


def test_it_has_all_modules_and_nothing_else_of_the_checkout(files: dict[str, Installed]) -> None:
    tracked = {f"usr/share/vpcctl/{path.relative_to(ROOT)}" for path in (ROOT / "vpcctl_lib").rglob("*.py")}
    ours = {path for path in files if path.startswith("usr/share/vpcctl/")}
    assert ours == tracked | {"usr/share/vpcctl/cleanup.sh"}
    assert {file.owner for file in files.values()} == {0}
    assert {files[f"usr/bin/vpcctl-{name}"].mode for name in PLUGINS} == {0o755}
    units = {path.rpartition("/")[2] for path in files if path.startswith("usr/lib/systemd/system/")}
    assert units == {"vpcctl-docker.service", "vpcctl-docker.socket"}
    assert files["usr/bin/vpcctl"].mode == files["usr/share/vpcctl/cleanup.sh"].mode == 0o755


def test_systemd_understands_the_units(files: dict[str, Installed], tmp_path: Path) -> None:
    if which("systemd-analyze") is None:
        pytest.skip("NOT TRIED: systemd-analyze is not here")
    units = []
    for path in (path for path in files if path.startswith("usr/lib/systemd/system/")):
        units.append(tmp_path / path.rpartition("/")[2])
        # It looks for the program where it would be installed.
        units[-1].write_text(files[path].text.replace("ExecStart=/usr/bin/", f"ExecStart={ROOT}/"))
    done = subprocess.run(["systemd-analyze", "verify", "--man=no", "--recursive-errors=no", *units],
                          capture_output=True, text=True, timeout=PATIENCE)
    assert (done.returncode, done.stderr) == (0, "")


def test_the_same_source_is_the_same_package(package: Path, tmp_path: Path) -> None:
    assert built(tmp_path).read_bytes() == package.read_bytes()


def test_the_man_page_has_every_command(files: dict[str, Installed]) -> None:
    overview = plain(files["usr/share/man/man1/vpcctl.1.gz"].text)
    for path, command in leaves(root):
        assert f"\n.B vpcctl {' '.join(path)}\n" in overview
        page = plain(files[f"usr/share/man/man1/vpcctl-{path[0]}.1.gz"].text)
        assert f".BR vpcctl-{path[0]} (1)" in overview
        for option in (name for parameter in command.params if isinstance(parameter, click.Option)
                       for name in parameter.opts if not parameter.hidden):
            assert re.search(rf"{option}(?![\w-])", page), (path, option)
    pages = {path.rpartition("/")[2] for path in files if "/man1/" in path}
    assert pages == {"vpcctl.1.gz", *(f"vpcctl-{name}.1.gz" for name in (*root.commands, *PLUGINS))}


def test_man_can_read_every_page(files: dict[str, Installed], tmp_path: Path) -> None:
    if which("man") is None:
        pytest.skip("NOT TRIED: man is not here")
    pages = []
    for path in (path for path in files if "/man1/" in path):
        pages.append(tmp_path / path.rpartition("/")[2].removesuffix(".gz"))
        pages[-1].write_text(files[path].text)
    done = subprocess.run(["man", "--warnings", "-E", "UTF-8", "-l", "-Tutf8", "-Z", *pages],
                          capture_output=True, text=True, env={**os.environ, "MANWIDTH": "80"})
    assert (done.returncode, done.stderr) == (0, "")
    assert len(pages) > 10


@pytest.mark.parametrize("shell", COMPLETIONS)
def test_completion_is_where_the_shell_looks_for_it(shell: str, files: dict[str, Installed],
                                                            tmp_path: Path) -> None:
    script = files[COMPLETIONS[shell]].text
    assert "_VPCCTL_COMPLETE" in script
    if which(shell):
        file = tmp_path / "script"
        file.write_text(script)
        subprocess.run([shell, "-n", file], check=True)


def test_zsh_completes_at_the_first_press_of_tab(files: dict[str, Installed]) -> None:
    script = files[COMPLETIONS["zsh"]].text
    assert script.startswith("#compdef vpcctl\n")
    assert "loadautofunc" in script


def test_it_works_where_it_is_installed(package: Path) -> None:
    """In a sandbox, whose files are thrown away: dpkg installs it, it makes a VPC, and dpkg removes it."""
    lacking = missing_packages()
    if lacking:
        pytest.skip(f"NOT TRIED: the package can't be installed here without {', '.join(lacking)}")
    script = f"""
        export PATH=/usr/sbin:/usr/bin:/sbin:/bin
        dpkg --no-triggers --install {package} >/dev/null && vpcctl --version
        vpcctl vpc create --name vpc1 --cidr 10.0.0.0/16
        vpcctl subnet add --vpc vpc1 --name web --cidr 10.0.1.0/24
        vpcctl deploy webserver --vpc vpc1 --subnet web && curl -s http://10.0.1.2:8080 && vpcctl status
        vpcctl vpc delete --name vpc1
        vpcctl sandbox -- sh -c 'command -v vpcctl && vpcctl vpc list --json'
        dpkg --no-triggers --remove vpcctl >/dev/null; ls -d /usr/share/vpcctl /usr/bin/vpcctl"""
    done = subprocess.run([ROOT / "vpcctl", "sandbox", "--", "sh", "-c", f"exec 2>&1\n{script}"], cwd=ROOT,
                          capture_output=True, text=True, timeout=PATIENCE, stdin=subprocess.DEVNULL)
    wanted = (f"vpcctl, version {__version__}", "VPC 'vpc1' created", "Hello from subnet web", "in sync",
              "VPC 'vpc1' deleted", "/usr/bin/vpcctl", "[]", "cannot access '/usr/share/vpcctl'",
              "cannot access '/usr/bin/vpcctl'")
    said = done.stdout + done.stderr
    assert [text for text in wanted if text not in said] == [], said


def missing_packages() -> list[str]:
    if os.geteuid() != 0:
        return ["root"]
    asked = ["dpkg-query", "--show", "--showformat", "${Package} ${db:Status-Status}\n", *DEPENDS]
    done = subprocess.run(asked, capture_output=True, text=True)
    here = {line.split()[0] for line in done.stdout.splitlines() if line.endswith(" installed")}
    return [name for name in DEPENDS if name not in here]

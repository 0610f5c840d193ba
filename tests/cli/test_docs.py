"""The documents are held to the program: nothing it has is left out, nothing they show is wrong."""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import Iterator
from dataclasses import dataclass
from ipaddress import IPv4Network
from itertools import takewhile
from pathlib import Path

import click
import pytest

from vpcctl_lib.cli import root
from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.files.acl import load as load_acl
from vpcctl_lib.files.policy import load, load_group
from vpcctl_lib.model.policies import Acl, Policy

ROOT = Path(__file__).resolve().parents[2]
DOCUMENTS = [*sorted(ROOT.glob("*.md")), *sorted((ROOT / "docs").glob("**/*.md")),
             *sorted((ROOT / ".github").glob("**/*.md"))]
COMMAND_PAGE = ROOT / "docs/commands.md"
NAMES = [str(document.relative_to(ROOT)) for document in DOCUMENTS]
PICTURES = [str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("**/*.svg")]
EXAMPLES = [f"docs/examples/{path.name}" for path in (ROOT / "docs/examples").iterdir()
            if path.is_file()]

FENCE = re.compile(r"^```(\w*)\n(.*?)^```$", re.MULTILINE | re.DOTALL)
SPAN = re.compile(r"`([^`\n]+)`")
TYPED = re.compile(r"(?:\$ )?(?:sudo )?(?:\./)?vpcctl (?!…)(.+)")
LINK = re.compile(r"\]\(([^)\s]+)\)")
FILE_LIKE = re.compile(r"(?:\./)?(?:[\w.-]+/)*(?:[\w-]+\.(?:py|sh|md|json|svg|toml)|[\w-]+/)")
PATH = re.compile(r"(?<![\w.~/<:$-])/[a-z][\w.-]*(?:/[\w.-]+)*")
PUBLIC_PATHS = ("/etc/", "/var/lib/vpcctl", "/proc/", "/sys/", "/run/", "/dev/", "/usr/share/vpcctl/",
                "/usr/share/doc/vpcctl/", "/opt/cni/bin/", "/usr/local/lib/netavark", "/srv/standard",
                "/srv/three-tier", "/var/lib/three-tier", "/var/lib/node_exporter/")
EVERY_HOST_HAS = {"/proc", "/tmp", "/var/tmp", "/run", "/dev", "/sys", "/var/lib", "/srv", "/usr/sbin/sshd"}  # noqa: S108 - names in a text
MADE_AT_RUN_TIME = {"state.json", "logs/"}
OF_THE_KERNEL = {"all/", "default/"}
"""Folders of settings, in what a dry run prints."""
EVERYWHERE = {"--json", "--dry-run", "--verbose", "-v", "--help", "-h"}


@dataclass(frozen=True)
class Line:
    """A command line as a document shows it, and whether it is whole (in a block) or only named."""

    document: str
    words: str
    whole: bool


def blocks(text: str) -> Iterator[str]:
    """What stands in fences, but for JSON and pictures."""
    return (body for kind, body in FENCE.findall(text) if kind in ("sh", "console", ""))


def prose(text: str) -> str:
    """What stands outside fences."""
    return FENCE.sub("", text)


def command_lines(document: str, text: str) -> list[Line]:
    """Every `vpcctl …` that a document shows."""
    shown = [Line(document, found[1], True) for block in blocks(text) for line in block.splitlines()
             if (found := TYPED.match(line))]
    named = [Line(document, found[1], False) for span in SPAN.findall(prose(text))
             if (found := TYPED.fullmatch(span)) and "|" not in span]
    return shown + named


def arguments(words: str) -> list[str]:
    """The arguments: up to a comment, a pipe or a redirection."""
    return list(takewhile(lambda word: not word.startswith(("|", ">", "<", "&", ";")),
                          shlex.split(words, comments=True)))


def refusal(words: str, whole: bool) -> str:
    """What click says of a command line, without running it; nothing if it would run."""
    command: click.Command = root
    ctx, rest = None, arguments(words)
    try:
        while rest or whole:
            ctx = command.make_context(command.name, rest, parent=ctx)
            if not isinstance(command, click.Group):
                return ""
            # A group's context keeps the name of the command apart, in click 8.1 under the first name.
            kept = vars(ctx).get("protected_args") or vars(ctx).get("_protected_args", [])
            _, found, rest = command.resolve_command(ctx, [*kept, *ctx.args])
            assert found is not None
            command = found
        return ""
    except click.exceptions.Exit:
        return ""  # --help and --version end here
    except click.MissingParameter as error:
        return error.format_message() if whole else ""
    except click.ClickException as error:
        return error.format_message()
    except VpcctlError as error:
        return error.message


LINES = [line for name, document in zip(NAMES, DOCUMENTS, strict=True)
         for line in command_lines(name, document.read_text())]


@pytest.mark.parametrize("line", dict.fromkeys(LINES), ids=lambda line: f"{line.document}: {line.words}")
def test_every_command_line_shown_parses(line: Line) -> None:
    assert refusal(line.words, line.whole) == ""


def test_enough_command_lines_are_found() -> None:
    pages = {"README.md", "docs/architecture.md", "docs/commands.md", "docs/walkthrough.md"}
    assert pages <= {line.document for line in LINES}
    assert sum(line.whole for line in LINES) > 30


@pytest.mark.parametrize("words", [
    "vpc crate --name vpc1", "vpc create --name vpc1", "vpc create --name vpc1 --cidr 10.0.0.1/16",
    "vpc list --colour", "subnet add --vpc v --name s --cidr 10.0.1.0/24 --type secret",
    "deploy webserver --vpc v --subnet s --port 70000", "exec --vpc v --subnet s", "status --name vpc1",
])
def test_a_wrong_command_line_does_not_parse(words: str) -> None:
    assert refusal(words, whole=True) != ""


@pytest.mark.parametrize("words", [
    "vpc list | head", "vpc list >x", "vpc create --name v --cidr 10.0.0.0/16      # a comment", "--version",
    "exec --vpc v --subnet s -- sh -c 'a | b --json'", "--state-dir x vpc delete --name v --dry-run",
])
def test_a_right_command_line_parses(words: str) -> None:
    assert refusal(words, whole=True) == ""


def leaves(command: click.Command, path: tuple[str, ...] = ()) -> Iterator[tuple[str, click.Command]]:
    """Every command that is not a group, with the words that lead to it."""
    if isinstance(command, click.Group):
        ctx = click.Context(command)
        for name in command.list_commands(ctx):
            child = command.get_command(ctx, name)
            assert child is not None
            yield from leaves(child, (*path, name))
    else:
        yield " ".join(path), command


def synopses(text: str) -> dict[str, str]:
    """The table of the commands: what stands behind the words that name a command."""
    section = text.split("\n## All of them\n")[1].split("\n## ")[0]
    rows = [row.split(" | ")[0] for row in section.splitlines() if row.startswith("| `")]
    spans = [span for row in rows for span in SPAN.findall(row)]
    return {re.split(r" (?=[-\[A-Z])", span)[0]: span for span in spans}


def options(command: click.Command) -> list[set[str]]:
    """The options, each with all its spellings."""
    return [set(parameter.opts) for parameter in command.params if isinstance(parameter, click.Option)]


COMMANDS = dict(leaves(root))


@pytest.mark.parametrize("path", COMMANDS)
def test_the_table_has_every_command_with_its_options(path: str) -> None:
    table = synopses(COMMAND_PAGE.read_text())
    assert path in table, f"the table of commands lacks `{path}`"
    said = set(re.findall(r"(?<![\w-])--?[a-z][a-z0-9-]*", table[path]))
    own = [spellings for spellings in options(COMMANDS[path]) if not spellings & EVERYWHERE]
    assert [spellings for spellings in own if not spellings & said] == [], "left out"
    assert said - set().union(*own) == set(), "no such option"


def test_the_table_has_no_command_that_does_not_exist() -> None:
    assert set(synopses(COMMAND_PAGE.read_text())) == set(COMMANDS)


def test_the_page_has_the_options_of_all_commands() -> None:
    text = prose(COMMAND_PAGE.read_text())
    general = {name for spellings in options(root) for name in spellings} | EVERYWHERE
    told = {name for name in general if f"`{name}" in text}
    assert general - told == {"--help", "--version"}


@pytest.mark.parametrize("path", COMMANDS)
def test_the_changelog_has_every_command(path: str) -> None:
    assert path in changelog_commands((ROOT / "CHANGELOG.md").read_text())


def changelog_commands(text: str) -> set[str]:
    """The commands named; `vpc create|list` names two."""
    found = set()
    for span in re.findall(r"`vpcctl ([^`]+)`", text):
        *group, last = span.split()
        found |= {" ".join([*group, name]) for name in last.split("|")}
    return found


def test_alternatives_in_the_changelog_are_several_commands() -> None:
    assert changelog_commands("`vpcctl vpc create|list`, `vpcctl exec`") == {"vpc create", "vpc list", "exec"}


def test_the_changelog_begins_with_what_is_unreleased() -> None:
    titles = re.findall(r"^## (.+)$", (ROOT / "CHANGELOG.md").read_text(), re.MULTILINE)
    assert titles[0] == "[Unreleased]"


def anchors(text: str) -> set[str]:
    """The anchors that GitHub gives to headings."""
    titles = re.findall(r"^#+ (.+)$", prose(text), re.MULTILINE)
    return {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def broken_links(document: Path, text: str) -> list[str]:
    """Links to files or headings that there are not."""
    broken = []
    for link in LINK.findall(prose(text)):
        if "://" in link:
            continue
        file, _, anchor = link.partition("#")
        target = document.parent / file if file else document
        if not target.exists() or (anchor and anchor not in anchors(target.read_text())):
            broken.append(link)
    return broken


@pytest.mark.parametrize("document", DOCUMENTS, ids=NAMES)
def test_links_lead_somewhere(document: Path) -> None:
    assert broken_links(document, document.read_text()) == []


def linked_files(text: str) -> set[str]:
    """The files of the project that a document links to."""
    return {link.partition("#")[0] for link in LINK.findall(prose(text)) if "://" not in link} - {""}


def reachable_documents() -> set[Path]:
    """The documents that a reader comes to from the README by links."""
    found, ahead = set(), [ROOT / "README.md"]
    while ahead:
        document = ahead.pop()
        if document in found or document.suffix != ".md":
            continue
        found.add(document)
        ahead += [(document.parent / file).resolve() for file in linked_files(document.read_text())]
    return found


def test_every_document_is_found_from_the_readme() -> None:
    templates = {document for document in DOCUMENTS if ".github" in document.parts}
    assert set(DOCUMENTS) - templates - reachable_documents() == set()


def test_the_readme_is_short_and_leads_to_the_rest() -> None:
    text = (ROOT / "README.md").read_text()
    assert len(text.splitlines()) <= 150
    for wanted in ("git clone ", "vpcctl reach ", "docs/pictures/terminal.svg"):
        assert wanted in text
    pages = {str(path.relative_to(ROOT)) for path in (ROOT / "docs").glob("*.md")}
    assert pages - linked_files(text) == set(), "not in the README"


def test_the_address_to_clone_is_the_project_s() -> None:
    """`URL` stands for it until pyproject.toml has it, so that it is written down in one place."""
    project = (ROOT / "pyproject.toml").read_text()
    known = re.search(r'^Repository = "(.+)"$', project, re.MULTILINE)
    texts = [document.read_text() for document in DOCUMENTS]
    shown = {url for text in texts for url in re.findall(r"git clone (?!-)(\S+)", text)}
    assert shown == {known[1] if known else "URL"}


def test_a_broken_link_is_found() -> None:
    text = "# A b\n[a](#a-b) [b](#a-c) [c](no.md) [d](LICENSE) [e](https://example.com/x)"
    assert broken_links(ROOT / "x.md", text.replace("(#a-b)", "(README.md#more)")) == ["#a-c", "no.md"]


def missing_files(text: str) -> list[str]:
    """Files that are named in code and are not there: of the checkout, or of the package."""
    spans = [word for span in SPAN.findall(prose(text)) for word in span.split()]
    typed = [word for block in blocks(text) for word in block.split()]
    named = {word for word in (*spans, *typed) if FILE_LIKE.fullmatch(word)}
    return sorted(name for name in named - MADE_AT_RUN_TIME - OF_THE_KERNEL
                  if not (ROOT / name).exists() and not list((ROOT / "vpcctl_lib").glob(f"**/{name}")))


@pytest.mark.parametrize("document", DOCUMENTS, ids=NAMES)
def test_files_that_are_named_are_there(document: Path) -> None:
    assert missing_files(document.read_text()) == []


def test_a_missing_file_is_found() -> None:
    assert missing_files("`cli/` `no.py` `./no.sh` `run.py`\n\n```sh\n./none.sh --x\n```\n") == [
        "./no.sh", "./none.sh", "no.py"]


def private_paths(text: str) -> list[str]:
    """Absolute paths that are not there on every host: a document that names one was not meant for others."""
    return [path for path in PATH.findall(text)
            if not path.startswith(PUBLIC_PATHS) and path not in EVERY_HOST_HAS]


@pytest.mark.parametrize("document", [*NAMES, *PICTURES, *EXAMPLES])
def test_no_paths_of_one_machine(document: str) -> None:
    text = re.sub(r"https?://\S+|</?[a-z]+[^>]*>", "", (ROOT / document).read_text())
    assert private_paths(text) == []


def test_a_path_of_one_machine_is_found() -> None:
    text = "in /home/me/vpc, `/srv/x`, /etc/netns/a, 10.0.0.0/16 a/b"
    assert private_paths(text) == ["/home/me/vpc", "/srv/x"]


def policies() -> list[str]:
    """The policies shown, and those in the folder of examples."""
    shown = [body for document in DOCUMENTS for kind, body in FENCE.findall(document.read_text())
             if kind == "json"]
    return shown + [path.read_text() for path in (ROOT / "docs/examples").glob("*.json")]


@pytest.mark.parametrize("text", policies())
def test_the_policies_shown_are_right(tmp_path: Path, text: str) -> None:
    file = tmp_path / "policy.json"
    file.write_text(text)
    if '"number"' in text:
        assert load_acl(file, "web") != Acl("web")
        return
    subnet = json.loads(text).get("subnet")
    found = load(file, IPv4Network(subnet)) if subnet else load_group(file, "web").policy
    assert found != Policy()


def test_enough_policies_are_found() -> None:
    assert len(policies()) >= 2

"""What a file may hold, on which line it stands, and how everything else is refused."""

import contextlib
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpcctl_lib.errors import BadInput, ExitCode, revealed
from vpcctl_lib.files import documents, named
from vpcctl_lib.files.documents import Document, shown

POLICY_YAML = """\
# the web tier
ingress:
  - port: 80
    protocol: tcp
  - {protocol: icmp}
egress:
  -
    port: 443
"""

POLICY_JSON = """\
{
  "ingress": [
    {"port": 80, "protocol": "tcp"},
    {"protocol":
       "icmp"}
  ],
  "default": "deny"
}
"""


def write(folder: Path, name: str, content: str | bytes) -> Path:
    path = folder / name
    path.write_bytes(content if isinstance(content, bytes) else content.encode())
    return path


def refusal(path: Path) -> BadInput:
    with pytest.raises(BadInput) as caught:
        documents.read(path)
    assert caught.value.code == ExitCode.BAD_INPUT
    assert "\n" not in caught.value.message
    return caught.value


def test_yaml_knows_its_lines(tmp_path: Path) -> None:
    document = documents.read(write(tmp_path, "p.yaml", POLICY_YAML))
    assert document.data == {
        "ingress": [{"port": 80, "protocol": "tcp"}, {"protocol": "icmp"}],
        "egress": [{"port": 443}],
    }
    places = ["", "ingress", "ingress[0]", "ingress[0].port", "ingress[1]", "egress[0].port", "nowhere"]
    assert [document.line(place) for place in places] == [2, 2, 3, 3, 5, 8, None]


def test_json_knows_its_lines(tmp_path: Path) -> None:
    document = documents.read(write(tmp_path, "p.json", POLICY_JSON))
    assert document.data == json.loads(POLICY_JSON)
    places = ["", "ingress", "ingress[0]", "ingress[1]", "ingress[1].protocol", "default", "nowhere"]
    assert [document.line(place) for place in places] == [1, 2, 3, 4, 4, 7, None]


@pytest.mark.parametrize(
    ("name", "content", "data"),
    [
        ("p.json", "\ufeff{}", {}),
        ("p.yaml", "\ufeffa: 1", {"a": 1}),
        ("P.JSON", '{"a": 1}', {"a": 1}),
        ("p.yml", "---\na: 1\n...\n", {"a": 1}),
        ("policy", ' {"a": 1}', {"a": 1}),
        ("policy", "a: 1", {"a": 1}),
        ("p.json", "null", None),
        ("p.json", "[1.5, true, false, null, -3, 1e2]", [1.5, True, False, None, -3, 100.0]),
        ("p.json", '"\\u00e9\\ud83d\\ude00"', "é😀"),
        ("p.yaml", "a: 1\r\nb: 2\r\n", {"a": 1, "b": 2}),
        ("p.yaml", "&unused a: |\n  x\n  y\n", {"a": "x\ny\n"}),
    ],
)
def test_read(tmp_path: Path, name: str, content: str, data: object) -> None:
    assert documents.read(write(tmp_path, name, content)).data == data


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("80", 80),
        ("-1", -1),
        ("-0", -0.0),
        ("80.0", 80.0),
        ("true", True),
        ("True", True),
        ("FALSE", False),
        ("null", None),
        ("~", None),
        ("", None),
        ("yes", "yes"),
        ("on", "on"),
        ("off", "off"),
        ("0o17", "0o17"),
        ("017", "017"),
        ("0x1F", "0x1F"),
        ("22:22", "22:22"),
        ("1_000", "1_000"),
        ("+80", "+80"),
        ("2024-01-01", "2024-01-01"),
        ("'80'", "80"),
        ("10.0.0.0/16", "10.0.0.0/16"),
        ("8000-8100", "8000-8100"),
    ],
)
def test_yaml_scalars_are_what_json_would_make_of_them(tmp_path: Path, text: str, value: object) -> None:
    found = documents.read(write(tmp_path, "p.yaml", f"a: {text}\n")).data
    assert found == {"a": value}
    assert isinstance(found, dict)
    assert type(found["a"]) is type(value)


def test_yaml_keys_are_text_as_written(tmp_path: Path) -> None:
    document = documents.read(write(tmp_path, "p.yaml", "on: 1\n80: 2\nnull: 3\n<<: 4\n1.0: 5\n"))
    assert document.data == {"on": 1, "80": 2, "null": 3, "<<": 4, "1.0": 5}


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        ("p.json", '{\n "a": 1 2}', "p.json, line 2, column 9: is not JSON: "),
        ("p.json", '{"a": 1}}', "line 1, column 9: is not JSON: extra data"),
        ("p.json", "{'a': 1}", "line 1, column 2: is not JSON: "),
        ("p.yaml", "a: 1\nb: c: d", "p.yaml, line 2, column 5: is not YAML: mapping values are not allowed"),
        ("p.yaml", "a: [1", "is not YAML: "),
        ("p.yaml", "a: @x", "line 1, column 4: is not YAML: "),
        ("p.yaml", "%YAML 3.0\n---\na: 1", "line 1, column 1: is not YAML: "),
        ("p.yaml", "a:\n - !!python/object/apply:os.system [x]", 'line 2: the tag "!!python/object/'),
        ("p.yaml", "a: !mine x", 'line 1: the tag "!mine" is not supported'),
        ("p.yaml", "a: !!str 80", 'line 1: the tag "!!str" '),
        ("p.yaml", "a: 1\nb:\n  c: 2\n  'c': 3", "line 4: b.c: the key already exists, on line 3"),
        ("p.json", '{"a": 1,\n"a": 1}', "p.json, line 2: a: the key already exists, on line 1"),
        ("p.yaml", "a: &x [1]\nb: *x", 'p.yaml, line 2: the alias "*x" is not supported'),
        ("p.yaml", "&x [*x]", 'line 1: the alias "*x"'),
        ("p.yaml", "? [a]\n: 1", "line 1: a key must be text"),
        ("p.yaml", "a: 1\n---\nb: 1", "p.yaml, line 2: a second document begins here"),
        ("p.json", "[1,\nNaN]", 'p.json, line 2: [1]: "NaN" is not a finite number'),
        ("p.json", "-Infinity", '"-Infinity" is not a finite number'),
        ("p.json", "1e999", '"1e999" is not a finite number'),
        ("p.json", "9" * 100_000, "is not a finite number"),
        ("p.yaml", "a: .nan", 'line 1: a: ".nan" is not a finite number'),
        ("p.yaml", "a: -.inf", 'a: "-.inf" is not a finite number'),
        ("p.json", '{"a": "\\ud800"}', r'a: "\ud800" is not Unicode text'),
        ("p.json", '{"\\ud800": 1}', r'"\ud800" is not Unicode text'),
        ("p.yaml", "", "p.yaml: is empty"),
        ("p.json", "\ufeff \n", "p.json: is empty"),
        ("p.yaml", "# nothing\n", "p.yaml: is empty except for comments"),
        ("p.yaml", "a: \x1b[2J", r'line 1: is not text: it contains the character "\x1b"'),
        ("p.json", b"{}\n\x00\x01", r'p.json, line 2: is not text: it contains the character "\x00"'),
        ("p.json", b"\xff\xfe{\x00}\x00", "p.json, line 1: is not UTF-8 text"),
        ("p.yaml", b"a: 1\nb: \xe9\n", "p.yaml, line 2: is not UTF-8 text"),
    ],
)
def test_refused(tmp_path: Path, name: str, content: str | bytes, message: str) -> None:
    assert message in refusal(write(tmp_path, name, content)).message


@pytest.mark.parametrize("brackets", [51, 500, 200_000])
@pytest.mark.parametrize(
    ("name", "opening"), [("p.json", "["), ("p.yaml", "["), ("p.yaml", "- "), ("p.yaml", "{a: ")]
)
def test_too_deep(tmp_path: Path, name: str, opening: str, brackets: int) -> None:
    content = opening * brackets + ("1" + "]" * brackets if name == "p.json" else "")
    assert "nested too deep: the limit is 50 levels" in refusal(write(tmp_path, name, content)).message


def test_as_deep_as_allowed(tmp_path: Path) -> None:
    assert documents.read(write(tmp_path, "p.json", "[" * 50 + "]" * 50)).data


def test_alias_bomb(tmp_path: Path) -> None:
    levels = [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 9)}]" for n in range(1, 10)]
    path = write(tmp_path, "p.yaml", "\n".join(["l0: &l0 [lol]", *levels]))
    error = refusal(path)
    assert 'p.yaml, line 2: the alias "*l0" is not supported' in error.message
    assert "in full" in error.hint


def test_nothing_is_constructed(tmp_path: Path) -> None:
    made = tmp_path / "made"
    refusal(write(tmp_path, "p.yaml", f"!!python/object/apply:os.mkdir ['{made}']"))
    assert not made.exists()


def test_hints(tmp_path: Path) -> None:
    assert "spaces, not tabs" in refusal(write(tmp_path, "p.yaml", "a:\n\tb: 1")).hint
    assert "no comments" in refusal(write(tmp_path, "p.json", "{} // x")).hint
    assert "UTF-8" in refusal(write(tmp_path, "p.json", b"\xff")).hint


def test_missing(tmp_path: Path) -> None:
    path = tmp_path / "none.json"
    assert refusal(path).message == f"{path}: can't be read: no such file or directory"
    assert "not a directory" in refusal(write(tmp_path, "p.json", "{}") / "x").message
    assert "NUL" in refusal(Path("a\0b")).message


def test_folder(tmp_path: Path) -> None:
    assert refusal(tmp_path).message == f"{tmp_path}: is a folder, not a file"


def test_not_readable(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def denied(*_: object) -> None:
        raise PermissionError(13, "Permission denied")

    path = write(tmp_path, "p.json", "{}")
    monkeypatch.setattr(os, "open", denied)
    assert refusal(path).message == f"{path}: can't be read: permission denied"


def test_devices_and_fifos_are_not_waited_for(tmp_path: Path) -> None:
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    for path in (fifo, Path("/dev/zero"), Path("/dev/null")):
        assert refusal(path).message == f"{path}: is not a regular file"


def test_too_large(tmp_path: Path) -> None:
    path = tmp_path / "p.yaml"
    with path.open("wb") as file:
        file.truncate(10 * 1024**3)
    assert refusal(path).message == f"{path}: too large: 10,737,418,240 bytes, the limit is 4,194,304 (4 MiB)"


def test_as_large_as_allowed(tmp_path: Path) -> None:
    assert documents.read(write(tmp_path, "p.json", '"a"' + " " * (named.MAX_BYTES - 3))).data


def test_names_are_shown_safely(tmp_path: Path) -> None:
    assert r"a\x1b[2J\nb.json: is a folder" in refusal_of_folder(tmp_path / "a\x1b[2J\nb.json")


def refusal_of_folder(path: Path) -> str:
    path.mkdir()
    return refusal(path).message


def test_shown() -> None:
    values = ["Allow", "a\nb\x1b", "x" * 1000, True, None, 8080.0, [1], {"a": 1}]
    assert [revealed(shown(value)) for value in values] == [
        '"Allow"', '"a\\nb\\x1b"', f'"{"x" * 60}…"', "true", "null", "8080.0", "a list", "a mapping",
    ]  # fmt: skip


def test_places() -> None:
    document = Document("p.yaml", None, {"vpcs.vpc1": 3, "": 1})
    place = document.top.at("vpcs").at("vpc1")
    assert place.refusal("is wrong", "mend it").message == "p.yaml, line 3: vpcs.vpc1: is wrong"
    assert place.at("cidr").refusal("is wrong").message == "p.yaml, line 3: vpcs.vpc1.cidr: is wrong"
    assert place.at("subnets").at("a").line == 3, "what is missing is missing from what is around it"
    assert document.top.refusal("is wrong").message == "p.yaml, line 1: is wrong"
    assert document.top.at("a b.c\n").at(2).path == '"a b.c\\n"[2]'


@given(st.text(alphabet="{}[]:,-?&*!|>'\"%@` \n\tab1.#<~", max_size=60))
def test_any_yaml_is_read_or_refused(memory: Path, text: str) -> None:
    path = memory / "any.yaml"
    path.write_text(text)
    with contextlib.suppress(BadInput):
        assert documents.read(path).name == str(path)


TEXTS = st.text(alphabet='ab.:{}[],"\\\n1 é', max_size=8)
VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(10**18) + 1, 10**18 - 1) | TEXTS,
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4),
    max_leaves=12,
)


@given(VALUES, st.sampled_from([None, 0, 2]))
def test_json_is_read_back(memory: Path, value: object, indent: int | None) -> None:
    path = memory / "any.json"
    path.write_text(json.dumps(value, indent=indent))
    assert documents.read(path).data == value


NUMBER_LIKE = st.from_regex(r"[-+]?[0-9._]{0,3}([eE][-+]?[0-9]{0,2})?", fullmatch=True)
WORDS = st.sampled_from([
    "1e5", "12e34567", "1E5", "-1e5", "1e+5", "NaN", "Infinity", "-Infinity", ".inf", "~", "-0", "0.1", "yes",
    "null", "True", "2020-01-01", "0x1F", "22:22", "<<", "=", "- a", "a: b", "a\x85b", "\u2028", "a\nb"])


@given(st.recursive(VALUES | st.text() | NUMBER_LIKE | WORDS, lambda inner: st.lists(inner, max_size=4)
                    | st.dictionaries(st.text() | NUMBER_LIKE | WORDS, inner, max_size=4), max_leaves=12))
def test_what_is_written_is_read_back(memory: Path, value: object) -> None:
    path = memory / "any.yaml"
    path.write_text(documents.written(value))
    document = documents.read(path)
    assert json.dumps(document.data) == json.dumps(value)
    assert document.line("") == 1


def test_the_import_is_cheap() -> None:
    code = "import sys, vpcctl_lib.files.documents; sys.exit('yaml' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


def test_a_file_that_becomes_a_fifo_keeps_nobody_waiting(tmp_path: Path,
                                                         monkeypatch: pytest.MonkeyPatch) -> None:
    file, fifo = write(tmp_path, "p.json", "{}"), tmp_path / "fifo"
    os.mkfifo(fifo)
    status = file.stat()
    monkeypatch.setattr(Path, "stat", lambda *_, **__: status)
    assert refusal(fifo).message == f"{fifo}: is not a regular file"


def test_a_file_that_has_nothing_yet_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As /proc/kmsg is: a regular file that says EAGAIN."""
    file, (reader, writer) = tmp_path / "later.json", os.pipe()
    file.touch()
    status, whole = file.stat(), os.open
    os.set_blocking(reader, False)
    monkeypatch.setattr(os, "open", lambda path, *how: reader if path == file else whole(path, *how))
    monkeypatch.setattr(os, "fstat", lambda _: status)
    assert refusal(file).message == f"{file}: can't be read: it has no data yet"
    os.close(writer)


@pytest.mark.parametrize("device", ["/dev/zero", "/dev/null", "/dev/tty"])
def test_no_device_is_read(device: str) -> None:
    assert refusal(Path(device)).message == f"{device}: is not a regular file"

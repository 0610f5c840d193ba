"""Policies: what is read, what is refused and in which words, and that writing one out loses nothing."""

import json
from ipaddress import IPv4Network
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from vpcctl_lib.errors import BadInput, ExitCode
from vpcctl_lib.files import policy
from vpcctl_lib.files.documents import Document
from vpcctl_lib.model.policies import Action, Policy, Ports, Protocol, Rule

SUBNET = IPv4Network("10.0.1.0/24")
TOP = Document("policy.json", None).top

TCP_ALLOW: dict[str, object] = {"protocol": "tcp", "action": "allow"}
CONTRACT: dict[str, object] = {
    "subnet": "10.0.1.0/24",
    "ingress": [
        {"port": 80, **TCP_ALLOW},
        {"port": "8000-8100", **TCP_ALLOW, "source": "10.0.0.0/16"},
        {"protocol": "icmp", "action": "allow"},
        {"port": 22, "protocol": "tcp", "action": "deny"},
    ],
    "egress": [{"port": 443, **TCP_ALLOW, "destination": "0.0.0.0/0"}],
    "default": "deny",
}
ARTICLE: dict[str, object] = {
    "subnet": "10.0.1.0/24",
    "ingress": [
        {"port": 80, "protocol": "tcp", "action": "allow"},
        {"port": 22, "protocol": "tcp", "action": "deny"},
    ],
}


def parse(data: object) -> Policy:
    return policy.parse(data, TOP, SUBNET)


def refusal(data: object) -> BadInput:
    with pytest.raises(BadInput) as caught:
        parse(data)
    assert caught.value.code == ExitCode.BAD_INPUT
    assert "\n" not in caught.value.message + caught.value.hint
    return caught.value


def test_the_policy_of_the_contract() -> None:
    assert parse(CONTRACT) == Policy(
        ingress=(
            Rule(Protocol.TCP, Action.ALLOW, Ports(80, 80)),
            Rule(Protocol.TCP, Action.ALLOW, Ports(8000, 8100), IPv4Network("10.0.0.0/16")),
            Rule(Protocol.ICMP, Action.ALLOW),
            Rule(Protocol.TCP, Action.DENY, Ports(22, 22)),
        ),
        egress=(Rule(Protocol.TCP, Action.ALLOW, Ports(443, 443), IPv4Network("0.0.0.0/0")),),
    )


def test_the_policy_of_the_article() -> None:
    rules = (Rule(Protocol.TCP, Action.ALLOW, Ports(80, 80)), Rule(Protocol.TCP, Action.DENY, Ports(22, 22)))
    assert parse(ARTICLE) == Policy(ingress=rules, egress=None, default=Action.DENY)


@pytest.mark.parametrize(
    ("data", "expected"),
    [
        ({}, Policy()),
        ({"ingress": []}, Policy()),
        ({"egress": []}, Policy(egress=())),
        ({"default": "allow"}, Policy(default=Action.ALLOW)),
        ({"description": "web\ttier\n"}, Policy(description="web\ttier\n")),
    ],
)
def test_what_a_policy_may_leave_out(data: object, expected: Policy) -> None:
    assert parse(data) == expected


@pytest.mark.parametrize(
    ("extra", "expected"),
    [
        ({}, Rule(Protocol.TCP, Action.ALLOW)),
        ({"port": 1}, Rule(Protocol.TCP, Action.ALLOW, Ports(1, 1))),
        ({"port": 65535}, Rule(Protocol.TCP, Action.ALLOW, Ports(65535, 65535))),
        ({"port": "1-65535"}, Rule(Protocol.TCP, Action.ALLOW, Ports(1, 65535))),
        ({"port": "80-80"}, Rule(Protocol.TCP, Action.ALLOW, Ports(80, 80))),
        ({"protocol": "udp", "port": 53}, Rule(Protocol.UDP, Action.ALLOW, Ports(53, 53))),
        ({"protocol": "all", "action": "deny"}, Rule(Protocol.ALL, Action.DENY)),
        ({"source": "0.0.0.0/0"}, Rule(Protocol.TCP, Action.ALLOW, None, IPv4Network("0.0.0.0/0"))),
        ({"source": "10.0.0.5"}, Rule(Protocol.TCP, Action.ALLOW, None, IPv4Network("10.0.0.5/32"))),
        ({"description": "é"}, Rule(Protocol.TCP, Action.ALLOW, description="é")),
    ],
)
def test_rules(extra: dict[str, object], expected: Rule) -> None:
    assert parse({"ingress": [{**TCP_ALLOW, **extra}]}).ingress == (expected,)


@pytest.mark.parametrize(
    ("data", "message", "hint"),
    [
        ([], "policy.json: a policy is a mapping, not a list", "use one of: description, subnet, ingress"),
        ("text", 'a policy is a mapping, not "text"', ""),
        (None, "a policy is a mapping, not null", ""),
        ({"ingres": []}, 'policy.json: ingres: a policy has no key "ingres"', 'did you mean "ingress"?'),
        ({"Default": "deny"}, 'Default: a policy has no key "Default"', 'did you mean "default"?'),
        ({"rules": 1, "x\x1b\n": 1}, 'rules: a policy has no key "rules"', "use one of: description, "),
        ({"x\x1b\n": 1}, r'a policy has no key "x\x1b\n"', ""),
        ({"ingress": None}, "ingress: ingress is a list of rules, not null", "write [] for no rules"),
        ({"egress": None}, "egress: egress is a list of rules, not null", "write [] for no rules"),
        ({"ingress": {"port": 80}}, "ingress: ingress is a list of rules, not a mapping", ""),
        ({"ingress": "tcp"}, 'ingress: ingress is a list of rules, not "tcp"', ""),
        ({"ingress": [80]}, "policy.json: ingress[0]: a rule is a mapping, not 80", "port, protocol, action"),
        ({"ingress": [TCP_ALLOW, []]}, "ingress[1]: a rule is a mapping, not a list", ""),
        ({"default": "Deny"}, 'default: "Deny" is not one of allow, deny', 'did you mean "deny"?'),
        ({"default": "drop"}, 'default: "drop" is not one of allow, deny', "use one of: allow, deny"),
        ({"default": None}, "default: null is not one of allow, deny", ""),
        ({"default": True}, "default: true is not one of allow, deny", ""),
        ({"description": 5}, "description: a description is text, not 5", "quotes"),
        ({"description": "\x1b[2J"}, r'description: "\x1b[2J" contains a control character', ""),
        (
            {"subnet": "10.0.9.0/24"},
            "subnet: the policy is for 10.0.9.0/24, but the subnet is 10.0.1.0/24",
            "leave out the key",
        ),
        ({"subnet": "10.0.1.5/24"}, "subnet: 10.0.1.5/24 has host bits set", "did you mean 10.0.1.0/24?"),
        ({"subnet": 10}, "subnet: 10 is not a network", "10.0.0.0/16"),
    ],
)
def test_a_policy_refused(data: object, message: str, hint: str) -> None:
    error = refusal(data)
    assert message in error.message
    assert hint in error.hint


PORT_HINT = "a port is a number from 1 to 65535, or a range"


@pytest.mark.parametrize(
    ("port", "hint"),
    [
        (0, PORT_HINT),
        (-80, PORT_HINT),
        (70000, PORT_HINT),
        (10**18, PORT_HINT),
        (True, PORT_HINT),
        (None, PORT_HINT),
        (80.0, PORT_HINT),
        ([80, 443], "write one rule for each"),
        ({}, PORT_HINT),
        ("", PORT_HINT),
        ("http", PORT_HINT),
        ("80,443", "write one rule for each"),
        ("0-100", PORT_HINT),
        ("1-65536", PORT_HINT),
        ("-80", PORT_HINT),
        ("80-", PORT_HINT),
        ("1-2-3", PORT_HINT),
        ("٨٠", PORT_HINT),
        ("0o17", PORT_HINT),
        ("9" * 5000, PORT_HINT),
        ("80", "write 80, without quotes"),
        ("022", "write 22, without quotes"),
        ("90-80", 'did you mean "80-90"?'),
        ("8000:8100", 'did you mean "8000-8100"?'),
        ("8000 - 8100", 'did you mean "8000-8100"?'),
        ("8000..8100", 'did you mean "8000-8100"?'),
    ],
)
def test_a_port_refused(port: object, hint: str) -> None:
    error = refusal({"ingress": [TCP_ALLOW, TCP_ALLOW, {**TCP_ALLOW, "port": port}]})
    assert error.message.startswith("policy.json: ingress[2].port: ")
    assert hint in error.hint
    assert len(error.message) < 150


@pytest.mark.parametrize(
    ("rule", "message", "hint"),
    [
        ({"protocol": "tcp"}, "ingress[0]: the rule has no action", "add one: allow, deny"),
        ({"action": "allow"}, "ingress[0]: the rule has no protocol", "add one: tcp, udp, icmp, icmpv6, all"),
        ({**TCP_ALLOW, "action": "Allow"}, 'ingress[0].action: "Allow" is not one', 'did you mean "allow"?'),
        ({**TCP_ALLOW, "action": True}, "ingress[0].action: true is not one of allow, deny", "allow, deny"),
        ({**TCP_ALLOW, "protocol": "TCP"}, 'ingress[0].protocol: "TCP" is not one of', 'did you mean "tcp"?'),
        ({**TCP_ALLOW, "protocol": 6},
         "ingress[0].protocol: 6 is not one of tcp, udp, icmp, icmpv6, all", "icmp"),
        ({**TCP_ALLOW, "protocol": ["tcp"]}, "ingress[0].protocol: a list is not one of", "icmp"),
        ({**TCP_ALLOW, "protocl": "tcp"}, 'ingress[0].protocl: a rule has no key "protocl"', '"protocol"?'),
        ({**TCP_ALLOW, "Port": 80}, 'ingress[0].Port: a rule has no key "Port"', 'did you mean "port"?'),
        ({**TCP_ALLOW, "xyzzy": 80}, 'ingress[0].xyzzy: a rule has no key "xyzzy"', "action, source"),
        ({"protocol": "icmp", "action": "deny", "port": 8}, "ingress[0].port: a rule for icmp", "tcp"),
        ({"protocol": "all", "action": "deny", "port": 8}, "ingress[0].port: a rule for all takes no", "tcp"),
        (
            {**TCP_ALLOW, "destination": "10.0.0.0/16"},
            "ingress[0].destination: an ingress rule has no destination: that key is for egress",
            'write "source", or move it to egress',
        ),
        ({**TCP_ALLOW, "description": ["x"]}, "ingress[0].description: a description is text", ""),
    ],
)
def test_a_rule_refused(rule: object, message: str, hint: str) -> None:
    error = refusal({"ingress": [rule]})
    assert error.message.startswith(f"policy.json: {message}")
    assert hint in error.hint


@pytest.mark.parametrize(
    ("source", "message", "hint"),
    [
        ("10.0.1.5/24", "10.0.1.5/24 has host bits set", "did you mean 10.0.1.0/24?"),
        ("fd00::1/8", "fd00::1/8 has host bits set", "did you mean fd00::/8?"),
        ("fd00::/129", "'fd00::/129' is not a CIDR", "fd12:3456::/32"),
        ("fd00::/", "'fd00::/' is not a CIDR", "fd12:3456::/32"),
        ("fd00:::1", "'fd00:::1' is not an IPv6 address", "fd12:3456::/32"),
        ("::ffff:10.0.0.1", "'::ffff:10.0.0.1' stands for IPv4", "write the IPv4 address"),
        ("::1", "'::1' stands for IPv4", "write the IPv4 address"),
        ("10.0.0.0/33", "10.0.0.0/33", ""),
        ("10.0.0.300", "10.0.0.300", ""),
        ("10.0.0", "10.0.0", ""),
        ("", '"" is not a network', "10.0.0.0/16"),
        ("any", '"any" is not a network', "10.0.0.0/16"),
        ("10.0.0.0/16 ", '"10.0.0.0/16 " is not a network', ""),
        ("10.0.0.0/16\n", r'"10.0.0.0/16\n" is not a network', ""),
        ("1" * 5000, "is not a network", ""),
        (10, "10 is not a network", ""),
        (None, "null is not a network", ""),
        (["10.0.0.0/16"], "a list is not a network", ""),
    ],
)
def test_a_network_refused(source: object, message: str, hint: str) -> None:
    error = refusal({"ingress": [TCP_ALLOW, {**TCP_ALLOW, "source": source}]})
    assert error.message.startswith("policy.json: ingress[1].source: ")
    assert message in error.message
    assert hint in error.hint


def test_a_source_in_egress_refused() -> None:
    error = refusal({"egress": [{**TCP_ALLOW, "source": "10.0.0.0/16"}]})
    assert error.message == ("policy.json: egress[0].source: an egress rule has no source: "
                             "that key is for ingress")
    assert error.hint == 'write "destination", or move it to ingress'


@pytest.mark.parametrize(
    ("name", "content", "message"),
    [
        (
            "p.json",
            json.dumps({"ingress": [TCP_ALLOW, {**TCP_ALLOW, "port": 70000}]}, indent=1),
            "p.json, line 10: ingress[1].port: 70000 is not a port",
        ),
        (
            "p.yaml",
            "ingress:\n  - port: 8080.0\n    protocol: tcp\n    action: allow\n",
            "p.yaml, line 2: ingress[0].port: 8080.0 is not a port",
        ),
        (
            "p.yaml",
            "ingress:\n  - protocol: tcp\n    port: 80\n",
            "p.yaml, line 2: ingress[0]: the rule has no action",
        ),
        ("p.yaml", "default: off\n", 'p.yaml, line 1: default: "off" is not one of allow, deny'),
        ("p.yaml", "on: []\n", 'p.yaml, line 1: on: a policy has no key "on"'),
        ("p.yaml", "# two\n- a\n- b\n", "p.yaml, line 2: a policy is a mapping, not a list"),
    ],
)
def test_a_file_refused(tmp_path: Path, name: str, content: str, message: str) -> None:
    path = tmp_path / name
    path.write_text(content)
    with pytest.raises(BadInput) as caught:
        policy.load(path, SUBNET)
    assert caught.value.message == f"{tmp_path}/{message}"


def test_files(tmp_path: Path) -> None:
    (tmp_path / "p.json").write_text(json.dumps(CONTRACT))
    (tmp_path / "p.yaml").write_text(
        "ingress:\n  - {port: 8000-8100, protocol: tcp, action: allow, source: 10.0.0.5, description: yes}\n"
    )
    assert policy.load(tmp_path / "p.json", SUBNET) == parse(CONTRACT)
    (rule,) = policy.load(tmp_path / "p.yaml", SUBNET).ingress
    assert rule == Rule(Protocol.TCP, Action.ALLOW, Ports(8000, 8100), IPv4Network("10.0.0.5/32"), "yes")


def test_a_policy_inside_a_topology_is_named_in_full() -> None:
    path = "vpcs.vpc1.subnets.public.firewall"
    where = Document("net.yaml", None, {f"{path}.ingress[0].port": 12}).top
    for key in path.split("."):
        where = where.at(key)
    with pytest.raises(BadInput) as caught:
        policy.parse({"ingress": [{**TCP_ALLOW, "port": 0}]}, where, SUBNET)
    assert caught.value.message == f"net.yaml, line 12: {path}.ingress[0].port: 0 is not a port"


def test_to_document_is_what_a_person_would_write() -> None:
    assert policy.to_document(parse(CONTRACT), SUBNET) == CONTRACT
    assert policy.to_document(Policy()) == {"ingress": [], "default": "deny"}


PORTS = st.tuples(st.integers(1, 65535), st.integers(1, 65535)).map(lambda pair: Ports(min(pair), max(pair)))
NETWORKS = st.builds(
    lambda address, prefix: IPv4Network((address, prefix), strict=False),
    st.integers(0, 2**32 - 1),
    st.integers(0, 32),
)
# Spelled out, since the table of all characters takes Hypothesis a second to make.
TEXTS = st.text(alphabet="ab 1-./:é😀\u202e\u2028\"'\\", max_size=10)
RULES = st.builds(
    Rule,
    protocol=st.sampled_from([Protocol.TCP, Protocol.UDP]),
    action=st.sampled_from(Action),
    ports=st.none() | PORTS,
    network=st.none() | NETWORKS,
    description=TEXTS,
) | st.builds(Rule, protocol=st.sampled_from([Protocol.ICMP, Protocol.ALL]), action=st.sampled_from(Action))
RULE_LISTS = st.lists(RULES, max_size=4).map(tuple)
POLICIES = st.builds(
    Policy,
    ingress=RULE_LISTS,
    egress=st.none() | RULE_LISTS,
    default=st.sampled_from(Action),
    description=TEXTS,
)


@given(POLICIES, st.none() | st.just(SUBNET))
def test_what_is_written_is_read_back(original: Policy, subnet: IPv4Network | None) -> None:
    written = json.loads(json.dumps(policy.to_document(original, subnet)))
    assert parse(written) == original


KEYS = st.sampled_from([*CONTRACT, *TCP_ALLOW, "port", "source", "destination", "description", "x"])
JUNK = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | TEXTS | st.sampled_from(["tcp", "\n\x1b"]),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(KEYS, inner, max_size=4),
    max_leaves=10,
)


@given(st.dictionaries(KEYS, JUNK, max_size=4))
def test_whatever_is_found_is_read_or_refused_in_one_line(data: object) -> None:
    try:
        result = parse(data)
    except BadInput as error:
        said = f"{error.message}{error.hint}"
    else:
        said = repr(result)
    assert said.isprintable()

"""What a container runtime asks for: its variables and the configuration on standard input; pure."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from enum import Enum
from ipaddress import AddressValueError, IPv4Address
from typing import Any

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.frozen import frozen

VERSIONS = ("0.3.0", "0.3.1", "0.4.0", "1.0.0", "1.1.0")
"""Of the specification, those that we speak."""

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]*", re.ASCII)
"""Of a container and of a network (the specification's section 1 and 2)."""

_ARGUMENTS = {"SUBNET": "subnet", "ADDRESS": "address", "IP": "address", "GROUPS": "groups"}
"""Keys of CNI_ARGS that are ours, each with the key of the configuration that it stands for.

IP is what host-local calls it. The VPC is none of a container's wishes: it is the network's."""

VALID = ("cni.dev/valid-attachments", "cni.dev/attachments")
"""The lists of attachments that GC must leave. Runtimes write the first, older ones the second."""


class Code(Enum):
    """The specification's error codes, and from 100 on our own."""

    VERSION = 1
    CONTAINER = 3
    ENVIRONMENT = 4
    DECODING = 6
    CONFIGURATION = 7
    UNAVAILABLE = 50
    FAILED = 100
    EXISTS = 101
    DIFFERS = 102


class CniError(VpcctlError):
    """An error with one of the specification's codes; the hint becomes its details."""

    def __init__(self, code: Code, message: str, hint: str = "") -> None:
        super().__init__(message, hint)
        self.number = code.value


class Verb(Enum):
    """The operations, each with the first version of the specification that has it."""

    ADD = "ADD"
    DEL = "DEL"
    CHECK = "CHECK"
    GC = "GC"
    STATUS = "STATUS"
    VERSION = "VERSION"

    @property
    def since(self) -> str:
        """The version."""
        return {Verb.CHECK: "0.4.0", Verb.GC: "1.1.0", Verb.STATUS: "1.1.0"}.get(self, VERSIONS[0])


@frozen
class Attachment:
    """A container's link in a network."""

    container: str
    interface: str


@frozen
class Request:
    """One call of the plugin."""

    verb: Verb
    version: str
    network: str = ""
    attachment: Attachment = Attachment("", "")
    namespace: str = ""
    """The path of the container's network namespace."""

    vpc: str = ""
    subnet: str = ""
    addresses: tuple[IPv4Address, ...] = ()
    groups: tuple[str, ...] = ()
    previous: Mapping[str, Any] | None = None
    dns: Mapping[str, Any] | None = None
    valid: tuple[Attachment, ...] = ()


def version_in(text: str) -> str:
    """The version that the caller speaks, for an answer to whatever it sent; the newest if it says none."""
    try:
        found = json.loads(text or "{}").get("cniVersion", "")
    except (ValueError, RecursionError, AttributeError):
        return VERSIONS[-1]
    return found if found in VERSIONS else VERSIONS[-1]


def parse(variables: Mapping[str, str], text: str) -> Request:
    """The request; CniError says what is wrong with it."""
    told = variables.get("CNI_COMMAND", "")
    if told not in {verb.value for verb in Verb}:
        raise CniError(Code.ENVIRONMENT, f"CNI_COMMAND is {told!r}",
                       "a container runtime starts this program")
    verb = Verb(told)
    if verb is Verb.VERSION:
        return Request(verb, version_in(text))
    given = _configuration(text)
    version = given.get("cniVersion", "0.1.0")
    if version not in VERSIONS or VERSIONS.index(version) < VERSIONS.index(verb.since):
        raise CniError(Code.VERSION, f"vpcctl-cni does no {told} of version {version!r} of the specification",
                       f"use one of: {', '.join(VERSIONS[VERSIONS.index(verb.since):])}")
    ours = {**given, **_inner(given), **_arguments(variables.get("CNI_ARGS", ""))}
    needs_link = verb in (Verb.ADD, Verb.DEL, Verb.CHECK)
    attachment = _attachment(variables) if needs_link else Attachment("", "")
    namespace = variables.get("CNI_NETNS", "")
    if verb in (Verb.ADD, Verb.CHECK) and not namespace:
        raise CniError(Code.ENVIRONMENT, "CNI_NETNS is missing",
                       "it is the path of the container's namespace")
    previous = given.get("prevResult")
    if verb is Verb.CHECK and not isinstance(previous, Mapping):
        raise CniError(Code.CONFIGURATION, "prevResult is missing", "CHECK compares with what ADD returned")
    network = _text(given, "name", needed=True)
    if not _NAME.fullmatch(network):
        raise CniError(Code.CONFIGURATION, f"{network!r} can't be the name of a network",
                       "use letters, digits and _.-, beginning with a letter or digit")
    return Request(verb, version, network, attachment, namespace,
                   _text(given, "vpc", needed=True), _text(ours, "subnet", needed=verb is Verb.ADD),
                   tuple(_addresses(ours.get("address"))), tuple(_names(ours.get("groups"), "groups")),
                   previous if isinstance(previous, Mapping) else None,
                   given["dns"] if isinstance(given.get("dns"), Mapping) else None, tuple(_valid(given)))


def _configuration(text: str) -> dict[str, Any]:
    try:
        found = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise CniError(Code.DECODING, f"the configuration is not JSON: {error}") from None
    if not isinstance(found, dict):
        raise CniError(Code.DECODING, "the configuration is not a JSON object")
    return found


def _inner(given: Mapping[str, Any]) -> Mapping[str, Any]:
    """What `args` has for us (CNI's conventions: args.cni, by plugin)."""
    place: Any = given
    for key in ("args", "cni", "vpcctl"):
        place = place.get(key) if isinstance(place, Mapping) else None
    return place if isinstance(place, Mapping) else {}


def _arguments(text: str) -> dict[str, str]:
    """Ours of the arguments; runtimes have others in there, such as Kubernetes the pod's name."""
    pairs = (part.partition("=") for part in text.split(";"))
    return {_ARGUMENTS[key]: value for key, _, value in pairs if key in _ARGUMENTS and value}


def _attachment(variables: Mapping[str, str]) -> Attachment:
    container, interface = variables.get("CNI_CONTAINERID", ""), variables.get("CNI_IFNAME", "")
    if not _NAME.fullmatch(container):
        raise CniError(Code.ENVIRONMENT, f"CNI_CONTAINERID is {container!r}", "it is the container's ID")
    if not interface:
        raise CniError(Code.ENVIRONMENT, "CNI_IFNAME is missing", "it is the name of the container's link")
    return Attachment(container, interface)


def _text(given: Mapping[str, Any], key: str, needed: bool) -> str:
    value = given.get(key, "")
    if not isinstance(value, str) or (needed and not value):
        raise CniError(Code.CONFIGURATION, f"the configuration has no {key}" if value == "" else
                       f"{key} is not a text", f'write for example "{key}": "vpc1"')
    return value


def _names(value: object, key: str) -> Iterator[str]:
    """Names in a list, or in a text with commas."""
    found = value.split(",") if isinstance(value, str) else [] if value is None else value
    if not isinstance(found, list) or not all(isinstance(one, str) for one in found):
        raise CniError(Code.CONFIGURATION, f"{key} is not a list of texts",
                       f'write for example "{key}": ["{"10.0.1.10" if key == "address" else "web"}"]')
    return filter(None, found)


def _addresses(value: object) -> Iterator[IPv4Address]:
    for one in _names(value, "address"):
        try:
            yield IPv4Address(one.partition("/")[0])
        except AddressValueError:
            raise CniError(Code.CONFIGURATION, f"{one!r} is not an IPv4 address",
                           "write for example 10.0.1.10") from None


def _valid(given: Mapping[str, Any]) -> Iterator[Attachment]:
    # In Go, an empty list may be null.
    listed = next((given[key] for key in VALID if key in given), None) or []
    if not isinstance(listed, list):
        raise CniError(Code.CONFIGURATION, "the valid attachments are not a list")
    for one in listed:
        if not isinstance(one, Mapping) or not {"containerID", "ifname"} <= one.keys():
            raise CniError(Code.CONFIGURATION, "a valid attachment has no containerID or no ifname")
        yield Attachment(str(one["containerID"]), str(one["ifname"]))

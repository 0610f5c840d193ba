"""What Docker's driver must remember: its networks and endpoints, which Docker names by number only."""

from __future__ import annotations

import fcntl
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, field, replace
from ipaddress import IPv4Address
from pathlib import Path
from typing import Any

from vpcctl_lib.errors import BadInput, VpcctlError
from vpcctl_lib.frozen import frozen
from vpcctl_lib.kernel import disk
from vpcctl_lib.model import publishing
from vpcctl_lib.model.endpoints import Site
from vpcctl_lib.model.outside import Publish
from vpcctl_lib.record.trust import check_file, check_folder

VERSION = 1
FILE, LOCK = "docker.json", "docker.lock"


@frozen
class Network:
    """A network of Docker's, and the subnet that it stands for."""

    vpc: str
    subnet: str
    groups: tuple[str, ...] = ()


@frozen
class Plug:
    """An endpoint of Docker's: the machine that a container is, or will be."""

    vpc: str
    subnet: str
    machine: str
    address: str
    groups: tuple[str, ...] = ()
    sandbox: str = ""
    """The path of the container's namespace, once it joins; Docker may make it later."""

    attached: bool = False
    """Whether its machine was attached."""

    ports: tuple[str, ...] = ()
    """Ports of the host that lead to it, as docker's -p writes them."""

    @property
    def site(self) -> Site:
        """The machine's place."""
        return Site(self.vpc, self.subnet, self.machine)

    @property
    def ip(self) -> IPv4Address:
        """The machine's address."""
        return IPv4Address(self.address)

    @property
    def publishes(self) -> tuple[Publish, ...]:
        """Its ports."""
        return tuple(map(publishing.parse, self.ports))

    def at(self, sandbox: str = "", attached: bool = False) -> Plug:
        """The same, of a container whose namespace is there."""
        return replace(self, sandbox=sandbox, attached=attached)


@frozen
class Book:
    """All networks and endpoints by Docker's numbers."""

    networks: dict[str, Network] = field(default_factory=dict)
    plugs: dict[str, Plug] = field(default_factory=dict)
    reserved: dict[str, tuple[str, ...]] = field(default_factory=dict)
    """Addresses that Docker has asked for, by pool."""

    def with_network(self, number: str, network: Network) -> Book:
        """With that network."""
        return replace(self, networks={**self.networks, number: network})

    def without_network(self, number: str) -> Book:
        """Without that network, which may be gone already."""
        return replace(self, networks={key: one for key, one in self.networks.items() if key != number})

    def with_plug(self, number: str, plug: Plug) -> Book:
        """With that endpoint."""
        return replace(self, plugs={**self.plugs, number: plug})

    def without_plug(self, number: str) -> Book:
        """Without that endpoint, which may be gone already."""
        return replace(self, plugs={key: one for key, one in self.plugs.items() if key != number})

    def with_reserved(self, pool: str, address: IPv4Address) -> Book:
        """With that address reserved."""
        held = dict.fromkeys((*self.reserved.get(pool, ()), str(address)))
        return replace(self, reserved={**self.reserved, pool: tuple(held)})

    def without_reserved(self, pool: str, address: str) -> Book:
        """Without that address, which may be free already."""
        held = tuple(one for one in self.reserved.get(pool, ()) if one != address)
        others = {key: one for key, one in self.reserved.items() if key != pool}
        return replace(self, reserved={**others, pool: held} if held else others)

    def taken(self, vpc: str, subnet: str, wish: IPv4Address | None = None) -> set[IPv4Address]:
        """The addresses of a subnet that containers have, or will have.

        Whoever names one that is only reserved gets it: its container may have ended without giving it back.
        """
        held = {one.ip for one in self.plugs.values() if (one.vpc, one.subnet) == (vpc, subnet)}
        reserved = set(map(IPv4Address, self.reserved.get(f"{vpc}/{subnet}", ())))
        return held | (reserved - {wish})


class Shelf:
    """The book on disk."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._file = folder / FILE

    @contextmanager
    def locked(self) -> Iterator[None]:
        """One request after the other: Docker sends them in parallel."""
        check_folder(self._folder)
        disk.make_folder(self._folder)
        file = disk.open_kept(self._folder / LOCK, os.O_RDWR, disk.SECRET)
        try:
            fcntl.flock(file, fcntl.LOCK_EX)
            yield
        finally:
            os.close(file)

    def read(self) -> Book:
        """The book; empty if there is none. VpcctlError if it can't be understood."""
        try:
            text = disk.read_own(self._file, check_file)
        except FileNotFoundError:
            return Book()
        except OSError as error:
            raise VpcctlError(f"{self._file}: {error.strerror}") from None
        try:
            return _book(json.loads(text))
        except (ValueError, RecursionError, KeyError, TypeError, AttributeError, BadInput):
            raise VpcctlError(f"{self._file} can't be read: it is damaged, or of a newer vpcctl",
                              "remove it, and all containers that are in networks of vpcctl's") from None

    def write(self, book: Book) -> None:
        """Replace it as a whole."""
        text = json.dumps({"version": VERSION, **asdict(book)}, indent=1)
        draft = self._file.with_suffix(".new")
        disk.write_new(draft, text.encode(), disk.SECRET)
        draft.rename(self._file)


def _book(data: Any) -> Book:
    if data["version"] != VERSION:
        raise ValueError
    networks = {str(number): Network(one["vpc"], one["subnet"], tuple(one["groups"]))
                for number, one in data["networks"].items()}
    plugs = {str(number): Plug(**{**one, **{key: tuple(one.get(key, ())) for key in ("groups", "ports")}})
             for number, one in data["plugs"].items()}
    if any(one.ip.is_unspecified or not all(one.publishes) for one in plugs.values()):
        raise ValueError
    reserved = {str(pool): tuple(str(IPv4Address(one)) for one in held)
                for pool, held in data.get("reserved", {}).items()}
    return Book(networks, plugs, reserved)

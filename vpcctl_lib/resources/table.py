"""nft tables of ours: each is loaded as a whole, and changed by what differs."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any, ClassVar

from vpcctl_lib.frozen import frozen
from vpcctl_lib.resources.base import Operations, Place, Resource, within
from vpcctl_lib.resources.nftables import Nft
from vpcctl_lib.resources.operation import Facts


def head(family: str, name: str) -> str:
    """Deletes an existing table; the first line creates one if there is none, so the second can't fail."""
    return f"table {family} {name}\ndelete table {family} {name}\n"


@frozen
class Table(Resource):
    """An nft table in a namespace."""

    namespace: str

    head: ClassVar[str]
    """What deletes it."""

    apart: ClassVar[str]
    """A name for it: no other command of a change touches it, nor waits for it."""

    in_place = True
    unasked = True

    @property
    def removal(self) -> str:
        """The script that deletes it, whether it exists or not."""
        return self.head

    @property
    def homes(self) -> frozenset[Place]:
        """The namespace."""
        return within(self.namespace)

    @abstractmethod
    def text(self) -> str:
        """The table in nft's syntax."""

    @property
    @abstractmethod
    def rest(self) -> object:
        """What can't be changed but by loading all of it: everything but the members."""

    @abstractmethod
    def moved(self, old: Any) -> str:
        """The commands that turn the members of a table with the same rest into its own."""

    def make(self) -> Operations:
        """Loads all of it at once."""
        return (Nft(self.namespace, self._whole(), self.apart),)

    def unmake(self, facts: Facts) -> Operations:
        """Gone."""
        return (Nft(self.namespace, self.removal, self.apart),)

    def change(self, old: Resource) -> Operations:
        """Only the members that differ: no packet is lost, and others need not be loaded again."""
        if not isinstance(old, Table) or type(old) is not type(self) or old.rest != self.rest:
            return self.make()
        text = self.moved(old)
        return (Nft(self.namespace, text, self.apart, self._whole),) if text else ()

    def repair(self, old: Resource) -> Operations:
        """The whole table, whatever is there."""
        return self.make()

    def _whole(self) -> str:
        return self.removal + self.text()

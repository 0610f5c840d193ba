"""A private host to play and test in: own network, own state, a small internet; ends with its program."""

from vpcctl_lib.sandbox.child import CannotRun
from vpcctl_lib.sandbox.entry import Wish, enter, join
from vpcctl_lib.sandbox.joining import Sandbox, is_inside, running

__all__ = ["CannotRun", "Sandbox", "Wish", "enter", "is_inside", "join", "running"]

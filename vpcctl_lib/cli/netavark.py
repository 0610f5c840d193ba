"""`vpcctl-netavark`, which netavark and Podman start: a verb, JSON in, JSON out."""

from __future__ import annotations

import json
import sys
from typing import Any

from vpcctl_lib.cli import streams
from vpcctl_lib.cli.cni import LONGEST, context
from vpcctl_lib.errors import BadInput, VpcctlError
from vpcctl_lib.managers.instance import InstanceManager
from vpcctl_lib.runtimes import netavark
from vpcctl_lib.runtimes.values import object_in


def main() -> None:
    """The entry point of the installed program."""
    streams.set_up()
    try:
        _print(answered(sys.argv[1:]))
    except VpcctlError as error:
        _print({"error": error.message + (f" ({error.hint})" if error.hint else "")})
        sys.exit(1)
    except Exception as error:
        # netavark reads an error in its form; what Python has to say is for its log.
        _print({"error": f"{type(error).__name__}: {error}"})
        raise


def answered(words: list[str]) -> dict[str, Any] | None:
    """The answer to a verb and its argument; VpcctlError if it can't be done."""
    verb = words[0] if words else "info"
    if verb == "info":
        return netavark.info()
    if verb not in ("create", "setup", "teardown"):
        raise BadInput(f"there is no subcommand {verb!r}", "Podman and netavark start this program")
    if verb != "create" and len(words) < 2:
        raise BadInput("the path of the container's namespace is missing", f"write: {verb} PATH")
    request = object_in(sys.stdin.buffer.read(LONGEST))
    if verb == "create":
        return netavark.created(request, InstanceManager(context()).state().topology)
    if verb == "setup":
        return netavark.set_up(request, words[1], context())
    netavark.tear_down(request, context())
    return None


def _print(document: dict[str, Any] | None) -> None:
    if document is not None:
        sys.stdout.write(json.dumps(document) + "\n")
        sys.stdout.flush()

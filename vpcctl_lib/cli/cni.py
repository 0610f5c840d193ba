"""`vpcctl-cni`, which container runtimes start: variables and JSON in, JSON out."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

from vpcctl_lib.cli import streams
from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.kernel.audit import Audit
from vpcctl_lib.kernel.run import Runner
from vpcctl_lib.managers.base import Context
from vpcctl_lib.record.document import DEFAULT_FOLDER
from vpcctl_lib.record.store import Store
from vpcctl_lib.record.trust import check_folder
from vpcctl_lib.runtimes import cni_result as result
from vpcctl_lib.runtimes.cni import run
from vpcctl_lib.runtimes.cni_request import CniError, Code, parse, version_in

COMMAND = "CNI_COMMAND"

LONGEST = 1 << 20
"""Bytes of a configuration."""


def main() -> None:
    """The entry point of the installed program."""
    streams.set_up()
    # A person who starts it to see what it is has nothing to write.
    text = sys.stdin.buffer.read(LONGEST).decode(errors="replace") if os.environ.get(COMMAND) else ""
    try:
        _print(run(parse(os.environ, text), context()))
    except VpcctlError as error:
        number = error.number if isinstance(error, CniError) else Code.FAILED.value
        _print(result.failure(version_in(text), number, error.message, error.hint))
        sys.exit(1)
    except Exception as error:
        # The runtime reads an error in the specification's form; what Python has to say is for its log.
        _print(result.failure(version_in(text), Code.FAILED.value, f"{type(error).__name__}: {error}", ""))
        raise


def context() -> Context:
    """What the plugins need: the state folder, and a runner that writes to its log."""
    folder = Path(os.environ.get("VPCCTL_STATE_DIR") or DEFAULT_FOLDER)
    check_folder(folder)
    store = Store(folder)
    audit = Audit(store.log)
    return Context(store, Runner(record=audit.record, note=audit.record_own))


def _print(document: dict[str, Any] | None) -> None:
    """One JSON document, or nothing."""
    if document is not None:
        sys.stdout.write(json.dumps(document) + "\n")
        sys.stdout.flush()

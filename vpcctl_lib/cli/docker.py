"""`vpcctl-docker`, Docker's network driver: it listens where Docker looks for its plugins."""

from __future__ import annotations

import json
import sys
from http import HTTPStatus
from pathlib import Path

import click

from vpcctl_lib import __version__
from vpcctl_lib.cli import streams
from vpcctl_lib.cli.cni import context
from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.managers.base import need_root
from vpcctl_lib.runtimes.docker import Driver
from vpcctl_lib.runtimes.serving import Reply, Server, opened, passed

SOCKET = Path("/run/docker/plugins/vpcctl.sock")


@click.command(context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--socket", default=SOCKET, show_default=True, type=click.Path(path_type=Path), metavar="PATH",
              help="Where to listen, if systemd has not opened the socket.")
@click.version_option(__version__)
def docker(socket: Path) -> None:
    """Lets Docker's containers join VPCs as they start: the network driver `vpcctl`.

    Docker finds it by its socket. systemd starts it when Docker asks for it (vpcctl-docker.socket); without
    systemd, run it as root beside dockerd, before it.

    \b
    Example:
      docker network create -d vpcctl --ipam-driver null -o vpc=vpc1 -o subnet=public app
      docker run -d --name web --network app nginx
    """
    need_root()
    listener = passed()
    own = None if listener else socket
    listener = listener or opened(socket)
    server = Server(listener, answer, _tell)
    for task in Driver(context()).take_up():
        server.aside(task)
    server.serve()
    if own:
        own.unlink(missing_ok=True)


def answer(operation: str, body: bytes) -> Reply:
    """The answer to one request of Docker's."""
    driver = Driver(context())
    if not driver.knows(operation):
        return HTTPStatus.NOT_FOUND, _refusal(f"no operation {operation!r}"), None
    try:
        found = driver.answer(operation, body)
    except VpcctlError as error:
        said = f"vpcctl: {error.message}" + (f" ({error.hint})" if error.hint else "")
        _tell(said)
        return HTTPStatus.OK, _refusal(said), None
    except Exception as error:
        # Docker waits for an answer, and shows it; what Python has to say is for the log.
        _tell(f"{operation}: {type(error).__name__}: {error}")
        text = _refusal(f"vpcctl: {type(error).__name__}: {error}")
        return HTTPStatus.INTERNAL_SERVER_ERROR, text, None
    return HTTPStatus.OK, json.dumps(found.document).encode(), found.later


def _refusal(text: str) -> bytes:
    """An error: `Err` for a network driver, `Error` for an IPAM driver."""
    return json.dumps({"Err": text, "Error": text}).encode()


def _tell(text: str) -> None:
    sys.stderr.write(f"{text}\n")
    sys.stderr.flush()


def main() -> None:
    """The entry point of the installed program."""
    streams.set_up()
    try:
        docker.main(prog_name="vpcctl-docker", standalone_mode=True)
    except VpcctlError as error:
        _tell(f"vpcctl-docker: {error.message}" + (f"; {error.hint}" if error.hint else ""))
        sys.exit(error.code)

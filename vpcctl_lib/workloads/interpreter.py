"""The Python that a workload can run: one whose files the unprivileged user may read."""

from __future__ import annotations

import os
import stat
import sys
from collections.abc import Sequence
from pathlib import Path

from vpcctl_lib.errors import VpcctlError
from vpcctl_lib.keeper.folders import OWN

SYSTEM = ("/usr/bin/python3", "/usr/local/bin/python3")


def web_server(vpc: str, subnet: str, address: str, port: int) -> tuple[str, ...]:
    """The command of the web server; it contains the program text, since its user may not reach our code."""
    source = Path(__file__).with_name("webserver.py").read_text()
    return (python(), "-I", "-c", source, vpc, subnet, address, str(port))


def relay(port: int, servers: Sequence[str]) -> tuple[str, ...]:
    """The command of the relay for DNS, likewise."""
    source = Path(__file__).with_name("relay.py").read_text()
    return (python(), "-I", "-S", "-c", source, str(port), *servers)


def sniffer(device: str) -> tuple[str, ...]:
    """The command that writes the packets of a link; it runs as we do."""
    source = Path(__file__).with_name("sniffer.py").read_text()
    return (sys.executable, "-I", "-S", "-c", source, device)
COLLECTOR = ("kernel.syscalls", "kernel.netlink", "keeper.log", "flows.names", "flows.reading",
             "flows.accounts", "flows.totals", "flows.journal", "flows.config", "flows.records",
             "flows.collector")
"""The modules of the collector of flow logs, each after those that it imports."""


def collector(watched: str) -> tuple[str, ...]:
    """The command of the collector of flow logs, likewise: its modules, one after the other."""
    library = Path(__file__).parents[1]
    sources = {f"{library.name}.{name}": library.joinpath(*name.split(".")).with_suffix(".py").read_text()
               for name in COLLECTOR}
    return (python(), "-I", "-S", "-c", f"{BUNDLE.format(sources=sources)}main({watched!r})\n")


BUNDLE = """import sys
from types import ModuleType
for name, source in {sources!r}.items():
    parts = name.split(".")
    for end in range(1, len(parts)):
        above = sys.modules.setdefault(".".join(parts[:end]), ModuleType(".".join(parts[:end])))
        above.__path__ = []
    module = sys.modules[name] = ModuleType(name)
    exec(compile(source, name, "exec"), module.__dict__)
    setattr(above, parts[-1], module)
main = module.main
"""
"""A program of several modules in one text."""


def python() -> str:
    """The interpreter; VpcctlError if every one is in a folder closed to others, such as /root."""
    # Imported late: it is large, and only a new web server needs it.
    import sysconfig

    ours = os.path.realpath(sys.executable)
    if _open_to_all(ours) and _open_to_all(sysconfig.get_path("stdlib")):
        return ours
    for path in SYSTEM:
        if _open_to_all(path):
            return path
    raise VpcctlError(f"no Python that an unprivileged user may run: {ours} is in a closed folder",
                      "install the system's: apt-get install python3")


def _open_to_all(path: str) -> bool:
    """Whether others may read the file and enter all folders above it (path_resolution(7)).

    False in folders of which a workload has its own.
    """
    real = Path(os.path.realpath(path))
    if any(str(real).startswith(f"{folder}/") for folder in OWN):
        return False
    return real.exists() and all(_others_may_enter(place) for place in (real, *real.parents))


def _others_may_enter(place: Path) -> bool:
    wanted = stat.S_IXOTH | (stat.S_IROTH if place.is_file() else 0)
    return place.stat().st_mode & wanted == wanted

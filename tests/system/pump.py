"""A virtual machine's network card without QEMU: carries frames between a tap and a link elsewhere.

`pump.py TAP NAMESPACE LINK MAC` runs in the tap's namespace. It makes the link, itself a tap, in the other
namespace, which is the guest: whatever runs there uses the kernel's own network stack.
"""

from __future__ import annotations

import errno
import os
import select
import subprocess
import sys
from typing import TYPE_CHECKING

from guests import opened
from probes import enter

if TYPE_CHECKING:
    from host import Host


def plugged(host: Host, space: str, mac: str, tap: str = "vm0") -> int:
    """Give the namespace `guest` the other end of a tap, as its `eth0`; the number of the process."""
    said = f"{host.scratch}/pump"
    host.sh(f"rm -f {said}")
    pid = host.start(space, sys.executable, __file__, tap, "guest", "eth0", mac, output=said)
    host.wait_until(lambda: host.run("cat", said).out != "", "the guest has its link")
    assert host.run("cat", said).out == "ready\n"
    return pid


def main(tap: str, namespace: str, link: str, mac: str) -> None:
    """Until one of the two goes."""
    near = opened(tap)
    enter(namespace)
    far = opened(link)
    subprocess.run(["ip", "link", "set", link, "address", mac, "up"], check=True)
    print("ready", flush=True)
    ways = {near: far, far: near}
    while True:
        for descriptor in select.select(list(ways), [], [])[0]:
            frame = os.read(descriptor, 65536)
            try:
                os.write(ways[descriptor], frame)
            except OSError as error:
                # A link that is down takes no frame, as a card whose cable is out.
                if error.errno != errno.EIO:
                    raise


if __name__ == "__main__":
    main(*sys.argv[1:])

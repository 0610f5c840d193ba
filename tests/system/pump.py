"""A virtual machine's network card without QEMU: carries frames between a tap and a link elsewhere.

`pump.py TAP NAMESPACE LINK MAC` runs in the tap's namespace. It makes the link, itself a tap, in the other
namespace, which is the guest: whatever runs there uses the kernel's own network stack.
"""

from __future__ import annotations

import os
import select
import subprocess
import sys

from guests import opened
from probes import enter


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
            os.write(ways[descriptor], os.read(descriptor, 65536))


if __name__ == "__main__":
    main(*sys.argv[1:])

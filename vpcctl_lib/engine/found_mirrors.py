"""The mirrors of a machine whose record is lost, from the marks of the links that copies go by."""

from __future__ import annotations

import re
from collections.abc import Iterator

from vpcctl_lib.errors import BadInput
from vpcctl_lib.kernel.reader import Kernel
from vpcctl_lib.model import mirroring, naming
from vpcctl_lib.model.kinds import Names
from vpcctl_lib.model.mirrors import Mirror
from vpcctl_lib.model.topology import Machine


def mirrors(kernel: Kernel, machine: Machine, names: Names, notes: list[str]) -> Iterator[Mirror]:
    """Those that the VPC's router has a link for; its number is that of the mirror."""
    vpc, subnet, name = names
    mark = naming.mirror_owner(vpc, subnet, name, "")
    links = {link["ifname"]: str(link.get("ifalias", "")) for link in kernel.links(vpc)}
    for device, alias in links.items():
        number = re.fullmatch(r"copy([1-9][0-9]{0,7})", device)
        if number is None or not alias.startswith(mark):
            continue
        vni = int(number[1])
        try:
            to = mirroring.parse_target(alias.removeprefix(mark))
            yield Mirror(to, mirroring.check_vni(vni), naming.mirror_end(vni) in links)
        except BadInput:
            notes.append(f"a mirror of '{'/'.join(filter(None, names))}' can't be rebuilt: its mark is not "
                         "vpcctl's")

"""Elastic addresses: one that still leads to the old machine, and a group that is missing."""

from __future__ import annotations

from vpcctl_lib.lessons.lesson import Lesson, never, reaches

LESSON = Lesson(
    name="elastic-addresses",
    title="Elastic addresses",
    about="one address of the outside for one machine, both ways, as far as its groups allow",
    symptom=(
        '"We have replaced web1 by web2. All customers know us as 198.51.100.2, but what they get is the '
        'old page, and from our partner I hear that web2\'s calls come from a strange address."'
    ),
    task="Who opens http://198.51.100.2 gets web2's page, and the internet sees web2 as 198.51.100.2. "
         "Only port 80 is open from outside.",
    network="""\
version: 2
eip_pools:
  198.51.100.0/28: eth0
eips:
  198.51.100.2: shop/front/web1
vpcs:
  shop:
    cidr: 10.0.0.0/16
    nat: true
    groups:
      web: {ingress: [{protocol: tcp, port: 80, action: allow}]}
      inner: {ingress: [{protocol: tcp, port: 80, action: allow, source: 10.0.0.0/16}]}
    subnets:
      front:
        cidr: 10.0.1.0/24
        type: public
        bare: true
        instances:
          web1: {address: 10.0.1.4, groups: [web], workloads: {webserver-80: {webserver: 80}}}
          web2:
            address: 10.0.1.5
            groups: [inner]
            workloads: {webserver-80: {webserver: 80}, webserver-9090: {webserver: 9090}}
      ops: {cidr: 10.0.2.0/24}
""",
    asks=(
        reaches("internet", "198.51.100.2", 80),
        reaches("host", "198.51.100.2", 80, says="front/web2"),
        reaches("shop/front/web2", "internet", 80, says="your address: 198.51.100.2"),
        reaches("shop/ops", "shop/front/web2", 80),
        never("internet", "198.51.100.2", 9090),
        never("internet", "198.51.100.2", 22),
        never("shop/ops", "shop/front/web2", 9090),
        never("shop/ops", "internet"),
    ),
    hints=(
        "vpcctl eip list: which machine has the address?",
        "It moves with eip associate. Then ask again: vpcctl reach --from internet --to shop/front/web2 "
        "--port 80.",
        "web2 is in a group that allows only the VPC itself. There is another group that allows everybody "
        "on port 80. How does web1 do it? vpcctl instance list shows groups.",
    ),
    solution="""\
vpcctl eip associate --address 198.51.100.2 --vpc shop --subnet front --instance web2
vpcctl group join --vpc shop --subnet front --instance web2 --name web
""",
    why=(
        "An elastic address belongs to a machine and not to a name: it stayed with web1. It works both "
        "ways, so web2's own calls had the host's address. And what comes from outside still has to pass "
        "the machine's groups: inner lets in the VPC only. The group web opens port 80; taking web2 out of "
        "its groups would have opened 9090, too."
    ),
)

"""Peering: it joins two VPCs, and no third one."""

from __future__ import annotations

from vpcctl_lib.lessons.lesson import Lesson, never, reaches

LESSON = Lesson(
    name="peering",
    title="Peering",
    about="a peering joins two VPCs, both ways, and is not transitive",
    symptom=(
        '"The office can\'t open the shop\'s page at 10.0.1.2. But it is peered with hub, and hub with '
        'shop! A route was missing, so I have added it to office\'s router. Packets go to hub now, and '
        'still no page."'
    ),
    task="office/desk reaches shop/web on tcp port 80, and shop/web reaches the desk by ping. "
         "The guests, who are peered with hub, too, reach nothing of shop.",
    network="""\
version: 1
vpcs:
  shop:
    cidr: 10.0.0.0/16
    subnets:
      web: {cidr: 10.0.1.0/24, workloads: {webserver-80: {webserver: 80}}}
      db:
        cidr: 10.0.2.0/24
        firewall: {ingress: [{protocol: tcp, port: 5432, action: allow, source: 10.0.1.0/24}]}
        workloads: {webserver-5432: {webserver: 5432}}
  hub:
    cidr: 10.1.0.0/16
    subnets:
      tools: {cidr: 10.1.1.0/24}
  office:
    cidr: 172.16.0.0/16
    subnets:
      desk: {cidr: 172.16.1.0/24}
  guests:
    cidr: 172.17.0.0/16
    subnets:
      lounge: {cidr: 172.17.1.0/24}
peerings:
  - [hub, shop]
  - [hub, office]
  - [guests, hub]
""",
    fault=("ip -n office route add 10.0.0.0/16 via 10.1.0.1 dev pcx-hub",),
    asks=(
        reaches("office/desk", "shop/web", 80),
        reaches("shop/web", "office/desk"),
        reaches("hub/tools", "shop/web", 80),
        reaches("shop/web", "shop/db", 5432),
        never("guests/lounge", "shop/web", 80),
        never("guests/lounge", "office/desk"),
        never("office/desk", "shop/db", 5432),
        never("hub/tools", "shop/db", 5432),
    ),
    hints=(
        "vpcctl reach --from office/desk --to shop/web --port 80: who refuses, and what does the rule "
        "accept?",
        "office sends to hub only what is for hub. Even if it sent more: hub forwards nothing from cable "
        "to cable, and shop's router has no route back to office.",
        "office and shop need a peering of their own. The route by hand is in its way: vpcctl status names "
        "it, and vpcctl restore removes it.",
    ),
    solution="""\
vpcctl restore
vpcctl peer create --vpc1 office --vpc2 shop
""",
    why=(
        "A peering is not transitive: else whoever peers with hub, such as the guests, would reach all its "
        "peers. A route is one of several things that are missing, and on the way back shop has no route "
        "either. Peer those two that talk to each other. Many VPCs need many peerings, so clouds sell a "
        "hub, such as AWS's Transit Gateway."
    ),
)

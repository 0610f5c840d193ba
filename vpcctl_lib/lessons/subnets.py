"""Subnets: a cable that is no longer plugged into the switch."""

from __future__ import annotations

from vpcctl_lib.lessons.lesson import Lesson, never, reaches

LESSON = Lesson(
    name="subnets",
    title="Subnets",
    about="a subnet is a namespace with a cable into the VPC's switch",
    symptom=(
        '"The shop shows no prices since this morning: web asks db for them on port 5432 and waits for ever. '
        'Nobody has touched db. When I log in there, it runs, and it has its address."'
    ),
    task="web reaches db on tcp port 5432 again. lab still reaches nothing of db.",
    network="""\
version: 1
vpcs:
  shop:
    cidr: 10.0.0.0/16
    subnets:
      web: {cidr: 10.0.1.0/24}
      db:
        cidr: 10.0.2.0/24
        firewall:
          ingress:
            - {protocol: tcp, port: 5432, action: allow, source: 10.0.1.0/24}
            - {protocol: icmp, action: allow, source: 10.0.1.0/24}
        workloads: {webserver-5432: {webserver: 5432}}
      lab: {cidr: 10.0.3.0/24}
""",
    fault=("ip -n shop link set s-db nomaster",),
    asks=(
        reaches("shop/web", "shop/db", 5432),
        reaches("shop/db", "shop/web"),
        reaches("shop/web", "shop/lab"),
        never("shop/lab", "shop/db", 5432),
        never("shop/lab", "shop/db"),
        never("shop/web", "shop/db", 22),
    ),
    hints=(
        "Follow a packet: vpcctl reach --from shop/web --to shop/db --port 5432. How far does it get?",
        "db's cable has two ends: eth0 in namespace shop-db, and s-db in namespace shop, the router. "
        "Which links are plugged into the switch? ip -n shop -br link show master br-shop",
        "vpcctl status compares what was recorded with what the kernel has, and names what differs.",
    ),
    solution="vpcctl restore\n",
    why=(
        "Somebody unplugged db's cable from the switch (ip link set s-db nomaster): it was up, but led "
        "nowhere. If you plug it in by hand (ip -n shop link set s-db master br-shop), packets flow again, "
        "but the port lacks the settings that it had: it learns, floods, and does not answer ARP. status "
        "names them. restore puts back all that was recorded. Opening firewalls does not repair a cable, "
        "and lets lab in."
    ),
)

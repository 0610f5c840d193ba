"""Routes: a longer prefix that leads nowhere."""

from __future__ import annotations

from vpcctl_lib.lessons.lesson import Lesson, never, reaches

LESSON = Lesson(
    name="routes",
    title="Routes",
    about="the longest prefix wins, in each machine's own table",
    symptom=(
        '"web reads from the copy of our database, 10.0.2.200, but not from the database itself, 10.0.2.2. '
        'They are in the same subnet, with the same policy! lab pings both of them without any trouble. '
        'So it must be something of web\'s own, but its routes are those of every machine."'
    ),
    task="web reaches db and its copy on tcp port 5432. lab reaches them by ping only, as before.",
    network="""\
version: 2
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
            - {protocol: icmp, action: allow, source: 10.0.0.0/16}
        workloads: {webserver-5432: {webserver: 5432}}
        instances:
          copy: {address: 10.0.2.200, workloads: {webserver-5432: {webserver: 5432}}}
      lab: {cidr: 10.0.3.0/24}
""",
    fault=("ip -n shop-web route add unreachable 10.0.2.0/25",),
    asks=(
        reaches("shop/web", "shop/db", 5432),
        reaches("shop/web", "shop/db/copy", 5432),
        reaches("shop/db", "shop/web"),
        reaches("shop/lab", "shop/db"),
        never("shop/lab", "shop/db", 5432),
        never("shop/lab", "shop/db/copy", 5432),
    ),
    hints=(
        "Ask web's kernel which route it takes: ip -n shop-web route get 10.0.2.2, and the same for "
        "10.0.2.200.",
        "ip -n shop-web route lists all of web's routes. Which of them match 10.0.2.2, and which is the "
        "longest?",
        "10.0.2.0/25 is 10.0.2.0 to 10.0.2.127. Nothing that vpcctl made is missing, so restore does not "
        "help: a route is one too many.",
    ),
    solution="ip -n shop-web route del unreachable 10.0.2.0/25\n",
    why=(
        "10.0.2.0/25 is longer than 10.0.0.0/16, so it wins for 10.0.2.2, and it leads nowhere. 10.0.2.200 "
        "is in the other half. A route exists in one namespace only, so lab had no trouble. vpcctl restore "
        "puts back what is missing; in a machine, it leaves alone what its root has added."
    ),
)

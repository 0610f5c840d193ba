"""Names: a record that still has the old address."""

from __future__ import annotations

from vpcctl_lib.lessons.lesson import Lesson, never, reaches

LESSON = Lesson(
    name="names",
    title="Names",
    about="machines find each other by name, and a record may lie",
    symptom=(
        '"We have moved the database: new1 has taken over from old1, and everybody asks for it as '
        'db.shop.internal, so nothing else had to change. Yet web still gets yesterday\'s data. reach says '
        'that db.shop.internal is reachable!"'
    ),
    task="db.shop.internal leads web to new1, on tcp port 5432. www.shop.internal stays web. "
         "lab reaches neither database.",
    network="""\
version: 2
vpcs:
  shop:
    cidr: 10.0.0.0/16
    dns:
      records:
        db: 10.0.2.4
        www: web
    subnets:
      web: {cidr: 10.0.1.0/24, workloads: {webserver-80: {webserver: 80}}}
      back:
        cidr: 10.0.2.0/24
        bare: true
        firewall: {ingress: [{protocol: tcp, port: 5432, action: allow, source: 10.0.1.0/24}]}
        instances:
          old1: {address: 10.0.2.4, workloads: {webserver-5432: {webserver: 5432}}}
          new1: {address: 10.0.2.5, workloads: {webserver-5432: {webserver: 5432}}}
      lab: {cidr: 10.0.3.0/24}
""",
    asks=(
        reaches("shop/web", "db.shop.internal", 5432, says="back/new1"),
        reaches("shop/web", "new1.back.shop.internal", 5432, says="back/new1"),
        reaches("shop/lab", "www.shop.internal", 80, says="shop/web"),
        never("shop/lab", "shop/back/new1", 5432),
        never("shop/lab", "db.shop.internal", 5432),
        never("shop/web", "db.shop.internal", 22),
    ),
    hints=(
        "Ask as web does: vpcctl exec --vpc shop --subnet web -- getent hosts db.shop.internal. Whose "
        "address is it?",
        "vpcctl dns list shows which names follow from machines, and which are records of your own.",
        "A record of your own stays as it is when machines change. dns delete and dns add replace it; a "
        "CNAME would follow the machine.",
    ),
    solution="""\
vpcctl dns delete --vpc shop --name db
vpcctl dns add --vpc shop --name db --cname new1.back.shop.internal
""",
    why=(
        "The record db had old1's address, and old1 still answers. The network did what it was asked to do, "
        "so reach was right. A name that leads to another name (CNAME) follows the machine to each address "
        "that it gets; an address in a record has to be changed by somebody who remembers it."
    ),
    needs=("dnsmasq",),
)

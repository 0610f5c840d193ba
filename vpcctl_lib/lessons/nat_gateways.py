"""NAT gateways: a private subnet whose route table does not lead to it."""

from __future__ import annotations

from vpcctl_lib.lessons.lesson import Lesson, never, reaches

LESSON = Lesson(
    name="nat-gateways",
    title="NAT gateways",
    about="a private subnet gets out by the route in its own table, and nothing gets in",
    symptom=(
        '"app can\'t fetch the exchange rates from 8.8.8.8. We have paid for a NAT gateway, nat-gateway '
        "list shows it, and there is a table with a route to it. The bank lets in one address only, "
        "198.51.100.1, that of our gateway. I have tried to make app public, but then the bank sees "
        'another address."'
    ),
    task="app reaches the internet, which sees it as 198.51.100.1. db and front have no way out. "
         "Nothing gets in from outside.",
    network="""\
version: 2
eip_pools:
  198.51.100.0/28: eth0
eips:
  198.51.100.1: shop/edge/nat1
vpcs:
  shop:
    cidr: 10.0.0.0/16
    nat: true
    nat_gateways:
      nat1: {subnet: edge}
    route_tables:
      by-nat: {routes: {0.0.0.0/0: "nat:nat1"}}
    subnets:
      edge: {cidr: 10.0.0.0/24, type: public, bare: true}
      app:
        cidr: 10.0.1.0/24
        firewall: {ingress: [{protocol: tcp, port: 8080, action: allow, source: 10.0.3.0/24}]}
        workloads: {webserver-8080: {webserver: 8080}}
      db: {cidr: 10.0.2.0/24}
      front: {cidr: 10.0.3.0/24}
""",
    asks=(
        reaches("shop/app", "internet", 80, says="your address: 198.51.100.1"),
        reaches("shop/front", "shop/app", 8080),
        never("shop/db", "internet"),
        never("shop/front", "internet"),
        never("internet", "198.51.100.1", 8080),
        never("shop/db", "shop/app", 8080),
    ),
    hints=(
        "vpcctl reach --from shop/app --to internet says where the packet ends. Its fix would make app "
        "public: the bank would see the host's address.",
        "vpcctl route-table list shows each table with its subnets. Which table has app, and which has the "
        "route?",
        "A table counts for the subnets that are associated with it. route-table associate does that. "
        "Adding the route to main would let db out, too.",
    ),
    solution="vpcctl route-table associate --vpc shop --subnet app --name by-nat\n",
    why=(
        "The gateway and the table were right, and no subnet used the table: app had main, which has no way "
        "out. With by-nat, app goes out by nat1, which has the elastic address. A route in main would have "
        "let out db and front as well, because both have main."
    ),
)

"""Machines and containers: a container that has lost its link."""

from __future__ import annotations

from vpcctl_lib.lessons.lesson import Lesson, never, reaches

LESSON = Lesson(
    name="machines",
    title="Machines and containers",
    about="a subnet has many machines, and a container is one of them by its namespace",
    symptom=(
        '"Our cache is a container, a machine of subnet app like the others. At noon its owner ran an '
        "update script, which begins by tidying up the network inside. Since then no machine gets an answer "
        'from it. instance list still has it, with its address 10.0.1.20, and the container runs."'
    ),
    task="one and two, and the container, reach each other by ping. lab reaches none of the three.",
    network="""\
version: 2
vpcs:
  shop:
    cidr: 10.0.0.0/16
    subnets:
      app:
        cidr: 10.0.1.0/24
        bare: true
        firewall: {ingress: [{protocol: all, action: allow, source: 10.0.1.0/24}]}
        instances:
          one: {address: 10.0.1.10}
          two: {address: 10.0.1.11}
          cache: {address: 10.0.1.20, netns: /run/netns/cache-container}
      lab: {cidr: 10.0.3.0/24}
""",
    prepare=("ip netns add cache-container",),
    fault=("ip -n cache-container link del eth0",),
    asks=(
        reaches("shop/app/one", "shop/app/two"),
        reaches("shop/app/one", "shop/app/cache"),
        reaches("shop/app/two", "shop/app/cache"),
        reaches("shop/app/cache", "shop/app/one"),
        reaches("shop/app/one", "shop/lab"),
        never("shop/lab", "shop/app/one"),
        never("shop/lab", "shop/app/cache"),
    ),
    hints=(
        "Look into the container's namespace: ip -n cache-container -br addr. What does a machine have "
        "that it lacks?",
        "vpcctl status compares with what was recorded, and names what is missing, and of which machine.",
        "The link that vpcctl had put into the container is missing, and with it the address, the routes "
        "and the end at the switch. It has to be attached again, with the same address and policy.",
    ),
    solution="vpcctl restore\n",
    why=(
        "A container's network is its namespace, and its owner is root there: what vpcctl puts in can be "
        "deleted there, and ends with the namespace when the container ends. restore attaches it again as it "
        "was recorded: address, routes, and the subnet's policy. If you plugged in a cable of your own, lab "
        "would get past that policy. Docker's network driver, CNI and netavark attach containers at each "
        "start by themselves."
    ),
)

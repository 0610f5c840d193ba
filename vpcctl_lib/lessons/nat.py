"""NAT: the two subnets have each other's type."""

from __future__ import annotations

from vpcctl_lib.lessons.lesson import Lesson, never, reaches

LESSON = Lesson(
    name="nat",
    title="NAT",
    about="public subnets get out with the host's address, private ones do not",
    symptom=(
        '"Since last week web gets no updates from 8.8.8.8. I ran nat enable once more, and it says '
        'unchanged. Funny: db has no trouble at all with its updates."'
    ),
    task="web reaches the internet. db does not, and answers web on tcp port 5432 and nobody else.",
    network="""\
version: 1
vpcs:
  shop:
    cidr: 10.0.0.0/16
    nat: true
    subnets:
      web: {cidr: 10.0.1.0/24}
      db:
        cidr: 10.0.2.0/24
        type: public
        firewall: {ingress: [{protocol: tcp, port: 5432, action: allow, source: 10.0.1.0/24}]}
        workloads: {webserver-5432: {webserver: 5432}}
      lab: {cidr: 10.0.3.0/24}
""",
    asks=(
        reaches("shop/web", "internet", 80, says="your address: 203.0.113.2"),
        reaches("shop/web", "shop/db", 5432),
        never("shop/db", "internet", 80),
        never("shop/db", "internet"),
        never("shop/lab", "internet"),
        never("shop/lab", "shop/db", 5432),
    ),
    hints=(
        "vpcctl reach --to internet answers for every machine at once. Who gets out, and who should?",
        "NAT is for public subnets. vpcctl subnet list shows which are.",
        "vpcctl subnet set changes a subnet's type in place. Two subnets have the wrong one.",
    ),
    solution="""\
vpcctl subnet set --vpc shop --name web --type public
vpcctl subnet set --vpc shop --name db --type private
""",
    why=(
        "Somebody gave the two subnets each other's type. nat enable was done all the time: it lets public "
        "subnets out, and web was private. The fix that reach prints repairs web, and does not say that db "
        "should never have had a way out. Ask about both: who must get there, and who must not."
    ),
)

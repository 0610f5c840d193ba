"""Isolation: three rules by hand that join two VPCs."""

from __future__ import annotations

from vpcctl_lib.lessons.lesson import Lesson, never, reaches

LESSON = Lesson(
    name="isolation",
    title="Isolation",
    about="two VPCs are strangers, because of what is between them and not because of one rule",
    symptom=(
        '"A test in dev has deleted orders in production. How could it get there? The two have never been '
        "peered, vpcctl peer list shows nothing. I only know that somebody tried something with iptables on "
        'Friday, until it worked."'
    ),
    task="dev reaches nothing of prod, nor prod anything of dev. web of prod and lab of dev reach the "
         "internet, and web reaches db on tcp port 5432, as before.",
    network="""\
version: 1
vpcs:
  prod:
    cidr: 10.0.0.0/16
    nat: true
    subnets:
      web: {cidr: 10.0.1.0/24, type: public, workloads: {webserver-80: {webserver: 80}}}
      db:
        cidr: 10.0.2.0/24
        firewall:
          ingress:
            - {protocol: tcp, port: 5432, action: allow, source: 10.0.1.0/24}
            - {protocol: icmp, action: allow}
        workloads: {webserver-5432: {webserver: 5432}}
      jobs: {cidr: 10.0.3.0/24}
  dev:
    cidr: 172.16.0.0/16
    nat: true
    subnets:
      lab: {cidr: 172.16.1.0/24, type: public}
""",
    fault=(
        "iptables -I FORWARD -j ACCEPT",
        "iptables -t mangle -I POSTROUTING -j ACCEPT",
        "ip netns exec prod iptables -I FORWARD -j ACCEPT",
    ),
    asks=(
        reaches("prod/web", "prod/db", 5432),
        reaches("prod/web", "internet", 80),
        reaches("dev/lab", "internet", 80),
        never("dev/lab", "prod/web", 80),
        never("dev/lab", "prod/db"),
        never("prod/web", "dev/lab"),
        never("prod/jobs", "prod/db", 5432),
    ),
    hints=(
        "vpcctl reach --from dev/lab --to prod/web --port 80 names the rule that lets the packet through, "
        "at each gate.",
        "The gates are the host's FORWARD, a guard in its table mangle, and FORWARD of prod's router. "
        "Somebody opened all three: a rule at the top that accepts everything.",
        "vpcctl status names what was added to a router, and vpcctl restore removes it there. On the host, "
        "rules of others stay: delete them with iptables -D.",
    ),
    solution="""\
vpcctl restore
iptables -D FORWARD -j ACCEPT
iptables -t mangle -D POSTROUTING -j ACCEPT
""",
    why=(
        "One open gate opens nothing: the host refuses what goes from one VPC to another, a second guard on "
        "the host drops it, and the router of prod accepts strangers from nowhere. It took three rules to "
        "join the two, and one closed gate is enough to part them; leave none open. Flushing the chains "
        "removes the three rules, and NAT and all guards with them."
    ),
)

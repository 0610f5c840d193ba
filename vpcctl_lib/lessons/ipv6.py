"""IPv6: a policy whose sources are all of IPv4."""

from __future__ import annotations

from vpcctl_lib.lessons.lesson import Lesson, never, reaches

LESSON = Lesson(
    name="ipv6",
    title="IPv6",
    about="each machine has two addresses, and a rule may be about one of them only",
    symptom=(
        '"Since the VPC has IPv6, too, some clients in web wait for half a minute before they get anything '
        'from db, and others are as quick as ever. With curl -4 all is well. No rule was changed."'
    ),
    task="web reaches db on tcp port 5432 by IPv4 and by IPv6. lab reaches db by neither.",
    network="""\
version: 2
vpcs:
  shop:
    cidr: 10.0.0.0/16
    ipv6: fd12:3456:789a:100::/56
    subnets:
      web: {cidr: 10.0.1.0/24, ipv6: "fd12:3456:789a:101::/64"}
      db:
        cidr: 10.0.2.0/24
        ipv6: fd12:3456:789a:102::/64
        firewall:
          ingress:
            - {protocol: tcp, port: 5432, action: allow, source: 10.0.1.0/24}
            - {protocol: icmp, action: allow, source: 0.0.0.0/0}
        workloads: {webserver-5432: {webserver: 5432}}
      lab: {cidr: 10.0.3.0/24, ipv6: "fd12:3456:789a:103::/64"}
""",
    asks=(
        reaches("shop/web", "shop/db", 5432),
        reaches("shop/web", "shop/db", 5432, six=True),
        reaches("shop/db", "shop/web", six=True),
        never("shop/lab", "shop/db", 5432),
        never("shop/lab", "shop/db", 5432, six=True),
        never("shop/web", "shop/db", 22, six=True),
    ),
    hints=(
        "A client that gets two addresses for a name tries the one of IPv6 first, and waits. Ask about each: "
        "vpcctl reach --from shop/web --to shop/db --port 5432, and the same with -6.",
        "vpcctl firewall show --vpc shop --subnet db: of which family are the sources?",
        "A source of IPv4 says nothing of IPv6. Add a rule for web's range of IPv6, which subnet list "
        "prints, with firewall allow. A rule without a source would let lab in.",
    ),
    solution="""\
vpcctl firewall allow --vpc shop --subnet db --protocol tcp --port 5432 --source fd12:3456:789a:101::/64
""",
    why=(
        "A policy decides about both families, and a rule with a source of IPv4 about IPv4 alone. So "
        "nothing got in by IPv6: dropped, without an answer, which is why clients waited. Leaving out the "
        "source would be a rule for both families, and for everybody."
    ),
)

"""Network ACLs: the answers need a rule, too."""

from __future__ import annotations

from vpcctl_lib.lessons.lesson import Lesson, never, reaches

LESSON = Lesson(
    name="acls",
    title="Network ACLs",
    about="an ACL knows no connections: answers need a rule, for ephemeral ports",
    symptom=(
        '"Security wanted a network ACL around db: only web may ask it, on port 5432, and db itself begins '
        "nothing. I have allowed 5432 in and 5432 out. Now every query of web hangs. tcpdump in db shows "
        'the question coming in, and db answering!"'
    ),
    task="web reaches db on tcp port 5432. lab does not, and db itself reaches no machine of lab.",
    network="""\
version: 2
vpcs:
  shop:
    cidr: 10.0.0.0/16
    acls:
      db:
        description: only web may ask
        ingress: [{number: 100, protocol: tcp, port: 5432, action: allow, source: 10.0.1.0/24}]
        egress: [{number: 100, protocol: tcp, port: 5432, action: allow, destination: 10.0.1.0/24}]
    subnets:
      web: {cidr: 10.0.1.0/24}
      db:
        cidr: 10.0.2.0/24
        acl: db
        workloads: {webserver-5432: {webserver: 5432}, webserver-8080: {webserver: 8080}}
      lab: {cidr: 10.0.3.0/24, workloads: {webserver-8080: {webserver: 8080}}}
""",
    asks=(
        reaches("shop/web", "shop/db", 5432),
        reaches("shop/web", "shop/lab", 8080),
        never("shop/web", "shop/db", 8080),
        never("shop/lab", "shop/db", 5432),
        never("shop/db", "shop/lab", 8080),
        never("shop/db", "shop/lab"),
        never("shop/db", "shop/web"),
    ),
    hints=(
        "vpcctl reach --from shop/web --to shop/db --port 5432: on which of the two ways is the packet lost?",
        "The answer goes from port 5432 to the port that web's kernel chose for itself. Which is it, and "
        "does an egress rule allow it? vpcctl acl show --vpc shop --name db counts the packets of each "
        "rule.",
        "A client's port is one of 1024 to 65535. The egress rule must allow these, to web's subnet and to "
        "no other. Put the rules in a file, and in force with acl apply.",
    ),
    solution="""\
cat >/tmp/db.json <<'END'
{"ingress": [{"number": 100, "protocol": "tcp", "port": 5432, "action": "allow", "source": "10.0.1.0/24"}],
 "egress": [{"number": 100, "protocol": "tcp", "port": "1024-65535", "action": "allow",
             "destination": "10.0.1.0/24"}]}
END
vpcctl acl apply --vpc shop --name db --rules /tmp/db.json
""",
    why=(
        "A security group is stateful, a network ACL is not: it looks at each packet by itself. The port in "
        "a rule is the one that a packet is for. The question is for 5432, the answer for a port of web's, "
        "an ephemeral one. With 0.0.0.0/0 as destination, db could also talk to lab."
    ),
)

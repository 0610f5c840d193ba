"""Published ports: a port of the host that leads to a machine whose policy knows only its neighbours."""

from __future__ import annotations

from vpcctl_lib.lessons.lesson import Lesson, never, reaches

LESSON = Lesson(
    name="published-ports",
    title="Published ports",
    about="a port of the host leads to a machine, whose policy sees the caller's own address",
    symptom=(
        '"Customers open our page at port 8080 of this host, 203.0.113.2. With one subnet and no policy it '
        "worked. Since web has a policy, ops still sees the page, and no customer does. And by port 8081 "
        'the whole world gets to the administration, which is meant for the host alone!"'
    ),
    task="The internet reaches port 8080 of 203.0.113.2, and the host port 8081 of 127.0.0.1. "
         "From outside, 8081 leads nowhere.",
    network="""\
version: 2
vpcs:
  shop:
    cidr: 10.0.0.0/16
    subnets:
      web:
        cidr: 10.0.1.0/24
        firewall:
          ingress:
            - {protocol: tcp, port: 80, action: allow, source: 10.0.0.0/16, description: the page}
            - {protocol: tcp, port: 9090, action: allow, description: administration}
        publish: ["8080:80", "8081:9090"]
        workloads: {webserver-80: {webserver: 80}, webserver-9090: {webserver: 9090}}
      ops: {cidr: 10.0.2.0/24}
""",
    asks=(
        reaches("internet", "203.0.113.2", 8080),
        reaches("host", "127.0.0.1", 8081),
        reaches("shop/ops", "shop/web", 80),
        never("internet", "203.0.113.2", 8081, may_refuse=True),
        never("shop/ops", "shop/web", 22),
        never("shop/ops", "internet"),
    ),
    hints=(
        "vpcctl reach --from internet --to shop/web --port 80: who refuses, and what source does the "
        "packet have?",
        "A published port keeps the caller's address, so the policy sees a stranger. vpcctl firewall show "
        "--vpc shop --subnet web: whom does it let in on port 80?",
        "firewall allow adds a rule without a source for port 80. For the other one: publish list shows "
        "where each port listens, and publish add has --listen.",
    ),
    solution="""\
vpcctl firewall allow --vpc shop --subnet web --protocol tcp --port 80
vpcctl publish delete --port 8081
vpcctl publish add --vpc shop --subnet web --port 8081:9090 --listen 127.0.0.1
""",
    why=(
        "publish only translates: the machine's policy decides, and it sees who really calls. The rule for "
        "the page named the VPC, so customers were strangers to it. 8081 listened at all addresses of the "
        "host; at 127.0.0.1, only the host itself gets there. Clearing the policy would have opened port "
        "80, and every other one."
    ),
)

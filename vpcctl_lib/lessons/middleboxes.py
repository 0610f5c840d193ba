"""Middleboxes: a firewall machine that is asked twice about what it forwards."""

from __future__ import annotations

from vpcctl_lib.lessons.lesson import Lesson, never, reaches

LESSON = Lesson(
    name="middleboxes",
    title="Middleboxes",
    about="a route can lead through a machine, which is asked about packets in and out",
    symptom=(
        '"Everything that app sends to the internet now goes through our firewall machine, box. The rules '
        "are simple: app may open web pages, port 80, and ping, and nothing else gets through. ping works. "
        'No page opens."'
    ),
    task="app opens http://8.8.8.8 and pings it, through box. Other ports stay closed to it, such as 443. "
         "lab, which goes through box as well, gets nowhere.",
    network="""\
version: 2
vpcs:
  shop:
    cidr: 10.0.0.0/16
    nat: true
    route_tables:
      by-box: {routes: {0.0.0.0/0: "instance:edge/box"}}
    subnets:
      edge:
        cidr: 10.0.0.0/24
        type: public
        bare: true
        firewall:
          ingress:
            - {protocol: icmp, action: allow, source: 10.0.1.0/24}
            - {protocol: tcp, port: 80, action: allow, source: 10.0.1.0/24, description: pages}
          egress:
            - {protocol: icmp, action: allow}
            - {protocol: tcp, port: 8080, action: allow, description: pages}
        instances:
          box: {address: 10.0.0.10, forwards: true}
      app: {cidr: 10.0.1.0/24, route_table: by-box}
      lab: {cidr: 10.0.2.0/24, route_table: by-box}
""",
    asks=(
        reaches("shop/app", "internet", 80, says="your address: 203.0.113.2"),
        reaches("shop/app", "internet"),
        never("shop/app", "internet", 443),
        never("shop/app", "internet", 8080),
        never("shop/app", "internet", 53),
        never("shop/lab", "internet", 80),
        never("shop/lab", "internet"),
    ),
    hints=(
        "vpcctl reach --from shop/app --to internet --port 80: the packet gets into box. Does it get out "
        "again?",
        "A machine that forwards is asked twice: its ingress rules as the packet comes in, its egress "
        "rules as it goes on. vpcctl firewall show --vpc shop --subnet edge counts both.",
        "Compare the ports of the two rules that are described as pages.",
    ),
    solution="""\
cat >/tmp/edge.json <<'END'
{"ingress": [{"protocol": "icmp", "action": "allow", "source": "10.0.1.0/24"},
             {"protocol": "tcp", "port": 80, "action": "allow", "source": "10.0.1.0/24"}],
 "egress": [{"protocol": "icmp", "action": "allow"},
            {"protocol": "tcp", "port": 80, "action": "allow"}]}
END
vpcctl firewall apply --vpc shop --subnet edge --policy /tmp/edge.json
""",
    why=(
        "The egress rule had the wrong port, 8080. A packet that is forwarded keeps its addresses and "
        "ports, so it meets the ingress rules with app's source, and the egress rules with the internet's "
        "port. Giving app another route table would have got the page as well, past the firewall machine, "
        "with all other ports."
    ),
)

"""Why can't A reach B: several faults, one behind the other."""

from __future__ import annotations

from vpcctl_lib.lessons.lesson import Lesson, never, reaches

LESSON = Lesson(
    name="method",
    title="Why can't A reach B?",
    about="a method: cable, route, rule, forwarding, the way back, and who listens",
    symptom=(
        '"The desk in the office can\'t open the shop\'s page, http://10.0.1.2:8080. It worked yesterday. '
        'Three people have had a go at it since, and each of them says that it can\'t have been them."'
    ),
    task="office/desk opens the page of shop/web on tcp port 8080, and reaches nothing else there. "
         "The visitors' Wi-Fi in the office gets no answer from shop.",
    network="""\
version: 1
vpcs:
  shop:
    cidr: 10.0.0.0/16
    subnets:
      web:
        cidr: 10.0.1.0/24
        firewall: {ingress: [{protocol: tcp, port: 8000-8079, action: allow, source: 172.16.1.0/24}]}
        workloads: {webserver-9090: {webserver: 9090}}
  office:
    cidr: 172.16.0.0/16
    subnets:
      desk: {cidr: 172.16.1.0/24}
      wifi: {cidr: 172.16.2.0/24}
peerings:
  - [office, shop]
""",
    fault=(
        "ip netns exec office sysctl -q -w net.ipv4.ip_forward=0",
        "ip netns exec shop iptables -I FORWARD -p tcp --sport 8080 -j DROP",
    ),
    asks=(
        reaches("office/desk", "shop/web", 8080),
        reaches("shop/web", "office/desk"),
        never("office/desk", "shop/web", 9090),
        never("office/desk", "shop/web", 8000),
        never("office/desk", "shop/web"),
        never("office/wifi", "shop/web", 8080),
        never("office/wifi", "shop/web"),
    ),
    hints=(
        "One fault can hide another. Repair what vpcctl reach --from office/desk --to shop/web --port 8080 "
        "finds first, and ask again.",
        "vpcctl status names what differs from the record in the two routers, and vpcctl restore mends "
        "that at once: forwarding, and a rule on the way back.",
        "What is left is as it was recorded. Which ports does the policy of shop/web open, and does "
        "anything listen on 8080? reach --probe sends a real packet.",
    ),
    solution="""\
vpcctl restore
cat >/tmp/web.json <<'END'
{"ingress": [{"protocol": "tcp", "port": 8080, "action": "allow", "source": "172.16.1.0/24"}]}
END
vpcctl firewall apply --vpc shop --subnet web --policy /tmp/web.json
vpcctl deploy webserver --vpc shop --subnet web --port 8080
""",
    why=(
        "Four faults: office's router did not forward; a rule in shop's router dropped the answers, by "
        "their source port; the policy opened other ports; and nothing listened on 8080. Follow the packet "
        "from its start: cable, route, rule, forwarding, then the same on the way back, and at last who "
        "listens. Repair the first fault that you find, and begin again."
    ),
)

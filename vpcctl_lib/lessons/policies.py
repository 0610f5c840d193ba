"""Security groups as policies: a wide rule before a narrow one."""

from __future__ import annotations

from vpcctl_lib.lessons.lesson import Lesson, never, reaches

LESSON = Lesson(
    name="policies",
    title="Security groups",
    about="a policy's rules are in order, and answers pass by themselves",
    symptom=(
        '"I have written a policy for web: the whole VPC may open its page on port 8080, and ops alone its '
        "administration on port 9090. It is in force, firewall show prints it. But ops gets neither of the "
        'two. And lab can open the administration!"'
    ),
    task="Everybody in the VPC reaches web on tcp port 8080. On port 9090, ops reaches it and lab does not. "
         "All other ports are closed.",
    network="""\
version: 1
vpcs:
  shop:
    cidr: 10.0.0.0/16
    subnets:
      web:
        cidr: 10.0.1.0/24
        firewall:
          ingress:
            - {protocol: tcp, port: 1-65535, action: deny, source: 10.0.2.0/24, description: for ops}
            - {protocol: tcp, port: 8000-9999, action: allow, source: 10.0.0.0/16, description: the page}
            - {protocol: tcp, port: 9090, action: allow, source: 10.0.2.0/24, description: administration}
        workloads: {webserver-8080: {webserver: 8080}, webserver-9090: {webserver: 9090}}
      ops: {cidr: 10.0.2.0/24}
      lab: {cidr: 10.0.3.0/24}
""",
    asks=(
        reaches("shop/ops", "shop/web", 8080),
        reaches("shop/lab", "shop/web", 8080),
        reaches("shop/ops", "shop/web", 9090),
        reaches("shop/web", "shop/ops"),
        never("shop/lab", "shop/web", 9090),
        never("shop/lab", "shop/web", 8081),
        never("shop/ops", "shop/web", 22),
        never("shop/ops", "shop/web"),
    ),
    hints=(
        "vpcctl firewall show --vpc shop --subnet web counts the packets of each rule. Which one meets "
        "those of ops?",
        "The first rule that matches decides. A rule below it never sees such a packet; its counter stays 0.",
        "Three mistakes: a deny that comes first, a range of ports that is too wide, and both would not be "
        "needed: what no rule allows is denied. Write a policy with two rules, and put it in force with "
        "firewall apply.",
    ),
    solution="""\
cat >/tmp/web.json <<'END'
{"ingress": [{"protocol": "tcp", "port": 8080, "action": "allow", "source": "10.0.0.0/16"},
             {"protocol": "tcp", "port": 9090, "action": "allow", "source": "10.0.2.0/24"}]}
END
vpcctl firewall apply --vpc shop --subnet web --policy /tmp/web.json
""",
    why=(
        "The deny for ops came first, so nothing below it counted for ops. The range 8000-9999 contains "
        "9090, so lab got in by the rule for the page. Whatever no rule allows is denied, so the policy "
        "needs no deny. web itself may ping ops: the policy is stateful, and lets in the answer to what web "
        "has asked."
    ),
)

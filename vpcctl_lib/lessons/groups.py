"""Groups that name groups: a rule that lists an address in the place of a group."""

from __future__ import annotations

from vpcctl_lib.lessons.lesson import Lesson, never, reaches

LESSON = Lesson(
    name="groups",
    title="Groups that name groups",
    about="a rule that names a group stays right when machines come and go",
    symptom=(
        '"Traffic has doubled, so we have added web2 and web3. Both are in the group web, exactly as web1 '
        "is, but the database answers only web1. lab is in the same subnet and must not get to the "
        'database, so please do not just allow the subnet."'
    ),
    task="Every machine in the group web reaches db on tcp port 5432, also those of tomorrow. lab does not.",
    network="""\
version: 2
vpcs:
  shop:
    cidr: 10.0.0.0/16
    groups:
      web: {ingress: [{protocol: tcp, port: 80, action: allow}]}
      data:
        description: the database tier
        ingress: [{protocol: tcp, port: 5432, action: allow, source: 10.0.1.4}]
    subnets:
      front:
        cidr: 10.0.1.0/24
        bare: true
        instances:
          web1: {address: 10.0.1.4, groups: [web], workloads: {webserver-80: {webserver: 80}}}
          web2: {address: 10.0.1.9, groups: [web], workloads: {webserver-80: {webserver: 80}}}
          web3: {address: 10.0.1.17, groups: [web], workloads: {webserver-80: {webserver: 80}}}
          lab: {address: 10.0.1.5}
      back:
        cidr: 10.0.2.0/24
        bare: true
        instances:
          db: {address: 10.0.2.4, groups: [data], workloads: {webserver-5432: {webserver: 5432}}}
""",
    asks=(
        reaches("shop/front/web1", "shop/back/db", 5432),
        reaches("shop/front/web2", "shop/back/db", 5432),
        reaches("shop/front/web3", "shop/back/db", 5432),
        reaches("shop/back/db", "shop/front/web2", 80),
        never("shop/front/lab", "shop/back/db", 5432),
        never("shop/front/web1", "shop/back/db", 22),
        never("shop/front/web2", "shop/back/db"),
        never("shop/front/lab", "shop/front/web2", 22),
    ),
    hints=(
        "vpcctl reach --from shop/front/web2 --to shop/back/db --port 5432 says which group decides, and "
        "about what.",
        "vpcctl group show --vpc shop --name data: whom does its rule name?",
        "A source may be group:NAME: its members, whoever they are. Write data's rules in a file, and put "
        "them in force with group apply. docs/policies.md has the format.",
    ),
    solution="""\
cat >/tmp/data.json <<'END'
{"description": "the database tier",
 "ingress": [{"protocol": "tcp", "port": 5432, "action": "allow", "source": "group:web"}]}
END
vpcctl group apply --vpc shop --name data --policy /tmp/data.json
""",
    why=(
        "The rule named web1's address. It was right as long as web1 was the only one. The fix that reach "
        "prints adds web2's address, and then web3's, and then that of the next one, for ever. A rule that "
        "names the group needs no change: whoever joins web gets in, and whoever leaves it, or takes over "
        "the address, does not."
    ),
)

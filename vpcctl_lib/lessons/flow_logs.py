"""Flow logs: somebody is rejected, and nobody knows who, or at which port."""

from __future__ import annotations

from vpcctl_lib.lessons.lesson import Lesson, never, reaches

JOB = ("{run: [bash, -c, 'while :; do port=$((5432 + 48 * ($(hostname -I | cksum | cut -d\" \" -f1) % 2)));"
       " timeout 1 bash -c \"exec 3<>/dev/tcp/10.0.2.2/$port\"; sleep 1; done']}")
"""What each job runs. All are alike, and only one has an address with which it takes the other port."""

LESSON = Lesson(
    name="flow-logs",
    title="Flow logs",
    about="who sent how much to whom, and whether it was accepted or rejected",
    symptom=(
        '"db has a second port now, for one of our three jobs: bills, prices or stock. That job gets no '
        'data since. Which one it is, and what port, its owner knows, who is on holiday. I can\'t ask reach '
        'about a port that I don\'t know, and I must not open db to find out. But the VPC has a flow log."'
    ),
    task="The job that db rejects gets in, at the port that it asks for. For everybody else that port stays "
         "closed, and so do all other ports.",
    network=f"""\
version: 2
vpcs:
  shop:
    cidr: 10.0.0.0/16
    flow_logs: [{{interval: 1}}]
    subnets:
      jobs:
        cidr: 10.0.1.0/24
        bare: true
        instances:
          bills: {{address: 10.0.1.10, workloads: {{job: {JOB}}}}}
          prices: {{address: 10.0.1.12, workloads: {{job: {JOB}}}}}
          stock: {{address: 10.0.1.13, workloads: {{job: {JOB}}}}}
      db:
        cidr: 10.0.2.0/24
        firewall: {{ingress: [{{protocol: tcp, port: 5432, action: allow, source: 10.0.1.0/24}}]}}
        workloads: {{webserver-5432: {{webserver: 5432}}, webserver-5480: {{webserver: 5480}}}}
""",
    asks=(
        reaches("shop/jobs/prices", "shop/db", 5480),
        reaches("shop/jobs/bills", "shop/db", 5432),
        reaches("shop/jobs/stock", "shop/db", 5432),
        never("shop/jobs/bills", "shop/db", 5480),
        never("shop/jobs/stock", "shop/db", 5480),
        never("shop/jobs/prices", "shop/db", 5433),
        never("shop/jobs/prices", "shop/db", 5479),
        never("shop/jobs/prices", "shop/db", 5481),
        never("shop/jobs/prices", "shop/db"),
    ),
    hints=(
        "vpcctl flow-log show --vpc shop prints a line for each flow and second. Look first at the last "
        "word but one of each: ACCEPT or REJECT.",
        "vpcctl flow-log show --vpc shop | grep REJECT: the fourth word is who sent it, the fifth to whom, "
        "the seventh to which port. vpcctl instance list says whose address that is.",
        "Now reach can be asked, and names the rule. firewall allow adds one for that port, with --source "
        "for that machine alone.",
    ),
    solution="""\
vpcctl flow-log show --vpc shop | grep REJECT | tail -n 3
vpcctl firewall allow --vpc shop --subnet db --protocol tcp --port 5480 --source 10.0.1.12
""",
    why=(
        "The log had a REJECT from 10.0.1.12, which is prices, to port 5480. A flow log says what was "
        "refused, and not by which rule: reach says that, once you know what to ask. The log is of the "
        "whole VPC, so the same packet has two lines: accepted as it left prices, and rejected at db."
    ),
)

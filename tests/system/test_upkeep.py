"""How workloads are looked after: environment, stop, restarts, log, and what is known of their ends."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from host import Host

WHERE = "--vpc vpc1 --subnet public"
RUN = f"deploy run {WHERE} --name worker"
STOP = f"deploy stop {WHERE} --name worker"
LOGS = f"deploy logs {WHERE} --name worker"
STEP = "echo run >&2; until [ -e /etc/vpcctl-test-step ]; do sleep 0.01; done; "
"""It goes on when a file is there that every workload may read."""


ENDS_WITH_ITS_SIGNAL = """
import signal, sys
for number in (signal.SIGINT, signal.SIGTERM):
    signal.signal(number, lambda heard, _: sys.exit(heard))
signal.pause()
"""
TAKES_SIX_SECONDS = """
import signal, sys, time
signal.signal(signal.SIGTERM, lambda *_: (time.sleep(6), print("done"), sys.exit()))
signal.pause()
"""


def worker(host: Host) -> dict[str, Any]:
    (one,) = host.do("deploy list --json").json["workloads"]
    return dict(one)


@pytest.fixture
def step(vpc1: Host) -> Any:
    """Lets the program go on."""
    yield lambda: vpc1.sh("touch /etc/vpcctl-test-step")
    vpc1.sh("rm -f /etc/vpcctl-test-step")


def test_its_environment_and_folder(vpc1: Host) -> None:
    program = ["sh", "-c", 'echo "$A|$B|$LANG|$VPCCTL_WORKLOAD|$PWD"; exec sleep infinity']
    vpc1.do(f"{RUN} --workdir /usr/bin --env A=1 --env A=2 --env LANG=C --env", "B=x y=z", "--", *program)
    assert vpc1.do(LOGS).out == "2|x y=z|C|vpc1/public/worker|/usr/bin\n"
    assert worker(vpc1)["env"] == {"A": "2", "B": "x y=z", "LANG": "C"}
    again = vpc1.do(f"{RUN} --workdir /usr/bin --env LANG=C --env A=2 --env", "B=x y=z", "--", *program)
    assert again.out.startswith("unchanged"), "the order of variables says nothing"
    assert vpc1.do("status").out == "in sync\n"


def test_its_programs_are_found_by_the_path_it_is_given(vpc1: Host) -> None:
    vpc1.refused(f"{RUN} --env PATH=/nowhere -- sleep infinity", says="sleep: No such file")


def test_what_no_workload_can_have(vpc1: Host) -> None:
    for words, says in (("--env A", "has no value"), ("--env =x", "can't be the name"),
                        ("--env VPCCTL_WORKLOAD=x", "vpcctl's own"),
                        ("--workdir etc", "not an absolute path"), ("--stop-signal TREM", "not a signal"),
                        ("--stop-signal STOP", "ends no program"), ("--stop-timeout soon", "not a time"),
                        ("--stop-timeout 2h", "too long"), ("--restart sometimes", "sometimes"),
                        ("--log-max 1", "too small")):
        vpc1.refused(f"{RUN} {words} -- sleep infinity", code=2, says=says)


def test_a_folder_that_its_user_may_not_enter(vpc1: Host) -> None:
    vpc1.refused(f"{RUN} --workdir /root/none -- sleep infinity", says="/root/none")


def test_its_own_signal_asks_it_to_stop(vpc1: Host) -> None:
    vpc1.do(f"{RUN} --stop-signal SIGINT -- /usr/bin/python3 -c", ENDS_WITH_ITS_SIGNAL)
    assert worker(vpc1)["stop_signal"] == "INT"
    keeper = vpc1.sh(f"ps -o ppid= -p {worker(vpc1)['pid']}").strip()
    vpc1.sh(f"kill -TERM {keeper}")
    vpc1.wait_until(lambda: worker(vpc1)["state"] == "stopped", "it has stopped")
    assert worker(vpc1)["exit_code"] == 2, "it heard SIGINT"


@pytest.mark.parametrize(("seconds", "least", "most"), [("0", 0.0, 2.5), ("1s", 1.0, 5.0)])
def test_it_has_the_time_it_is_given_to_stop(vpc1: Host, seconds: str, least: float, most: float) -> None:
    vpc1.do(f"{RUN} --stop-timeout {seconds} -- sh -c",
            "trap '' TERM; setsid sleep 1000 & while :; do sleep 1000; done")
    began = time.monotonic()
    vpc1.do(STOP)
    assert least <= time.monotonic() - began < most
    assert vpc1.sh("ip netns pids vpc1-public") == ""


def test_one_that_takes_longer_than_others_is_let_be(vpc1: Host) -> None:
    vpc1.do(f"{RUN} -- /usr/bin/python3 -uc", TAKES_SIX_SECONDS)
    follow = vpc1.scratch / "log"
    following = vpc1.start("", "sh", "-c", f"vpcctl {LOGS} --follow", output=str(follow))
    vpc1.do(STOP)
    vpc1.wait_until(lambda: "done" in follow.read_text(), "it could finish in the ten seconds that it has")
    vpc1.wait_until(lambda: not vpc1.alive(following), "there is no more to follow")


@pytest.mark.parametrize(("policy", "status", "again"), [
    ("no", 3, False), ("on-failure", 3, True), ("on-failure", 0, False), ("always", 0, True),
])
def test_restarts(vpc1: Host, step: Any, policy: str, status: int, again: bool) -> None:
    vpc1.do(f"{RUN} --restart {policy} -- sh -c", f"{STEP} exit {status}")
    first = worker(vpc1)
    assert (first["state"], first["restarts"], first["exit_code"]) == ("running", 0, None)
    step()
    if not again:
        vpc1.wait_until(lambda: worker(vpc1)["state"] == "stopped", "it has ended for good")
        assert (worker(vpc1)["restarts"], worker(vpc1)["exit_code"]) == (0, status)
        assert "not running" in vpc1.vpcctl("status").out
        return
    vpc1.wait_until(lambda: (worker(vpc1)["restarts"] or 0) >= 3, "it is started again and again")
    assert (worker(vpc1)["exit_code"], worker(vpc1)["state"] in ("running", "restarting")) == (status, True)
    assert vpc1.do("status").out == "in sync\n"
    assert vpc1.do("status").err == "", "and its processes are nobody else's"
    assert vpc1.do(f"{RUN} --restart {policy} -- sh -c", f"{STEP} exit {status}").out.startswith("unchanged")
    vpc1.do(STOP)
    assert vpc1.sh("ip netns pids vpc1-public") == ""
    assert vpc1.do("deploy list --json").json["workloads"] == []


def test_what_is_started_again_is_the_same(vpc1: Host, step: Any) -> None:
    """The same user without capabilities, the same users, folders and umask; no process of the first run."""
    tell = ("id; grep -e ^Cap -e ^NoNewPrivs /proc/self/status; cat /proc/self/uid_map; ls /dev; umask; "
            "ls /proc | wc -l; ")
    vpc1.do(f"{RUN} --restart always -- sh -c", f"{tell} echo out >/dev/stdout; setsid sleep 1000 & {STEP}")
    pid = worker(vpc1)["pid"]
    step()
    vpc1.wait_until(lambda: vpc1.do(LOGS).out.count("run") > 1, "it runs again")
    assert worker(vpc1)["pid"] != pid
    first, second, *_ = vpc1.do(LOGS).out.split("run\n")
    assert first == second


def test_one_that_is_stopped_between_two_runs(vpc1: Host, step: Any) -> None:
    vpc1.do(f"{RUN} --restart always -- sh -c", f"{STEP} exit 1")
    step()
    vpc1.wait_until(lambda: (worker(vpc1)["restarts"] or 0) >= 3
                    and worker(vpc1)["state"] == "restarting", "it waits")
    assert worker(vpc1)["pid"] is None
    began = time.monotonic()
    vpc1.do(STOP)
    assert time.monotonic() - began < 3
    assert vpc1.sh("ip netns pids vpc1-public") == ""


def test_one_whose_program_has_gone_says_so(vpc1: Host, step: Any) -> None:
    vpc1.sh("cp /usr/bin/env /usr/local/bin/vpcctl-test-env")
    vpc1.do(f"{RUN} --restart on-failure -- vpcctl-test-env sh -c", f"{STEP} exit 1")
    vpc1.sh("rm /usr/local/bin/vpcctl-test-env")
    step()
    vpc1.wait_until(lambda: worker(vpc1)["exit_code"] == 127, "it can't be started again")
    said = "[vpcctl could not start it again: vpcctl-test-env: No such file or directory]"
    assert said in vpc1.do(LOGS).out
    vpc1.do(STOP)


def test_a_signal_that_ended_it_is_told(vpc1: Host) -> None:
    vpc1.do(f"{RUN} -- sleep infinity")
    vpc1.sh(f"kill -9 {worker(vpc1)['pid']}")
    vpc1.wait_until(lambda: worker(vpc1)["state"] == "stopped", "it has ended")
    assert (worker(vpc1)["signal"], worker(vpc1)["exit_code"]) == ("KILL", 137)
    table = vpc1.do("deploy list").out
    assert "LAST END" in table
    assert "signal KILL, " in table
    vpc1.do("restore")
    assert (worker(vpc1)["state"], worker(vpc1)["signal"]) == ("running", None)


def test_its_log_is_as_long_as_it_may_be(vpc1: Host) -> None:
    vpc1.do(f"{RUN} --log-max 4K -- sh -c", "seq 100000; echo end; exec sleep infinity")
    vpc1.wait_until(lambda: vpc1.do(LOGS).out.endswith("end\n"), "it has written all")
    assert int(vpc1.sh("cat /var/lib/vpcctl/logs/vpc1/public/worker.log* | wc -c")) < 3 * 65536


def test_the_log_of_one_that_did_not_start_stays(vpc1: Host) -> None:
    done = vpc1.vpcctl(*f"{RUN} -- sh -c".split(), "echo last words; exit 3")
    assert done.code == 1
    assert "logs/vpc1/public/worker.log" in done.err
    assert vpc1.do("deploy list --json").json["workloads"] == []
    assert vpc1.do(LOGS).out == "last words\n"
    assert vpc1.do("status").out == "in sync\n"
    planned = vpc1.do("subnet delete --vpc vpc1 --name public --dry-run").out
    assert "logs/vpc1/public/worker.log" in planned
    vpc1.do("subnet delete --vpc vpc1 --name public")
    assert vpc1.run("ls", "/var/lib/vpcctl/logs").code != 0


def test_of_a_network_that_was_not_made_no_log_stays(host: Host) -> None:
    worker = {"run": ["sh", "-c", "echo last words; exit 3"]}
    subnet = {"cidr": "10.0.1.0/24", "workloads": {"worker": worker}}
    network = {"version": 1, "vpcs": {"vpc1": {"cidr": "10.0.0.0/16", "subnets": {"public": subnet}}}}
    path = host.write("network.yaml", network)
    done = host.vpcctl("apply", "-f", path)
    assert done.code == 1
    assert "last words" in done.err
    assert host.run("ls", "/var/lib/vpcctl/logs").code != 0


def test_all_of_it_comes_back_from_a_file_and_from_the_kernel(vpc1: Host) -> None:
    vpc1.do(f"{RUN} --env A=1 --workdir /usr --stop-signal QUIT --stop-timeout 2m --restart always "
            "--log-max 64K -- sleep infinity")
    vpc1.do(f"deploy webserver {WHERE} --port 80 --restart on-failure --stop-timeout 1 --log-max 1M "
            "--pids 50")
    file = vpc1.do("export").out
    assert vpc1.vpcctl("apply", "-f", "-", stdin=file).out.startswith("unchanged")
    vpc1.sh("rm /var/lib/vpcctl/state.json*")
    vpc1.do("restore --from-kernel")
    assert sorted(vpc1.do("export").out.splitlines()) == sorted(file.splitlines()), "in another order"


def test_who_is_not_shown_processes_can_t_tell(vpc1: Host) -> None:
    vpc1.do(f"{RUN} -- sleep infinity")
    # It may read a checkout below a folder that is closed to others, and no process of theirs.
    listing = ("setpriv --reuid 12345 --regid 12345 --clear-groups --inh-caps +dac_read_search "
               "--ambient-caps +dac_read_search vpcctl deploy list --json")
    states = []
    for hidden in ("hidepid=1", "hidepid=2", "hidepid=0"):
        vpc1.sh(f"mount -o remount,{hidden} /proc")
        states.append(json.loads(vpc1.sh(listing))["workloads"][0]["state"])
    assert states == ["unknown", "unknown", "running"]
    vpc1.sh(f"kill -9 {worker(vpc1)['pid']}")
    vpc1.wait_until(lambda: worker(vpc1)["state"] == "stopped", "it has ended")
    vpc1.sh("mount -o remount,hidepid=2 /proc")
    state = json.loads(vpc1.sh(listing))["workloads"][0]["state"]
    vpc1.sh("mount -o remount,hidepid=0 /proc; rm -rf /run/mount")
    assert state == "stopped", "what is not there is hidden from nobody"


def test_the_web_server_waits_for_no_name_server(vpc1: Host) -> None:
    """One that never answers, and a host's name that no file has."""
    silent = vpc1.write("resolv.conf", "nameserver 10.0.2.2\noptions timeout:30\n")
    vpc1.sh("mkdir -p /etc/netns/vpc1-public; : >/etc/netns/vpc1-public/resolv.conf")
    vpc1.sh(f"cat {silent} >/etc/netns/vpc1-public/resolv.conf; hostname nowhere.example")
    began = time.monotonic()
    vpc1.do(f"deploy webserver {WHERE} --port 80")
    vpc1.reaches("vpc1-private", "10.0.1.2:80")
    assert time.monotonic() - began < 10
    vpc1.sh("rm -r /etc/netns/vpc1-public; rmdir --ignore-fail-on-non-empty /etc/netns; hostname sandbox")

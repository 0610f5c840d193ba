"""`exec`: a program in a subnet, as if it were run here."""

from __future__ import annotations

import pytest
from host import Host

WHERE = "--vpc vpc1 --subnet public"
EXEC = f"exec {WHERE} --"


@pytest.mark.parametrize(("command", "code"), [
    ("true", 0), ("false", 1), ("sh -c 'exit 3'", 3), ("sh -c 'kill -TERM $$'", 143),
    ("sh -c 'kill -KILL $$'", 137), ("no-such-program", 127), ("/no/such/program", 127),
])
def test_the_exit_code_is_passed_on(shared_vpc1: Host, command: str, code: int) -> None:
    assert shared_vpc1.run("sh", "-c", f"vpcctl {EXEC} {command}").code == code


def test_a_file_that_is_no_program(shared_vpc1: Host) -> None:
    done = shared_vpc1.vpcctl(*EXEC.split(), "/etc/passwd")
    assert done.code in (126, 127)
    assert "Traceback" not in done.err


def test_input_and_output_pass_through(shared_vpc1: Host) -> None:
    done = shared_vpc1.vpcctl(*EXEC.split(), "sh", "-c", "cat; echo told >&2", stdin="typed\n")
    assert (done.code, done.out, done.err) == (0, "typed\n", "told\n")


def test_it_runs_in_the_subnet(shared_vpc1: Host) -> None:
    assert shared_vpc1.do(EXEC, "ip", "-4", "-o", "addr", "show", "eth0").out.split()[3] == "10.0.1.2/24"
    done = shared_vpc1.do("exec --vpc vpc1 --subnet private --", "ip", "netns", "identify")
    assert done.out == "vpc1-private\n"


@pytest.mark.parametrize("words", [
    ["printf", "%s|", "--json", "-v", "--help"], ["--", "printf", "%s|", "--json", "-v", "--help"],
])
def test_the_program_s_options_are_its_own(shared_vpc1: Host, words: list[str]) -> None:
    done = shared_vpc1.do("exec --vpc vpc1 --subnet public", "--", *words) if words[0] != "--" else \
        shared_vpc1.do("exec --vpc vpc1 --subnet public", *words)
    assert done.out == "--json|-v|--help|"


def test_a_double_dash_of_the_program_s_stays(shared_vpc1: Host) -> None:
    assert shared_vpc1.do(EXEC, "printf", "%s|", "a", "--", "b").out == "a|--|b|"


def test_words_are_passed_as_they_are(shared_vpc1: Host) -> None:
    odd = ["two words", "$(id)", "*", "a'b\"c", "", "\\", "é\n"]
    assert shared_vpc1.do(EXEC, "printf", "%s|", *odd).out == "".join(f"{word}|" for word in odd)


@pytest.mark.parametrize("locale", ["C", "C.UTF-8", "POSIX"])
def test_a_byte_that_is_not_utf_8_is_passed_as_it_is(shared_vpc1: Host, locale: str) -> None:
    run = f"LC_ALL={locale} xargs -I{{}} vpcctl {EXEC} printf %s {{}}"
    assert shared_vpc1.sh(f"printf '\\205' | {run} | od -An -tx1").split() == ["85"]
    assert r"printf %s '\udc85'" in shared_vpc1.sh("tail -1 /var/lib/vpcctl/vpcctl.log")


def test_it_has_the_terminal(shared_vpc1: Host) -> None:
    typed = f"vpcctl {EXEC} sh -c 'test -t 0 && test -t 1 && tty'"
    done = shared_vpc1.run("script", "-qec", typed, "/dev/null")
    assert done.code == 0
    assert done.out.startswith("/dev/pts/")


@pytest.mark.parametrize("given", ["-it", "-i -t", "-ti", "--interactive --tty", "-t", "-i"])
def test_docker_s_options_are_understood(shared_vpc1: Host, given: str) -> None:
    line = f"vpcctl exec {given} --vpc vpc1 --subnet public -- sh -c 'test -t 0 && test -t 1 && tty'"
    done = shared_vpc1.run("script", "-qec", line, "/dev/null")
    assert (done.code, done.out.startswith("/dev/pts/")) == (0, True), done
    piped = shared_vpc1.vpcctl("exec", *given.split(), *WHERE.split(), "--", "cat", stdin="typed\n")
    assert (piped.code, piped.out, piped.err) == (0, "typed\n", "")


def test_a_shell_on_the_terminal(shared_vpc1: Host) -> None:
    """It has job control: it is in the foreground, and reads what is typed."""
    shell = f"vpcctl exec -it {WHERE} -- bash --norc -i"
    typed = "sleep 1000 &\njobs\nip -4 -o addr show eth0\nkill %1\nexit 5\n"
    done = shared_vpc1.run("script", "-qec", shell, "/dev/null", stdin=typed)
    assert done.code == 5
    assert "no job control" not in done.out
    assert "Running" in done.out
    assert "10.0.1.2/24" in done.out


def test_the_program_s_own_i_and_t(shared_vpc1: Host) -> None:
    assert shared_vpc1.do(f"exec {WHERE} printf %s| -i -t -it --vpc").out == "-i|-t|-it|--vpc|"


@pytest.mark.parametrize("name", ["TERM", "HUP", "INT"])
def test_a_signal_that_vpcctl_gets_is_the_program_s(vpc1: Host, name: str) -> None:
    """As docker exec, which did not for years, and left programs running that nobody saw."""
    trap = f"trap 'echo caught; exit 7' {name}; echo begun; while :; do sleep 0.1; done"
    out = vpc1.scratch / "out"
    # Not as nohup leaves it, under which these tests may run.
    heeding = ("env", f"--default-signal={name}", "vpcctl")
    pid = vpc1.start("", *heeding, *EXEC.split(), "sh", "-c", trap, output=str(out))
    vpc1.wait_until(lambda: "begun" in out.read_text(), "the program runs")
    vpc1.sh(f"kill -{name} {pid}")
    vpc1.wait_until(lambda: not vpc1.alive(pid), "it has ended, and vpcctl with it")
    assert out.read_text() == "begun\ncaught\n"
    assert vpc1.sh("ip netns pids vpc1-public") == ""


def test_the_folder_is_kept(shared_vpc1: Host) -> None:
    assert shared_vpc1.sh(f"cd {shared_vpc1.scratch}; vpcctl {EXEC} pwd") == f"{shared_vpc1.scratch}\n"


@pytest.mark.parametrize(("line", "code", "says"), [
    ("exec --vpc vpc1 --subnet publik -- true", 1, "did you mean 'public'?"),
    ("exec --vpc nobody --subnet public -- true", 1, "VPC 'nobody' does not exist"),
    ("exec --vpc vpc1 --subnet public", 2, ""), ("exec --vpc vpc1 -- true", 2, "--subnet"),
])
def test_nonsense_is_refused(shared_vpc1: Host, line: str, code: int, says: str) -> None:
    shared_vpc1.refused(line, code=code, says=says)

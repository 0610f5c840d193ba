#!/usr/bin/env bash
# Lint, types and tests, from a fresh clone on a bare Debian or Ubuntu: what is missing is installed first.
#
#   ./tests/run.sh                        each test with a real kernel in its first case and its last, all others but a
#                                         few slow ones; what is left out is counted at the end
#   ./tests/run.sh --slow                 all of them, and more examples of each property
#   ./tests/run.sh --long                 everything, and the property and fault tests for longer
#   ./tests/run.sh --mutants              breaks the code in one place at a time, and counts what the unit and
#                                         command-line tests see: for the night, as it takes an hour or two. It passes
#                                         if they see 85 % of each room, and tests/mutation/survivors.yaml explains
#                                         each of the others. `--mutants record`, or a file, for a part of it
#   ./tests/run.sh tests/unit -k policy   other arguments go to pytest
#   NEIGHBOURS=1 ./tests/run.sh           beside real Docker, libvirt, Podman, firewalld, ufw, iptables-persistent and
#                                         WireGuard, too: root's, 330 MB in .neighbours, two minutes more. They are
#                                         unpacked there and run in throw-away hosts; none is installed. Those that are
#                                         not there are skipped, and listed at the end. NEIGHBOURS="docker three-tier"
#                                         for a few; `three-tier` is nginx, PostgreSQL and Redis, and `openssh` is sshd
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1
# shellcheck source=.ci/debian.sh
. .ci/debian.sh

LOCK=requirements-dev.lock
failed=()

fail() {
    echo "run.sh: $1" >&2
    exit 1
}

# Lint and types count, but don't keep the tests from running.
check() {
    echo "$*"
    "$@" || failed+=("${1##*/}")
}

install_tools() {
    .venv/bin/python -m pip install --quiet --disable-pip-version-check "$@" --editable '.[dev]'
}

# With the launcher's lock, since it uses the same .venv and would consider a half-made one broken.
make_venv() {
    local lock
    exec {lock}<.
    flock "$lock"
    if ! .venv/bin/python -m pip --version >/dev/null 2>&1; then
        echo "run.sh: making .venv …" >&2
        python3 -m venv --clear .venv || fail "can't make .venv"
    fi
    if ! { cmp -s pyproject.toml .venv/pyproject.toml && cmp -s "$LOCK" ".venv/$LOCK"; }; then
        echo "run.sh: installing what the tests need into .venv …" >&2
        install_tools --constraint "$LOCK" || {
            echo "run.sh: the versions of $LOCK can't be had here; taking others …" >&2
            install_tools || fail "can't install what the tests need into .venv"
        }
        cp pyproject.toml "$LOCK" .venv/
    fi
    exec {lock}<&-
}

# After sudo, the owner of the checkout must still be able to delete it.
give_to_owner() {
    if [ "$(id -u)" -eq 0 ] && [ "$(stat -c %u .)" -ne 0 ]; then
        find . -user 0 -exec chown --no-dereference --reference=. {} +
    fi
}

mutants=
for argument; do
    shift
    if [ "$argument" = --long ]; then
        export VPCCTL_LONG=1
    elif [ "$argument" = --slow ]; then
        export VPCCTL_SLOW=1
    elif [ "$argument" = --mutants ]; then
        mutants=yes
    else
        set -- "$@" "$argument"
    fi
done
if [ -n "$mutants" ]; then
    make_venv
    # A mutant may do what the code never would: what it could reach of this host's network is not there.
    isolated=(unshare --net --mount)
    [ "$(id -u)" -eq 0 ] || isolated=(unshare --map-root-user --net --mount)
    # Some tests connect to themselves.
    exec "${isolated[@]}" sh -c 'ip link set lo up && exec "$@"' sh .venv/bin/python -m tests.mutation "$@"
fi
# To start the workers takes a second, which only pays for many tests. With a kernel, more than half of their time
# they wait: for it, for a packet that must not come.
folders=yes
for argument; do
    [ -d "$argument" ] || folders=
done
if [ $# -eq 0 ]; then
    set -- -n "$(($(nproc) * 2))" --dist worksteal
elif [ -n "$folders" ]; then
    set -- -n "$(nproc)" --dist worksteal "$@"
fi
# Thousands of interpreters are started, each of which would compile all modules.
unset PYTHONDONTWRITEBYTECODE
[ ! -t 1 ] || set -- --color=yes "$@"

need_packages python3 python3-venv dhcpcd-base dnsmasq-base isc-dhcp-client iproute2 iptables procps iputils-ping curl util-linux \
    busybox conntrack shellcheck tcpdump graphviz nftables uidmap || exit 1
python3 -c 'import sys; sys.exit(sys.version_info < (3, 10))' || fail "needs Python 3.10 or newer"
output=$(mktemp)
trap 'rm -f "$output"; give_to_owner' EXIT
make_venv

if [ -n "${NEIGHBOURS-}" ]; then
    # What is unavailable is listed at the end.
    # shellcheck disable=SC2086 # names
    .ci/neighbours.sh ${NEIGHBOURS#1}
fi

check .venv/bin/ruff check . vpcctl packaging/vpcctl
check .venv/bin/mypy
check .venv/bin/mypy --strict vpcctl
check shellcheck cleanup.sh demo.sh tests/run.sh .ci/run .ci/debian.sh .ci/neighbours.sh \
    packaging/build-deb packaging/postinst packaging/prerm packaging/postrm
.venv/bin/python -m pytest "$@" | tee "$output"
[ "${PIPESTATUS[0]}" -eq 0 ] || failed+=(pytest)
if [ "${#failed[@]}" -gt 0 ]; then
    # The closing line of the tests stays the last one, whatever else failed.
    echo "failed: ${failed[*]}"
    tail -n 1 "$output"
    exit 1
fi

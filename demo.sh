#!/bin/bash
# Shows the whole story, from the first VPC to a host without a trace of one, and checks each step by what really
# happens: exit codes and packets.
#
#   ./demo.sh                 in a sandbox: a private host with a simulated internet; needs no root
#   sudo ./demo.sh --on-host  on this host, through its real uplink; what the demo made is deleted at the end
set -u

# Only the absolute paths in PATH: an empty or relative one is the current folder, which may belong to anybody.
set -f
IFS=:
path=
for folder in ${PATH-}; do
    case $folder in /*) path=$path$folder: ;; esac
done
unset IFS
set +f
PATH=$path/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin
export PATH

here=$(cd "$(dirname "$(readlink -f "${BASH_SOURCE[0]}")")" && pwd)
# shellcheck source=.ci/debian.sh
. "$here/.ci/debian.sh"
export PATH=$here:$PATH

steps=0
failures=0
made=()
flow=
scratch=
output=

green='' red='' bold='' dim='' plain=''
if [ -t 1 ] && [ -z "${NO_COLOR-}" ]; then
    green=$'\e[32m' red=$'\e[31m' bold=$'\e[1m' dim=$'\e[2m' plain=$'\e[0m'
fi

chapter() { printf '\n%s%s%s\n' "$bold" "$1" "$plain"; }

# How a step went, 0 for as expected; what its command printed is in $output.
verdict() {
    local status=$1
    steps=$((steps + 1))
    [ -z "$output" ] || grep -v '^$' <<<"$output" | tail -n 8 | sed 's/^/    /'
    if [ "$status" -eq 0 ]; then
        printf '  %s✔%s\n' "$green" "$plain"
    else
        failures=$((failures + 1))
        printf '  %s✘ not as expected%s\n' "$red" "$plain"
    fi
}

# attempt EXPECTED COMMAND…: print both, and run the command.
attempt() {
    printf '%s$%s%s\n  expected: %s\n' "$dim" "$plain" "$(printf ' %q' "${@:2}")" "$1"
    output=$("${@:2}" 2>&1 </dev/null)
}

# The kinds of step. Each takes what to expect and a command; before that, all but the first take a text.
works() {
    attempt "$@"
    verdict $?
}

# It works, and prints the text.
shows() {
    attempt "$2" "${@:3}" && [[ $output == *"$1"* ]]
    verdict $?
}

# It works, and does not print the text.
lacks() {
    attempt "$2" "${@:3}" && [[ $output != *"$1"* ]]
    verdict $?
}

# It fails, and for the reason in the text: a command that is merely broken proves nothing.
refused() {
    ! attempt "$2" "${@:3}" && [[ $output == *"$1"* ]]
    verdict $?
}

# A step without a command that a person would type.
check() {
    printf '  expected: %s\n' "$1"
    "${@:2}"
    verdict $?
}

# make_vpc NAME CIDR: noted first, so that whatever happens next, it is deleted.
make_vpc() {
    made+=("$1")
    works "a router of its own, at the first address" vpcctl vpc create --name "$1" --cidr "$2"
}

# All that vpcctl could leave on a host. iptables makes its empty base chains when it is first used: they stay.
snapshot() {
    echo "links:" && ip -o link show | awk '{print $2, $NF}'
    echo "routes:" && ip -4 route show
    echo "namespaces:" && ip netns list | awk '{print $1}'
    echo "rules:" && iptables-save | grep -E '^(-A|:[^ ]+ -)'
    echo "sysctls:" && (cd /proc/sys/net/ipv4 && grep '' ip_forward conf/*/forwarding conf/*/accept_redirects)
    echo "resolvers:" && ls -A /etc/netns 2>/dev/null
    true
}

replies() { grep -c 'bytes from' flow; }

# The flow had replies, and gets no more of them.
flow_is_cut() {
    local before
    before=$(replies)
    sleep 1
    output="$before replies, then $(($(replies) - before))"
    [ "$before" -gt 0 ] && [ "$(replies)" -eq "$before" ]
}

end_flow() {
    [ -z "$flow" ] || kill "$flow" 2>/dev/null
    flow=
}

clean_up() {
    trap '' INT TERM HUP
    end_flow
    for name in ${made[@]+"${made[@]}"}; do
        ! vpcctl vpc show --name "$name" >/dev/null 2>&1 || vpcctl vpc delete --name "$name" >/dev/null
    done
    rm -rf "$scratch"
}

story() {
    local uplink unreachable="Destination Net Unreachable"
    uplink=$(ip -4 route show default | awk '{for (i = 1; i < NF; i++) if ($i == "dev") {print $(i + 1); exit}}')
    snapshot >before
    cat >test-policy.json <<'POLICY'
{ "subnet": "10.0.1.0/24",
  "ingress": [ {"port": 8080, "protocol": "tcp", "action": "allow"},
               {"port": 22, "protocol": "tcp", "action": "deny"} ] }
POLICY

    chapter "1. A VPC with a public and a private subnet"
    make_vpc vpc1 10.0.0.0/16
    works "a namespace with the address 10.0.1.2" \
        vpcctl subnet add --vpc vpc1 --name public --cidr 10.0.1.0/24 --type public
    works "a namespace with the address 10.0.2.2" \
        vpcctl subnet add --vpc vpc1 --name private --cidr 10.0.2.0/24 --type private
    works "success: same VPC, its bridge switches them" \
        ip netns exec vpc1-public ping -c 3 -i 0.2 -W 2 10.0.2.2

    chapter "2. Web servers"
    works "a program in the public subnet" vpcctl deploy webserver --vpc vpc1 --subnet public --port 8080
    works "another in the private subnet" vpcctl deploy webserver --vpc vpc1 --subnet private --port 8081
    works "this host reaches the public one" curl -sS -m 5 http://10.0.1.2:8080
    works "and the private one" curl -sS -m 5 http://10.0.2.2:8081
    works "the private subnet reaches the public one" \
        ip netns exec vpc1-private curl -sS -m 5 http://10.0.1.2:8080

    chapter "3. NAT: the public subnet reaches the internet, the private one does not"
    refused "$unreachable" "no way out yet" ip netns exec vpc1-public ping -c 1 -W 1 8.8.8.8
    works "the public subnet gets this host's address on its uplink" \
        vpcctl nat enable --vpc vpc1 --interface "$uplink"
    shows "-s 10.0.1.0/24 -o $uplink" "a MASQUERADE rule for 10.0.1.0/24" iptables -t nat -S VPCCTL-POSTROUTING
    lacks "-s 10.0.2.0/24" "and none for 10.0.2.0/24" iptables -t nat -S VPCCTL-POSTROUTING
    works "public: ping passes" ip netns exec vpc1-public ping -c 3 -i 0.2 -W 2 8.8.8.8
    works "public: HTTP passes" ip netns exec vpc1-public curl -sS -m 5 -o /dev/null http://1.1.1.1
    works "public: names resolve" ip netns exec vpc1-public curl -sS -m 5 -o /dev/null http://example.com
    refused "$unreachable" "private: ping does not pass" \
        ip netns exec vpc1-private ping -c 2 -i 0.2 -W 1 8.8.8.8
    refused "curl: (7)" "private: nor does HTTP" ip netns exec vpc1-private curl -sS -m 2 http://1.1.1.1

    chapter "4. Two VPCs can't see each other"
    make_vpc vpc2 172.16.0.0/16
    works "a subnet in it" vpcctl subnet add --vpc vpc2 --name public --cidr 172.16.1.0/24 --type public
    works "NAT of its own" vpcctl nat enable --vpc vpc2 --interface "$uplink"
    works "which works" ip netns exec vpc2-public ping -c 1 -W 2 8.8.8.8
    refused "$unreachable" "vpc1 does not reach vpc2" \
        ip netns exec vpc1-public ping -c 2 -i 0.2 -W 1 172.16.1.2
    refused "$unreachable" "vpc2 does not reach vpc1" \
        ip netns exec vpc2-public ping -c 2 -i 0.2 -W 1 10.0.1.2

    chapter "5. Peering joins them"
    works "a cable between the two routers" vpcctl peer create --vpc1 vpc1 --vpc2 vpc2
    shows "172.16.0.0/16 via 10.0.0.1" "a route to vpc2" ip netns exec vpc1-public ip route
    shows "10.0.0.0/16 via 172.16.0.1" "and one back" ip netns exec vpc2-public ip route
    works "vpc1 reaches vpc2" ip netns exec vpc1-public ping -c 3 -i 0.2 -W 2 172.16.1.2
    works "vpc2 reaches vpc1" ip netns exec vpc2-public ping -c 3 -i 0.2 -W 2 10.0.1.2
    works "by HTTP, too" ip netns exec vpc2-public curl -sS -m 5 http://10.0.2.2:8081

    chapter "6. Peering is not passed on: vpc1 - vpc2 - vpc3"
    make_vpc vpc3 10.200.0.0/16
    works "a subnet in it" vpcctl subnet add --vpc vpc3 --name public --cidr 10.200.1.0/24 --type public
    works "a cable to vpc2" vpcctl peer create --vpc1 vpc2 --vpc2 vpc3
    works "vpc2 reaches vpc3" ip netns exec vpc2-public ping -c 1 -W 2 10.200.1.2
    refused "$unreachable" "vpc1 does not" ip netns exec vpc1-public ping -c 2 -i 0.2 -W 1 10.200.1.2

    chapter "7. A deleted peering is cut at once"
    ip netns exec vpc1-public ping -i 0.2 -w 60 172.16.1.2 >flow 2>&1 </dev/null &
    flow=$!
    works "a ping begins, and goes on in the background" ip netns exec vpc1-public ping -c 2 -W 2 172.16.1.2
    works "the cable goes" vpcctl peer delete --vpc1 vpc1 --vpc2 vpc2
    check "the ping in the background gets no more replies" flow_is_cut
    end_flow
    refused "$unreachable" "a new one gets none" ip netns exec vpc1-public ping -c 2 -i 0.2 -W 1 172.16.1.2
    works "peered again" vpcctl peer create --vpc1 vpc1 --vpc2 vpc2
    works "they reach each other again" ip netns exec vpc1-public ping -c 3 -i 0.2 -W 2 172.16.1.2

    chapter "8. A firewall for the public subnet"
    works "a second web server" vpcctl deploy webserver --vpc vpc1 --subnet public --port 9090
    works "it answers" curl -sS -m 5 http://10.0.1.2:9090
    works "a policy that allows port 8080" cat test-policy.json
    works "what it does not allow is denied from now on" \
        vpcctl firewall apply --vpc vpc1 --subnet public --policy test-policy.json
    works "port 8080 still answers" curl -sS -m 5 http://10.0.1.2:8080
    refused "curl: (28)" "port 9090 no longer does" curl -sS -m 1 http://10.0.1.2:9090
    refused "curl: (28)" "nor to a neighbour" ip netns exec vpc1-private curl -sS -m 1 http://10.0.1.2:9090
    refused "100% packet loss" "ping is not allowed, either" ping -c 2 -i 0.2 -W 1 10.0.1.2
    works "answers to what the subnet itself asks still come in" \
        ip netns exec vpc1-public ping -c 2 -i 0.2 -W 2 8.8.8.8
    works "the policy, and how often each rule matched" vpcctl firewall show --vpc vpc1 --subnet public

    chapter "9. What there is"
    shows vpc3 "all three VPCs" vpcctl vpc list
    works "the kernel is as recorded" vpcctl status
    works "each command is in the log" tail -n 5 "${VPCCTL_STATE_DIR:-/var/lib/vpcctl}/vpcctl.log"

    chapter "10. Vanished without a trace"
    for name in vpc1 vpc2 vpc3; do
        works "$name goes, with everything in it" vpcctl vpc delete --name "$name"
    done
    made=()
    snapshot >after
    works "links, routes, namespaces, rules and sysctls are as at the start" diff before after
}

close() {
    if [ "$failures" -eq 0 ]; then
        printf '\n%s✔ all %d steps went as expected%s\n' "$green" "$steps" "$plain"
    else
        printf '\n%s✘ %d of %d steps did not go as expected%s\n' "$red" "$failures" "$steps" "$plain"
    fi
    [ "$failures" -eq 0 ]
}

# Bring what is missing: tools, then the launcher's libraries, and for these what makes a .venv.
prepare() {
    local libraries=()
    [ -d "$here/.venv" ] || python3 -c 'import click, rich, yaml' 2>/dev/null || libraries=(python3-venv)
    need_packages python3 ${libraries[@]+"${libraries[@]}"} iproute2 iptables procps iputils-ping curl util-linux ||
        exit 1
    vpcctl --version >/dev/null || exit 1
}

on_this_host() {
    if [ "$(id -u)" -ne 0 ]; then
        echo "demo.sh: needs root; run: sudo $0 --on-host" >&2
        exit 1
    fi
    prepare
    for name in vpc1 vpc2 vpc3; do
        if vpcctl vpc show --name "$name" >/dev/null 2>&1; then
            echo "demo.sh: there is a VPC $name on this host, which the demo would delete; it needs that name" >&2
            exit 1
        fi
    done
    scratch=$(mktemp -d) && cd "$scratch" || exit 1
    trap clean_up EXIT
    trap 'exit 130' INT
    trap 'exit 143' TERM HUP
    story
    close
}

case ${1-} in
    '')
        prepare
        exec vpcctl sandbox -- "$here/demo.sh" --on-host
        ;;
    --on-host)
        on_this_host
        ;;
    *)
        sed -n '2,/^set/s/^# \{0,1\}//p' "$0"
        [ "$1" = -h ] || [ "$1" = --help ] || exit 2
        ;;
esac

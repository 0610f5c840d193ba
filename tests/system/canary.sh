#!/bin/sh
# What others have on the host of a test: some of it looks much like ours, and all of it has to stay as it is.
set -e
ip netns attach internet "$(pgrep -P 1 -o)"
ip link set eth0 addrgenmode none
ip -6 addr flush dev eth0
ip -batch - <<'END'
addr add 2001:db8::2/64 dev eth0 nodad
addr add fe80::2/64 dev eth0 nodad
netns add other
netns add vpc1-elsewhere
link add vpc-lan address 02:00:00:00:00:01 type veth peer name eth0 netns other
link set vpc-lan addrgenmode none up
addr add 192.168.77.1/24 dev vpc-lan
link add br-office address 02:00:00:00:00:02 type bridge
link set br-office addrgenmode none up
addr add 192.168.78.1/24 dev br-office
link add s-public address 02:00:00:00:00:03 type bridge
link set s-public alias not-vpcctl:vpc1/public
END
ip -n other -batch - <<'END'
link set lo up
link set eth0 address 02:00:00:00:00:04 addrgenmode none up
addr add 192.168.77.2/24 dev eth0
route add default via 192.168.77.1
END
ip -batch - <<'END'
route add 10.200.0.0/16 via 192.168.77.2
route add 198.51.100.0/24 dev br-office table 77
rule add from 192.0.2.7 lookup 77
END
mkdir -p /etc/netns/other
echo nameserver 192.0.2.53 >/etc/netns/other/resolv.conf
iptables-restore <<'END'
*filter
:DOCKER-USER - [0:0]
-A INPUT -s 192.0.2.1 -m comment --comment not-vpcctl:x -j DROP
-A FORWARD -j DOCKER-USER
-A FORWARD -i br-office -o eth0 -m comment --comment not-vpcctl:x -j ACCEPT
-A DOCKER-USER -j RETURN
COMMIT
*nat
-A POSTROUTING -s 192.168.78.0/24 -o eth0 -j MASQUERADE
COMMIT
END
ip6tables -A FORWARD -s 2001:db8:5::/64 -j ACCEPT

"""A virtual machine of QEMU with a machine's address by a tap or by passt: a real kernel, real packets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from host import Host
from neighbours import SHELF, Neighbour, Street, missing, wait
from test_containers import bash, make_vpc
from test_ipv6 import INTERNET, PUBLIC, P

VM4, VM6 = "10.0.1.4", f"[{P}01::4]"
QEMU = Neighbour("qemu", "qemu-system-x86_64", start="", restart="", alive="", also=("busybox",))
KERNEL = SHELF / "qemu"
MODULES = ("virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci "
           "failover net_failover virtio_net")
MUCH = 4 << 20
"""More bytes than a socket takes at once: they come in frames that the card of QEMU has put together."""

GUEST = f"""
mkdir -p /run/guest/bin /run/guest/proc /run/guest/www /run/vm1 /run/www
chmod 777 /run/vm1
cp "$(command -v busybox)" /run/guest/bin/busybox
for module in {MODULES}; do
    find {KERNEL}/usr/lib/modules -name $module.ko -exec cp {{}} /run/guest/ \\;
done
cat >/run/guest/lease <<'END'
#!/bin/busybox sh
[ "$1" = bound ] || exit 0
/bin/busybox ip addr add $ip/32 dev $interface
/bin/busybox ip route add $router dev $interface
/bin/busybox ip route add default via $router
END
cat >/run/guest/init <<'END'
#!/bin/busybox sh
busybox() {{ /bin/busybox "$@"; }}
busybox mount -t proc proc /proc
for module in {MODULES}; do [ ! -e /$module.ko ] || busybox insmod /$module.ko; done
busybox ip link set lo up
busybox ip link set eth0 up
busybox udhcpc -i eth0 -s /lease -n -q
[ ! -e /six ] || . /six
echo 'from the virtual machine' >/www/index.html
busybox yes | busybox head -c {MUCH} >/www/much
busybox httpd -p 80 -h /www
busybox httpd -p 81 -h /www
busybox wget -q -O - http://10.0.1.2:8080/
busybox ping -c 1 -W 5 8.8.8.8 && echo its ping came back
echo it is ready
while :; do busybox sleep 1000; done
END
chmod +x /run/guest/init /run/guest/lease
(cd /run/guest; find . | cpio -o -H newc --quiet | gzip -1 >/run/guest.img)
"""
"""A system of busybox that asks for its address by DHCP: passt, or its VPC's server."""
SIX = f"""
mkdir -p /run/guest
cat >/run/guest/six <<'END'
busybox ip -6 addr add {P}01::4/128 dev eth0
busybox ip -6 route add default via fe80::1 dev eth0
# Until no other machine is found to have the address (RFC 4862, 5.4).
while busybox ip -6 addr show dev eth0 | busybox grep -q tentative; do busybox sleep 0.1; done
busybox wget -q -O - http://[{PUBLIC}]:8080/six
busybox ping -6 -c 1 -W 5 {INTERNET[0]} && echo its ping of IPv6 came back
END
"""
"""What a person sets in a guest for IPv6 (docs/containers.md)."""

PASST = "ip netns exec vpc1-public.vm1 passt -f -s /run/vm1/sock -t 80,81"
BOOT = ("qemu-system-x86_64 -cpu max -m 256 -nodefaults -display none -serial file:/run/vm1/console "
        f"-no-reboot -kernel $(echo {KERNEL}/boot/vmlinuz-*) -initrd /run/guest.img -append console=ttyS0 "
        "-device virtio-net-pci,netdev=n,romfile=")
BY_PASST = f"{BOOT} -netdev stream,id=n,server=off,addr.type=unix,addr.path=/run/vm1/sock"
BY_TAP = (f"ip netns exec vpc1-public.vm1 {BOOT},mac=02:10:0a:00:01:04 "
          "-netdev tap,id=n,ifname=vm0,script=no,downscript=no")


@pytest.fixture
def host(tmp_path: Path) -> Iterator[Host]:
    """A host with QEMU, passt and a VPC."""
    if lacks := missing(QEMU):
        pytest.skip(f"beside other programs: {lacks}")
    if not KERNEL.is_dir():
        pytest.skip("beside other programs: qemu: no kernel to boot")
    street = Street(tmp_path, QEMU)
    try:
        street.host.environment["PATH"] = f"/usr/bin:{street.host.sh('printf %s $PATH')}"
        make_vpc(street.host)
        yield street.host
    finally:
        street.close()


def test_it_has_the_machine_s_address_and_policy(host: Host) -> None:
    host.do("instance add --vpc vpc1 --subnet public --name vm1")
    bash(host, GUEST)
    host.sh("echo 'from the subnet' >/run/www/index.html")
    host.start("vpc1-public", "busybox", "httpd", "-f", "-p", "8080", "-h", "/run/www")
    running = [host.start("", "bash", "-c", f"exec {PASST}")]
    bash(host, wait("[ -S /run/vm1/sock ]"))
    running.append(host.start("", "bash", "-c", f"exec {BY_PASST}"))
    check(host)
    host.stop(*running)
    host.do("vpc delete --name vpc1")


def test_it_is_the_machine_behind_its_tap(host: Host) -> None:
    host.do("dns enable --vpc vpc1")
    host.do("dhcp enable --vpc vpc1")
    host.do(f"vpc set --name vpc1 --ipv6 {P}00::/56")
    done = host.do("instance attach --vpc vpc1 --subnet public --name vm1 --tap vm0")
    assert f"address 10.0.1.4/24 and gateway 10.0.1.1, {P}01::4/128 and gateway fe80::1: " in done.err
    bash(host, SIX + GUEST)
    host.sh("echo 'from the subnet' >/run/www/index.html; echo 'by IPv6' >/run/www/six")
    host.start("vpc1-public", "busybox", "httpd", "-f", "-p", "8080", "-h", "/run/www")
    running = host.start("", "bash", "-c", f"exec {BY_TAP}")
    check(host)
    check(host, VM6)
    assert "by IPv6" in console(host)
    assert "its ping of IPv6 came back" in console(host)
    for family in ("", "-6"):
        host.do(f"reach {family} --from vpc1/public --to vpc1/public/vm1 --port 80 --probe")
    assert host.do("status").out.endswith("in sync\n")
    # It can be started again.
    host.stop(running)
    assert fetched(host, 80) == ""
    host.sh("rm /run/vm1/console")
    host.start("", "bash", "-c", f"exec {BY_TAP}")
    host.wait_until(lambda: "it is ready" in console(host), "it boots")
    for address in (VM4, VM6):
        assert fetched(host, 80, address) == "from the virtual machine\n"
    done = host.do("instance detach --vpc vpc1 --subnet public --name vm1")
    assert "vpc1/public/vm1 is unplugged: tap vm0 goes with it" in done.err
    assert "stopped qemu-system-x86" in done.err
    host.do("vpc delete --name vpc1")


def check(host: Host, address: str = VM4) -> None:
    """It reaches others, and is reached as the policy allows."""
    host.wait_until(lambda: "it is ready" in console(host), "it boots")
    assert "from the subnet" in console(host)
    assert "its ping came back" in console(host)
    for port in (80, 81):
        assert fetched(host, port, address) == "from the virtual machine\n"
    assert len(fetched(host, 80, address, "much")) == MUCH
    host.do("firewall allow --vpc vpc1 --subnet public --protocol tcp --port 80")
    assert fetched(host, 80, address) == "from the virtual machine\n"
    assert fetched(host, 81, address) == ""
    host.do("firewall clear --vpc vpc1 --subnet public")


def console(host: Host) -> str:
    """What it has printed so far."""
    return host.run("cat", "/run/vm1/console").out


def fetched(host: Host, port: int, address: str = VM4, what: str = "") -> str:
    """What the subnet's own machine gets from it."""
    return host.inside("vpc1-public", "curl", "-s", "-g", "-m", "5", f"http://{address}:{port}/{what}").out

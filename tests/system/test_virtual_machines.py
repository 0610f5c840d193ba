"""A virtual machine of QEMU with a machine's address by a tap or by passt: a real kernel, real packets."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
from host import Host
from neighbours import SHELF, Neighbour, Street, missing, wait
from test_containers import bash, make_vpc

QEMU = Neighbour("qemu", "qemu-system-x86_64", start="", restart="", alive="", also=("busybox",))
KERNEL = SHELF / "qemu"
MODULES = ("virtio_ring virtio virtio_pci_modern_dev virtio_pci_legacy_dev virtio_pci "
           "failover net_failover virtio_net")
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
echo 'from the virtual machine' >/www/index.html
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
    done = host.do("instance attach --vpc vpc1 --subnet public --name vm1 --tap vm0")
    assert "address 10.0.1.4/24 and gateway 10.0.1.1" in done.err
    bash(host, GUEST)
    host.sh("echo 'from the subnet' >/run/www/index.html")
    host.start("vpc1-public", "busybox", "httpd", "-f", "-p", "8080", "-h", "/run/www")
    running = host.start("", "bash", "-c", f"exec {BY_TAP}")
    check(host)
    host.do("reach --from vpc1/public --to vpc1/public/vm1 --port 80 --probe")
    assert host.do("status").out.endswith("in sync\n")
    # It can be started again.
    host.do("firewall clear --vpc vpc1 --subnet public")
    host.stop(running)
    assert fetched(host, 80) == ""
    host.sh("rm /run/vm1/console")
    host.start("", "bash", "-c", f"exec {BY_TAP}")
    host.wait_until(lambda: "it is ready" in console(host), "it boots")
    assert fetched(host, 80) == "from the virtual machine\n"
    done = host.do("instance detach --vpc vpc1 --subnet public --name vm1")
    assert "vpc1/public/vm1 is unplugged: tap vm0 goes with it" in done.err
    assert "stopped qemu-system-x86" in done.err
    host.do("vpc delete --name vpc1")


def check(host: Host) -> None:
    """It reaches others, and is reached as the policy allows."""
    host.wait_until(lambda: "it is ready" in console(host), "it boots")
    assert "from the subnet" in console(host)
    assert "its ping came back" in console(host)
    for port in (80, 81):
        assert fetched(host, port) == "from the virtual machine\n"
    host.do("firewall allow --vpc vpc1 --subnet public --protocol tcp --port 80")
    assert fetched(host, 80) == "from the virtual machine\n"
    assert fetched(host, 81) == ""


def console(host: Host) -> str:
    """What it has printed so far."""
    return host.run("cat", "/run/vm1/console").out


def fetched(host: Host, port: int) -> str:
    """What the subnet's own machine gets from it."""
    return host.inside("vpc1-public", "curl", "-s", "-m", "3", f"http://10.0.1.4:{port}/").out

"""Other programs that program the host's network, run for real in a throw-away host.

Their files come from `.neighbours/NAME` (see .ci/neighbours.sh) or from the machine's own packages. They are
laid over /usr and /etc of the host alone, and what of /proc/sys is the whole machine's is read-only there.
"""

from __future__ import annotations

import os
import shutil
import subprocess
from dataclasses import dataclass, replace
from pathlib import Path

from host import CHECKOUT, Host

SHELF = CHECKOUT / ".neighbours"
APART = ("unshare", "--mount", "--propagation", "private", "bash", "-c")
ENTER = r"""
set -e
layers=$1 scratch=$2 cgroup=$3
shift 3
usr='' etc=''
for layer in $layers; do usr=$usr$layer/usr: etc=$etc$layer/etc:; done
mount -t tmpfs tmpfs "$scratch"
mkdir "$scratch/upper" "$scratch/work" "$scratch/usr" "$scratch/usr.work" "$scratch/cgroup"
mount -t overlay overlay -o "lowerdir=$usr/usr,upperdir=$scratch/usr,workdir=$scratch/usr.work" /usr
mount -t overlay overlay -o "lowerdir=$etc/etc,upperdir=$scratch/upper,workdir=$scratch/work" /etc
mount -t cgroup2 cgroup2 "$scratch/cgroup"
mkdir "$scratch/cgroup/$cgroup"
echo $$ >"$scratch/cgroup/$cgroup/cgroup.procs"
umount "$scratch/cgroup"
exec unshare --cgroup "$@"
"""
LEAVE = r"""
mount -t cgroup2 cgroup2 "$1"
[ ! -d "$1/$2" ] || find "$1/$2" -depth -type d -exec rmdir {} +
umount "$1"
"""
SETTLE = """
mount --bind /proc/sys /proc/sys
mount --bind /proc/sys/net /proc/sys/net
mount -o remount,bind,ro /proc/sys
mkdir -p /sys/fs/cgroup && mount -t cgroup2 cgroup2 /sys/fs/cgroup
for folder in docker containerd containers libvirt; do
    mkdir -p /var/lib/$folder && mount -t tmpfs tmpfs /var/lib/$folder
done
for folder in cache log tmp; do mount -t tmpfs tmpfs /var/$folder; done
"""
IMAGE = """
mkdir -p /run/image/bin && cp "$(command -v busybox)" /run/image/bin/busybox
for name in sh ping; do ln -sf busybox /run/image/bin/$name; done
tar -C /run/image -cf /run/image.tar .
"""


@dataclass(frozen=True)
class Neighbour:
    """A program, the lines that start and restart it and see that it works, and what it forwards for."""

    name: str
    needs: str
    """The program that has to be there, or several."""
    start: str
    restart: str
    alive: str
    """Has to succeed while its own traffic gets through."""
    namespace: str = ""
    """A namespace of its own, whose packets it forwards; none may meet a VPC's."""
    published: str = ""
    """A port of the host that leads into it."""
    starting: str = ""
    """How a person starts it."""
    remedy: str = ""
    """What a person types so that the VPC's packets pass it, each line as in docs/neighbours.md."""
    also: tuple[str, ...] = ()
    """Other layers that it stands on."""


def missing(neighbour: Neighbour) -> str:
    """What is not here for it, or nothing."""
    if os.geteuid() != 0:
        return f"{neighbour.name}: needs root"
    if layers(neighbour):
        return ""
    lacks = next((one for one in neighbour.needs.split() if not shutil.which(one)), "")
    return f"{neighbour.name}: no {lacks}" if lacks else ""


def layers(neighbour: Neighbour) -> list[Path]:
    """The folders to lay over the host's."""
    wanted = [SHELF / name for name in (neighbour.name, *neighbour.also)]
    return [folder for folder in wanted if folder.is_dir()]


class Street:
    """A host on which a neighbour can live; `close` ends it with its control group."""

    def __init__(self, scratch: Path, neighbour: Neighbour) -> None:
        self._mount = scratch / "overlays"
        self._mount.mkdir()
        self._cgroup = f"vpcctl-test-{os.getpid()}-{scratch.name}"
        stack = " ".join(str(layer) for layer in layers(neighbour))
        self.host = Host(scratch, (*APART, ENTER, "_", stack, str(self._mount), self._cgroup))
        self.host.sh(SETTLE)

    def close(self) -> None:
        """End the host and all in it."""
        self.host.end()
        subprocess.run([*APART, LEAVE, "_", str(self._mount), self._cgroup], check=True)


def wait(condition: str) -> str:
    """A line of shell that waits for a condition, twenty seconds at most."""
    return f"for _ in $(seq 200); do if {condition}; then break; fi; sleep 0.1; done; {condition}\n"


_DOCKERD = r"""
export PATH=/usr/bin:$PATH
setsid dockerd --storage-driver=vfs --exec-opt native.cgroupdriver=cgroupfs \
    >>/run/dockerd.log 2>&1 </dev/null &
echo $! >/run/dockerd.pid
""" + wait("docker version >/dev/null 2>&1")
_CONTAINER = """
export PATH=/usr/bin:$PATH
docker start c1 >/dev/null 2>&1 ||
    docker run -d --name c1 --restart unless-stopped -p 8080:80 bb /bin/busybox httpd -f -p 80 -h / >/dev/null
""" + wait("[ \"$(docker inspect -f '{{.State.Running}}' c1)\" = true ]") + """
ip netns del c1 2>/dev/null || true
ip netns attach c1 "$(docker inspect -f '{{.State.Pid}}' c1)"
"""
_END = "kill $(cat /run/{0}.pid); while kill -0 $(cat /run/{0}.pid) 2>/dev/null; do sleep 0.1; done\n"

DOCKER = Neighbour(
    "docker", "dockerd",
    starting="systemctl start docker",
    start=f"{IMAGE}\n{_DOCKERD}\ndocker import /run/image.tar bb >/dev/null\n{_CONTAINER}",
    restart=_END.format("dockerd") + _DOCKERD + _CONTAINER,
    alive="ip netns exec c1 ping -c1 -W2 -q 8.8.8.8",
    namespace="c1", published="8080", also=("busybox",))

_LIBVIRTD = """
mkdir -p /var/lib/libvirt/dnsmasq /run/libvirt /var/cache/libvirt
setsid libvirtd >>/run/libvirtd.log 2>&1 </dev/null &
echo $! >/run/libvirtd.pid
""" + wait("virsh -c qemu:///system net-list >/dev/null 2>&1") + """
net="virsh -q -c qemu:///system"
$net net-info default >/dev/null 2>&1 || $net net-define /usr/share/libvirt/networks/default.xml
$net net-list --name | grep -qx default || $net net-start default
"""
LIBVIRT = Neighbour(
    "libvirt", "libvirtd",
    start="""
ip netns add guest
for user in libvirt-qemu libvirt-dnsmasq; do
    id $user >/dev/null 2>&1 || echo $user:x:65533:65533::/nonexistent:/bin/false >>/etc/passwd
    getent group $user >/dev/null || echo $user:x:65533: >>/etc/group
done
""" + _LIBVIRTD + """
ip link add vnet0 type veth peer name eth0 netns guest
ip link set vnet0 master virbr0 up
ip -n guest link set lo up
ip -n guest link set eth0 up
ip -n guest addr add 192.168.122.10/24 dev eth0
ip -n guest route add default via 192.168.122.1
""",
    restart="""
virsh -c qemu:///system net-destroy default >/dev/null
""" + _END.format("libvirtd") + _LIBVIRTD + "ip link set vnet0 master virbr0 up\n",
    alive=wait("ip netns exec guest ping -c1 -W2 -q 8.8.8.8"), namespace="guest",
    starting="systemctl start libvirtd")

_FIREWALLD = """
mkdir -p /run/dbus
# As the package's own script does at installation.
(cd /usr/share/polkit-1/actions && ln -sf org.fedoraproject.FirewallD1.server.policy.choice \
    org.fedoraproject.FirewallD1.policy)
[ -S /run/dbus/system_bus_socket ] || dbus-daemon --system --fork
setsid firewalld --nofork --nopid >>/run/firewalld.log 2>&1 </dev/null &
echo $! >/run/firewalld.pid
""" + wait("firewall-cmd --state >/dev/null 2>&1")
FIREWALLD = Neighbour("firewalld", "firewalld", start=_FIREWALLD, starting="systemctl start firewalld",
                      restart=_END.format("firewalld") + _FIREWALLD,
                      alive="ping -c1 -W2 -q 8.8.8.8; firewall-cmd --state", remedy="""\
firewall-cmd --permanent --new-zone=vpcctl
firewall-cmd --permanent --zone=vpcctl --add-interface=vpc-vpc1
firewall-cmd --permanent --new-policy=vpcctl-out
firewall-cmd --permanent --policy=vpcctl-out --add-ingress-zone=vpcctl
firewall-cmd --permanent --policy=vpcctl-out --add-egress-zone=ANY
firewall-cmd --permanent --policy=vpcctl-out --set-target=ACCEPT
firewall-cmd --reload
vpcctl restore
""")

UFW = Neighbour("ufw", "ufw", starting="ufw enable", start="""
[ -e /etc/ufw/ufw.conf ] || cp /usr/share/ufw/ufw.conf /usr/share/ufw/*.rules /usr/share/ufw/*.init /etc/ufw/
ufw allow 22/tcp; ufw --force enable""", restart="ufw --force disable; ufw --force enable",
                alive="ping -c1 -W2 -q 8.8.8.8; ufw status | grep -q 'Status: active'")

PERSISTENT = Neighbour("iptables-persistent", "netfilter-persistent", starting="netfilter-persistent save",
                       start="mkdir -p /etc/iptables; netfilter-persistent save",
                       restart="netfilter-persistent reload",
                       alive="ping -c1 -W2 -q 8.8.8.8")

PODMAN = Neighbour(
    "podman", "podman",
    starting="podman start c1",
    start=f"""{IMAGE}
printf '[network]\\nnetwork_backend="netavark"\\n[engine]\\ncgroup_manager="cgroupfs"\\n' \
    >/etc/containers/containers.conf
printf '[storage]\\ndriver="vfs"\\nrunroot="/run/containers"\\ngraphroot="/var/lib/containers"\\n' \
    >/etc/containers/storage.conf
podman import /run/image.tar bb >/dev/null
podman run -d --name c1 --cgroups=disabled --ulimit=host --cap-add=NET_RAW -p 8080:80 bb \
    /bin/busybox httpd -f -p 80 -h / >/dev/null
ip netns attach c1 "$(podman inspect -f '{{{{.State.Pid}}}}' c1)"
""",
    restart="""
ip netns del c1; podman stop -t 0 c1 >/dev/null; podman start c1 >/dev/null
ip netns attach c1 "$(podman inspect -f '{{.State.Pid}}' c1)"
""",
    alive=wait("ip netns exec c1 ping -c1 -W2 -q 8.8.8.8"), namespace="c1", published="8080",
    also=("busybox",))

_WIREGUARD = """
wg-quick up wg0
""" + wait("ping -c1 -W1 -q 8.8.8.8 >/dev/null")
WIREGUARD = Neighbour(
    "wireguard", "wg-quick",
    starting="systemctl start wg-quick@wg0",
    # The module is in few throw-away kernels; the same program in user space takes its place.
    start="""
umask 077
mkdir -p /etc/wireguard
for side in host server; do wg genkey | tee /run/$side.key | wg pubkey >/run/$side.pub; done
cat >/etc/wireguard/wg0.conf <<END
[Interface]
PrivateKey = $(cat /run/host.key)
Address = 10.77.0.2/24
[Peer]
PublicKey = $(cat /run/server.pub)
Endpoint = 203.0.113.1:51820
AllowedIPs = 0.0.0.0/0
END
nsenter --net=/run/netns/internet setsid wireguard-go wg9
nsenter --net=/run/netns/internet wg set wg9 listen-port 51820 private-key /run/server.key \\
    peer "$(cat /run/host.pub)" allowed-ips 10.77.0.2/32
ip -n internet addr add 10.77.0.1/24 dev wg9
ip -n internet link set wg9 up
""" + _WIREGUARD,
    restart="wg-quick down wg0\n" + _WIREGUARD,
    alive="ip route get 8.8.8.8 | grep -q 'dev wg0'; ping -c1 -W2 -q 8.8.8.8",
    remedy="vpcctl nat enable --vpc vpc1 --interface auto\n")

ALL = (DOCKER, LIBVIRT, PODMAN, FIREWALLD, UFW, PERSISTENT, WIREGUARD)


def both(first: Neighbour, second: Neighbour) -> Neighbour:
    """Two of them on one host, started and restarted one after the other."""
    return Neighbour(
        f"{first.name}+{second.name}", f"{first.needs} {second.needs}",
        *(f"{getattr(first, part)}\n{getattr(second, part)}\n" for part in ("start", "restart", "alive")),
        namespace=first.namespace or second.namespace, published=first.published or second.published,
        also=(first.name, second.name, *first.also, *second.also))


# firewalld 1.x removes Docker's rules as it starts; only a start of Docker's after it brings them back.
_MENDED = replace(FIREWALLD, start=FIREWALLD.start + DOCKER.restart,
                  restart=FIREWALLD.restart + DOCKER.restart)
PAIRS = (both(DOCKER, _MENDED), both(FIREWALLD, DOCKER), both(DOCKER, UFW), both(UFW, DOCKER))

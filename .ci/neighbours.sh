#!/usr/bin/env bash
# Unpacks what the tests beside other programs run (dockerd, libvirtd, firewalld, …) into .neighbours/NAME, out of
# the distribution's packages. Nothing is installed, no service starts, nothing outside of this checkout changes.
#
#   .ci/neighbours.sh [NAME …]    only these
set -u
cd "$(dirname "${BASH_SOURCE[0]}")/.." || exit 1

declare -A packages=(
    [compose]=docker-compose
    [docker]=docker.io
    [firewalld]="firewalld dbus"
    [iptables-persistent]=iptables-persistent
    [libvirt]="libvirt-daemon-system libvirt-clients dnsmasq-base"
    [openssh]=openssh-server
    [podman]="podman netavark aardvark-dns"
    [qemu]="qemu-system-x86 linux-image-cloud-amd64 passt"
    [systemd]=systemd
    [ufw]=ufw
    [wireguard]="wireguard-tools wireguard-go"
    [busybox]=busybox-static
    [three-tier]="nginx-light redis-server postgresql python3-psycopg2 python3-redis"
)
# The libraries of the running system stand in those of a neighbour; its init does not run, unless it is the neighbour.
no_need='^(systemd|libsystemd|libpam|libnss|libudev|passwd|login|util-linux)'

fetch() {
    local name=$1 folder=.neighbours/$1.part archives package wanted
    shift
    # The system's own will do.
    dpkg-query -s "$@" >/dev/null 2>&1 && return
    archives=$(mktemp -d)
    mkdir -p "$folder/usr" "$folder/etc" "$folder/var"
    wanted=$(apt-get -s -o APT::Install-Recommends=0 install "$@" 2>/dev/null |
        awk '$1 == "Inst" { print $2 }' | if [ "$name" = systemd ]; then cat; else grep -Ev "$no_need"; fi)
    # shellcheck disable=SC2086 # names of packages
    (cd "$archives" && apt-get -qq -o APT::Sandbox::User=root download $wanted) >/dev/null &&
        for package in "$archives"/*.deb; do dpkg -x "$package" "$folder" || return 1; done || return 1
    rm -rf "$archives"
    # As on a system whose /bin, /sbin and /lib are links into /usr.
    for part in bin sbin lib lib64; do
        [ -d "$folder/$part" ] || continue
        mkdir -p "$folder/usr/$part"
        cp -a "$folder/$part/." "$folder/usr/$part/"
        rm -rf "${folder:?}/$part"
    done
    mv "$folder" ".neighbours/$name"
}

missing() {
    for name; do
        [ -d ".neighbours/$name" ] || echo "$name"
    done
}

[ $# -gt 0 ] || set -- "${!packages[@]}"
problem=
[ -z "$(missing "$@")" ] || [ "$(id -u)" -ne 0 ] || apt-get -qq update >/dev/null
for name in $(missing "$@"); do
    rm -rf ".neighbours/$name.part"
    # shellcheck disable=SC2086 # names of packages
    if ! fetch "$name" ${packages[$name]}; then
        echo "neighbours.sh: can't fetch ${packages[$name]}" >&2
        rm -rf ".neighbours/$name.part"
        problem=yes
    fi
done
[ -z "$problem" ]

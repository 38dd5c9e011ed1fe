#!/bin/sh
# Makes the tree of a Debian that boots as EC2's images do: image.sh DIRECTORY
set -eu
root=$1
suite=bookworm

# The mirrors are those of this machine's apt, and so is the way to them.
mirror=$(apt-get indextargets --format '$(RELEASE) $(SITE)' 'Created-By: Packages' | awk -v suite=$suite '$1 == suite { print $2; exit }')
[ -n "$mirror" ] || { echo "apt has no mirror of Debian $suite here: add one to /etc/apt/sources.list" >&2; exit 1; }
eval "$(apt-config shell http_proxy Acquire::http::Proxy https_proxy Acquire::https::Proxy)"
export http_proxy https_proxy DEBIAN_FRONTEND=noninteractive LC_ALL=C

debootstrap --variant=minbase $suite "$root" "$mirror"
rm -rf "$root/etc/apt"
cp -a /etc/apt "$root/etc/apt"
cp /etc/hosts "$root/etc/hosts"
cp -L /etc/resolv.conf "$root/etc/resolv.conf"
chroot "$root" apt-get update
chroot "$root" apt-get install -y --no-install-recommends systemd-sysv dbus cloud-init git curl ca-certificates iproute2 procps
chroot "$root" apt-get clean
rm -rf "$root"/var/lib/apt/lists/*

# As EC2's images have it: who the machine is, it learns at its first boot, and
# from EC2 only. Its network interface is configured before anything asks for it,
# by what boottest writes to /etc/vpc; there is no DHCP and no server of names, and
# that is known at once.
: >"$root/etc/machine-id"
rm "$root/etc/resolv.conf" "$root/sbin/dhclient"
cat >"$root/etc/systemd/system/vpc.service" <<'END'
[Unit]
Description=The network interface
DefaultDependencies=no
After=systemd-remount-fs.service
Before=cloud-init-local.service network-pre.target
Wants=network-pre.target

[Service]
Type=oneshot
RemainAfterExit=yes
ExecStart=/sbin/ip -batch /etc/vpc

[Install]
WantedBy=sysinit.target
END
chroot "$root" systemctl enable vpc.service
cat >"$root/etc/cloud/cloud.cfg.d/90_ec2.cfg" <<'END'
datasource_list: [ Ec2 ]
network: {config: disabled}
locale: C.UTF-8
END

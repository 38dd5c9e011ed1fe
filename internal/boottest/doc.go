// Command boottest boots real machines: Debian with systemd and cloud-init, that
// `bootstrap='cloud-init'` makes workers of. It plays a whole build on one, and
// then every disturbance that a machine meets, and prints a line for each with
// its times.
//
//	make boot-test [ONLY=restart,reset] [KEEP=yes]
//
// It needs root, Linux, and Debian's debootstrap and systemd-container; without
// them it says what is missing and ends with exit code 2. What does not hold is
// exit code 1. It is no part of make test.
//
// # How a machine is made
//
// The image is Debian's, made once by image.sh with the apt configuration of this
// machine, and kept below the user's cache directory. Whatever changes image.sh
// makes it anew.
//
// The program starts itself again in network, mount and process namespaces of its
// own. There, a bridge is the VPC: it has the master's address and
// 169.254.169.254, where each machine finds its own metadata. The endpoint is the
// product's, package ec2sim, and its [ec2sim.Boot] starts a container of
// systemd-nspawn for each instance: with the address and the hardware address that
// EC2 tells, a disk of its own, and the console that the endpoint serves. All of it
// ends with the namespaces, however this program ends.
//
//	┌ namespaces ────────────────────────────────────────────────────────────────┐
//	│ boottest: endpoint, metadata        dormouse master         machines       │
//	│   127.0.0.1:4566 169.254.169.254:80   172.31.0.1:9989    172.31.x.y        │
//	│          └──────────────┴────── bridge ──────┴──────────────────┘          │
//	└────────────────────────────────────────────────────────────────────────────┘
//
// A machine's disk is an ext4 file system in a file, over the image. A hard reset
// kills everything that runs on the machine and goes on with what had reached the
// file by then: what was written and not synced is lost, as it is on EC2.
//
// # What it is not
//
// The kernel is this machine's, so that a machine has no memory limit of its own,
// no clock of its own, and no firmware; the address of its network interface is on
// its disk, where EC2 has DHCP.
package main

// Package bootstrap puts the agent on an instance whose image does not have it:
// it renders the user data that installs it, and serves the programs that are
// installed.
//
// # What happens on the instance
//
// [UserData] is a shell script, which cloud-init runs as root at the first boot
// of any image that has it. The script needs sh, the usual small programs, one
// of curl, wget and python3, and systemd:
//
//  1. fetch the program for this machine's architecture from the master, trying
//     again for about ten minutes;
//  2. compare its SHA-256 with the one that the user data names: the program
//     goes over plain HTTP where the master has no TLS, but what it must be came
//     by EC2, as did the CA by which a master with TLS is known;
//  3. install it, and make the user that builds run as;
//  4. write the settings, among them the secret, to a file that only root can
//     read: systemd hands them to the services, and a build, which runs as the
//     worker's own user, finds no file to read them in;
//  5. install and start two services: the worker as that user, and the watchdog
//     as root, which powers the machine off when the master has no more use for
//     it or cannot be reached for the time of a lease.
//
// Each file is synced before it has its name, so that a reset leaves the old one or
// the new one. Before anything else the script installs itself as a service that
// runs it again at each later boot, since cloud-init does not: what a reset has kept
// from happening happens then, and a program with a wrong checksum is fetched again.
//
// Where a step fails the script says why on the console, which the master reads
// ([ReadConsole]) and keeps, and powers the machine off: one that cannot become a
// worker must not stay on the bill. What may pass, such as a master that is away, it
// waits for. systemd powers the machine off, too, when the watchdog cannot be kept
// running.
//
// # What is served
//
// [Binaries] are the running program itself, for its own platform, and the files
// dormouse-GOOS-GOARCH of a directory, for others. A program for any Linux is
// linked statically: CGO_ENABLED=0 go build.
package bootstrap

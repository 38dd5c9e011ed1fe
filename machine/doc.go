// Package machine is what the programs on a worker's machine, the agent and its
// watchdog, know of the machine and do to it: what the instance metadata service
// says of it (its id, its user data, EC2's notices that it will be taken back), how
// its master is addressed and trusted, the token by which the master knows it again,
// how long to wait after a failure, how it is powered off.
package machine

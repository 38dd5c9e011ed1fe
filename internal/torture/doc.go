// Command torture tries to break Dormouse, and prints how it went.
//
//	go run ./internal/torture -runs 500          or: make torture RUNS=500
//
// A run is one deployment of a few seconds: the local EC2 endpoint, a master
// and the machines that it starts, all real processes of the product's own
// binary that talk over loopback sockets. Builds are asked for, and at moments
// drawn by lot the master, an agent or both are killed with SIGKILL, the master
// is told to stop and killed meanwhile, or to read its configuration again,
// connections are cut or go deaf, and the EC2 API lies in every way that the
// endpoint knows. The master's limits of time are scaled down, so that hours
// fit into seconds. Then it is left in peace, and judged:
//
//	lost       a request that was accepted and did not end exactly once, in success
//	wrong      a log that lacks a line, or has one twice or out of order; of a
//	           build that was tried again, before its end
//	leaked     an instance that is alive when nothing wants it any more
//	shared     two instances in use for one worker, or alive before the end of
//	           one was accepted, or two of one generation
//
// Many runs in which no build goes on under another master are a loss, too. The
// endpoint's ledger is the judge of instances, not the master's. Every
// number of a run follows from -seed and the run's own: what a loss was is
// played again by -run, and its directory with all logs is kept.
package main

// Package procs finds and ends the processes that a build has left behind on
// this machine, and reads what they print.
//
// A command has ended when its own process has. What it has started may live on,
// and hold its output open:
//
//	running ── the process exits ──▶ Settle, after a grace ──▶ over
//	                                   what is in the pipe is read; who holds it is named (Holders)
//
// A build's processes are known by a mark, a variable in the environment that
// they were started with and that whatever they start inherits, and by their
// parents: neither a session of its own nor a second fork takes a process out of
// that. What has also wiped its environment is found where it has become the
// child of a process that adopts orphans (see [Adopt]).
//
// All of this needs Linux's /proc. On other systems nothing is found.
package procs

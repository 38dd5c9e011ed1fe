// Package watchdog powers a machine off that its master has no use for, or cannot
// reach any more: nothing else ends a machine that has lost its master, and what it
// costs is paid for until it ends.
//
// It holds a lease from the master, first for a time of its own. It asks for a new
// one after a third of the time, and again and again where the answer decides
// nothing; when the lease has run out, it powers the machine off, and insists. The
// rules are pure, see watch; what they decide is done in [Watchdog.Run]. It runs as
// root beside the worker, so that a build cannot stop it.
package watchdog

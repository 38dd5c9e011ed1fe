// Package worker is the agent that runs on an instance: it attaches to the
// master, runs the commands it is sent, and goes on for ever.
//
// # Life
//
//	        dial                     refused, unreachable, dropped
//	start ───────▶ attached ─────────────────────────────────▶ back-off ──┐
//	                  │  ▲                                                │
//	                  │  └────────────────────────────────────────────────┘
//	                  │ the master orders a shutdown          ──▶ [power-off command] ──▶ nil
//	                  │ the generation is over (409)          ──▶ [power-off command] ──▶ [ErrSuperseded]
//	                  │ --maxretries failures in a row        ──▶ [power-off command] ──▶ [ErrGaveUp]
//	                  │ the context ends (SIGTERM)            ──▶ the master is told ──▶ nil
//
// Whatever ends an attachment ends the commands that ran on it, and they are
// waited for before the agent dials again: two builds never share a directory.
// A command that ends that way is not reported complete, so that the master
// retries the build and does not count it as failed.
//
// # A command
//
// One goroutine owns a command from its start to its end: what it reads from
// the process, the lines it makes of it, the updates it sends, the timers that
// limit it. Nothing is read from the process while the master has not
// acknowledged what was sent before, so memory is bounded and a slow master
// holds a fast process back. A process that is held back is not silent: the
// no-output limit does not count then. The log files that a command may have
// are read in the same way, as they grow.
//
// # Files
//
// What a master sends, and has copied, goes below the agent's directory, by
// whatever links a build has planted there; see openInside. A file that is
// received has its name only once it is whole and on the disk. A file that is
// sent is closed at the master, and a directory unpacked, only when all of it
// has arrived. Each block waits for its acknowledgement. What moves files ends
// with its connection.
package worker

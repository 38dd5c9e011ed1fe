// Package store is the durable state of a master: requests, builds, steps,
// logs, workers, generations, launch attempts and instances, in SQLite or
// PostgreSQL (see the packages sqlite and postgres, which open one).
//
// # What a write promises
//
// A method that writes returns nil only once what it wrote is durable and
// visible to every read that begins later. It is one transaction: it happens
// as a whole or, when it returns an error, not at all. The one exception is an
// error of class [dormouse.Unanswered]: the connection broke during the commit,
// and only a later read, or another try, can tell. A context that ends while the
// write waits for its turn withdraws it ([dormouse.Unavailable], nothing was
// carried out); once it has begun it is finished, within the time that its
// database gives it.
//
// # Answers that are lost
//
// Every write can be repeated with the same arguments, and then changes nothing
// that it has changed already: an append names the line that it begins at, a
// request has a key, a launch its token, the end of a step or a build its time.
// Where a write says instead that another was first ([Owner.StartBuild],
// [Owner.CancelRequest]), a read tells whether that was its earlier try. So a
// caller goes on after Unanswered as after [dormouse.Unavailable]: [Owner.Until]
// tries again until the store is back, and nothing else does.
//
// # What a write returns
//
// A write that makes or changes something which is announced returns it as the
// store now has it. What is announced is what was returned, so that a fact is derived
// in one place.
//
// # Who may write
//
// A database has one master at a time, which [DB.AcquireLease] elects. It gives an
// [Owner], whose methods are all writes there are. An Owner carries a number that
// grows with each change of ownership, and its process's name. Every write checks
// both, inside its own transaction, against a row that the next election must
// change. So a master that was superseded without noticing (a stopped process, a
// stalled disk) gets a [dormouse.Conflict] with [ErrSuperseded] and changes nothing,
// however late it wakes:
//
//	master A: AcquireLease → owner 7 ── writes … stalls ……………… write → Conflict
//	master B:                            lease expires, AcquireLease → owner 8 ── writes
//
// Reads are methods of [DB], and need no lease.
//
// # Logs
//
// A log is rows of compressed chunks, each with the number of its first line
// and its first byte, so that any range is read without the rest. An append is
// one or more new chunks; when small ones gather at the tail they are merged
// within the append's own transaction, so that a log written a line at a time
// has few rows and each byte is rewritten a logarithmic number of times.
// Completing a log merges what small chunks are left. See chunk.go for the
// format.
//
// # Text
//
// Strings that PostgreSQL could not hold are mended, in both databases alike:
// NUL bytes and invalid UTF-8 become U+FFFD.
package store

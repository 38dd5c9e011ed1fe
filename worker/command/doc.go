// Package command runs what a master asks of an agent: shell commands, and work on
// files.
//
// [Commands] are an agent's, [Attachment] is what one connection asks for. A command
// ends with its connection, unless it is of a group, which a master that resumes
// names: then it goes on, keeps what it says, on disk beyond some, and tells it over
// the connection that takes it up.
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
package command

// Package listen is how the program's servers meet strangers: each port that
// it opens is a [Listener], served by [NewServer], with the same limits.
//
// # Connections
//
// A connection is a stranger's until a request on it has shown the right
// password, token or signature, and its handler has called [Prove]. A listener
// holds a bounded number of connections, and of them a bounded number of
// strangers', in all and from each address. A new connection is not refused
// where strangers take all the room: the oldest stranger of the address that
// has most of them is cut off for it. So whoever connects, and says at once who
// it is, gets in, however many others only wait.
//
// The bounds come from the process's limit of descriptors ([Share]): a part of
// it is never given to connections, so that the database, the calls of EC2 and
// the files of attached workers go on. Where descriptors are short all the same,
// a listener waits, and takes connections again when there are some.
//
// # Requests
//
// Headers, bodies and answers have limits of size and of time; see [NewServer].
// A long answer is written by [Patient].
//
// # Guesses
//
// A [Brake] bounds how often a secret that a person has chosen is compared, by
// address and name. Beyond that it has right and wrong ones answered alike, so
// that many connections at once learn no more than one would.
//
// # Logs
//
// What strangers can have logged goes through [Brief], which writes a few lines
// of a kind in a time, and then how many there were.
package listen

// Command torture tries to break Dormouse, and prints how it went.
//
//	go run ./internal/torture -runs 500 [-store postgres]
//	go run ./internal/torture -points [-spread]
//	make torture RUNS=500 [STORE=postgres] [SEED=7]
//
// It plays runs, or goes through crash points. The product that it tortures is
// built with a few lines of its own (see patch): a clock that can be set, and a
// store that counts the writes, fails one, and kills the process at one.
//
// # Runs
//
// A run is one deployment of a few seconds: the local EC2 endpoint, a master
// and the machines that it starts, all real processes of the product's own
// binary that talk over loopback sockets. What takes part is drawn by lot: spot
// instances, batched launches, volumes, elastic addresses, on_shutdown='keep',
// Debian's buildbot-worker in the agent's place, watchdogs; and with PostgreSQL
// a second master, in a directory of its own, that wants the same database.
// Builds are asked for, and at moments drawn by lot
//
//	masters    are killed, suspended for less or more than their lease, told to
//	           stop and killed meanwhile, or to read their configuration again,
//	           and overtaken by others
//	agents     are killed
//	workers'   connections are cut, break in mid-message, or go deaf
//	EC2        lies in every way that the endpoint knows
//	PostgreSQL is away, hears nothing, and has connections that are cut, ended
//	           in mid-message, or half open
//	the clock  of the masters jumps by up to five hours, ahead and back
//
// The master's limits of time are scaled down, so that hours fit into seconds.
// Then the run is left in peace – some with watchdogs only once no master has
// been there for longer than their lease – and judged:
//
//	lost       a request that was accepted and did not end exactly once, in
//	           success; a command that ran for a build that nobody knows
//	doubled    a request with two builds that count; a command that one build
//	           ran twice: each writes into a journal outside of its machine
//	wrong      a log that lacks a line, or has one twice or out of order; of a
//	           build that was tried again, before its end
//	leaked     an instance that is alive when nothing wants it any more, or
//	           still has the worker's volume or address
//	shared     two instances in use for one worker, or alive before the end of
//	           one was accepted or announced, or two of one generation; two
//	           masters that serve for ever
//	ended for  an instance that EC2 had announced to take back, and that we
//	it         ended: it is paid for then. Not where a master was told to stop
//	broken     a master that ends by itself, does not start, or does not stop
//
// Many runs in which no build goes on under another master are a loss, too. The
// endpoint's ledger is the judge of instances, not the master's. All lots of a
// run follow from -seed and the run's own number: what a loss was is played
// again by -run, and its directory with all logs is kept. (When what happens
// falls, between the lots, is the machine's.)
//
// What is not drawn: two masters whose clocks jump. Which of them is right none
// can say, and the lease of the database is a time of day.
//
// # Crash points
//
// A life is a course of things that ends in the same way each time, such as a
// build on a new instance. With -points each life is led once under a master that
// is left alone; this shows the points: before and after each write to its store
// and each of its calls of EC2. Then the life is led again for every point. The
// master kills itself at a write; at a call the endpoint, which is in this
// process, kills it. A second master takes over, and judged is that all comes to
// the end that it has without a killing: one success, every line once, the
// instances that the life needs and no more, none alive, no two at a time. It is
// a loss as well where a life has too few points, where an important kind of
// write is lacking, or where more than a tenth of the points are never come to.
//
// With -spread only one point before and one after each kind of write and call
// is gone through, in lives drawn from -seed. -point plays one again.
package main

// Package planner decides which build request goes to which worker, which
// latent workers are needed, and why every other request waits.
//
// [Plan] is a pure function: no clock, no I/O, no memory. It is given all
// waiting requests and all workers as they are now, and answers four things:
//
//	collapses     older requests that a newer, equal one makes superfluous
//	assignments   request → worker that may take it this moment
//	demand        latent worker → waiting requests that it would be started for
//	waiting       every other request → why, in words for the person who waits
//
// Nothing is remembered between two calls, so a request that waits is bound to
// no worker: if another one becomes ready first, the next plan gives it that.
//
// # Order
//
// A request that is held, because its last build was lost a moment ago, has no place
// in the queue until its time. What EC2 has interrupted goes first, once. Then higher
// priority goes first. Within one priority the builders take turns: the builder with the fewest builds
// that run or were placed before goes next, so that a burst of one builder does not
// shut the others out. Among a builder's own requests, and where two builders stand
// equal, the earlier submitted goes first, then the smaller id.
//
// # One pass
//
// The queue is gone through once, in that order. When it is its turn, a request
// takes its locks and a place: on a ready worker, which is an assignment; else on
// one that is starting; else on one that may be started, which is demand for it. So a
// machine is asked for only when a request can be served neither by an attached worker
// now nor by one that is on its way, and a latent worker with room for several builds
// is filled before the next is asked for.
//
// What a request has taken is gone for those behind it, whether its worker is there
// already or not. That is why demand is kept: a worker that is in demand, and becomes
// ready with nothing else changed, gets a build. Where several become ready at the same
// moment, all do, save that a request which is bound to one of them by its locks or by
// a function may take one that another was started for.
//
// What assigned builds leave to the others is seen when they run: then the queue is
// gone through again, within the same plan.
//
// # Matching
//
// A worker runs at most one build of a builder at a time, and at most MaxBuilds
// builds in all. Requests of one builder differ in nothing else that concerns
// workers, so placing them is a flow from builders to workers, with one unit at
// most on each edge and the worker's free places as its capacity. Requests are
// added in order, each along an augmenting path: one that has a place keeps a
// place, though perhaps on another worker. The outcome is a maximum matching,
// and among those the one that serves the earliest requests. Ready workers without a
// build come before others, as far as paths lead to them.
//
// # Choices
//
// A configuration may decide itself, by functions of a builder: which of its
// requests goes next, which worker a request gets, whether a worker may take it,
// and whether a request may be merged into a newer one ([dormouse.Choices]). Such
// a builder is not part of the flow. When it is its turn in the queue, one of its
// requests gets a worker and keeps it, as in Buildbot: that is an assignment where
// the worker is ready, and else demand. Its functions are asked anew for every
// plan, which is on every event and never by a clock, each thing once, and a
// thousand things at most: the plan after it goes on from there, until all have been
// asked for. nextBuild chooses among the first thousand. nextWorker chooses among the
// workers that have room, in the configuration's order; where the locks cannot be had on
// the one it has chosen, it is asked for another. Where a function fails, the requests
// wait and say so.
//
// # Locks
//
// A build holds the locks of its builder and of its worker from start to end. A
// request gets a place only where all of them can be had at once; one that waits
// for a lock alone asks for no machine, and says which lock and who holds it. Where
// the locks depend on the worker, the request gets the best worker that will do, and
// does not move.
//
// A request never gets a lock before an earlier one that waits for it, or that has it
// promised for a worker which is coming. One that waits for a lock also keeps its
// share of the other locks that it needs: nobody takes so much of these that it would
// have to wait for them, too. But a request that no worker could take keeps nothing.
//
// # Who waits for whom
//
// A running build may wait for requests (those that it has triggered), and holds its
// place and its locks meanwhile. So these are let through ([Holder].WaitsFor):
//
//   - They do not wait behind a request which waits for a lock that is held by a build
//     which waits itself for a request that has no place yet. That one could never go
//     first.
//   - One of them goes before those of its priority, where it could have a place beside
//     the build that waits, needs no lock, and none of the others is being built.
//
// What then remains is told. A request can never go on when, with all builds ended
// that wait for nothing, it still lacks a lock or a worker: it says what it lacks, which
// build has that, and for what that build waits, all around the circle. Such a request
// keeps no lock from others.
package planner

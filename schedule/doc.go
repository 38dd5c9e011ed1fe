// Package schedule decides which build request goes to which worker, which
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
// in the queue until its time. What EC2 has interrupted goes first, once. Then higher priority goes first. Within one priority the builders take turns: the
// builder with the fewest builds that run or were placed before goes next, so
// that a burst of one builder does not shut the others out. Among a builder's
// own requests, and where two builders stand equal, the earlier submitted goes
// first, then the smaller id.
//
// # Matching
//
// A worker runs at most one build of a builder at a time, and at most MaxBuilds
// builds in all. Requests of one builder differ in nothing else that concerns
// workers, so placing them is a flow from builders to workers, with one unit at
// most on each edge and the worker's free places as its capacity. Requests are
// added in order, each along an augmenting path: one that has a place keeps a
// place, though perhaps on another worker. The outcome is a maximum matching,
// and among those the one that serves the earliest requests.
//
// The flow is computed three times, on disjoint sets of workers or with more of
// them: first on the ready workers (assignments), then for what is left on
// those that are starting, and at last with those that may be started
// (demand). So a machine is asked for only when a request can be served neither
// by an attached worker now nor by one that is already on its way; and a latent
// worker with room for several builds is filled before the next is asked for.
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
// asked for. nextBuild chooses among the first thousand. Where a function fails, the
// requests wait and say so.
//
// # Locks
//
// A build holds the locks of its builder and of its worker from start to end. A
// request is assigned only where all of them can be had at once; one that waits
// for a lock alone asks for no machine, and says which lock and who holds it. A
// request never gets a lock before an earlier one that waits for it.
package schedule

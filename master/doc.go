// Package master assembles a build master: it is the only package that knows
// all the others.
//
//	            web.Service                    planner.Plan
//	REST, CLI ───────────────▶ Master ──wake──▶ dispatch ──▶ assignments ─▶ build.Runner
//	                             │  ▲                │                          │
//	                             ▼  │ events         └─▶ demand ─▶ latent.Worker │
//	                           store, bus                           │  ▲        │
//	                                                    fleet.Member│  │attach  ▼
//	                                                        ec2.Account   wire.Worker
//
// # One build through it
//
// [Master.Force] stores a request, announces it and wakes the dispatcher. The
// dispatcher asks planner.Plan, which is pure, what follows from everything it
// knows. An assignment is acquired from the worker's host, stored as a claim
// and a build in one transaction, and run in a goroutine of its own. Demand is
// told to the hosts of latent workers, which start instances by the fleet; the
// worker on the instance attaches, which wakes the dispatcher again.
//
// # What wakes the dispatcher
//
// A request that comes or goes back, a worker that changes, a build that ends.
// Wakes that come while it is at work are one. It has no clock.
//
// # Who owns what
//
// The queue of pending requests, the table of workers and the table of running
// builds have a mutex each, held for a look-up or a change and never over I/O.
// Each latent worker's state belongs to its host. Everything else is in the
// store, of which this process is the owner as long as it holds the lease; a
// write of a master that lost it fails, and the master then stops.
package master

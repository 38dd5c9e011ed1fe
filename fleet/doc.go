// Package fleet is what all latent workers share: it starts and stops their
// instances, keeps the cost ledger, and finds what nobody owns any more.
//
// # A start
//
// [Member.Start] picks an offering, renders the launch, and makes it durable as
// an attempt before it is sent. The instances that come back are durable before
// anything else happens to them.
//
//	              ┌──────────── refused: no capacity ─▶ the next offering, a new attempt
//	open ─ send ──┼─ accepted ─▶ instances in the ledger, attempt settled
//	 ▲            ├─ refused otherwise ─▶ the start has failed
//	 └────────────┴─ unanswered: stays open; the same bytes and token go out again
//
// An attempt whose answer was lost, or that an earlier process left open, may
// have started an instance. It is settled only by EC2's answer to the same
// bytes, or, once five minutes have passed, by a listing that does not show it.
//
// # A stop
//
// [Member.Stop] settles open attempts first, so that it knows of every instance
// the generation may have; then it terminates them. It succeeds when EC2 has
// accepted, and the ledger row stays live until the instance is seen to have
// ended.
//
// # One listing for everyone
//
// Whoever wants to know how an instance is joins the next listing of its account
// by the deployment's tag. A listing updates the ledger, tells workers of
// instances that ended, and is also the reaper: an instance that carries our tag
// but belongs to no live generation is terminated, again and again until it is
// gone. Accounts are listed quickly while something ends, and every five
// minutes otherwise.
package fleet

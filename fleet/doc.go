// Package fleet is what all latent workers share: it starts and stops their
// instances, keeps the cost ledger, and finds what nobody owns any more.
//
// # A start
//
// [Member.Start] picks an offering and joins whoever wants the same within 50 ms
// (members of one [Member.Batch]) in one launch: EC2 admits few calls a second,
// but many instances in each. The launch is rendered, and made durable as an
// attempt of each generation, before it is sent. The instances that come back
// are given one to each generation, and durable, before anything else happens to
// them; those for whom there was none try the next offering.
//
//	              ┌──────────── no capacity, or a quota ─▶ the next offering, a new attempt
//	open ─ send ──┼─ accepted ─▶ instances in the ledger, attempt settled
//	 ▲            ├─ refused otherwise ─▶ the start has failed
//	 └────────────┴─ unanswered: stays open; the same bytes and token go out again
//
// An attempt whose answer was lost, or that an earlier process left open, may
// have started an instance. It is settled only by EC2's answer to the same
// bytes; or, where EC2 refuses those, by what their token has started. Of that,
// each instance that lives is given to one of the launch's generations, and the
// others try the next offering. Where EC2 shows all that were asked for, that counts
// at once. Where it shows fewer, or says that they have ended
// (IdempotentInstanceTerminated), the rest may not be shown yet: it is looked for each
// second, and what is shown counts after three. Meanwhile nothing is sent again, as EC2
// may have capacity by then, and would start others. Where nothing is to be seen for another
// reason, it counts once five minutes have passed; or at once, where EC2 refuses for
// want of capacity or quota.
//
// A launch on the spot that is refused for want of capacity may leave a request
// open: it is cancelled before the next offering is tried, and what it has started
// belongs to the launch. An instance that EC2 names for it and does not show yet is
// looked for like that, and then waited for.
//
// An instance that the store has as another launch's is given to nobody, and the others
// are: the launch is settled, and those who get none are told. What the store could not
// take for any other reason is asked for again.
//
// What a refusal is about ([dormouse.Reach]) is passed over for a while by all whom
// it concerns, with its reason ([Member.PassedOver]). Quotas are looked at anew
// once an instance has ended.
//
// # A budget
//
// With a budget, a launch is admitted before it is rendered, for as many
// generations as there is money for ([Budget.Admit]); the others' starts fail
// with [dormouse.Budget], and are tried again. What was admitted stays reserved
// until the launch has its answer, so that two launches at once cannot both
// take the last dollar. Only a budget waits for a price: without one the launch is
// sent meanwhile, and the ledger learns the price when it is known. What has no
// price is not admitted; but why EC2 would refuse it, which it is asked with DryRun,
// is said first. A start that fails for the budget has sent nothing, and
// no running instance is ever ended for it.
//
// # A stop
//
// [Member.Stop] settles open attempts first, so that it knows of every instance
// the generation may have; then it terminates them. It succeeds when EC2 has
// accepted, and the ledger row stays live until the instance is seen to have
// ended.
//
// What EC2 has announced to take back ([Fleet.NoteInterrupted]) is left to it: it is
// free in its first hour where EC2 ends it, and not where we do. It counts as alive,
// its worker may have the next generation, and only what outlives its time by two
// minutes is ended, by the reaper. A master that stops ends it. That time follows
// this process's clock: what is told of the time of day is trusted for no more than
// the two minutes that EC2 gives.
//
// # One listing for everyone
//
// Whoever wants to know how an instance is joins the next listing of its account
// by the deployment's tag. Instances of the ledger that the listing lacks are asked
// for by their ids, as those that have ended lose their tags; those of an account that
// has left the configuration only until two looks, a minute apart, have not found them. A
// listing updates the ledger, tells workers of instances that ended, and is also the reaper: an instance that carries our tag
// but belongs to no live generation is terminated, again and again until it is
// gone. What is no instance is looked for now and then ([Fleet.Reap] looks at
// once). Accounts are listed quickly while something ends, and every five
// minutes otherwise. Whoever was turned away ([Fleet.TurnedAway]) is looked for at
// once, and so is everything at a stop ([Fleet.LastLook]).
//
// # Refusals
//
// What has to be done so that nothing is left behind is tried for as long as it
// takes: ending an instance, settling a launch, taking an address back, listing. A
// refusal that lasts is said when it begins, rarely while it lasts, and when it is
// over; and it is counted ([Fleet.Failures], [Fleet.NotTerminated]).
package fleet

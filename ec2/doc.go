// Package ec2 is the provider on AWS: it turns a latent worker's configuration
// into a launch, sends it, sees what became of it, and ends it. It decides
// nothing about when: that is for those who call it.
//
// # Accounts
//
// An [Account] is one session's rights in one region. Workers with equal
// sessions share it, and with it the client, the rate limits, and what is
// known of images, key pairs, security groups, zones and prices.
//
// # A launch, and who tries again
//
//	LaunchSpec ──Offerings──▶ type × subnet × market, best first
//	     │
//	     └─Render(offering, count, user data, ownership) ──▶ bytes
//	            caller: store bytes and Token(deployment, launch, attempt)
//	                 └─Launch(bytes, token)─▶ instances
//	                        ├─ Unanswered, or an error that is not Settled
//	                        │  after an Unanswered one: same bytes, same token
//	                        └─ refused: next offering, next attempt, next token
//
// [Account.Render] writes a whole RunInstances request but for its ClientToken
// as canonical bytes, which are durable before they are sent. EC2 starts
// nothing twice for a token that it has seen, refuses one whose parameters
// have changed, and answers a repetition with the same instances. So after a
// lost answer or a crash the same bytes go out under the same token, and that
// settles what happened. A token of which an instance has ended EC2 refuses, with a
// [dormouse.Conflict]; then [Account.Launched] finds what it has started. [Token] hashes the deployment, the launch and the
// attempt; nothing about it is random or kept in memory.
//
// The SDK repeats one request up to three times in its standard mode, with the
// same input and token, after throttling, a 5xx answer or a broken connection.
// Whatever lasts longer is returned, and its caller backs off. If any attempt
// of a mutating call may have been carried out and no later answer settles it,
// the error is [dormouse.Unanswered], whatever came last.
//
// # What a running instance is given
//
// Volumes and an elastic address exist once, so a [LaunchSpec] that has some is
// [LaunchSpec.Exclusive]: one instance at a time.
//
//	Free ──▶ Render, Launch ──▶ running ──▶ Prepare ──▶ builds ──▶ Release ──▶ Terminate
//	 │ no: wait; it says          │                                   │
//	 │ who has what               └─ volumes attached, then the       └─ best effort: EC2 itself frees
//	                                 address, which moves the            what an ended instance had
//	                                 machine: its connections can break
//
// Volumes pin a launch to their zone: [Account.ResolveOfferings] leaves out the
// offerings of others, and [Account.Render] refuses them. [Account.Prepare] takes
// nothing from another instance, changes nothing that is there already, and may
// be called again after any error: an answer that was lost is settled by looking.
// All who wait for volumes look together, every two seconds.
//
// # Images that EC2 looks up
//
// An image that is named by a parameter of the Systems Manager is resolved by EC2
// in the launch, which keeps the launch's bytes the same. What kind of root
// device it has is not known then. It is taken for a volume, and the instance
// told to end when it powers itself off: for an instance-store root EC2 refuses
// that, which a person sees, while a volume's instance that was not told so would
// stop, and go on costing, unseen.
//
// # Prices
//
// [Account.Price] is what an hour costs: on the spot from the price history, on
// demand from AWS's Price List. A price that nobody knows is nil; none is made
// up. One that is not to be had within five seconds, or is refused, is not asked
// for again for five minutes.
//
// # Examination
//
// [Account.Examine] asks for everything that a [LaunchSpec] names, and then for
// its launches with DryRun, and changes nothing.
//
// # Identity
//
// What belongs to a deployment is tagged with it in the launch itself, on the
// instance, its volumes and its spot request: [TagDeployment], [TagLaunch],
// and, where one worker is launched alone, [TagWorker] and [TagGeneration].
// [Account.List] finds instances by the deployment's tag; [Account.Find] those that
// have lost their tags, as ended ones do, by their ids.
//
// Launches that wait together and render to the same bytes are one call, with
// MinCount 1 and MaxCount N. Nothing in such a request may tell its instances
// apart, so [LaunchSpec].Worker is not part of it, and which instance serves
// which worker is settled when it enrols.
//
// # Limits
//
// EC2 documents token buckets for each action, in requests and, for launches
// and terminations, in instances. Each attempt waits for its tokens here, so
// that EC2 has nothing to refuse; where it does, because others use the
// account too, the rate of that action is halved and recovers within a minute.
//
// # Errors
//
// All errors are [dormouse.Error], classified here and nowhere else. Messages
// name the operation, the region, a custom endpoint, EC2's code and words, and
// what to do; never a secret or user data.
package ec2

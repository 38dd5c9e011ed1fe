// Package ec2sim is a local endpoint that speaks EC2's Query API well enough
// that the AWS SDKs, the AWS CLI and boto3 believe it. Its instances are real:
// each is a group of processes on this machine, with a directory, a home, a
// metadata service and a console of its own. It is what `dormouse ec2` serves
// and what the demo and the tests run on; nothing in it talks to AWS.
//
// # Requests
//
// A request is a form (POST, or GET with a query) with an Action, a Version
// and the action's parameters. [Server.ServeHTTP] takes it through the same
// steps whatever the action:
//
//  1. the signature (Signature Version 4) is checked against the configured
//     credentials;
//  2. the action is looked up in the table of its service, EC2 or STS, which
//     the Version tells apart (the Price List, which speaks JSON, has an
//     X-Amz-Target instead, and a table of its own);
//  3. the parameters are decoded into the action's input, a struct whose tags
//     name them: what is unknown, missing or malformed is refused as EC2
//     refuses it, before the action sees anything;
//  4. the call takes its tokens from the buckets that EC2 documents for its
//     action, or is refused with RequestLimitExceeded;
//  5. with DryRun the action validates and then answers DryRunOperation;
//  6. the answer, or the fault, is written as EC2's XML.
//
// Filters, paging, tags and identifiers are mechanisms that actions share, not
// code that they repeat: a new action is an input, an output, a function and a
// line in the table.
//
// # The life of an instance
//
//	RunInstances
//	     │
//	     ▼      BootDelay passes, the boot command starts
//	  pending ────────────────────────────────────────────▶ running
//	     │                                                   │   │
//	     │ TerminateInstances, or it could not be booted     │   │ it powers itself off, and its
//	     │                                                   │   │ shutdown behaviour is "stop"
//	     │        TerminateInstances, or it powers itself    │   ▼
//	     │        off and its behaviour is "terminate"       │ stopping
//	     ▼                        TerminateInstances         │   │   │
//	  shutting-down ◀────────────────────────────────────────┴───┘   │ no process is left
//	     │                                                           ▼
//	     │ no process is left      TerminateInstances             stopped
//	     ▼                                                           │
//	  terminated ◀───────────────────────────────────────────────────┘
//	     │
//	     └─▶ forgotten after TerminatedVisible; the ledger remembers it
//
// StartInstances takes a stopped instance back to pending: on the same disk, with
// new metadata and, unless it has an Elastic IP address, another public address.
//
// One goroutine per instance drives that life. A boot command that ends by
// itself does not end its machine, as a real machine outlives its services; its
// console says so.
//
// # Machines
//
// What boots is behind [Boot], so that a test in a synctest bubble can put
// something without processes there. The default runs the image's command as
// the leader of a new process group and session, with a clean environment: its
// own PATH (with shutdown, poweroff and halt in front), HOME and TMPDIR, the
// address of its metadata service, and what Options.PassEnv names. The
// endpoint's own credentials are never passed.
//
// Ending a machine sends SIGTERM and, after a grace, SIGKILL to every process
// of its group and, on Linux, to every process that carries the machine's id in
// its environment, whatever group or session it has moved to, until none is
// left. On Linux the boot process also dies with the endpoint itself
// (PR_SET_PDEATHSIG), even when the endpoint is killed. Two things can leave a
// process behind: what a boot process had started is orphaned when the endpoint
// is killed outright, and a process that both leaves its group and clears its
// environment is not known any more.
//
// # Misbehaviour
//
// A [Scenario] makes the endpoint misbehave, the same way each time. It is a
// JSON object: a list of rules, each with a condition ("when", optional) and
// one deed ("do"):
//
//	{
//	  "description": "one line, optional",
//	  "seed": 7,
//	  "rules": [
//	    {
//	      "name": "the first zone is full",
//	      "when": {"zone": "a", "until": "5m"},
//	      "do": {"capacity": 0}
//	    }
//	  ]
//	}
//
// A condition asks for what it names, and all of that must be so:
//
//	action         the call's action; for deeds to calls
//	zone           its letter or its name; for launches and instances, as are
//	instance_type
//	market         "spot" or "on-demand"
//	tags           an object: these tags with these values
//
//	skip           the first so many that match are left alone
//	times          at most so many are hit
//	fraction       of those that match, this part is hit, by a lot that "seed"
//	               decides
//	from, until    only at these times since the scenario began
//
// Deeds to calls. The first rule that hits a call and refuses it decides.
//
//	fail           {"code": "InternalError", "message": …, "status": …}: the
//	               call is refused; the status has EC2's default for the code.
//	               With "carried_out": true it is carried out all the same, as
//	               where something in front of EC2 has lost its answer
//	throttle       true: it is refused with RequestLimitExceeded
//	slow           "2s": what it did is told that much later
//	lose_answer    true: it is carried out, and the connection is cut instead of
//	               an answer; calls that fail, or with DryRun, lose nothing
//
// Deeds to launches. Without a zone, a subnet or a network interface in the
// request, the launch goes to a zone that has what it asks for, as on EC2.
//
//	capacity       N: a launch gets at most N instances; with less than its
//	               minimum, or 0, it is refused with
//	               InsufficientInstanceCapacity
//	spot_price     {"steps": [{"at": "0s", "price": 0.01}, …], "notice": "2m"}:
//	               the price of spot from these times on; a lower bid is
//	               refused with SpotMaxPriceTooLow, and when the price rises
//	               above its bid, an instance is interrupted; it takes the
//	               conditions zone and instance_type only
//	leave_open     true: a launch on the spot that is refused leaves a request
//	               open, which may be fulfilled later
//	repeat_ended   true: a token of which an instance has been terminated is
//	               answered with the same instances, as EC2's documentation has
//	               it; without this rule it is refused, as EC2 does since 2025,
//	               with IdempotentInstanceTerminated
//
// Deeds to instances. They are decided when the instance is launched; a new
// scenario is also for those that are there, counting from then, but for hide.
//
//	hide           "5s": no call finds the instance for that long after its
//	               launch, whose answer names it all the same
//	lose_tags      "10s": that long after it was terminated it has no tags any
//	               more, though it can still be described
//	never_boot     true: it is pending and then running, and runs nothing
//	die            {"while": "pending", "after": "1s", "code": …, "message": …}:
//	               it ends by itself, so long after its launch, or after it
//	               began to run ("while": "running", the default), for this
//	               state reason (default Server.InternalError)
//	interrupt      {"after": "1m", "notice": "2m", "rebalance": "30s"}: a spot
//	               instance is taken back; so long after it began to run, its
//	               metadata has the notice (spot/instance-action), that long
//	               before which they have the recommendation
//	               (events/recommendations/rebalance, "never" for none), and
//	               that long after which it ends with
//	               Server.SpotInstanceTermination, and has cost nothing in its
//	               first hour
//
// Times are written as "1.5s" or "2m". A scenario is part of [Options], or it
// is sent to the running endpoint, from this machine only:
//
//	curl --data-binary @scenario.json http://127.0.0.1:PORT/_sim/scenario
//	curl http://127.0.0.1:PORT/_sim/scenario              how often each rule hit
//	curl -X DELETE http://127.0.0.1:PORT/_sim/scenario    behave again
//
// What was announced to an instance comes also when the scenario is another
// one by then. The ledger names, for each instance, the rules that did
// something to it.
//
// # What instances have
//
// A volume is being created, attached or detached for a second. One that came
// with an instance, by the image or a block device mapping, is a volume like any
// other. When the instance is terminated, and no process of it is left, those
// with DeleteOnTermination are deleted, the others are available again, and its
// Elastic IP address is free. Nothing is in a volume, and nothing answers at an
// address.
//
// A legacy spot request is evaluated a second after it was made, and again every
// five while it is open: with a bid below the market, or without capacity, it
// waits. A spot launch makes a request that is fulfilled from its start. The
// market is a constant part of the on-demand price where no scenario has a curve;
// the price history tells both.
//
// A launch template is kept as the tree of its parameters; RunInstances decodes
// that tree with the request's own parameters laid over it.
//
// # Money
//
// Every instance ever started has a row in the [Ledger]: who asked for it, when
// it ran, why it ended and what it would have cost at AWS's on-demand price.
// The endpoint serves it at /_sim/ledger.
package ec2sim

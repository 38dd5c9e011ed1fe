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
//     the Version tells apart;
//  3. the parameters are decoded into the action's input, a struct whose tags
//     name them: what is unknown, missing or malformed is refused as EC2
//     refuses it, before the action sees anything;
//  4. with DryRun the action validates and then answers DryRunOperation;
//  5. the answer, or the fault, is written as EC2's XML.
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
// # Money
//
// Every instance ever started has a row in the [Ledger]: who asked for it, when
// it ran, why it ended and what it would have cost at AWS's on-demand price.
// The endpoint serves it at /_sim/ledger.
package ec2sim

// Package build runs one build on a worker that is attached.
//
// [Runner.Run] goes through the builder's steps in order, on the calling
// goroutine, and returns how the build ended. It holds no state between builds
// and knows nothing of queues or instances: claiming the request, creating the
// build, and requeuing it after RETRY are the master's.
//
// # A step
//
//	StartStep durable → announced
//	  the action runs: commands on the worker, or work on the master
//	  output: AppendLog durable → announced → acknowledged to the worker
//	CompleteLog durable → announced, for each log
//	SetProperties durable, if the step changed any
//	FinishStep durable → announced
//
// Because a piece of output is acknowledged only once it is in the store, a
// slow store holds the worker's process back instead of filling memory.
//
// # How a build ends
//
// Results combine as in Buildbot; see [combine]. Besides:
//
//	a step fails and has HaltOnFailure  steps with AlwaysRun still run
//	a step is EXCEPTION or RETRY        the same
//	stop is asked for                   the running command is interrupted, its
//	                                    step and the build are CANCELLED; steps
//	                                    with AlwaysRun still run. A command that
//	                                    does not end within InterruptWait costs
//	                                    the worker its connection
//	the worker is lost                  step and build are RETRY, nothing runs on
//	the connection is lost, and the     the step goes on, over the next one
//	build is resumable
//	the context ends with ErrLeft       it has not: another master goes on with it
//	the context ends                    the same
//	the store refuses a write           the build is EXCEPTION, nothing runs on
//	the store cannot write for now     it is held back until it can
//	whether it wrote is not certain     the build is RETRY, nothing runs on
//
// # Going on with a build
//
// A build that is resumable keeps a journal for each step that runs, stored with
// each write to its logs: which commands it sent, how much of what each said is
// stored, and how those ended that have. Another master, or this one after the
// connection was lost, asks the worker for what follows. Steps that have ended
// are not run again; the one that had not is run from its beginning, with all
// that the journal has taken from there instead of being done again.
//
// # Files
//
// A command that moves files does not outlive the worker's connection, nor the
// master: it begins again. What it brings is not seen before it is whole:
//
//	Begin ── blocks, each acknowledged when it is written ── the worker says: all of it
//	      ── Publish: in its place, durable ── Keep: its row ── the journal has it done
//
// # Other builds
//
// Trigger makes requests under a key of its own (build, step, effect), so that
// going on with the step finds them and makes none twice. When the step ends in
// another way than by their end, it cancels those that it waits for.
//
// # Actions
//
// What a step does is a type of [dormouse.StepAction]. Each has a file of its
// own and one line in the table in action.go.
package build

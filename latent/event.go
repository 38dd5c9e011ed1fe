package latent

import (
	"time"

	"github.com/dormouse-ci/dormouse"
)

// Event is something that happened to a latent worker: one of the types below.
type Event interface{ event() }

// generational events are about one generation; those of an earlier one are
// dropped.
type generational interface{ generation() int64 }

type (
	// Tick says only that time has passed: a deadline may have come.
	Tick struct{}
	// Demand says whether requests wait for the worker.
	Demand struct{ Wanted bool }
	// Pause keeps new builds away, or lets them come again.
	Pause struct{ On bool }
	// Graceful ends the worker once it has no build, or takes that back.
	Graceful struct{ On bool }
	// ShutDownNow ends the worker at once.
	ShutDownNow struct{}
	// MasterStops ends the worker at once because the master does. The next
	// master starts afresh.
	MasterStops struct{}
	// Retry ends a quarantine and the wait for another try, as somebody has mended
	// what was wrong: by request, or by another configuration.
	Retry struct{}
	// Told says that people are certain to hear that a generation's instance did
	// not attach.
	Told struct{ Generation int64 }
	// Resumed is the first event after a master read the state from its store.
	// Builds of the last master go on, once the worker has come back.
	Resumed struct{ Builds int }

	// BuildStarted gives the worker a build; it is ignored unless the worker
	// is Ready.
	BuildStarted struct{ Generation int64 }
	// BuildFinished takes the build away again.
	BuildFinished struct {
		Generation int64
		Result     dormouse.Result
		Build      string // names the build, for people
	}

	// BuildWithdrawn takes back a build that never ran.
	BuildWithdrawn struct{ Generation int64 }

	// StartAccepted: EC2 accepted the launch.
	StartAccepted struct {
		Generation int64
		InstanceID string
	}
	// StartFailed: no instance was or will be started, for now (Transient) or
	// at all. Again is when to try again, zero where the machine's own back-off
	// is as good. Awaits says that it waits for what something else has: it is
	// tried again when that is Freed.
	StartFailed struct {
		Generation int64
		Transient  bool
		Reason     string
		Again      time.Time
		Awaits     bool
	}
	// Freed: something has come free that the start may wait for: an instance has
	// ended, or the budget was changed.
	Freed struct{}
	// Attached: the worker on the instance is connected.
	Attached struct{ Generation int64 }
	// Detached: that connection has ended.
	Detached struct{ Generation int64 }
	// AgentGone: the process on the instance has ended for good, as itself has said or
	// another of its machine proves: what it did is lost, and no other may attach. What
	// EC2 says of the instance, where it is known to end, is to be Checked first.
	AgentGone struct {
		Generation int64
		Reason     string
	}
	// BootSays: what the machine says of its boot; GaveUp: it has said that no waiting
	// helps.
	BootSays struct {
		Generation int64
		Text       string
		GaveUp     bool
	}
	// Checked: what EC2 says of the instance.
	Checked struct {
		Generation int64
		State      dormouse.InstanceState
		Reason     string
	}
	// PrepareDone: what a running instance needed is done.
	PrepareDone struct{ Generation int64 }
	// PrepareFailed: it cannot be; Transient: not now, and is tried again.
	PrepareFailed struct {
		Generation int64
		Transient  bool
		Reason     string
	}
	// Interruption: EC2 will take the instance back, at a time or, where At is
	// zero, perhaps.
	Interruption struct {
		Generation int64
		At         time.Time
	}
	// StopAccepted: nothing of the generation will be in use again; EC2 has
	// accepted the termination of whatever it had.
	StopAccepted struct{ Generation int64 }
	// StopFailed: the stop has to be tried again.
	StopFailed struct {
		Generation int64
		Reason     string
	}
	// Ended: the instance has ended and holds nothing any more.
	Ended struct {
		Generation int64
		Reason     string
	}
)

func (Tick) event()           {}
func (Demand) event()         {}
func (Pause) event()          {}
func (Graceful) event()       {}
func (ShutDownNow) event()    {}
func (MasterStops) event()    {}
func (Resumed) event()        {}
func (BuildStarted) event()   {}
func (BuildFinished) event()  {}
func (BuildWithdrawn) event() {}
func (StartAccepted) event()  {}
func (StartFailed) event()    {}
func (Freed) event()          {}
func (Attached) event()       {}
func (Detached) event()       {}
func (AgentGone) event()      {}
func (BootSays) event()       {}
func (Checked) event()        {}
func (PrepareDone) event()    {}
func (PrepareFailed) event()  {}
func (Interruption) event()   {}
func (StopAccepted) event()   {}
func (StopFailed) event()     {}
func (Ended) event()          {}
func (Told) event()           {}
func (Retry) event()          {}

func (e BuildStarted) generation() int64   { return e.Generation }
func (e BuildFinished) generation() int64  { return e.Generation }
func (e BuildWithdrawn) generation() int64 { return e.Generation }
func (e StartAccepted) generation() int64  { return e.Generation }
func (e StartFailed) generation() int64    { return e.Generation }
func (e Attached) generation() int64       { return e.Generation }
func (e Detached) generation() int64       { return e.Generation }
func (e AgentGone) generation() int64      { return e.Generation }
func (e BootSays) generation() int64       { return e.Generation }
func (e Checked) generation() int64        { return e.Generation }
func (e PrepareDone) generation() int64    { return e.Generation }
func (e PrepareFailed) generation() int64  { return e.Generation }
func (e Interruption) generation() int64   { return e.Generation }
func (e StopAccepted) generation() int64   { return e.Generation }
func (e StopFailed) generation() int64     { return e.Generation }
func (e Ended) generation() int64          { return e.Generation }

// Action is something to be done: one of the types below. Open and Close are
// records, to be made durable with the state; the others are orders, performed
// after it.
type Action interface{ action() }

type (
	// Open begins a generation.
	Open struct{ Generation int64 }
	// Close ends it.
	Close struct {
		Generation int64
		Reason     string
	}
	// Start brings an instance up. Ordered again after a restart, it must go
	// on with what the first order began.
	Start struct{ Generation int64 }
	// Prepare does what a running instance needs before it may build.
	Prepare struct{ Generation int64 }
	// Check asks EC2 how the instance is.
	Check struct{ Generation int64 }
	// Disconnect ends the worker's connection.
	Disconnect struct {
		Generation int64
		Reason     string
	}
	// Stop ends whatever the generation has or may have, a launch in flight
	// too. With Console, what the machine printed is kept first.
	Stop struct {
		Generation int64
		Console    bool
		Reason     string
	}
	// NotifyMissing tells people that an instance never attached.
	NotifyMissing struct {
		Generation int64
		Reason     string
	}
)

func (Open) action()          {}
func (Close) action()         {}
func (Start) action()         {}
func (Prepare) action()       {}
func (Check) action()         {}
func (Disconnect) action()    {}
func (Stop) action()          {}
func (NotifyMissing) action() {}

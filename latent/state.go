package latent

import "time"

// Policy is what a worker's configuration says of its life. It may differ from
// one step to the next: a reconfigured master passes the new one.
type Policy struct {
	// BuildWaitTimeout is how long a worker with nothing to do is kept:
	// positive, so long; zero, not at all, and every instance runs one build;
	// negative, until the master stops.
	BuildWaitTimeout time.Duration
	// MissingTimeout is how long an instance has, from the accepted launch, to
	// attach. It is positive.
	MissingTimeout time.Duration
	// CheckInterval is how often an instance that is awaited is looked at. It
	// is positive.
	CheckInterval time.Duration
	// Grace is how long a worker whose connection dropped has to come back
	// before its instance is given up. It is positive.
	Grace time.Duration
	// Prepares says that an instance needs work once it runs (an address, a
	// volume) before it may build.
	Prepares bool
	// Exclusive says that a generation holds something the next one needs, so
	// that the next can start only when the last has ended.
	Exclusive bool
	// TimeScale multiplies the pauses and quarantines, for tests in which hours
	// must fit into seconds; 0 is 1.
	TimeScale float64
}

// scaled is a limit of time as this policy has it.
func (p Policy) scaled(d time.Duration) time.Duration {
	if p.TimeScale > 0 {
		return time.Duration(float64(d) * p.TimeScale)
	}
	return d
}

// Phase is where a latent worker stands. The seven are Buildbot's.
type Phase string

// The phases.
const (
	NotSubstantiated               Phase = "not substantiated"
	Substantiating                 Phase = "substantiating"                 // waiting to start
	Starting                       Phase = "starting"                       // the start was ordered; not attached yet
	Substantiated                  Phase = "substantiated"                  // attached, at least once
	Insubstantiating               Phase = "insubstantiating"               // being stopped
	InsubstantiatingSubstantiating Phase = "insubstantiating, wanted again" // and to be started again
	ShutDown                       Phase = "shut down"
)

// State is everything known of one latent worker. The zero value is a worker
// that never ran. Deadlines are the machine's timers: a zero time is none, and
// all of them belong to the current generation except the quarantine.
type State struct {
	Phase Phase     `json:"phase"`
	Since time.Time `json:"since"` // when the phase began

	// Generation is the current or last one; 0 before the first.
	Generation int64 `json:"generation"`
	// Open says that Generation was opened and not closed yet.
	Open       bool      `json:"open"`
	OpenedAt   time.Time `json:"opened_at,omitzero"`
	AttachedAt time.Time `json:"attached_at,omitzero"` // first attachment
	// Held is a closed generation whose volumes or address the next one must
	// wait for; 0 for none.
	Held int64 `json:"held,omitempty"`

	// Untold is a generation whose instance did not attach, of which it is not
	// certain yet that people will hear, and why; 0 for none.
	Untold    int64  `json:"untold,omitempty"`
	UntoldWhy string `json:"untold_why,omitempty"`

	// These vary independently of the phase.
	Wanted        bool   `json:"wanted,omitempty"`   // requests wait for it
	Paused        bool   `json:"paused,omitempty"`   // by a person: no new builds
	Graceful      bool   `json:"graceful,omitempty"` // by a person: no new builds, and end when idle
	Closing       bool   `json:"closing,omitempty"`  // the master stops: end now
	StartInFlight bool   `json:"start_in_flight,omitempty"`
	Awaits        bool   `json:"awaits,omitempty"`   // RetryAt is not waited for once something has come free
	Launched      bool   `json:"launched,omitempty"` // EC2 accepted the launch
	InstanceID    string `json:"instance_id,omitempty"`
	Prepared      bool   `json:"prepared,omitempty"`
	Preparing     bool   `json:"preparing,omitempty"`
	Retiring      bool   `json:"retiring,omitempty"` // EC2 will take the instance: no new builds
	// Fresh says that no build has ended on the open generation yet, but in RETRY or
	// EXCEPTION. A state of a release that did not note it counts as proven.
	Fresh        bool `json:"fresh,omitempty"`
	StopInFlight bool `json:"stop_in_flight,omitempty"`
	Died         bool `json:"died,omitempty"` // the instance is known to have ended

	// These hold only as long as the master runs.
	Connected bool `json:"-"`
	Builds    int  `json:"-"`

	// Deadlines.
	RetryAt   time.Time `json:"retry_at,omitzero"`   // start or stop again
	MissingAt time.Time `json:"missing_at,omitzero"` // give up waiting for the attachment
	CheckAt   time.Time `json:"check_at,omitzero"`   // look at the instance
	GraceAt   time.Time `json:"grace_at,omitzero"`   // give up waiting for the reconnection
	IdleAt    time.Time `json:"idle_at,omitzero"`    // stop, having had nothing to do
	TakenAt   time.Time `json:"taken_at,omitzero"`   // EC2 takes the instance

	QuarantinedUntil time.Time     `json:"quarantined_until,omitzero"`
	QuarantineWhy    string        `json:"quarantine_why,omitempty"`
	Quarantine       time.Duration `json:"quarantine,omitempty"` // length of the last one, 0 after a good build
	// Blamed is the generation whose agent the last quarantine is for, as no build had
	// ended on it: one that ends after all takes that back. 0 for none.
	Blamed int64 `json:"blamed,omitempty"`
	Tries  int   `json:"tries,omitempty"` // failures in a row of the start or stop at hand
	// Console asks the stop at hand to keep what the machine printed.
	Console bool `json:"console,omitempty"`
	// Reason says why the worker is not ready, for people; "" when it is.
	Reason string `json:"reason,omitempty"`
}

// Ready reports whether the worker may be given a build now.
func (s State) Ready() bool {
	return s.Phase == Substantiated && s.Connected && s.Prepared && s.QuarantinedUntil.IsZero() &&
		!s.Paused && !s.Graceful && !s.Closing && !s.Retiring
}

// Live reports whether the current generation may have an instance that is or
// will be in use: whether its worker may attach.
func (s State) Live() bool {
	return s.Open && (s.Phase == Substantiating || s.Phase == Starting || s.Phase == Substantiated)
}

// Startable reports whether demand would be met, now or once the worker is
// attached: not paused, quarantined or ending.
func (s State) Startable(now time.Time) bool {
	if s.Paused || s.Graceful || s.Closing || s.Phase == ShutDown {
		return false
	}
	return !now.Before(s.QuarantinedUntil)
}

// postponed has nobody given up before a time who is waited for to attach, or to
// attach again.
func (s State) postponed(until time.Time) State {
	if !s.MissingAt.IsZero() {
		s.MissingAt = later(s.MissingAt, until)
	}
	if !s.GraceAt.IsZero() {
		s.GraceAt = later(s.GraceAt, until)
	}
	return s
}

// Next returns the earliest deadline that can change anything; the zero time
// when only an event can.
func (s State) Next() time.Time {
	deadlines := []time.Time{s.RetryAt, s.MissingAt, s.CheckAt, s.GraceAt, s.IdleAt, s.TakenAt, s.QuarantinedUntil}
	var next time.Time
	for _, d := range deadlines {
		if !d.IsZero() && (next.IsZero() || d.Before(next)) {
			next = d
		}
	}
	return next
}

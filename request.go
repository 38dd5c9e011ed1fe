package dormouse

import "time"

// SourceStamp says which source a build is of. The zero value is "whatever
// the step's own repository has at its default branch".
type SourceStamp struct {
	Codebase   string `json:"codebase,omitempty"`
	Repository string `json:"repository,omitempty"`
	Branch     string `json:"branch,omitempty"`
	Revision   string `json:"revision,omitempty"`
	Project    string `json:"project,omitempty"`
}

// RequestState is where a build request stands in its life.
type RequestState string

// The life of a build request. A build that ends in RETRY moves its request
// from claimed back to pending.
const (
	RequestPending  RequestState = "pending"
	RequestClaimed  RequestState = "claimed"
	RequestComplete RequestState = "complete"
)

// BuildRequest asks for one build of one builder. It is durable before anyone
// is told that it was accepted, and complete only when its last build's result
// is durable.
type BuildRequest struct {
	ID          int64         `json:"id"`
	Builder     string        `json:"builder"`
	Priority    int           `json:"priority"` // higher goes first
	Reason      string        `json:"reason,omitempty"`
	Sources     []SourceStamp `json:"sources,omitempty"`
	Properties  Properties    `json:"properties,omitempty"`
	SubmittedAt time.Time     `json:"submitted_at"`
	State       RequestState  `json:"state"`

	// ParentBuildID is the build whose Trigger step made the request, 0 when none
	// did.
	ParentBuildID int64 `json:"parent_build_id,omitempty"`
	// Key, if not empty, is of one request at most: submitting it again finds
	// that.
	Key string `json:"-"`
	// BuildID is the request's newest build, 0 while it never had one.
	BuildID int64 `json:"build_id,omitempty"`
	// Interrupted is how often EC2 has taken the spot instance of one of its
	// builds back. After the first time the request goes before all others.
	Interrupted int `json:"interrupted,omitempty"`
	// Lost is how often the worker was lost under one of its builds, and NotBefore
	// until when it is not tried again since.
	Lost      int       `json:"lost,omitempty"`
	NotBefore time.Time `json:"not_before,omitzero"`
	// MaxTries is how many builds it may have that lose their worker: the builder's
	// maxRetries and the first. It is computed, never stored.
	MaxTries int `json:"max_tries,omitempty"`
	// CollapsedInto is the request that this one was merged into (it then is
	// complete with result SKIPPED), 0 when it was not.
	CollapsedInto int64 `json:"collapsed_into,omitempty"`
	// Result is set once the request is complete.
	Result     *Result   `json:"result,omitempty"`
	CompleteAt time.Time `json:"complete_at,omitzero"`

	// Waiting says why a pending request has no build yet, in words for the
	// person who waits. It is computed, never stored.
	Waiting string `json:"waiting,omitempty"`
}

package dormouse

import (
	"fmt"
	"time"
)

// Market is how an instance is bought.
type Market string

// The markets.
const (
	OnDemand Market = "on-demand"
	Spot     Market = "spot"
)

// Offering is something EC2 can sell or be short of: an instance type in an
// availability zone in a market. An empty Zone leaves the zone to EC2, or to
// the Subnet where one is named: a subnet lies in one zone.
type Offering struct {
	InstanceType string `json:"instance_type"`
	Zone         string `json:"zone,omitempty"`
	Subnet       string `json:"subnet,omitempty"`
	Market       Market `json:"market"`
}

// String returns the offering as it is named in messages.
func (o Offering) String() string {
	place := "any zone"
	switch {
	case o.Zone != "" && o.Subnet != "":
		place = o.Zone + " (" + o.Subnet + ")"
	case o.Zone != "" || o.Subnet != "":
		place = o.Zone + o.Subnet
	}
	return o.InstanceType + " " + string(o.Market) + " in " + place
}

// InstanceState is EC2's name of an instance's state.
type InstanceState string

// The states of an instance, as EC2 names them, and one of ours: an instance
// that EC2 no longer knows is gone.
const (
	InstancePending      InstanceState = "pending"
	InstanceRunning      InstanceState = "running"
	InstanceShuttingDown InstanceState = "shutting-down"
	InstanceTerminated   InstanceState = "terminated"
	InstanceStopping     InstanceState = "stopping"
	InstanceStopped      InstanceState = "stopped"
	InstanceGone         InstanceState = "gone"
)

// Ended reports whether the instance costs nothing any more and will never run
// again.
func (s InstanceState) Ended() bool { return s == InstanceTerminated || s == InstanceGone }

// Dying reports whether the instance has ended or is certain to.
func (s InstanceState) Dying() bool { return s.Ended() || s == InstanceShuttingDown }

// CloudInstance is what EC2 says of an instance at one moment.
type CloudInstance struct {
	ID           string
	State        InstanceState
	StateReason  string // EC2's code and message, for instance "Server.SpotInstanceTermination: …"
	InstanceType string
	Zone         string
	Market       Market
	ImageID      string
	Platform     string // what EC2 bills as, for instance "SUSE Linux"; "" where it does not say
	PrivateIP    string
	PublicIP     string
	LaunchTime   time.Time
	EndTime      time.Time // when its end began, once it has, where EC2 says so
	Tags         map[string]string
}

// Instance is a row of the cost ledger: an instance that was started for a
// generation of a latent worker, from the accepted launch to its end.
type Instance struct {
	ID           string        `json:"id"`
	Account      string        `json:"account"` // the key of the session and region it lives in
	Region       string        `json:"region"`
	Worker       string        `json:"worker"`
	Generation   int64         `json:"generation"`
	AttemptID    int64         `json:"attempt_id"`
	Launch       string        `json:"launch,omitempty"` // the launch it came from
	InstanceType string        `json:"instance_type"`
	Zone         string        `json:"zone,omitempty"`
	Market       Market        `json:"market"`
	ImageID      string        `json:"image_id"`
	State        InstanceState `json:"state"`
	StateReason  string        `json:"state_reason,omitempty"`
	LaunchedAt   time.Time     `json:"launched_at"` // the launch was accepted
	RunningAt    time.Time     `json:"running_at,omitzero"`
	AttachedAt   time.Time     `json:"attached_at,omitzero"`
	// StoppingAt is when EC2 accepted the termination, EndedAt when the
	// instance was first seen to have ended; or, of one that no generation ever had,
	// when EC2 says that it did.
	StoppingAt time.Time `json:"stopping_at,omitzero"`
	EndedAt    time.Time `json:"ended_at,omitzero"`
	// TakenAt is when EC2 takes a spot instance back, as it has announced.
	TakenAt time.Time `json:"taken_at,omitzero"`
	// Platform is what EC2 bills it as ("Linux/UNIX", "SUSE Linux", …: Amazon EC2 User
	// Guide, "AMI billing information fields"); "" where it has not said.
	Platform string `json:"platform,omitempty"`
	// PricePerHour is in US dollars; nil when it is not known.
	PricePerHour *float64 `json:"price_per_hour,omitempty"`
	PriceSource  string   `json:"price_source,omitempty"`
	// TerminationRefused is why EC2 has not accepted the termination that was asked
	// for last; "" where none was refused. It is not kept over a restart.
	TerminationRefused string `json:"termination_refused,omitempty"`
}

// Generation is one substantiation of one latent worker, from the decision to
// start an instance to the moment nothing of it can be in use any more.
// Numbers count from 1 within the worker.
type Generation struct {
	Worker     string    `json:"worker"`
	Number     int64     `json:"number"`
	Account    string    `json:"account,omitempty"`
	Region     string    `json:"region,omitempty"`
	OpenedAt   time.Time `json:"opened_at"`
	AttachedAt time.Time `json:"attached_at,omitzero"` // first attachment
	ClosedAt   time.Time `json:"closed_at,omitzero"`
	Reason     string    `json:"reason,omitempty"` // why it was closed
}

// AttemptState is what is known of a launch attempt.
type AttemptState string

// The states of a launch attempt. An open attempt may or may not have started
// an instance: it is settled only by EC2's answer to the same bytes.
const (
	AttemptOpen     AttemptState = "open"
	AttemptAccepted AttemptState = "accepted"
	AttemptRefused  AttemptState = "refused"
)

// LaunchAttempt is one generation's part in one rendered launch request, which
// may be for several. It is durable before it is sent; after a crash or a lost
// answer the same bytes are sent again with the same token.
type LaunchAttempt struct {
	ID int64 `json:"id"`
	// Launch identifies the request among all of the deployment; its instances
	// carry it in the tag [TagLaunch].
	Launch     string       `json:"launch"`
	Worker     string       `json:"worker"`
	Generation int64        `json:"generation"`
	Number     int          `json:"number"` // counts from 1 within the generation
	Account    string       `json:"account"`
	Region     string       `json:"region"`
	Offering   Offering     `json:"offering"`
	Token      string       `json:"-"` // ClientToken, at most 64 characters
	Request    []byte       `json:"-"` // the rendered RunInstances input; holds user data, so it is never shown
	State      AttemptState `json:"state"`
	OpenedAt   time.Time    `json:"opened_at"`
	SettledAt  time.Time    `json:"settled_at,omitzero"`
	ErrorCode  string       `json:"error_code,omitempty"` // EC2's
	Error      string       `json:"error,omitempty"`
	// Console is what the machine printed, kept when its worker never attached.
	Console string `json:"console,omitempty"`
}

// The tags that say whose an instance is. They are set in the launch itself, so
// that no instance exists without them, and the reaper finds what is ours by
// the first. A launch for several workers has neither of the last two.
const (
	TagDeployment = "dormouse:deployment"
	TagLaunch     = "dormouse:launch"
	TagWorker     = "dormouse:worker"
	TagGeneration = "dormouse:generation"
)

// ClaimedError is in the chain of the store's refusal to give an instance to a launch
// attempt: another one has it.
type ClaimedError struct {
	Has, Wants Instance // the ledger's row, and the one that was refused
}

// Error names both.
func (e *ClaimedError) Error() string {
	return fmt.Sprintf("instance %s belongs to worker %s, generation %d, by launch %s, and cannot be given to worker %s, generation %d, by launch %s",
		e.Has.ID, e.Has.Worker, e.Has.Generation, e.Has.Launch, e.Wants.Worker, e.Wants.Generation, e.Wants.Launch)
}

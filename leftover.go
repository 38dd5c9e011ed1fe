package dormouse

import "time"

// LeftoverKind is what kind of thing was left behind.
type LeftoverKind string

// The kinds of things that a deployment can leave behind in an account.
const (
	LeftoverInstance    LeftoverKind = "instance"
	LeftoverVolume      LeftoverKind = "volume"
	LeftoverAddress     LeftoverKind = "address"
	LeftoverSpotRequest LeftoverKind = "spot request"
)

// LeftoverAction is what the reaper does about something left behind.
type LeftoverAction string

// What the reaper does. A volume is kept, since nobody but its owner knows what
// the data on it is worth; what may yet turn out to be in use is waited for.
const (
	ReapTerminate    LeftoverAction = "terminate"
	ReapDisassociate LeftoverAction = "disassociate"
	ReapCancel       LeftoverAction = "cancel"
	ReapKeep         LeftoverAction = "keep"
	ReapWait         LeftoverAction = "wait"
)

// Acts reports whether something is done about it.
func (a LeftoverAction) Acts() bool {
	return a == ReapTerminate || a == ReapDisassociate || a == ReapCancel
}

// Belonging is something other than an instance that carries the deployment's
// tag, or that one of its instances has, as EC2 says it at one moment.
type Belonging struct {
	Kind LeftoverKind
	// ID is a volume's or spot request's id, or a public address; Handle is
	// what EC2 wants named to let go of it.
	ID, Handle string
	State      string
	Instance   string // that has it, "" for none
	Since      time.Time
	Tags       map[string]string
}

// Leftover is something in an account that costs money or stands in the way, and
// that no live generation has use for.
type Leftover struct {
	Account    string         `json:"account"`
	Region     string         `json:"region"`
	Kind       LeftoverKind   `json:"kind"`
	ID         string         `json:"id"`
	Worker     string         `json:"worker,omitempty"`
	Generation int64          `json:"generation,omitempty"`
	Since      time.Time      `json:"since,omitzero"` // launched, created
	Action     LeftoverAction `json:"action"`
	Why        string         `json:"why"`
	// Done says that EC2 has accepted the action, Error why it has not.
	Done  bool   `json:"done,omitempty"`
	Error string `json:"error,omitempty"`

	Handle string `json:"-"` // what EC2 wants named to let go of it
}

// LeftoverReport is all that was found in the accounts, and why some of them
// could not be looked at, by account.
type LeftoverReport struct {
	Leftovers []Leftover        `json:"leftovers"`
	Failed    map[string]string `json:"failed,omitempty"`
}

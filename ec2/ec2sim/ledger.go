package ec2sim

import (
	"maps"
	"slices"
	"time"

	"github.com/dormouse-ci/dormouse"
)

// Ledger is what the endpoint remembers of every instance that it ever
// started, and of the calls it was asked for. It never holds user data or
// secrets.
type Ledger struct {
	Region    string        `json:"region"`
	Instances []LedgerEntry `json:"instances"` // oldest first
	// Forgotten is how many instances that have ended are no longer listed;
	// Started and CostUSD count them.
	Forgotten int     `json:"forgotten,omitempty"`
	Started   int     `json:"instances_started"`
	Living    int     `json:"instances_alive"`
	CostUSD   float64 `json:"cost_usd"` // until now
	// Calls counts the calls by action, those that failed too.
	Calls map[string]int `json:"api_calls"`
	// Failures counts the calls that failed by their error code.
	Failures map[string]int `json:"api_failures,omitempty"`
	// Scenario counts what the rules of the scenario that is played now did.
	Scenario []RuleCount `json:"scenario,omitempty"`
}

// Alive returns how many instances have not ended: whatever is pending,
// running, stopping, stopped or shutting down.
func (l Ledger) Alive() int { return l.Living }

// LedgerEntry is one instance in the ledger.
type LedgerEntry struct {
	ID           string                 `json:"id"`
	InstanceType string                 `json:"instance_type"`
	Zone         string                 `json:"zone"`
	Market       dormouse.Market        `json:"market"`
	ImageID      string                 `json:"image_id"`
	State        dormouse.InstanceState `json:"state"`
	ClientToken  string                 `json:"client_token,omitempty"`
	Reservation  string                 `json:"reservation"` // of the launch that it came from
	Tags         map[string]string      `json:"tags,omitempty"`
	AskedBy      string                 `json:"asked_by"` // access key id
	LaunchedAt   time.Time              `json:"launched_at"`
	RunningAt    time.Time              `json:"running_at,omitzero"`  // first
	StoppingAt   time.Time              `json:"stopping_at,omitzero"` // the end was asked for
	EndedAt      time.Time              `json:"ended_at,omitzero"`    // no process was left
	Reason       string                 `json:"reason,omitempty"`     // EC2's state reason
	EndedBy      string                 `json:"ended_by,omitempty"`   // access key id, when a call ended it
	// Rules are those of the scenario, by name, that did something to it.
	Rules []string `json:"rules,omitempty"`
	// CostUSD is what AWS would have charged until now.
	CostUSD      float64 `json:"cost_usd"`
	PricePerHour float64 `json:"price_per_hour_usd"`
	PriceSource  string  `json:"price_source"`
}

// maxLedgerEntries bounds the ledger's memory, at about 1 KiB an entry; a
// night of torture starts fewer.
const maxLedgerEntries = 100_000

// Ledger returns the state of the ledger at this moment.
func (s *Server) Ledger() Ledger {
	s.mu.Lock()
	defer s.mu.Unlock()
	l := Ledger{
		Region:    s.opts.Region,
		Instances: make([]LedgerEntry, 0, len(s.history)),
		Forgotten: s.forgotten,
		Started:   s.forgotten + len(s.history),
		CostUSD:   s.forgottenCost,
		Calls:     maps.Clone(s.calls),
		Failures:  maps.Clone(s.failures),
		Scenario:  s.playing.counts(),
	}
	now := time.Now()
	for _, inst := range s.history {
		e := s.ledgerEntry(inst, now)
		l.CostUSD += e.CostUSD
		if !e.State.Ended() {
			l.Living++
		}
		l.Instances = append(l.Instances, e)
	}
	return l
}

// ledgerEntry describes an instance; s.mu is held.
func (s *Server) ledgerEntry(inst *instance, now time.Time) LedgerEntry {
	return LedgerEntry{
		ID:           inst.id,
		InstanceType: inst.kind.name,
		Zone:         inst.zone.name,
		Market:       inst.market,
		ImageID:      inst.image.ID,
		State:        inst.state,
		ClientToken:  inst.clientToken,
		Reservation:  inst.reservation,
		Tags:         maps.Clone(s.tags[inst.id]),
		AskedBy:      inst.askedBy,
		LaunchedAt:   inst.launchedAt,
		RunningAt:    inst.runningAt,
		StoppingAt:   inst.stoppingAt,
		EndedAt:      inst.endedAt,
		Reason:       inst.stateReason.text(),
		EndedBy:      inst.endedBy,
		Rules:        slices.Clone(inst.rules),
		CostUSD:      inst.cost(now),
		PricePerHour: inst.kind.pricePerHour,
		PriceSource:  inst.priceSource(),
	}
}

// record adds a new instance to the ledger, which forgets the oldest ended one
// when it is full; s.mu is held.
func (s *Server) record(inst *instance) {
	s.history = append(s.history, inst)
	if len(s.history) <= maxLedgerEntries {
		return
	}
	for i, old := range s.history {
		if old.state.Ended() {
			s.forgotten++
			s.forgottenCost += old.cost(old.endedAt)
			s.history = slices.Delete(s.history, i, i+1)
			delete(s.tags, old.id)
			delete(s.tags, old.interfaceID)
			return
		}
	}
}

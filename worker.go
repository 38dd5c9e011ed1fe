package dormouse

import "time"

// WorkerStatus is what the master knows of a worker at one moment.
type WorkerStatus struct {
	Name string `json:"name"`
	// Latent workers have an instance only while there is work.
	Latent bool `json:"latent"`
	// Phase is a latent worker's place in its life, in Buildbot's words;
	// "connected" or "disconnected" for any other worker.
	Phase     string `json:"phase"`
	Connected bool   `json:"connected"`
	Paused    bool   `json:"paused,omitempty"`
	Graceful  bool   `json:"graceful,omitempty"` // takes no new builds and ends when idle
	Builds    int    `json:"builds"`             // that run on it now
	MaxBuilds int    `json:"max_builds,omitempty"`

	Generation   int64  `json:"generation,omitempty"`
	InstanceID   string `json:"instance_id,omitempty"`
	InstanceType string `json:"instance_type,omitempty"`

	// Reason says why the worker is not ready, in words for the person who
	// waits: what failed, what EC2 said, what to do.
	Reason           string    `json:"reason,omitempty"`
	QuarantinedUntil time.Time `json:"quarantined_until,omitzero"`
	// PassedOver is what EC2 has refused to sell a moment ago, until when nothing
	// of the kind is asked for, and EC2's reason. Other offerings are.
	PassedOver []string `json:"passed_over,omitempty"`
	// Since is when the phase began.
	Since time.Time `json:"since,omitzero"`
	// Agent is how the attached worker introduced itself.
	Agent string `json:"agent,omitempty"`
	// Admin, Host and AccessURI are what it says of itself while it is attached, from
	// the files of its info directory.
	Admin     string   `json:"admin,omitempty"`
	Host      string   `json:"host,omitempty"`
	AccessURI string   `json:"access_uri,omitempty"`
	Builders  []string `json:"builders,omitempty"`
}

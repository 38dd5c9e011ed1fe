package dormouse

import "time"

// Artifact is a file that a build has kept on the master. It is there whole, or
// not at all.
type Artifact struct {
	BuildID int64 `json:"build_id"`
	StepID  int64 `json:"step_id"`
	// Path is where it is below the build's artifacts, with slashes.
	Path   string `json:"path"`
	Bytes  int64  `json:"bytes"`
	SHA256 string `json:"sha256"` // of its content, in hexadecimal
	// CreatedAt is when it was whole.
	CreatedAt time.Time `json:"created_at"`
}

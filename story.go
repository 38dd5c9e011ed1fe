package dormouse

import "time"

// Story is all there is to say about why a build request waits: what became of
// each worker that could take it, and of what was tried for it.
type Story struct {
	Request BuildRequest `json:"request"`
	// Workers are those that may run it, those with something to tell first; More
	// counts those that are left out.
	Workers []WorkerStory `json:"workers"`
	More    int           `json:"more_workers,omitempty"`
}

// WorkerStory is what became of a worker of late.
type WorkerStory struct {
	Worker WorkerStatus `json:"worker"`
	// NextAt is when something is tried again without anybody's doing; zero where
	// nothing is waited for but the instance, or a request.
	NextAt time.Time `json:"next_at,omitzero"`
	// Generations are its last ones, the newest last.
	Generations []GenerationStory `json:"generations,omitempty"`
}

// GenerationStory is one substantiation: what EC2 was asked for, what it
// answered, and what became of the instance.
type GenerationStory struct {
	Generation Generation      `json:"generation"`
	Attempts   []LaunchAttempt `json:"attempts,omitempty"` // in order; each has the end of its console output
	Instances  []Instance      `json:"instances,omitempty"`
}

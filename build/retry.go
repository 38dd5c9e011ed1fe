package build

import (
	"context"
	"errors"
)

// Cause says why a build ended as RETRY.
type Cause string

// The causes. What of them counts against how often a request is tried is the
// master's to decide.
const (
	// WorkerLost: the connection to the worker ended and was not taken up again,
	// whatever had ended it.
	WorkerLost Cause = "worker lost"
	// StepAsked: a step gave RETRY as its result, as by decodeRC.
	StepAsked Cause = "step asked"
	// Interruption: the context ended as [Interrupted].
	Interruption Cause = "interruption"
	// MasterEnds: the context ended because the master does.
	MasterEnds Cause = "master ends"
	// StoreFailed: whether a write was carried out is not known.
	StoreFailed Cause = "store failed"
)

// causeOf is the cause of a build whose context has ended.
func causeOf(ctx context.Context) Cause {
	if errors.As(context.Cause(ctx), new(Interrupted)) {
		return Interruption
	}
	return MasterEnds
}

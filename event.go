package dormouse

import "time"

// EventKind names what an [Event] is about.
type EventKind string

// The events. Each is announced after its fact is durable, and carries the
// whole object, so that a listener need not read it back.
const (
	EventRequestNew      EventKind = "request.new"
	EventRequestChanged  EventKind = "request.changed" // its reason to wait, claim or end
	EventBuildStarted    EventKind = "build.started"
	EventBuildFinished   EventKind = "build.finished"
	EventStepStarted     EventKind = "step.started"
	EventStepFinished    EventKind = "step.finished"
	EventLogNew          EventKind = "log.new"
	EventLogAppended     EventKind = "log.appended" // Log.Lines is the new count
	EventLogComplete     EventKind = "log.complete"
	EventWorkerChanged   EventKind = "worker.changed"
	EventInstanceChanged EventKind = "instance.changed"
)

// Event is an announcement of a fact. Exactly one of the pointers is set.
type Event struct {
	Seq      uint64        `json:"seq"` // counts from 1 since the master started
	Kind     EventKind     `json:"kind"`
	Time     time.Time     `json:"time"`
	Request  *BuildRequest `json:"request,omitempty"`
	Build    *Build        `json:"build,omitempty"`
	Step     *Step         `json:"step,omitempty"`
	Log      *Log          `json:"log,omitempty"`
	Worker   *WorkerStatus `json:"worker,omitempty"`
	Instance *Instance     `json:"instance,omitempty"`
}

package build

import (
	"encoding/json"
	"fmt"
	"strconv"

	"github.com/dormouse-ci/dormouse"
)

// journal is how far a step has come, kept with every write to its logs, so
// that another master can go on with it: it runs the step's action again from
// the beginning, and whatever the journal has is not done a second time. That
// is right because an action is a function of what the build knows and of how
// its commands ended, and does things one after the other.
type journal struct {
	Effects []*effect `json:"effects"`
}

// effect is one thing that a step's action did: a command, something at the
// master, or lines that it wrote to the log itself.
type effect struct {
	// Command is the command's id at the worker, "" for lines.
	Command string `json:"command,omitempty"`
	// Position is how much of what the command said is stored: see
	// [wire.Update].
	Position int64 `json:"position,omitempty"`
	// Complete says that the command has ended, with a Failure of the worker's
	// own or without.
	Complete bool   `json:"complete,omitempty"`
	Failure  string `json:"failure,omitempty"`
	Ended    ended  `json:"ended,omitzero"`
}

// ended is what a command said of itself.
type ended struct {
	RC     int      `json:"rc,omitempty"`
	HasRC  bool     `json:"has_rc,omitempty"`
	Reason string   `json:"reason,omitempty"` // failure_reason, such as "timeout"
	Files  []string `json:"files,omitempty"`
	// Output and Errors are the beginnings of stdout and stderr, and Complaints the
	// last lines of stderr, of a command that asked to keep them. Truncated says
	// that there was more of one of the first two.
	Output     string   `json:"output,omitempty"`
	Errors     string   `json:"errors,omitempty"`
	Truncated  bool     `json:"truncated,omitempty"`
	Complaints []string `json:"complaints,omitempty"`
	FileMode   int      `json:"file_mode,omitempty"` // as Python's stat has it
	names      int      // bytes of Files
	Warnings   int      `json:"warnings,omitempty"`
	// Requests are those that the step has made.
	Requests []int64 `json:"requests,omitempty"`
}

func readJournal(progress string) (journal, error) {
	var j journal
	if progress == "" {
		return j, nil
	}
	if err := json.Unmarshal([]byte(progress), &j); err != nil {
		return j, dormouse.Errorf(dormouse.Internal, "how far the step had come cannot be read: %w", err)
	}
	for _, e := range j.Effects {
		if e == nil {
			return j, dormouse.Errorf(dormouse.Internal, "how far the step had come cannot be read: it holds a null")
		}
	}
	return j, nil
}

func (j *journal) String() string {
	text, err := json.Marshal(j)
	if err != nil {
		panic(err) // numbers and texts always encode
	}
	return string(text)
}

// Group names all commands of a build to the worker.
func Group(build int64) string { return strconv.FormatInt(build, 10) }

// commandID names one command of a build, the same whenever the step is run.
func commandID(build int64, step, effect int) string {
	return fmt.Sprintf("%d.%d.%d", build, step, effect)
}

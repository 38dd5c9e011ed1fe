package dormouse

import "time"

// Build is one run of a builder's steps on one worker. Number counts from 1
// within its builder, without gaps.
type Build struct {
	ID        int64  `json:"id"`
	Builder   string `json:"builder"`
	Number    int    `json:"number"`
	RequestID int64  `json:"request_id"`
	Worker    string `json:"worker"`
	// Generation is the latent worker's generation the build ran on, 0 on a
	// worker that is not latent.
	Generation int64  `json:"generation,omitempty"`
	InstanceID string `json:"instance_id,omitempty"`
	// Try counts the tries of its request from 1: a build whose worker was lost is
	// followed by the next try, one that EC2 interrupted by the same one.
	Try int `json:"try,omitempty"`
	// MaxTries is how many tries its builder allows. It is computed, never stored;
	// 0 where the builder is not configured any more.
	MaxTries    int        `json:"max_tries,omitempty"`
	StartedAt   time.Time  `json:"started_at"`
	FinishedAt  time.Time  `json:"finished_at,omitzero"`
	Result      *Result    `json:"result,omitempty"` // nil while it runs
	StateString string     `json:"state_string,omitempty"`
	Properties  Properties `json:"properties,omitempty"`
	// Cost is the build's part of what its instance has cost so far, in US
	// dollars; nil where that is not known. See [Usage.CostOf].
	Cost *float64 `json:"cost_usd,omitempty"`
}

// Step is one step of a build. Index counts from 0 within the build.
type Step struct {
	ID          int64     `json:"id"`
	BuildID     int64     `json:"build_id"`
	Index       int       `json:"index"`
	Name        string    `json:"name"`
	StartedAt   time.Time `json:"started_at"`
	FinishedAt  time.Time `json:"finished_at,omitzero"`
	Result      *Result   `json:"result,omitempty"` // nil while it runs
	StateString string    `json:"state_string,omitempty"`
	Hidden      bool      `json:"hidden,omitempty"`
	Logs        []Log     `json:"logs,omitempty"`
}

// LogType is Buildbot's one-letter type of a log.
type LogType string

// The log types.
const (
	LogStdio LogType = "s" // lines of a command's stdout, stderr and headers
	LogText  LogType = "t"
	LogHTML  LogType = "h"
)

// Log is what a step wrote under one name, such as "stdio".
type Log struct {
	ID       int64   `json:"id"`
	StepID   int64   `json:"step_id"`
	Name     string  `json:"name"`
	Type     LogType `json:"type"`
	Lines    int64   `json:"lines"`
	Bytes    int64   `json:"bytes"` // of text, newlines counted, before compression
	Complete bool    `json:"complete"`
}

// Stream is the channel a log line came from.
type Stream byte

// The streams of a stdio log, by the letters Buildbot prefixes lines with.
const (
	Stdout Stream = 'o'
	Stderr Stream = 'e'
	Header Stream = 'h'
)

// LogLine is one line of a log, without its newline. Text is valid UTF-8:
// bytes that were not have been replaced when the line was received.
type LogLine struct {
	Stream Stream
	Time   time.Time // when the worker saw it, to the millisecond
	Text   string
}

package dormouse

import "fmt"

// Result says how a step, a build or a build request ended. The numbers are
// Buildbot's result codes, which its worker protocol, its REST API and the
// habits of its users share.
type Result int

// The result codes. A build request that has not ended has no result at all
// (a nil *Result), not one of these.
const (
	Success   Result = 0
	Warnings  Result = 1
	Failure   Result = 2
	Skipped   Result = 3
	Exception Result = 4 // the master or the worker failed, not the build
	Retry     Result = 5 // did not count; the request is queued again
	Cancelled Result = 6
)

var resultNames = [...]string{"success", "warnings", "failure", "skipped", "exception", "retry", "cancelled"}

// String returns Buildbot's lower-case name of the result.
func (r Result) String() string {
	if r < 0 || int(r) >= len(resultNames) {
		return fmt.Sprintf("result(%d)", int(r))
	}
	return resultNames[r]
}

// MarshalText writes the result's name.
func (r Result) MarshalText() ([]byte, error) {
	if r < 0 || int(r) >= len(resultNames) {
		return nil, fmt.Errorf("unknown result code %d", int(r))
	}
	return []byte(resultNames[r]), nil
}

// UnmarshalText reads a name that [Result.MarshalText] wrote.
func (r *Result) UnmarshalText(text []byte) error {
	for i, name := range resultNames {
		if string(text) == name {
			*r = Result(i)
			return nil
		}
	}
	return fmt.Errorf("unknown result %q", text)
}

// Good reports whether the result lets what depends on it go on: success,
// warnings, and a step that was skipped.
func (r Result) Good() bool { return r == Success || r == Warnings || r == Skipped }

// severity orders the results as Buildbot does when it combines them.
var severity = [...]int{Skipped: 0, Success: 1, Warnings: 2, Failure: 3, Exception: 4, Retry: 5, Cancelled: 6}

// Worst returns the more severe of two results, in Buildbot's order: skipped,
// success, warnings, failure, exception, retry, cancelled.
func Worst(a, b Result) Result {
	if severity[b] > severity[a] {
		return b
	}
	return a
}

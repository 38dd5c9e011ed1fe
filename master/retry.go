package master

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/build"
	"github.com/dormouse-ci/dormouse/store"
)

const (
	// retryFirst is the pause before a request is tried again whose build has lost
	// its worker, doubled by each further loss up to retryMax. A host that dies is
	// replaced in less; what kills every machine should not cost one a second.
	retryFirst = 10 * time.Second
	retryMax   = time.Hour
	// fateTime bounds the question what has become of a lost worker's instance.
	fateTime = 10 * time.Second
	// maxNamed is how many machines the end of a request's last build names.
	maxNamed = 10
)

// retryPause is the pause after a request's build has lost its worker for the
// n-th time.
func retryPause(n int) time.Duration {
	pause := retryFirst
	for range n - 1 {
		pause = min(2*pause, retryMax)
	}
	return pause
}

// retryRule is what a builder says of its retries, and what this master makes of
// a pause.
type retryRule struct {
	most   int // retries
	scaled func(time.Duration) time.Duration
}

// ending decides what follows from a build's outcome. A build that is RETRY is
// tried again; what it lost itself counts, up to the most: then the last build,
// and its request with it, is EXCEPTION, and names the machines of all tries.
// Before are the request's earlier builds that were RETRY, the oldest first.
func (rule retryRule) ending(o build.Outcome, b dormouse.Build, before []dormouse.Build, at time.Time) store.Ending {
	e := store.Ending{Result: o.Result, StateString: o.StateString, At: at}
	if o.Result != dormouse.Retry {
		return e
	}
	e.Requeue = true
	switch o.Cause {
	case build.Interruption:
		e.Interrupted = true
	case build.MasterEnds, build.StoreFailed:
		// Nothing that the build or its machine did.
	case build.WorkerLost, build.StepAsked:
		e.Lost = true
		if b.Try <= rule.most {
			e.NotBefore = at.Add(rule.scaled(retryPause(b.Try)))
			break
		}
		e.Requeue, e.Result = false, dormouse.Exception
		why := strings.TrimPrefix(e.StateString, dormouse.Retry.String()+" ")
		e.StateString = fmt.Sprintf("exception %s; not tried again after %s (maxRetries is %d)", why, tries(b, before), rule.most)
	}
	return e
}

// tries names the machines of a request's tries.
func tries(b dormouse.Build, before []dormouse.Build) string {
	var on []string
	for i, earlier := range before {
		next := b.Try
		if i+1 < len(before) {
			next = before[i+1].Try
		}
		if next > earlier.Try { // else it did not count
			on = append(on, machineOf(earlier))
		}
	}
	on = append(on, machineOf(b))
	count := fmt.Sprintf("%d tries", b.Try)
	if b.Try == 1 {
		count = "one try"
	}
	more := ""
	if n := len(on) - maxNamed; n > 0 {
		on, more = on[n:], fmt.Sprintf("%d others, ", n)
	}
	return count + " on " + more + strings.Join(on, ", ")
}

// machineOf names what a build ran on.
func machineOf(b dormouse.Build) string {
	if b.InstanceID != "" {
		return b.InstanceID
	}
	return "worker " + b.Worker
}

// judged is an outcome with what the master knows of why the worker was lost.
func (m *Master) judged(r *runningBuild, o build.Outcome) build.Outcome {
	if o.Cause != build.WorkerLost {
		return o
	}
	why, taken := m.running.excuse(r)
	if r.worker.latent != nil && r.instanceID != "" && why == "" {
		if r.worker.latent.State().Graceful {
			why = shutDownByRequest
		} else {
			o.StateString, taken = m.fate(r, o.StateString)
		}
	}
	switch {
	case taken:
		o.Cause = build.Interruption
	case why != "":
		o.Cause = build.MasterEnds
	}
	if why != "" {
		o.StateString = "retry " + why
		if o.Step != "" {
			o.StateString += " in step " + o.Step
		}
	}
	return o
}

// shutDownByRequest is why a build is lost whose worker a person shuts down.
const shutDownByRequest = "its worker was shut down by request"

// fate adds to a text what EC2 says of a lost build's instance, and reports
// whether EC2 has taken it back.
func (m *Master) fate(r *runningBuild, text string) (string, bool) {
	ctx, cancel := context.WithTimeout(m.ctx, fateTime)
	defer cancel()
	i, taken, err := m.fleet.Fate(ctx, r.instanceID)
	if err != nil {
		m.log.Warn("what became of a lost worker's instance is not known", "worker", r.worker.name, "instance", r.instanceID, "error", err)
		return text, false
	}
	if i.State.Dying() || i.State.Ended() {
		text += fmt.Sprintf(" (instance %s is %s", i.ID, i.State)
		if i.StateReason != "" {
			text += ": " + i.StateReason
		}
		text += ")"
	}
	return text, taken
}

// end decides, by the store, what follows from a build's outcome.
func (m *Master) end(r *runningBuild, o build.Outcome, at time.Time) store.Ending {
	rule := retryRule{most: r.builder.MaxRetries, scaled: m.scaled}
	var before []dormouse.Build
	if o.Result == dormouse.Retry && r.build.Try > rule.most {
		var err error
		if before, err = m.db.RetriedBuilds(m.ctx, r.request.ID); err != nil {
			m.log.Warn("the earlier tries of a request cannot be read", "request", r.request.ID, "error", err)
		}
	}
	return rule.ending(o, r.build, before, at)
}

// heldBack says why a request is not tried yet whose build has lost its worker, ""
// if it may be, and until when. A time that no pause could have set is the mistake
// of a clock, and holds nothing.
func (m *Master) heldBack(r dormouse.BuildRequest, now time.Time) (string, time.Time) {
	left := r.NotBefore.Sub(now)
	if left <= 0 || left > m.scaled(retryMax) {
		return "", time.Time{}
	}
	return fmt.Sprintf("its last build was lost; tried again at %s (%s)", r.NotBefore.Format("15:04:05"), ofTries(r.Lost+1, r.MaxTries)), r.NotBefore
}

// ofTries says which try it is.
func ofTries(try, most int) string { return fmt.Sprintf("try %d of %d", try, max(try, most)) }

// maxTries is how many tries a builder's requests have; 0 where it is not
// configured any more.
func (m *Master) maxTries(builder string) int {
	if b := m.builder(builder); b != nil {
		return b.MaxRetries + 1
	}
	return 0
}

// scaled is a limit of time as this master keeps it.
func (m *Master) scaled(d time.Duration) time.Duration {
	if m.timeScale > 0 {
		return time.Duration(float64(d) * m.timeScale)
	}
	return d
}

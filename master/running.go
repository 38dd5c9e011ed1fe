package master

import (
	"cmp"
	"context"
	"fmt"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/build"
	"github.com/dormouse-ci/dormouse/latent"
	"github.com/dormouse-ci/dormouse/planner"
	"github.com/dormouse-ci/dormouse/wire"
)

// runningBuild is a build with all it has hold of.
type runningBuild struct {
	build      dormouse.Build // as it began; read by all, so never changed
	request    dormouse.BuildRequest
	builder    dormouse.Builder
	worker     *worker
	conn       *wire.Worker
	generation int64
	instanceID string
	session    string           // of the agent's process; "" if the build ends with its connection
	past       []build.PastStep // of a build that an earlier master began
	stop       chan string      // holds one reason
	// ctx is of its steps; leave ends it for the build to be left to the next
	// master.
	ctx   context.Context
	leave context.CancelCauseFunc
	// ending says that the result is being stored: it is too late to stop.
	// givenUp says that its worker is waited for no longer. Both are guarded by
	// the table's mutex.
	ending, givenUp bool
	// excused is why a loss of its worker is not its own, "" if it is; taken says
	// that EC2 takes the instance back. They are guarded likewise.
	excused string
	taken   bool
}

// release gives the worker back.
func (r *runningBuild) release(result dormouse.Result) {
	if r.worker.latent != nil {
		r.worker.latent.Post(latent.BuildFinished{Generation: r.generation, Result: result, Build: r.name()})
	}
}

// name names the build, for people.
func (r *runningBuild) name() string {
	return fmt.Sprintf("build %s/%d", r.build.Builder, r.build.Number)
}

// withdraw gives the worker back from a build that never began.
func (r *runningBuild) withdraw() {
	if r.worker.latent != nil {
		r.worker.latent.Post(latent.BuildWithdrawn{Generation: r.generation})
	}
}

// runningBuilds is the table of builds that run.
type runningBuilds struct {
	mu   sync.Mutex
	byID map[int64]*runningBuild
}

func (t *runningBuilds) add(r *runningBuild) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.byID[r.build.ID] = r
}

func (t *runningBuilds) remove(r *runningBuild) {
	t.mu.Lock()
	defer t.mu.Unlock()
	delete(t.byID, r.build.ID)
}

// holders are the builds that run, with what they hold.
func (t *runningBuilds) holders() []planner.Holder {
	t.mu.Lock()
	defer t.mu.Unlock()
	out := make([]planner.Holder, 0, len(t.byID))
	for _, r := range t.byID {
		out = append(out, planner.Holder{
			Build: fmt.Sprintf("build %s/%d", r.build.Builder, r.build.Number), Builder: r.build.Builder, Request: r.request.ID,
			Worker: r.worker.name, Locks: slices.Concat(r.builder.Locks, r.worker.defined().config.Locks),
		})
	}
	slices.SortFunc(out, func(a, b planner.Holder) int { return strings.Compare(a.Build, b.Build) })
	return out
}

// all returns the builds that run, oldest first.
func (t *runningBuilds) all() []*runningBuild {
	t.mu.Lock()
	defer t.mu.Unlock()
	return slices.SortedFunc(maps.Values(t.byID), func(a, b *runningBuild) int { return cmp.Compare(a.build.ID, b.build.ID) })
}

// on returns the builds that run on a worker.
func (t *runningBuilds) on(worker string) []*runningBuild {
	t.mu.Lock()
	defer t.mu.Unlock()
	var out []*runningBuild
	for _, r := range t.byID {
		if r.worker.name == worker {
			out = append(out, r)
		}
	}
	return out
}

func (t *runningBuilds) count(builder string) int {
	t.mu.Lock()
	defer t.mu.Unlock()
	n := 0
	for _, r := range t.byID {
		if r.builder.Name == builder {
			n++
		}
	}
	return n
}

// end begins the end of a build. A request to stop that came while it ended by
// itself is not lost: the build does not go back to the queue.
func (t *runningBuilds) end(r *runningBuild, outcome build.Outcome) build.Outcome {
	t.mu.Lock()
	defer t.mu.Unlock()
	r.ending = true
	select {
	case reason := <-r.stop:
		if outcome.Result == dormouse.Retry {
			return build.Outcome{Result: dormouse.Cancelled, StateString: "stopped: " + reason}
		}
	default:
	}
	return outcome
}

// excuseAll notes that the builds on a worker, of a generation or, where that is
// negative, of any, lose it through no fault of theirs; taken: because EC2 takes
// the instance back.
func (t *runningBuilds) excuseAll(worker string, generation int64, why string, taken bool) {
	for _, r := range t.on(worker) {
		if generation < 0 || r.generation == generation {
			t.mu.Lock()
			r.excused, r.taken = why, taken
			t.mu.Unlock()
		}
	}
}

// excuse returns why the loss of a build's worker is not its own, and whether EC2
// takes the instance back.
func (t *runningBuilds) excuse(r *runningBuild) (why string, taken bool) {
	t.mu.Lock()
	defer t.mu.Unlock()
	return r.excused, r.taken
}

// giveUp notes that a build's worker is waited for no longer.
func (t *runningBuilds) giveUp(r *runningBuild) {
	t.mu.Lock()
	defer t.mu.Unlock()
	r.givenUp = true
}

// awaiting returns the builds on a worker that wait for it, or run.
func (t *runningBuilds) awaiting(worker string) []*runningBuild {
	return slices.DeleteFunc(t.on(worker), func(r *runningBuild) bool {
		t.mu.Lock()
		defer t.mu.Unlock()
		return r.givenUp
	})
}

// runs reports whether a build runs and can still be stopped.
func (t *runningBuilds) runs(id int64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.byID[id]
	return r != nil && !r.ending
}

// has reports whether a build is in the table.
func (t *runningBuilds) has(id int64) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	return t.byID[id] != nil
}

// stopBuild asks a build to stop, and reports whether it runs. Asking twice is
// asking once.
func (t *runningBuilds) stopBuild(id int64, reason string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.byID[id]
	if r == nil || r.ending {
		return false
	}
	select {
	case r.stop <- reason:
	default:
	}
	return true
}

package master

import (
	"sync"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/latent"
	"github.com/dormouse-ci/dormouse/wire"
)

// runningBuild is a build with all it has hold of.
type runningBuild struct {
	build      dormouse.Build
	request    dormouse.BuildRequest
	builder    dormouse.Builder
	worker     *worker
	conn       *wire.Worker
	generation int64
	instanceID string
	stop       chan string // holds one reason
}

// release gives the worker back.
func (r *runningBuild) release(result dormouse.Result) {
	if r.worker.latent != nil {
		r.worker.latent.Post(latent.BuildFinished{Generation: r.generation, Result: result})
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

// stopBuild asks a build to stop. Asking twice is asking once.
func (t *runningBuilds) stopBuild(id int64, reason string) bool {
	t.mu.Lock()
	defer t.mu.Unlock()
	r := t.byID[id]
	if r == nil {
		return false
	}
	select {
	case r.stop <- reason:
	default:
	}
	return true
}

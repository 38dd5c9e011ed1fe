package main

import (
	"context"
	"fmt"
	"sync"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/web/client"
)

// follower prints what becomes of build requests. One goroutine reads events
// and owns the maps; what a build prints is put in order by its own queue, for
// a log may still be printing when the next step begins.
type follower struct {
	c    *connection
	logs bool

	requests map[int64]*followedRequest
	builds   map[int64]*followedBuild
	steps    map[int64]*followedStep

	printing sync.WaitGroup
	failed   chan error // the first failure to print a log
}

type followedRequest struct {
	dormouse.BuildRequest
	said string // the last waiting reason that was printed
	over bool
}

type followedBuild struct {
	label         string
	started, over bool
	last          chan struct{} // closed when all that is queued is printed
}

type followedStep struct {
	build *followedBuild
	name  string
	over  bool
	logs  map[int64]bool
}

func newFollower(c *connection, logs bool) *follower {
	return &follower{
		c: c, logs: logs,
		requests: map[int64]*followedRequest{},
		builds:   map[int64]*followedBuild{},
		steps:    map[int64]*followedStep{},
		failed:   make(chan error, 1),
	}
}

// run follows until every request is complete.
func (f *follower) run(ctx context.Context, builder string, made []dormouse.BuildRequest) error {
	ctx, cancel := context.WithCancel(ctx)
	defer f.printing.Wait()
	defer cancel()
	for _, r := range made {
		f.requests[r.ID] = &followedRequest{BuildRequest: r}
		f.sayf("request %d for %s", r.ID, plain(r.Builder))
	}
	q := client.EventQuery{Kinds: []string{"request", "build", "step", "log"}, Builder: builder}
	for m, err := range f.c.Events(ctx, q) {
		if err == nil && m.Reset {
			err = f.readBack(ctx)
		} else if err == nil {
			err = f.apply(ctx, m.Event)
		}
		if err != nil {
			return err
		}
		if f.complete() {
			break
		}
	}
	// The logs are complete by now: what is left is to print them.
	f.printing.Wait()
	select {
	case err := <-f.failed:
		return err
	default:
		return nil
	}
}

// ends returns what became of the requests: for one that was merged into
// another, that one's end.
func (f *follower) ends(made []dormouse.BuildRequest) []dormouse.BuildRequest {
	out := make([]dormouse.BuildRequest, len(made))
	for i, r := range made {
		end := f.requests[r.ID].BuildRequest
		// A chain cannot be longer than there are requests.
		for range f.requests {
			next := f.requests[end.CollapsedInto]
			if next == nil {
				break
			}
			end = next.BuildRequest
		}
		out[i] = end
	}
	return out
}

func (f *follower) complete() bool {
	for _, r := range f.requests {
		if !r.over {
			return false
		}
	}
	return true
}

// readBack catches up with the state, as events were missed or none came yet.
func (f *follower) readBack(ctx context.Context) error {
	for id, known := range f.requests {
		if known.over {
			continue
		}
		r, err := f.c.Request(ctx, id)
		if err != nil {
			return err
		}
		if r.BuildID != 0 {
			if err := f.readBuild(ctx, r.BuildID); err != nil {
				return err
			}
		}
		if err := f.request(ctx, r); err != nil {
			return err
		}
	}
	return nil
}

func (f *follower) readBuild(ctx context.Context, id int64) error {
	b, err := f.c.Build(ctx, id)
	if err != nil {
		return err
	}
	steps, err := f.c.Steps(ctx, id)
	if err != nil {
		return err
	}
	f.buildStarted(b)
	for _, s := range steps {
		f.step(s)
		for _, l := range s.Logs {
			f.log(ctx, l)
		}
		f.stepFinished(s)
	}
	f.buildFinished(b)
	return nil
}

// apply takes an event, which may be older than what was read back.
func (f *follower) apply(ctx context.Context, e dormouse.Event) error {
	switch {
	case e.Request != nil && f.requests[e.Request.ID] != nil:
		return f.request(ctx, *e.Request)
	case e.Build != nil && f.requests[e.Build.RequestID] != nil:
		f.buildStarted(*e.Build)
		f.buildFinished(*e.Build)
	case e.Step != nil && f.builds[e.Step.BuildID] != nil:
		f.step(*e.Step)
		f.stepFinished(*e.Step)
	case e.Log != nil:
		f.log(ctx, *e.Log)
	}
	return nil
}

func (f *follower) request(ctx context.Context, r dormouse.BuildRequest) error {
	known := f.requests[r.ID]
	if known.over {
		return nil
	}
	known.BuildRequest = r
	if r.State == dormouse.RequestPending && r.Waiting != "" && r.Waiting != known.said {
		known.said = r.Waiting
		f.sayf("request %d: %s", r.ID, f.c.paint(yellow, plain(r.Waiting)))
	}
	if r.State != dormouse.RequestComplete {
		return nil
	}
	known.over = true
	if r.CollapsedInto == 0 {
		f.afterBuild(r.BuildID, func() { f.sayf("request %d: %s", r.ID, f.c.result(r.Result)) })
		return nil
	}
	f.sayf("request %d: merged into request %d", r.ID, r.CollapsedInto)
	if f.requests[r.CollapsedInto] != nil {
		return nil
	}
	f.requests[r.CollapsedInto] = &followedRequest{BuildRequest: dormouse.BuildRequest{ID: r.CollapsedInto}}
	return f.readBack(ctx)
}

func (f *follower) buildStarted(b dormouse.Build) {
	known := f.builds[b.ID]
	if known == nil {
		last := make(chan struct{})
		close(last)
		known = &followedBuild{label: plain(buildName(b)), last: last}
		f.builds[b.ID] = known
	}
	if known.started {
		return
	}
	known.started = true
	where := plain(b.Worker)
	if b.InstanceID != "" {
		where += " (" + plain(b.InstanceID) + ")"
	}
	f.sayf("build %s started on %s", known.label, where)
}

func (f *follower) buildFinished(b dormouse.Build) {
	known := f.builds[b.ID]
	if known.over || b.Result == nil {
		return
	}
	known.over = true
	text := fmt.Sprintf("build %s: %s after %s", known.label, f.c.result(b.Result), f.c.span(b.StartedAt, b.FinishedAt))
	f.queue(known, func() { f.sayf("%s", text) })
}

func (f *follower) step(s dormouse.Step) {
	if f.steps[s.ID] != nil || s.Hidden {
		return
	}
	b := f.builds[s.BuildID]
	f.steps[s.ID] = &followedStep{build: b, name: plain(s.Name), logs: map[int64]bool{}}
	if s.Result == nil {
		f.queue(b, func() { f.sayf("  %s %s …", b.label, plain(s.Name)) })
	}
}

func (f *follower) stepFinished(s dormouse.Step) {
	known := f.steps[s.ID]
	if known == nil || known.over || s.Result == nil {
		return
	}
	known.over = true
	text := fmt.Sprintf("  %s %s: %s after %s", known.build.label, known.name, f.c.result(s.Result), f.c.span(s.StartedAt, s.FinishedAt))
	if s.StateString != "" && !s.Result.Good() {
		text += " - " + plain(s.StateString)
	}
	f.queue(known.build, func() { f.sayf("%s", text) })
}

// log prints a log of a step that is followed, live.
func (f *follower) log(ctx context.Context, l dormouse.Log) {
	s := f.steps[l.StepID]
	if !f.logs || s == nil || s.logs[l.ID] {
		return
	}
	s.logs[l.ID] = true
	prefix := ""
	if len(f.requests) > 1 {
		prefix = s.build.label + " | "
	}
	f.queue(s.build, func() {
		for line, err := range f.c.FollowLog(ctx, l.ID, 0) {
			if err != nil {
				select {
				case f.failed <- err:
				default: // one is enough
				}
				return
			}
			f.c.logLine(prefix, line)
		}
	})
}

// queue prints something of a build after all that is queued for it already.
func (f *follower) queue(b *followedBuild, print func()) {
	if !f.logs {
		print() // nothing takes time, so nothing waits
		return
	}
	before, done := b.last, make(chan struct{})
	b.last = done
	f.printing.Go(func() {
		defer close(done)
		<-before
		print()
	})
}

// afterBuild prints something after all of a request's build, if it had one.
func (f *follower) afterBuild(id int64, print func()) {
	if b := f.builds[id]; b != nil {
		f.queue(b, print)
		return
	}
	print()
}

// sayf prints a line: to the output, or beside it where that is JSON.
func (f *follower) sayf(format string, args ...any) {
	if f.c.json {
		f.c.notef(format+"\n", args...)
		return
	}
	f.c.printf(format+"\n", args...)
}

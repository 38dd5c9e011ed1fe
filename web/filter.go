package web

import (
	"strings"

	"github.com/dormouse-ci/dormouse"
)

// filter says which events a reader wants.
type filter struct {
	// kinds are whole kinds ("build.started") or what they are about
	// ("build"); empty is everything but log.appended.
	kinds   []string
	builder string
	build   int64
}

// wants reports whether a message passes. One of which it is not known whether
// it belongs to the builder or build passes: too much is better than a gap.
func (f filter) wants(m message) bool {
	if m.gap {
		return true
	}
	if !f.wantsKind(m.kind) {
		return false
	}
	about, _, _ := strings.Cut(string(m.kind), ".")
	switch about {
	case "worker", "instance":
		// Of no builder and no build: wanted where neither was named.
		return f.builder == "" && f.build == 0
	case "request":
		return (f.builder == "" || m.builder == f.builder) && (f.build == 0 || m.build == f.build)
	}
	return (f.builder == "" || m.builder == "" || m.builder == f.builder) &&
		(f.build == 0 || m.build == 0 || m.build == f.build)
}

func (f filter) wantsKind(kind dormouse.EventKind) bool {
	if len(f.kinds) == 0 {
		return kind != dormouse.EventLogAppended
	}
	for _, k := range f.kinds {
		if k == string(kind) {
			return true
		}
		if kind != dormouse.EventLogAppended && strings.HasPrefix(string(kind), k+".") {
			return true
		}
	}
	return false
}

// places remembers to which build each running step belongs, and to which
// builder each running build, since the events of steps and logs name only
// their parent.
type places struct {
	builds map[int64]*place
	steps  map[int64]int64 // build by step
}

type place struct {
	builder string
	steps   []int64
}

func newPlaces() *places {
	return &places{builds: map[int64]*place{}, steps: map[int64]int64{}}
}

// of returns the builder and the build of an event, as far as they are known,
// and learns from it.
func (p *places) of(e dormouse.Event) (builder string, build int64) {
	switch {
	case e.Request != nil:
		return e.Request.Builder, e.Request.BuildID
	case e.Build != nil:
		if e.Kind == dormouse.EventBuildFinished {
			p.forget(e.Build.ID)
		} else if p.builds[e.Build.ID] == nil {
			p.builds[e.Build.ID] = &place{builder: e.Build.Builder}
		}
		return e.Build.Builder, e.Build.ID
	case e.Step != nil:
		b := p.builds[e.Step.BuildID]
		if b == nil {
			return "", e.Step.BuildID
		}
		if _, known := p.steps[e.Step.ID]; !known {
			p.steps[e.Step.ID] = e.Step.BuildID
			b.steps = append(b.steps, e.Step.ID)
		}
		return b.builder, e.Step.BuildID
	case e.Log != nil:
		build = p.steps[e.Log.StepID]
		if b := p.builds[build]; b != nil {
			builder = b.builder
		}
		return builder, build
	}
	return "", 0
}

func (p *places) forget(build int64) {
	b := p.builds[build]
	if b == nil {
		return
	}
	for _, s := range b.steps {
		delete(p.steps, s)
	}
	delete(p.builds, build)
}

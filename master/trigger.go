package master

import (
	"cmp"
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/build"
)

// triggers makes builds for builds.
type triggers struct{ m *Master }

// Submit implements build.Triggers.
func (t triggers) Submit(ctx context.Context, o build.TriggerOrder) ([]dormouse.BuildRequest, error) {
	m := t.m
	now := m.now().config
	at := slices.IndexFunc(now.Triggerables, func(s dormouse.Triggerable) bool { return s.Name == o.Scheduler })
	if at < 0 {
		return nil, dormouse.Errorf(dormouse.Invalid, "there is no Triggerable scheduler %q in the configuration", o.Scheduler)
	}
	s := now.Triggerables[at]
	properties := dormouse.Properties{}
	for name, v := range now.Properties {
		properties.Set(name, v, "Config")
	}
	for name, v := range s.Properties {
		properties.Set(name, v, "Scheduler")
	}
	properties.Update(o.Properties)
	properties.Set("scheduler", s.Name, "Scheduler")
	priority := s.Priority
	if priority == 0 {
		// Who waits for these holds a worker meanwhile.
		priority = o.Request.Priority
	}
	var requests []dormouse.BuildRequest
	for _, builder := range s.BuilderNames {
		requests = append(requests, dormouse.BuildRequest{
			Builder: builder, Priority: priority, SubmittedAt: time.Now(),
			Reason:  fmt.Sprintf("triggered by build %s/%d, with scheduler %s", o.Parent.Builder, o.Parent.Number, s.Name),
			Sources: withCodebases(o.Sources, s.Codebases), Properties: properties.Clone(),
			ParentBuildID: o.Parent.ID, Key: o.Key + "." + s.Name + "." + builder,
		})
	}
	return m.submit(ctx, requests)
}

// withCodebases adds what a scheduler says of its codebases.
func withCodebases(given []dormouse.SourceStamp, defaults map[string]dormouse.SourceStamp) []dormouse.SourceStamp {
	out := slices.Clone(given)
	for name, d := range defaults {
		at := slices.IndexFunc(out, func(s dormouse.SourceStamp) bool { return s.Codebase == name })
		if at < 0 {
			out = append(out, d)
			continue
		}
		s := &out[at]
		if s.Branch == "" && s.Revision == "" {
			s.Revision = d.Revision
		}
		s.Repository, s.Branch = cmp.Or(s.Repository, d.Repository), cmp.Or(s.Branch, d.Branch)
	}
	if len(out) == 0 {
		out = []dormouse.SourceStamp{{}}
	}
	slices.SortFunc(out, func(a, b dormouse.SourceStamp) int { return strings.Compare(a.Codebase, b.Codebase) })
	return out
}

// Await implements build.Triggers.
func (t triggers) Await(ctx context.Context, parent int64, ids []int64) ([]dormouse.BuildRequest, error) {
	done := t.m.awaited.begin(parent, ids)
	defer done()
	for _, id := range ids { // those that were merged before this master began
		for r, err := t.m.db.Request(ctx, id); err == nil && r.CollapsedInto != 0; r, err = t.m.db.Request(ctx, r.CollapsedInto) {
			t.m.awaited.merged(r.ID, r.CollapsedInto)
		}
	}
	t.m.wakeUp()
	defer t.m.wakeUp()
	out := make([]dormouse.BuildRequest, 0, len(ids))
	for _, id := range ids {
		r, err := t.await(ctx, id)
		if err != nil {
			return nil, err
		}
		into := r
		for into.CollapsedInto != 0 {
			if into, err = t.await(ctx, into.CollapsedInto); err != nil {
				return nil, err
			}
		}
		r.Result = into.Result
		out = append(out, r)
	}
	return out, nil
}

// await returns a request once it is complete.
func (t triggers) await(ctx context.Context, id int64) (r dormouse.BuildRequest, err error) {
	for {
		changed, forget := t.m.bus.completion(id)
		err = t.m.owner.Until(ctx, "reading a request that was triggered", func() (err error) {
			r, err = t.m.db.Request(ctx, id)
			return err
		})
		if err != nil || r.State == dormouse.RequestComplete {
			forget()
			return r, err
		}
		select {
		case <-changed:
		case <-ctx.Done():
			forget()
			return r, ctx.Err()
		}
		forget()
	}
}

// cancelTime is how long the store may take to cancel what was triggered.
const cancelTime = 10 * time.Second

// Cancel implements build.Triggers.
func (t triggers) Cancel(ids []int64, why string) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(t.m.ctx), cancelTime)
	defer cancel()
	for _, id := range ids {
		err := t.m.CancelRequest(ctx, id)
		if err != nil && dormouse.CodeOf(err) != dormouse.Conflict {
			t.m.log.Warn("a build that was triggered could not be cancelled", "request", id, "why", why, "error", err)
		}
	}
}

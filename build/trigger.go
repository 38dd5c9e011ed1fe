package build

import (
	"context"
	"fmt"
	"slices"
	"strings"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/wire"
)

// triggerAction asks for other builds.
type triggerAction struct{ dormouse.Trigger }

var _ = does(func(a dormouse.Trigger) action { return triggerAction{a} })

func (triggerAction) defaultName() string { return "trigger" }

// triggerArgs are what to trigger, rendered.
type triggerArgs struct {
	schedulers  []string
	unimportant []string
	properties  dormouse.Properties
	sources     []dormouse.SourceStamp
}

func (a triggerAction) args(s *step) (t triggerArgs, err error) {
	if t.schedulers, err = s.texts("schedulerNames", a.Schedulers); err != nil {
		return t, err
	}
	if len(t.schedulers) == 0 {
		return t, dormouse.Errorf(dormouse.Invalid, "schedulerNames came out empty: there is nothing to trigger")
	}
	if t.unimportant, err = s.texts("unimportantSchedulerNames", a.Unimportant); err != nil {
		return t, err
	}
	t.properties = dormouse.Properties{}
	for name, v := range a.SetProperties {
		out, err := s.render("property "+name, v)
		if err != nil {
			return t, err
		}
		t.properties.Set(name, s.masked(out), "Trigger") // it is shown to everybody
	}
	for _, name := range a.CopyProperties {
		t.properties.Set(name, s.build.props[name].Value, "Trigger")
	}
	t.sources, err = a.sources(s)
	return t, err
}

// texts renders values to a flat list of texts.
func (s *step) texts(what string, values []any) ([]string, error) {
	var out []string
	for _, v := range values {
		rendered, err := s.render(what, v)
		if err != nil {
			return nil, err
		}
		words, err := flatten(nil, rendered)
		if err != nil {
			return nil, dormouse.Errorf(dormouse.Invalid, "%s: %w", what, err)
		}
		for _, w := range words {
			out = append(out, fmt.Sprint(w))
		}
	}
	return out, nil
}

// sources are what the builds are of.
func (a triggerAction) sources(s *step) ([]dormouse.SourceStamp, error) {
	if len(a.SourceStamps) > 0 {
		return a.stamps(s)
	}
	if a.AlwaysUseLatest {
		return nil, nil
	}
	out := slices.Clone(s.build.job.Request.Sources)
	if len(out) == 0 {
		out = []dormouse.SourceStamp{{}}
	}
	if !a.UpdateSourceStamp {
		return out, nil
	}
	got := s.build.props["got_revision"].Value
	for i := range out {
		revision := got
		if byCodebase, ok := got.(map[string]any); ok {
			revision = byCodebase[out[i].Codebase]
		} else if out[i].Codebase != "" {
			continue
		}
		if text, ok := revision.(string); ok && text != "" {
			out[i].Revision = text
		}
	}
	return out, nil
}

// stamps are sources that the step gives itself.
func (a triggerAction) stamps(s *step) ([]dormouse.SourceStamp, error) {
	var out []dormouse.SourceStamp
	for _, v := range a.SourceStamps {
		rendered, err := s.render("sourceStamps", v)
		if err != nil {
			return nil, err
		}
		fields, ok := rendered.(map[string]any)
		if !ok {
			return nil, dormouse.Errorf(dormouse.Invalid, "a source stamp came out as %T, and must be a dictionary", rendered)
		}
		var stamp dormouse.SourceStamp
		for name, to := range map[string]*string{
			"codebase": &stamp.Codebase, "repository": &stamp.Repository, "branch": &stamp.Branch,
			"revision": &stamp.Revision, "project": &stamp.Project,
		} {
			switch v := fields[name].(type) {
			case nil:
			case string:
				*to = s.build.mask.apply(v)
			default:
				return nil, dormouse.Errorf(dormouse.Invalid, "%s of a source stamp came out as %T, and must be a string", name, v)
			}
		}
		if slices.ContainsFunc(out, func(o dormouse.SourceStamp) bool { return o.Codebase == stamp.Codebase }) {
			return nil, dormouse.Errorf(dormouse.Invalid, "there are two source stamps of codebase %q", stamp.Codebase)
		}
		out = append(out, stamp)
	}
	return out, nil
}

// reveal implements action.
func (a triggerAction) reveal(s *step) { _, _ = a.args(s) }

func (a triggerAction) run(ctx context.Context, s *step) (dormouse.Result, error) {
	t, err := a.args(s)
	if err != nil {
		return dormouse.Exception, err
	}
	triggers := s.build.runner.Triggers
	if triggers == nil {
		return dormouse.Exception, dormouse.Errorf(dormouse.Internal, "this master triggers nothing")
	}
	s.summary = "triggered " + strings.Join(t.schedulers, ", ")
	var all, counted []int64
	for _, name := range t.schedulers {
		ids, err := a.submit(ctx, s, triggers, name, t)
		all = append(all, ids...) // also what was made before something went wrong
		if err != nil {
			return a.end(ctx, s, triggers, all, err)
		}
		if !slices.Contains(t.unimportant, name) {
			counted = append(counted, ids...)
		}
	}
	if !a.WaitForFinish {
		return dormouse.Success, nil
	}
	return a.await(ctx, s, triggers, all, counted)
}

// submit makes the requests of one scheduler, once.
func (a triggerAction) submit(ctx context.Context, s *step, triggers Triggers, name string, t triggerArgs) ([]int64, error) {
	e, _ := s.next()
	if e.Complete {
		return e.Ended.Requests, nil
	}
	b := s.build
	var made []dormouse.BuildRequest
	// The key is the same whenever the step is run: what an earlier master made is
	// found, and not made again.
	order := TriggerOrder{
		Key: commandID(b.job.Build.ID, s.row.Index, s.at-1), Scheduler: name, Parent: b.job.Build, Request: b.job.Request,
		Sources: t.sources, Properties: t.properties,
	}
	err := b.persist(ctx, func() (err error) {
		made, err = triggers.Submit(ctx, order)
		return err
	})
	if err != nil {
		return nil, err
	}
	var ids []int64
	var said []string
	for _, r := range made {
		ids = append(ids, r.ID)
		said = append(said, fmt.Sprintf("scheduler %s: build request %d of builder %s", name, r.ID, r.Builder))
	}
	return ids, s.logs.append(ctx, stdio, dormouse.Header, lines(said), func() {
		e.Complete, e.Ended.Requests = true, ids
	})
}

// end ends a step whose builds are not waited for to their end: who waits for them
// takes them with it, unless the next master goes on waiting.
func (a triggerAction) end(ctx context.Context, s *step, triggers Triggers, ids []int64, err error) (dormouse.Result, error) {
	over := !s.build.left(ctx) && (ctx.Err() == nil || stopped(ctx) || s.build.abandon())
	if a.WaitForFinish && over {
		triggers.Cancel(ids, "the build that triggered it has ended")
	}
	return dormouse.Exception, err
}

// await waits for the builds, and adds their results up.
func (a triggerAction) await(ctx context.Context, s *step, triggers Triggers, all, counted []int64) (dormouse.Result, error) {
	wait, cancel := context.WithCancelCause(ctx)
	defer cancel(nil)
	if !s.build.job.Resumable {
		// Nobody else hears of it while no command runs.
		go func() {
			select {
			case <-s.build.worker.Done():
				cancel(wire.ErrConnectionLost)
			case <-wait.Done():
			}
		}()
	}
	done, err := triggers.Await(wait, s.build.job.Request.ID, all)
	if err != nil {
		if cause := context.Cause(wait); cause != nil {
			err = cause
		}
		return a.end(ctx, s, triggers, all, err)
	}
	worst := dormouse.Success
	count := map[dormouse.Result]int{}
	var said []string
	for _, r := range done {
		result := dormouse.Exception
		if r.Result != nil {
			result = *r.Result
		}
		count[result]++
		said = append(said, fmt.Sprintf("build request %d of builder %s: %s", r.ID, r.Builder, result))
		if slices.Contains(counted, r.ID) {
			worst = dormouse.Worst(worst, result)
		}
	}
	for result := dormouse.Success; result <= dormouse.Cancelled; result++ {
		if n := count[result]; n > 0 {
			s.summary += fmt.Sprintf(", %d %s", n, result)
		}
	}
	if _, recorded := s.next(); !recorded {
		if err := s.logs.append(ctx, stdio, dormouse.Header, lines(said), nil); err != nil {
			return dormouse.Exception, err
		}
	}
	return worst, nil
}

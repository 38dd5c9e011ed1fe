package main

import (
	"context"
	"errors"
	"fmt"
	"path/filepath"
	"slices"
	"strings"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
	"github.com/dormouse-ci/dormouse/web"
	"github.com/dormouse-ci/dormouse/web/client"
)

const (
	// hurry is the time scale of the masters that are killed.
	hurry = 0.05
	// leisure is that of those that come after: an agent has to come back within
	// the grace, on a busy machine too.
	leisure = 4 * hurry
)

// begin starts a master of the stage.
func (s *stage) begin(ctx context.Context, scale float64, env ...string) (*process, error) {
	return begin(ctx, filepath.Join(s.dir, "master.log"), env, s.program, "master", s.base(), "--json",
		"--time-scale", fmt.Sprint(scale), "--grace", "0s", "--stop-time", settleTime.String())
}

// live leads the life under a master of its own, which is killed at the point, and
// returns the requests that were accepted.
func (s *stage) live(ctx context.Context) (accepted []int64, err error) {
	s.mu.Lock()
	s.victim, err = s.begin(ctx, hurry, writesVariable+"="+s.diary.path, pointVariable+"="+s.end.moment(), failVariable+"="+s.life.fails)
	victim := s.victim
	s.mu.Unlock()
	if err != nil {
		return nil, err
	}
	accepted, err = s.liveUnder(ctx, victim)
	if err != nil {
		victim.kill()
	}
	<-victim.done
	s.mu.Lock()
	s.victim = nil
	s.mu.Unlock()
	var unread error
	s.done, s.died, unread = s.diary.read()
	if s.died && ctx.Err() == nil {
		err = nil // it is what should happen
	} else if err == nil && !victim.cmd.ProcessState.Success() {
		err = fmt.Errorf("it ended by itself: %v", victim.cmd.ProcessState)
	}
	return accepted, errors.Join(err, unread)
}

// errGone is that a master has ended before a life did.
var errGone = errors.New("it is gone")

// liveUnder leads the life under a master until that has ended, or cannot.
func (s *stage) liveUnder(ctx context.Context, victim *process) (accepted []int64, err error) {
	if err := victim.serves(); err != nil {
		return nil, err
	}
	api, err := client.New(victim.said["url"].(string), token)
	if err != nil {
		return nil, err
	}
	defer api.Close()
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	go func() { <-victim.done; cancel() }()
	made, err := api.Force(ctx, web.ForceRequest{Builder: "b"})
	if err != nil {
		// Nothing else may keep a request from being accepted.
		return nil, fmt.Errorf("a request was not accepted: %w", err)
	}
	accepted = []int64{made[0].ID}
	await := func(what string, done func() (bool, error)) error {
		if err := await(ctx, func() (bool, error) {
			if !victim.running() {
				return true, nil
			}
			return done()
		}); err != nil && victim.running() {
			return fmt.Errorf("%s: %w", what, err)
		}
		if !victim.running() {
			return errGone
		}
		return nil
	}
	if s.life.busy {
		err = await("the middle of the build", func() (bool, error) {
			lines, err := numbers(ctx, api, 1)
			return strings.Contains(lines, "2"), err
		})
	} else {
		err = await("the end of the build", func() (bool, error) {
			r, err := api.Request(ctx, made[0].ID)
			return r.Result != nil, err
		})
	}
	if err == nil && !s.life.stops {
		err = await("the end of the instance", func() (bool, error) {
			instances, err := api.Instances(ctx, false)
			return len(instances) == 0, err
		})
	}
	if err != nil {
		return accepted, err
	}
	return accepted, victim.stop(settleTime)
}

// numbers are the lines that a build has printed in its only step, if it has
// one yet.
func numbers(ctx context.Context, api *client.Client, build int64) (string, error) {
	steps, err := api.Steps(ctx, build)
	if err != nil || len(steps) == 0 || len(steps[0].Logs) == 0 {
		return "", err
	}
	lines, err := api.LogLines(ctx, steps[0].Logs[0].ID, 0, web.MaxPage)
	if err != nil {
		return "", err
	}
	var out []string
	for _, l := range lines {
		if l.Stream == string(dormouse.Stdout) {
			out = append(out, l.Text)
		}
	}
	return strings.Join(out, " "), nil
}

// outcome is what there is at a life's end.
type outcome struct {
	accepted []int64
	killed   bool
	requests []dormouse.BuildRequest
	builds   []dormouse.Build
	printed  string // by the build of the request
	ledger   ec2sim.Ledger
}

// finish starts another master, and judges what came of everything.
func (s *stage) finish(ctx context.Context, accepted []int64) error {
	m, err := s.begin(ctx, leisure)
	if err != nil {
		return err
	}
	defer m.kill()
	if err := m.serves(); err != nil {
		return fmt.Errorf("the next master: %w", err)
	}
	api, err := client.New(m.said["url"].(string), token)
	if err != nil {
		return err
	}
	defer api.Close()
	out := outcome{accepted: accepted, killed: s.died}
	if err := s.awaitEnd(ctx, api, &out); err != nil {
		return fmt.Errorf("the next master: %w", err)
	}
	if err := m.stop(settleTime); err != nil {
		return fmt.Errorf("the next master: %w", err)
	}
	out.ledger = s.endpoint.Ledger()
	if wrong := judgeLife(s.life, out); len(wrong) > 0 {
		return errors.New(strings.Join(wrong, "\n  "))
	}
	return nil
}

// awaitEnd waits until the request and the instances have ended, and reads what
// the master tells of them.
func (s *stage) awaitEnd(ctx context.Context, api *client.Client, out *outcome) error {
	all, err := api.Requests(ctx, web.RequestQuery{Limit: 10})
	if err != nil {
		return err
	}
	if len(all) == 0 && len(out.accepted) == 0 { // so whoever asked asks again
		if _, err := api.Force(ctx, web.ForceRequest{Builder: "b"}); err != nil {
			return err
		}
	}
	if err := await(ctx, func() (bool, error) {
		out.requests, err = api.Requests(ctx, web.RequestQuery{Limit: 10})
		return !slices.ContainsFunc(out.requests, func(r dormouse.BuildRequest) bool { return r.Result == nil }), err
	}); err != nil {
		return fmt.Errorf("the end of the request: %w; requests %+v", err, out.requests)
	}
	if out.builds, err = api.Builds(ctx, web.BuildQuery{Limit: 10}); err != nil {
		return err
	}
	if len(out.requests) > 0 && out.requests[0].BuildID != 0 {
		if out.printed, err = numbers(ctx, api, out.requests[0].BuildID); err != nil {
			return err
		}
	}
	if s.life.stops {
		return nil // the master's end is the instances'
	}
	if err := await(ctx, func() (bool, error) {
		instances, err := api.Instances(ctx, false)
		return len(instances) == 0 && s.endpoint.Ledger().Alive() == 0, err
	}); err != nil {
		return fmt.Errorf("the end of all instances: %w", err)
	}
	return nil
}

// judgeLife holds that a life has come to the end that it has without a killing:
// one request, which succeeded, each of its lines once, the instances that it
// needs and no more, none alive and no two at a time.
func judgeLife(l life, out outcome) (wrong []string) {
	lose := func(format string, args ...any) { wrong = append(wrong, fmt.Sprintf(format, args...)) }
	if len(out.requests) != 1 || len(out.accepted) > 0 && out.requests[0].ID != out.accepted[0] {
		lose("accepted were %v, and there are %+v", out.accepted, out.requests)
		return wrong
	}
	r := out.requests[0]
	if r.Result == nil || *r.Result != dormouse.Success {
		lose("the request has not succeeded: %+v", r)
	}
	for _, b := range out.builds {
		switch {
		case b.Result == nil:
			lose("build %d has not ended", b.ID)
		case b.ID == r.BuildID && *b.Result != dormouse.Success, b.ID != r.BuildID && *b.Result != dormouse.Retry:
			lose("build %d of %d has ended with %v", b.ID, len(out.builds), *b.Result)
		}
	}
	if out.printed != printed {
		lose("printed %q", out.printed)
	}
	// A build that had not begun its first step begins anew, on the same instance.
	if most := l.mostBuilds(); len(out.builds) > most+1 || len(out.builds) > most && !out.killed {
		lose("%d builds were made of one request", len(out.builds))
	}
	least := l.instances
	if l.mostBuilds() > 1 {
		least = 1 // where the first is gone on with
	}
	if out.ledger.Alive() != 0 || out.ledger.Started < least || out.ledger.Started > l.instances+l.late {
		lose("%d instances were started for %d builds, %d live", out.ledger.Started, len(out.builds), out.ledger.Alive())
	}
	for i, a := range out.ledger.Instances {
		for _, b := range out.ledger.Instances[i+1:] {
			if a.StoppingAt.IsZero() || b.LaunchedAt.Before(a.StoppingAt) {
				lose("the worker had two instances at a time: %+v and %+v", a, b)
			}
		}
	}
	return wrong
}

package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"strings"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
	"github.com/dormouse-ci/dormouse/web"
)

// poll is how often the judge looks.
const poll = 50 * time.Millisecond

// await looks until done holds, within the time that a run may take to settle.
func await(ctx context.Context, done func() (bool, error)) error {
	deadline := time.After(settleTime)
	var last error
	for {
		ok, err := done()
		if ok && err == nil {
			return nil
		}
		last = err
		select {
		case <-time.After(poll):
		case <-deadline:
			return errors.Join(errors.New("not within "+settleTime.String()), last)
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}

// judge waits until the run has settled, and looks at what came of it.
func (r *run) judge(ctx context.Context, accepted []int64) error {
	c := r.api()
	var requests []dormouse.BuildRequest
	err := await(ctx, func() (done bool, err error) {
		if requests, err = c.Requests(ctx, web.RequestQuery{Limit: web.MaxPage}); err != nil {
			return false, err
		}
		for _, q := range requests {
			if q.Result == nil {
				return false, nil
			}
		}
		return true, nil
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	builds, berr := c.Builds(ctx, web.BuildQuery{Limit: web.MaxPage})
	if berr != nil {
		return berr
	}
	if err != nil {
		for _, q := range requests {
			if q.Result == nil {
				r.fig.lose(&r.fig.lost, "request %d has not ended: %s", q.ID, q.Waiting)
			}
		}
	}
	r.fig.requests += len(requests)
	r.fig.builds += len(builds)
	judgeRequests(&r.fig, accepted, requests, builds)
	for _, b := range builds {
		if b.Result != nil {
			if err := r.judgeLogs(ctx, b, *b.Result == dormouse.Success); err != nil {
				return err
			}
		}
	}
	r.fig.resumed += wentOn(builds, r.killed)

	// What nobody wants any more must end without anybody's doing.
	var ledger ec2sim.Ledger
	err = await(ctx, func() (bool, error) {
		ledger, err = r.ledger(ctx)
		return ledger.Alive() == 0, err
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		for _, i := range ledger.Instances {
			if !i.State.Ended() {
				r.fig.lose(&r.fig.leaked, "instance %s is %s (%v)", i.ID, i.State, i.Tags)
			}
		}
	}
	rows, err := c.Instances(ctx, true)
	if err != nil {
		return err
	}
	judgeInstances(&r.fig, rows, builds, ledger)
	return nil
}

// judgeLeftovers looks once more when the master has stopped.
func (r *run) judgeLeftovers(ctx context.Context) error {
	ledger, err := r.ledger(ctx)
	if err == nil && ledger.Alive() > 0 && r.fig.leaked == 0 {
		r.fig.lose(&r.fig.leaked, "%d instances are alive though the master has stopped", ledger.Alive())
	}
	return err
}

func (r *run) ledger(ctx context.Context) (l ec2sim.Ledger, err error) {
	req, err := http.NewRequestWithContext(ctx, http.MethodGet, r.address+"/_sim/ledger", nil)
	if err != nil {
		return l, err
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		return l, err
	}
	defer res.Body.Close()
	return l, json.NewDecoder(res.Body).Decode(&l)
}

// judgeRequests holds that each request has ended once, in success, and that
// every build beside that was only tried.
func judgeRequests(f *figures, accepted []int64, requests []dormouse.BuildRequest, builds []dormouse.Build) {
	ended := map[int64]*dormouse.Result{}
	for _, q := range requests {
		ended[q.ID] = q.Result
	}
	for _, id := range accepted {
		if _, ok := ended[id]; !ok {
			f.lose(&f.lost, "request %d was accepted, and is not there", id)
		}
	}
	counted := map[int64]int{}
	for _, b := range builds {
		switch {
		case b.Result == nil:
			f.lose(&f.lost, "build %s/%d has no end", b.Builder, b.Number)
		case *b.Result == dormouse.Retry:
			f.retries++
		default:
			counted[b.RequestID]++
		}
	}
	for id, result := range ended {
		switch {
		case result == nil: // told already
		case *result != dormouse.Success:
			f.lose(&f.lost, "request %d ended in %s: %s", id, result, whyOf(id, builds))
		case counted[id] != 1:
			f.lose(&f.lost, "request %d was built %d times", id, counted[id])
		}
	}
}

func whyOf(request int64, builds []dormouse.Build) string {
	for _, b := range builds {
		if b.RequestID == request {
			return b.StateString
		}
	}
	return "it has no build"
}

// wentOn counts builds that succeeded though their master was killed.
func wentOn(builds []dormouse.Build, killed []time.Time) (n int) {
	for _, b := range builds {
		if b.Result == nil || *b.Result != dormouse.Success {
			continue
		}
		for _, at := range killed {
			if at.After(b.StartedAt) && at.Before(b.FinishedAt) {
				n++
				break
			}
		}
	}
	return n
}

// judgeLogs holds that a build's logs have each line once, in order; of a build
// that was tried again, as many as there are.
func (r *run) judgeLogs(ctx context.Context, b dormouse.Build, whole bool) error {
	steps, err := r.api().Steps(ctx, b.ID)
	if err != nil {
		return err
	}
	found := 0
	for _, s := range steps {
		if s.Name != "lines" {
			continue
		}
		found++
		var said []string
		for _, l := range s.Logs {
			for int64(len(said)) < l.Lines {
				lines, err := r.api().LogLines(ctx, l.ID, int64(len(said)), l.Lines)
				if err != nil {
					return err
				}
				for _, line := range lines {
					said = append(said, line.Stream+line.Text)
				}
				if len(lines) == 0 {
					break
				}
			}
		}
		if wrong := wrongLines(said, r.plan.lines, whole); wrong != "" {
			r.fig.lose(&r.fig.wrong, "build %s/%d: %s", b.Builder, b.Number, wrong)
		}
	}
	if whole && found != 1 || found > 1 {
		r.fig.lose(&r.fig.wrong, "build %s/%d has %d steps that print lines", b.Builder, b.Number, found)
	}
	return nil
}

// wrongLines says what is wrong with a log of numbered lines, each after the
// letter of its stream; "" is nothing. One that is not whole may end anywhere.
func wrongLines(said []string, want int, whole bool) string {
	next, ends := 0, 0
	for _, line := range said {
		if text, ok := strings.CutPrefix(line, "o"); ok {
			if text != fmt.Sprintf("line %d", next) {
				return fmt.Sprintf("%q stands where line %d would", text, next)
			}
			next++
		}
		if line == "hprogram finished with exit code 0" {
			ends++
		}
	}
	if whole && (next != want || ends != 1) || next > want || ends > 1 {
		return fmt.Sprintf("it has %d of %d lines, and says %d times how the program ended", next, want, ends)
	}
	return ""
}

// judgeInstances holds that a generation had one instance, that no two were in
// use for one worker at a time, and that the master's ledger knows each that
// there ever was.
func judgeInstances(f *figures, rows []dormouse.Instance, builds []dormouse.Build, ledger ec2sim.Ledger) {
	type generation struct {
		worker string
		number int64
	}
	of := map[generation]string{}
	known := map[string]dormouse.Instance{}
	for _, i := range rows {
		known[i.ID] = i
		g := generation{i.Worker, i.Generation}
		if other, ok := of[g]; ok && i.Worker != "" {
			f.lose(&f.shared, "instances %s and %s are both of generation %d of worker %s", other, i.ID, g.number, g.worker)
		}
		of[g] = i.ID
	}
	busy := map[string]time.Duration{}
	for n, b := range builds {
		busy[b.InstanceID] += b.FinishedAt.Sub(b.StartedAt)
		for _, o := range builds[n+1:] {
			if b.Worker == o.Worker && b.InstanceID != o.InstanceID && b.StartedAt.Before(o.FinishedAt) && o.StartedAt.Before(b.FinishedAt) {
				f.lose(&f.shared, "worker %s built %s/%d on %s and %s/%d on %s at the same time",
					b.Worker, b.Builder, b.Number, b.InstanceID, o.Builder, o.Number, o.InstanceID)
			}
		}
	}
	for n, i := range ledger.Instances {
		f.instances++
		row, ok := known[i.ID]
		if !ok {
			f.lose(&f.leaked, "instance %s is not in the master's ledger (%v)", i.ID, i.Tags)
		}
		for _, o := range ledger.Instances[n+1:] {
			// A worker's next instance is launched once the end of the last is
			// accepted.
			if ok && row.Worker != "" && known[o.ID].Worker == row.Worker && i.LaunchedAt.Before(overAt(o)) && o.LaunchedAt.Before(overAt(i)) {
				f.lose(&f.shared, "worker %s had %s from %v to %v and %s from %v to %v", row.Worker,
					i.ID, i.LaunchedAt, overAt(i), o.ID, o.LaunchedAt, overAt(o))
			}
		}
		if i.EndedAt.IsZero() {
			continue
		}
		alive := i.EndedAt.Sub(i.LaunchedAt)
		f.alive += alive
		f.wasted += max(0, alive-busy[i.ID])
	}
}

// overAt is when an instance was told to end, or ended by itself.
func overAt(i ec2sim.LedgerEntry) time.Time {
	if i.StoppingAt.IsZero() {
		return i.EndedAt
	}
	return i.StoppingAt
}

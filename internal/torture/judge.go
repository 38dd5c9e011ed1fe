package main

import (
	"context"
	"errors"
	"io/fs"
	"os"
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

// record is what the master's API tells of a run that has ended.
type record struct {
	requests  []dormouse.BuildRequest
	builds    []dormouse.Build
	steps     map[int64][]dormouse.Step // by the build's id
	logs      map[int64][]string        // by the log's id: lines, each behind the letter of its stream
	instances []dormouse.Instance
}

// judge waits until the run has settled, and looks at what came of it. What is
// half open to the database may still cost an answer: then the API is asked
// again.
func (r *run) judge(ctx context.Context, accepted []int64) error {
	rec := record{}
	if err := r.awaitRequests(ctx, &rec); err != nil {
		return err
	}
	ledger, err := r.awaitEnd(ctx)
	if err != nil {
		return err
	}
	if err := await(ctx, func() (bool, error) { return true, r.read(ctx, &rec) }); err != nil {
		return err
	}
	journal, err := os.ReadFile(r.journal())
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	f := &r.fig
	f.requests += len(rec.requests)
	f.builds += len(rec.builds)
	judgeRequests(f, accepted, rec.requests, rec.builds)
	for _, b := range rec.builds {
		if b.Result != nil {
			judgeLogs(f, rec, b, r.plan.lines)
		}
	}
	judgeJournal(f, strings.FieldsFunc(string(journal), func(c rune) bool { return c == '\n' }), rec.builds)
	if r.plan.clock {
		rec.builds = nil // their times mean nothing
	}
	f.resumed += wentOn(rec.builds, r.killed)
	judgeInstances(f, rec.instances, rec.builds, ledger)
	judgeTaken(f, rec.instances, ledger)
	return nil
}

// awaitRequests waits until each request has ended, and tells which has not.
func (r *run) awaitRequests(ctx context.Context, rec *record) error {
	err := await(ctx, func() (done bool, err error) {
		if rec.requests, err = r.api().Requests(ctx, web.RequestQuery{Limit: web.MaxPage}); err != nil {
			return false, err
		}
		for _, q := range rec.requests {
			if q.Result == nil {
				return false, nil
			}
		}
		return true, nil
	})
	if ctx.Err() != nil || err == nil {
		return ctx.Err()
	}
	for _, q := range rec.requests {
		if q.Result == nil {
			r.fig.lose(&r.fig.lost, "request %d has not ended: %s", q.ID, q.Waiting)
		}
	}
	return nil
}

// awaitEnd waits until nothing is alive: what no build wants any more must end
// by itself, and give up what it had.
func (r *run) awaitEnd(ctx context.Context) (ledger ec2sim.Ledger, err error) {
	var holders []string
	err = await(ctx, func() (done bool, err error) {
		if ledger, err = r.ledger(ctx); err != nil || ledger.Alive() > 0 {
			return false, err
		}
		holders, err = r.holders(ctx)
		return len(holders) == 0, err
	})
	if ctx.Err() != nil || err == nil {
		return ledger, ctx.Err()
	}
	for _, i := range ledger.Instances {
		if !i.State.Ended() {
			r.fig.lose(&r.fig.leaked, "instance %s is %s (%v)", i.ID, i.State, i.Tags)
		}
	}
	for _, id := range holders {
		r.fig.lose(&r.fig.leaked, "instance %s still has the worker's volume or address", id)
	}
	return ledger, nil
}

// read asks the API for all but the requests.
func (r *run) read(ctx context.Context, rec *record) (err error) {
	c := r.api()
	if rec.builds, err = c.Builds(ctx, web.BuildQuery{Limit: web.MaxPage}); err != nil {
		return err
	}
	rec.steps, rec.logs = map[int64][]dormouse.Step{}, map[int64][]string{}
	for _, b := range rec.builds {
		steps, err := c.Steps(ctx, b.ID)
		if err != nil {
			return err
		}
		rec.steps[b.ID] = steps
		for _, s := range steps {
			for _, l := range s.Logs {
				if rec.logs[l.ID], err = r.readLog(ctx, l); err != nil {
					return err
				}
			}
		}
	}
	rec.instances, err = c.Instances(ctx, true)
	return err
}

func (r *run) readLog(ctx context.Context, l dormouse.Log) (said []string, err error) {
	for int64(len(said)) < l.Lines {
		lines, err := r.api().LogLines(ctx, l.ID, int64(len(said)), l.Lines)
		if err != nil || len(lines) == 0 {
			return said, err
		}
		for _, line := range lines {
			said = append(said, line.Stream+line.Text)
		}
	}
	return said, nil
}

// judgeLeftovers looks once more when the master has stopped.
func (r *run) judgeLeftovers(ctx context.Context) error {
	ledger, err := r.ledger(ctx)
	if err == nil && ledger.Alive() > 0 && r.fig.leaked == 0 {
		r.fig.lose(&r.fig.leaked, "%d instances are alive though the master has stopped", ledger.Alive())
	}
	return err
}

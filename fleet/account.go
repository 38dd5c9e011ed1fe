package fleet

import (
	"context"
	"sync"
	"time"

	"github.com/dormouse-ci/dormouse"
)

// gather is how long a listing or a batch of terminations waits for company:
// long enough for all workers whose timers fall on the same moment, too short
// for a person to notice.
const gather = 50 * time.Millisecond

// sweepInterval is how often an account is listed when nothing is known to end
// there: what leaked in spite of everything costs at most so much longer.
const sweepInterval = 5 * time.Minute

// endPolls are the pauses between listings while instances end. EC2 takes a
// few seconds to a minute or so; the last pause repeats.
var endPolls = []time.Duration{time.Second, time.Second, 2 * time.Second, 3 * time.Second, 5 * time.Second, 10 * time.Second}

// terminateAgain is how long an instance that belongs to no live generation may
// go on before the reaper ends it: its worker, which retries after two seconds
// at first, has had several tries by then. It is also how long an accepted
// termination may show no effect.
const terminateAgain = time.Minute

// goneAfter is how long listings must have lacked an instance that they had
// before it is taken for ended: one may be incomplete, and a build may run on it.
const goneAfter = time.Minute

// maxTerminate is how many ids one TerminateInstances call may carry (EC2 API
// reference, TerminateInstances).
const maxTerminate = 1000

// account is one cloud account in one region, with the calls that its workers
// share.
type account struct {
	fleet *Fleet
	cloud Cloud
	kick  chan struct{} // something began to end

	mu      sync.Mutex
	next    *listing // not begun yet; whoever asks now gets this one
	listing bool     // one is under way
	batch   *batch   // gathers terminations
	// repriced is when the prices were asked for again that were not known.
	repriced time.Time
	groups   map[groupKey]*group // gather launches
	flights  map[string]*flight  // launches on the wire, by token
	// elsewhere are the ledger's rows of accounts that have left the configuration
	// which this one does not know either, by id. The fleet's mutex guards it.
	elsewhere map[string]unfound
	// trials is when EC2 has last said that it would carry a launch out whose price
	// is not known.
	trials map[groupKey]time.Time
	// most is how many of an offering one launch asks for, where EC2 has said that
	// it takes fewer than maxBatch.
	most map[dormouse.Offering]fewer
}

// fewer is how many instances one launch may ask for, for a while.
type fewer struct {
	instances int
	until     time.Time
}

// full is how many of an offering one launch asks for. The mutex is held.
func (a *account) full(o dormouse.Offering, now time.Time) int {
	if m, ok := a.most[o]; ok && now.Before(m.until) {
		return m.instances
	}
	return maxBatch
}

// unfound is since when an account does not know an instance, and whether that is sure.
type unfound struct {
	since time.Time
	sure  bool
}

type listing struct {
	done chan struct{}
	err  error
}

type batch struct {
	rows []dormouse.Instance
	done chan struct{}
	errs map[string]error
}

func newAccount(f *Fleet, c Cloud) *account {
	return &account{
		fleet: f, cloud: c, kick: make(chan struct{}, 1),
		groups: map[groupKey]*group{}, flights: map[string]*flight{}, most: map[dormouse.Offering]fewer{},
		trials: map[groupKey]time.Time{}, elsewhere: map[string]unfound{},
	}
}

// refresh waits for a listing that begins after the call.
func (a *account) refresh(ctx context.Context) error {
	a.mu.Lock()
	if a.next == nil {
		a.next = &listing{done: make(chan struct{})}
		if !a.listing {
			a.listing = true
			a.fleet.wg.Go(a.list)
		}
	}
	l := a.next
	a.mu.Unlock()
	select {
	case <-l.done:
		return l.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// list makes listings for as long as anybody waits for one.
func (a *account) list() {
	for {
		pause(a.fleet.ctx, gather)
		a.mu.Lock()
		l := a.next
		a.next = nil
		if l == nil {
			a.listing = false
			a.mu.Unlock()
			return
		}
		a.mu.Unlock()
		began := time.Now()
		seen, err := a.look(began)
		if err == nil {
			a.fleet.observe(a, seen, began)
		}
		l.err = err
		close(l.done)
	}
}

// look lists the account's instances. Those of the ledger that the listing lacks
// are asked for by their ids: an instance that has ended loses its tags, by which it
// is listed, before EC2 forgets why it ended.
func (a *account) look(began time.Time) ([]dormouse.CloudInstance, error) {
	seen, err := a.cloud.List(a.fleet.ctx)
	if err != nil {
		return nil, err
	}
	lacking := a.fleet.lacking(a, seen, began)
	if len(lacking) == 0 {
		return seen, nil
	}
	found, err := a.cloud.Find(a.fleet.ctx, lacking)
	if err == nil {
		a.fleet.noteElsewhere(a, lacking, found, began)
	}
	return append(seen, found...), err
}

// watch lists the account now and then, and quickly while something ends, or may
// have.
func (a *account) watch() {
	polls := 0
	said := map[string]bool{} // bounded by what was left behind
	listed := time.Now()
	tidyAt := listed.Add(a.fleet.scaled(sweepInterval))
	for {
		wait := a.fleet.scaled(sweepInterval) - time.Since(listed)
		if a.fleet.stoppingIn(a.cloud.Key()) {
			wait = a.fleet.scaled(endPolls[min(polls, len(endPolls)-1)])
			polls++
		} else {
			polls = 0
		}
		select {
		case <-time.After(wait):
		case <-a.kick:
			polls = 0
			continue
		case <-a.fleet.ctx.Done():
			return
		}
		if err := a.refresh(a.fleet.ctx); err != nil {
			a.fleet.refused(chore{choreList, a.cloud.Key()}, "", a.cloud.Key(), err)
		} else {
			a.fleet.done(chore{choreList, a.cloud.Key()})
			a.priceAgain()
		}
		listed = time.Now()
		if !listed.Before(tidyAt) {
			a.tidy(a.fleet.ctx, said)
			tidyAt = listed.Add(a.fleet.scaled(tidyInterval))
		}
	}
}

func (f *Fleet) stoppingIn(key string) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.turnedAway) > 0 {
		return true
	}
	for _, account := range f.unowned {
		if account.key == key {
			return true
		}
	}
	for _, r := range f.rows {
		_, absent := f.absent[r.ID]
		if r.Account == key && (absent || !r.StoppingAt.IsZero() || !r.TakenAt.IsZero() || r.State.Dying()) {
			return true
		}
	}
	return false
}

// terminate asks for the end of an instance, together with whoever asks at the
// same time, and returns once EC2 has accepted it.
func (a *account) terminate(ctx context.Context, r dormouse.Instance) error {
	a.mu.Lock()
	b := a.batch
	if b == nil || len(b.rows) == maxTerminate {
		b = &batch{done: make(chan struct{})}
		a.batch = b
		a.fleet.wg.Go(func() { a.flush(b) })
	}
	b.rows = append(b.rows, r)
	a.mu.Unlock()
	select {
	case <-b.done:
		return b.errs[r.ID]
	case <-ctx.Done():
		return ctx.Err()
	}
}

func (a *account) flush(b *batch) {
	defer close(b.done)
	pause(a.fleet.ctx, gather)
	a.mu.Lock()
	if a.batch == b {
		a.batch = nil
	}
	a.mu.Unlock()
	ids := make([]string, len(b.rows))
	for i, r := range b.rows {
		ids[i] = r.ID
	}
	errs, err := a.cloud.Terminate(a.fleet.ctx, ids)
	b.errs = make(map[string]error, len(ids))
	for _, r := range b.rows {
		rerr := errs[r.ID]
		if rerr == nil {
			rerr = err
		}
		if dormouse.CodeOf(rerr) == dormouse.NotFound && !young(r.LaunchedAt, time.Now(), a.fleet.scaled(visibleWithin)) {
			rerr = nil // EC2 has forgotten it: the next listing closes its row
		}
		if rerr != nil {
			b.errs[r.ID] = rerr
			a.fleet.refused(chore{choreTerminate, r.ID}, r.Worker, a.cloud.Key(), rerr)
			continue
		}
		a.fleet.done(chore{choreTerminate, r.ID})
		a.fleet.stopping(r.ID)
	}
	a.hurry()
}

// hurry makes the watch look soon: something began to end.
func (a *account) hurry() {
	select {
	case a.kick <- struct{}{}:
	default:
	}
}

// stopping notes that EC2 has accepted a termination.
func (f *Fleet) stopping(id string) {
	f.mu.Lock()
	r := f.rows[id]
	if r == nil {
		f.mu.Unlock()
		return
	}
	r.StoppingAt = time.Now()
	if !r.State.Dying() {
		r.State = dormouse.InstanceShuttingDown
	}
	row := *r
	f.mu.Unlock()
	f.save(row)
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

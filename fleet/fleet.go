package fleet

import (
	"context"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"sync"
	"time"

	"github.com/dormouse-ci/dormouse"
)

// Cloud is one account in one region: what the fleet needs of EC2. Errors are
// classified ([dormouse.CodeOf]).
type Cloud interface {
	Key() string // names the account and region; not secret
	Region() string
	// Launch sends rendered bytes with an idempotency token.
	Launch(ctx context.Context, rendered []byte, token string) ([]dormouse.CloudInstance, error)
	// Try asks whether rendered bytes would be launched, and starts nothing.
	Try(ctx context.Context, rendered []byte) error
	// List returns all instances with the deployment's tag, also ended ones
	// that EC2 still shows and that have not lost it.
	List(ctx context.Context) ([]dormouse.CloudInstance, error)
	// Find returns those of the given instances that EC2 knows; Launched those
	// that a token has started. Neither needs a tag.
	Find(ctx context.Context, ids []string) ([]dormouse.CloudInstance, error)
	Launched(ctx context.Context, token string) ([]dormouse.CloudInstance, error)
	// Withdraw cancels the spot requests that a refused launch has left open, and
	// returns the ids of the instances that they have started all the same.
	Withdraw(ctx context.Context, launch string) ([]string, error)
	// Terminate returns an error for each id that was not accepted.
	Terminate(ctx context.Context, ids []string) (map[string]error, error)
	Console(ctx context.Context, id string) (string, error)
	// Belongings returns the volumes and open spot requests with the
	// deployment's tag, and the addresses that the given instances have; with an
	// error, those that it could find out.
	Belongings(ctx context.Context, instances []string) ([]dormouse.Belonging, error)
	// LetGo takes an address from who has it, or cancels a spot request.
	LetGo(ctx context.Context, kind dormouse.LeftoverKind, handle string) error
}

// Store keeps attempts and the ledger.
type Store interface {
	// Attempts are a generation's, in order; LaunchAttempts those that share a
	// token; UnsettledAttempts those without an answer.
	Attempts(ctx context.Context, worker string, generation int64) ([]dormouse.LaunchAttempt, error)
	LaunchAttempts(ctx context.Context, token string) ([]dormouse.LaunchAttempt, error)
	UnsettledAttempts(ctx context.Context) ([]dormouse.LaunchAttempt, error)
	OpenAttempts(ctx context.Context, attempts []dormouse.LaunchAttempt) ([]dormouse.LaunchAttempt, error)
	// SettleAttempts stores the answer to attempts and what they have started. It
	// stores nothing and returns a [dormouse.ClaimedError] where another attempt has
	// one of the instances.
	SettleAttempts(ctx context.Context, attempts []dormouse.LaunchAttempt, instances []dormouse.Instance) error
	SetAttemptConsole(ctx context.Context, id int64, console string) error
	SaveInstance(ctx context.Context, i dormouse.Instance) error
	LiveInstances(ctx context.Context) ([]dormouse.Instance, error)
	// InstancesOf returns the ledger's rows of a generation, ended ones too, and
	// Instance the row of an id; it is NotFound where there is none.
	InstancesOf(ctx context.Context, worker string, generation int64) ([]dormouse.Instance, error)
	Instance(ctx context.Context, id string) (dormouse.Instance, error)
}

// Options of a [Fleet].
type Options struct {
	Store      Store
	Deployment string
	// Live reports whether a generation may have an instance in use. An
	// instance of any other generation is terminated.
	Live func(worker string, generation int64) bool
	// Ended hears that nothing of a generation exists any more. It may block.
	Ended func(worker string, generation int64, reason string)
	// Changed hears of every change of a ledger row, after it is durable. It
	// must not block.
	Changed func(dormouse.Instance)
	// InCharge is asked before anything is ended that no live generation owns:
	// an error says that it is not certain that this process knows what lives,
	// as when another has taken its place. Nil: it is always certain.
	InCharge func(context.Context) error
	// Token makes the idempotency token of an attempt: at most 64 characters,
	// the same for the same attempt for ever.
	Token func(deployment, launch string, attempt int) string
	// Price asks again what an instance costs whose price is not known; nil: it
	// stays unknown. See [PriceOf].
	Price func(context.Context, dormouse.Instance) (perHour *float64, source string, err error)
	// Budget holds back launches. SpentToday returns what instances have cost
	// since midnight UTC, in US dollars; a budget per day needs it.
	Budget Budget
	// TimeScale multiplies the fleet's own limits of time, for tests in which
	// hours must fit into seconds; 0 is 1.
	TimeScale  float64
	SpentToday func(context.Context) (float64, error)
	Log        *slog.Logger
}

// Fleet is all instances of a deployment. Its methods may be called at once.
type Fleet struct {
	opt Options

	ctx    context.Context
	cancel context.CancelFunc
	wg     sync.WaitGroup

	mu       sync.Mutex
	accounts map[string]*account
	rows     map[string]*dormouse.Instance // of the ledger, by id, that have not ended
	attached map[generationKey]time.Time   // attachments whose instance is not known yet
	unowned  map[string]stray              // instances of no live generation, by id
	launches map[string][]generationKey    // that have no answer yet, by id: whom they are for
	reserved map[string]reservation        // what they may cost, by id
	short    shortages
	// turnedAway are instances, and workers, that were refused for good, since when;
	// stops says that nothing is started any more.
	turnedAway map[string]time.Time
	stops      bool
	refusals   map[chore]*refusal // what EC2 refuses to end
	failures   Failures
	// chosenFrom is what a worker's last start had to choose from.
	chosenFrom map[string][]dormouse.Offering
	absent     map[string]time.Time         // since when the listings lack an instance that should be there, by id
	watching   bool                         // accounts are listed without being asked for
	unsaved    map[string]dormouse.Instance // ledger rows that are not durable as they are, by id

	since  time.Time  // it was made
	saving sync.Mutex // held while ledger rows are written
}

// stray is when and in which account an instance was found that belongs to no
// live generation.
type stray struct {
	key   string
	since time.Time
	tried bool // its end was asked for
}

type generationKey struct {
	worker     string
	generation int64
}

// New returns a fleet with the ledger rows that are live in the store.
func New(ctx context.Context, opt Options) (*Fleet, error) {
	live, err := opt.Store.LiveInstances(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the instances that were alive: %w", err)
	}
	f := &Fleet{
		opt: opt, since: time.Now(), accounts: map[string]*account{}, rows: map[string]*dormouse.Instance{},
		attached: map[generationKey]time.Time{}, unowned: map[string]stray{},
		chosenFrom: map[string][]dormouse.Offering{}, refusals: map[chore]*refusal{}, turnedAway: map[string]time.Time{},
		launches: map[string][]generationKey{}, reserved: map[string]reservation{}, absent: map[string]time.Time{}, unsaved: map[string]dormouse.Instance{},
	}
	f.ctx, f.cancel = context.WithCancel(context.Background())
	for _, i := range live {
		i.TakenAt = resumed(i.TakenAt, f.since)
		f.rows[i.ID] = &i
	}
	unsettled, err := opt.Store.UnsettledAttempts(ctx)
	if err != nil {
		return nil, fmt.Errorf("reading the launches without an answer: %w", err)
	}
	for _, a := range unsettled {
		f.launches[a.Launch] = append(f.launches[a.Launch], generationKey{a.Worker, a.Generation})
	}
	f.reserveUnsettled(unsettled, f.since)
	return f, nil
}

// scaled is a limit of time as this fleet keeps it.
func (f *Fleet) scaled(d time.Duration) time.Duration {
	if f.opt.TimeScale > 0 {
		return time.Duration(float64(d) * f.opt.TimeScale)
	}
	return d
}

// open and settled keep which launches may have started what no ledger has yet.
func (f *Fleet) open(launch string, attempts []dormouse.LaunchAttempt) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for _, a := range attempts {
		f.launches[launch] = append(f.launches[launch], generationKey{a.Worker, a.Generation})
	}
}

// reopen is open for a launch that is sent again. It may be known nowhere but in
// the store: the answer of the store, when it was opened, was lost.
func (f *Fleet) reopen(attempts []dormouse.LaunchAttempt) {
	launch := attempts[0].Launch
	f.mu.Lock()
	defer f.mu.Unlock()
	if len(f.launches[launch]) > 0 {
		return
	}
	for _, a := range attempts {
		f.launches[launch] = append(f.launches[launch], generationKey{a.Worker, a.Generation})
	}
	f.reserveUnsettled(attempts, time.Now())
}

func (f *Fleet) settled(launch string) {
	f.mu.Lock()
	defer f.mu.Unlock()
	delete(f.launches, launch)
	delete(f.reserved, launch)
}

// offered keeps what a worker may be started as.
func (f *Fleet) offered(worker string, offerings []dormouse.Offering) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.chosenFrom[worker] = offerings
}

// passOver remembers what the refusal of a launch says of later ones. Of several
// that a quota or a subnet had no room for, half ask again at once: fewer may fit.
func (a *account) passOver(attempts []dormouse.LaunchAttempt, err error, now time.Time) {
	f, key, until := a.fleet, a.cloud.Key(), now.Add(a.fleet.scaled(shortageMemory))
	n, reach := len(attempts), reachOf(err)
	if n > 1 && reach == dormouse.ReachBatch {
		a.mu.Lock()
		maps.DeleteFunc(a.most, func(_ dormouse.Offering, m fewer) bool { return !now.Before(m.until) })
		a.most[attempts[0].Offering] = fewer{n / 2, until}
		a.mu.Unlock()
		return
	}
	if dormouse.CodeOf(err) == dormouse.Quota || reach == dormouse.ReachMarket { // a person can do something about it
		f.opt.Log.Warn("EC2 refuses a launch for the account's sake; what that is about is passed over for a while",
			"worker", attempts[0].Worker, "launches", n, "offering", attempts[0].Offering.String(), "until", until, "error", err)
	}
	f.mu.Lock()
	defer f.mu.Unlock()
	switch {
	case n > 1 && (reach == dormouse.ReachQuota || reach == dormouse.ReachSubnet):
		for _, at := range attempts[n/2:] {
			f.short.set(shortageKey{account: key, worker: at.Worker, offering: at.Offering}, shortage{until: until, why: err})
		}
		return
	case n > 1 && reach == dormouse.ReachWorker:
		attempts = attempts[n/2:]
	}
	for _, at := range attempts {
		f.short.add(key, at.Worker, at.Offering, err, until)
	}
}

// AddAccount makes an account known, so that it is listed, from [Fleet.Reconcile]
// on. Every account that a live generation used must be added before. Adding one
// again changes nothing.
func (f *Fleet) AddAccount(c Cloud) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.accounts[c.Key()] != nil {
		return
	}
	a := newAccount(f, c)
	f.accounts[c.Key()] = a
	if f.watching {
		f.wg.Go(a.watch)
	}
}

// Reconcile lists every account once, which updates the ledger and ends what no
// live generation owns, and begins to watch them: Options.Live must know all
// generations by now. It returns the accounts that could not be listed.
func (f *Fleet) Reconcile(ctx context.Context) map[string]error {
	f.mu.Lock()
	accounts := slices.Collect(maps.Values(f.accounts))
	if !f.watching {
		f.watching = true
		for _, a := range accounts {
			f.wg.Go(a.watch)
		}
	}
	f.mu.Unlock()
	failed := make(map[string]error)
	var mu sync.Mutex
	var wg sync.WaitGroup
	for _, a := range accounts {
		wg.Go(func() {
			if err := a.refresh(ctx); err != nil {
				mu.Lock()
				defer mu.Unlock()
				failed[a.cloud.Key()] = err
			}
		})
	}
	wg.Wait()
	return failed
}

// Close stops watching and waits. Instances go on.
func (f *Fleet) Close() {
	f.cancel()
	f.wg.Wait()
}

// Stopping returns how many instances have been ordered to end and were not
// seen to have.
func (f *Fleet) Stopping() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	n := 0
	for _, r := range f.rows {
		// Nobody here sees the end of one in an account that is not listed.
		if !r.StoppingAt.IsZero() && f.accounts[r.Account] != nil {
			n++
		}
	}
	return n
}

// NoteAttached enters the first attachment of a generation's worker into the
// ledger. A worker that is attached runs, whatever the last listing said.
func (f *Fleet) NoteAttached(worker string, generation int64, at time.Time) {
	f.mu.Lock()
	var changed []dormouse.Instance
	found := false
	for _, r := range f.rows {
		if r.Worker != worker || r.Generation != generation {
			continue
		}
		found = true
		if r.AttachedAt.IsZero() {
			markAttached(r, at)
			changed = append(changed, *r)
		}
	}
	if !found {
		f.attached[generationKey{worker, generation}] = at
	}
	f.mu.Unlock()
	f.save(changed...)
}

func markAttached(r *dormouse.Instance, at time.Time) {
	r.AttachedAt = at
	if r.RunningAt.IsZero() {
		r.RunningAt = at
	}
	if r.State == dormouse.InstancePending {
		r.State = dormouse.InstanceRunning
	}
}

// save writes ledger rows and announces them. A row that cannot be written is
// written again with the next change of any, and the next listing; what money
// depends on (the instance's existence) was durable before.
func (f *Fleet) save(rows ...dormouse.Instance) {
	f.mu.Lock()
	for _, r := range rows {
		if now := f.rows[r.ID]; now != nil {
			r = *now // it may have changed again meanwhile
		} else if r.EndedAt.IsZero() {
			continue // it has ended meanwhile: whoever saw that saves it
		}
		f.unsaved[r.ID] = r
	}
	f.mu.Unlock()
	f.saveUnsaved()
}

// saveUnsaved writes the rows that are not durable as they are, one after the
// other, so that no older one comes last.
func (f *Fleet) saveUnsaved() {
	f.saving.Lock()
	defer f.saving.Unlock()
	f.mu.Lock()
	rows := slices.Collect(maps.Values(f.unsaved))
	f.mu.Unlock()
	for _, r := range rows {
		// Also what was learned in the last moment is worth keeping.
		if err := f.opt.Store.SaveInstance(context.WithoutCancel(f.ctx), r); err != nil {
			f.opt.Log.Error("the ledger could not be written; it is tried again", "instance", r.ID, "worker", r.Worker, "error", err)
			continue
		}
		f.mu.Lock()
		if f.unsaved[r.ID] == r {
			delete(f.unsaved, r.ID)
		}
		f.mu.Unlock()
		f.opt.Changed(r)
	}
}

// inCharge says why it is not certain that this process may end what it does not
// know; nil that it may.
func (f *Fleet) inCharge(ctx context.Context) error {
	if f.opt.InCharge == nil {
		return nil
	}
	return f.opt.InCharge(ctx)
}

// instancesOf returns the live ledger rows of a generation.
func (f *Fleet) instancesOf(worker string, generation int64) []dormouse.Instance {
	f.mu.Lock()
	defer f.mu.Unlock()
	var out []dormouse.Instance
	for _, r := range f.rows {
		if r.Worker == worker && r.Generation == generation {
			out = append(out, *r)
		}
	}
	slices.SortFunc(out, func(a, b dormouse.Instance) int { return a.LaunchedAt.Compare(b.LaunchedAt) })
	return out
}

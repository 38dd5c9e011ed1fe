package fleet

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"testing/synctest"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/dormouse-ci/dormouse"
)

// region is EC2 as the fleet sees it: launches by token, instances that end.
type region struct {
	mu          sync.Mutex
	instances   map[string]*dormouse.CloudInstance
	byToken     map[string][]string // token → ids
	capacity    int                 // of one launch; 0 is plenty
	key, name   string
	sent        []string // token + " " + bytes of each launch
	lists       int
	batches     [][]string
	things      []dormouse.Belonging
	letGo       []string
	denied      error           // what asking for things returns
	letGoDenied error           // what letting go of things returns
	hidden      map[string]bool // what listings lack
	unknown     map[string]bool // what no call knows
	finds       []string        // ids that were asked for
	withdrawn   []string        // launches whose spot requests were asked for
	withdraw    func(launch string) ([]string, error)
	// launch, list and terminate may refuse or lose a call.
	launch    func(n int) (err error, lost bool)
	list      func() error
	terminate func(id string) error
	// try refuses a trial; trials is how many there were.
	try    error
	trials int
}

// Try implements Cloud.
func (r *region) Try(context.Context, []byte) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.trials++
	return r.try
}

func newRegion() *region {
	return &region{instances: map[string]*dormouse.CloudInstance{}, byToken: map[string][]string{}}
}

func (r *region) Key() string    { return cmp.Or(r.key, "us-east-1/test") }
func (r *region) Region() string { return cmp.Or(r.name, "us-east-1") }

func (r *region) Launch(_ context.Context, rendered []byte, token string) ([]dormouse.CloudInstance, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.sent = append(r.sent, token+" "+string(rendered))
	var lost bool
	if r.launch != nil {
		var err error
		if err, lost = r.launch(len(r.sent)); err != nil {
			return nil, err
		}
	}
	if r.byToken[token] == nil {
		var req request
		if err := json.Unmarshal(rendered, &req); err != nil {
			return nil, err
		}
		for range min(req.Count, cmp.Or(r.capacity, 1000)) {
			id := fmt.Sprintf("i-%d", len(r.instances)+1)
			r.byToken[token] = append(r.byToken[token], id)
			r.instances[id] = &dormouse.CloudInstance{
				ID: id, State: dormouse.InstancePending, LaunchTime: time.Now(),
				Tags: map[string]string{dormouse.TagDeployment: "d", dormouse.TagLaunch: req.ID},
			}
		}
	}
	if lost {
		return nil, dormouse.Errorf(dormouse.Unanswered, "connection reset")
	}
	var out []dormouse.CloudInstance
	for _, id := range r.byToken[token] {
		out = append(out, *r.instances[id])
	}
	return out, nil
}

// request is what the tests' launches are rendered to.
type request struct {
	Launch
	Type string
}

// sentFor lists, for each launch that was sent, the type and whom it was for.
func (r *region) sentFor() (out []string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, s := range r.sent {
		var req request
		_, text, _ := strings.Cut(s, " ")
		if err := json.Unmarshal([]byte(text), &req); err != nil {
			panic(err)
		}
		out = append(out, fmt.Sprintf("%d %s for %s/%d", req.Count, req.Type, req.Worker, req.Generation))
	}
	return out
}

func (r *region) List(context.Context) ([]dormouse.CloudInstance, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.lists++
	if r.list != nil {
		if err := r.list(); err != nil {
			return nil, err
		}
	}
	var out []dormouse.CloudInstance
	for id, i := range r.instances {
		if !r.hidden[id] {
			out = append(out, *i)
		}
	}
	return out, nil
}

// Find implements Cloud: what is hidden from listings has lost its tags.
func (r *region) Find(_ context.Context, ids []string) (out []dormouse.CloudInstance, _ error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.finds = append(r.finds, ids...)
	for _, id := range ids {
		if i := r.instances[id]; i != nil && !r.unknown[id] {
			out = append(out, *i)
		}
	}
	return out, nil
}

// Launched implements Cloud.
func (r *region) Launched(_ context.Context, token string) (out []dormouse.CloudInstance, _ error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, id := range r.byToken[token] {
		if !r.unknown[id] {
			out = append(out, *r.instances[id])
		}
	}
	return out, nil
}

// Withdraw implements Cloud.
func (r *region) Withdraw(_ context.Context, launch string) ([]string, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.withdrawn = append(r.withdrawn, launch)
	if r.withdraw != nil {
		return r.withdraw(launch)
	}
	return nil, nil
}

// forget hides instances from every call.
func (r *region) forget(ids ...string) {
	r.hide(ids...)
	r.mu.Lock()
	defer r.mu.Unlock()
	r.unknown = r.hidden
}

func (r *region) hide(ids ...string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.hidden, r.unknown = map[string]bool{}, nil
	for _, id := range ids {
		r.hidden[id] = true
	}
}

func (r *region) Terminate(_ context.Context, ids []string) (map[string]error, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.batches = append(r.batches, slices.Sorted(slices.Values(ids)))
	errs := map[string]error{}
	for _, id := range ids {
		if r.terminate != nil {
			if err := r.terminate(id); err != nil {
				errs[id] = err
				continue
			}
		}
		if i := r.instances[id]; i != nil {
			i.State = dormouse.InstanceShuttingDown
		} else {
			errs[id] = dormouse.Errorf(dormouse.NotFound, "no such instance")
		}
	}
	return errs, nil
}

func (r *region) Belongings(_ context.Context, instances []string) (out []dormouse.Belonging, err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, b := range r.things {
		if b.Kind != dormouse.LeftoverAddress || slices.Contains(instances, b.Instance) {
			out = append(out, b)
		}
	}
	return out, r.denied
}

func (r *region) LetGo(_ context.Context, kind dormouse.LeftoverKind, handle string) error {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.letGoDenied != nil {
		return r.letGoDenied
	}
	r.letGo = append(r.letGo, string(kind)+" "+handle)
	r.things = slices.DeleteFunc(r.things, func(b dormouse.Belonging) bool { return b.Handle == handle })
	return nil
}

func (r *region) Console(_ context.Context, id string) (string, error) {
	return "console of " + id, nil
}

func (r *region) set(id string, state dormouse.InstanceState) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.instances[id].State = state
}

// end has an instance end for a reason.
func (r *region) end(id, reason string) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.instances[id].State, r.instances[id].StateReason = dormouse.InstanceTerminated, reason
}

// books is a store in memory, which outlives a fleet as a database does.
type books struct {
	mu        sync.Mutex
	attempts  []dormouse.LaunchAttempt
	instances map[string]dormouse.Instance
	consoles  map[int64]string
	fail      func(method string) error
	opened    func() error // called when a launch is stored
	settled   func() error // called when a launch's answer is stored
}

func newBooks() *books {
	return &books{instances: map[string]dormouse.Instance{}, consoles: map[int64]string{}}
}

func (b *books) failure(method string) error {
	if b.fail != nil {
		return b.fail(method)
	}
	return nil
}

func (b *books) Attempts(_ context.Context, worker string, g int64) ([]dormouse.LaunchAttempt, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []dormouse.LaunchAttempt
	for _, a := range b.attempts {
		if a.Worker == worker && a.Generation == g {
			out = append(out, a)
		}
	}
	return out, nil
}

func (b *books) pick(keep func(dormouse.LaunchAttempt) bool) (out []dormouse.LaunchAttempt) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, a := range b.attempts {
		if keep(a) {
			out = append(out, a)
		}
	}
	return out
}

func (b *books) LaunchAttempts(_ context.Context, token string) ([]dormouse.LaunchAttempt, error) {
	return b.pick(func(a dormouse.LaunchAttempt) bool { return a.Token == token }), nil
}

func (b *books) UnsettledAttempts(context.Context) ([]dormouse.LaunchAttempt, error) {
	return b.pick(func(a dormouse.LaunchAttempt) bool { return a.State == dormouse.AttemptOpen }), nil
}

func (b *books) OpenAttempts(_ context.Context, attempts []dormouse.LaunchAttempt) ([]dormouse.LaunchAttempt, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.failure("OpenAttempts"); err != nil {
		return nil, err
	}
	for i := range attempts {
		attempts[i].ID = int64(len(b.attempts) + 1)
		attempts[i].State = dormouse.AttemptOpen
		b.attempts = append(b.attempts, attempts[i])
	}
	if b.opened != nil {
		return nil, b.opened()
	}
	return attempts, nil
}

func (b *books) SettleAttempts(ctx context.Context, attempts []dormouse.LaunchAttempt, rows []dormouse.Instance) error {
	err := b.settle(attempts, rows)
	if b.settled != nil && err == nil {
		err = b.settled()
	}
	return err
}

func (b *books) settle(attempts []dormouse.LaunchAttempt, rows []dormouse.Instance) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.failure("SettleAttempts"); err != nil {
		return err
	}
	instances := maps.Clone(b.instances)
	for _, r := range rows { // as the store does, which takes all or nothing
		if known, ok := instances[r.ID]; ok {
			if known.AttemptID != 0 && known.AttemptID != r.AttemptID {
				return &dormouse.Error{Code: dormouse.Internal, Err: &dormouse.ClaimedError{Has: known, Wants: r}}
			}
			known.Worker, known.Generation, known.AttemptID, known.Launch = r.Worker, r.Generation, r.AttemptID, r.Launch
			r = known
		}
		instances[r.ID] = r
	}
	for _, a := range attempts {
		if before := b.attempts[a.ID-1].State; before != dormouse.AttemptOpen && before != a.State {
			return dormouse.Errorf(dormouse.Conflict, "attempt %d is settled as %s, not %s", a.ID, before, a.State)
		}
	}
	for _, a := range attempts {
		b.attempts[a.ID-1] = a
	}
	b.instances = instances
	return nil
}

func (b *books) SetAttemptConsole(_ context.Context, id int64, text string) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.consoles[id] = text
	return nil
}

func (b *books) SaveInstance(_ context.Context, i dormouse.Instance) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	if err := b.failure("SaveInstance"); err != nil {
		return err
	}
	b.instances[i.ID] = i
	return nil
}

func (b *books) LiveInstances(context.Context) ([]dormouse.Instance, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var out []dormouse.Instance
	for _, i := range b.instances {
		if i.EndedAt.IsZero() {
			out = append(out, i)
		}
	}
	return out, nil
}

func (b *books) InstancesOf(_ context.Context, worker string, g int64) (out []dormouse.Instance, _ error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for _, i := range b.instances {
		if i.Worker == worker && i.Generation == g {
			out = append(out, i)
		}
	}
	return out, nil
}

func (b *books) Instance(_ context.Context, id string) (dormouse.Instance, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	i, ok := b.instances[id]
	if !ok {
		return i, dormouse.Errorf(dormouse.NotFound, "there is no instance %s", id)
	}
	return i, nil
}

func (b *books) instance(id string) dormouse.Instance {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.instances[id]
}

// world is a fleet over a region and books, in a synctest bubble.
type world struct {
	*Fleet
	region *region
	books  *books
	mu     sync.Mutex
	live   map[string]bool // "worker/generation"
	ended  []string
}

func inWorld(t *testing.T, run func(t *testing.T, w *world)) {
	synctest.Test(t, func(t *testing.T) {
		run(t, newWorld(t, newRegion(), newBooks()))
	})
}

func newWorld(t *testing.T, r *region, b *books) *world {
	w := &world{region: r, books: b, live: map[string]bool{}}
	f, err := New(t.Context(), Options{
		Store: b, Deployment: "d",
		Live: func(worker string, g int64) bool {
			w.mu.Lock()
			defer w.mu.Unlock()
			return w.live[fmt.Sprintf("%s/%d", worker, g)]
		},
		Ended: func(worker string, g int64, reason string) {
			w.mu.Lock()
			defer w.mu.Unlock()
			w.ended = append(w.ended, fmt.Sprintf("%s/%d", worker, g))
		},
		Changed: func(dormouse.Instance) {},
		Token:   func(d, launch string, n int) string { return fmt.Sprintf("%s-%s-%d", d, launch, n) },
		Log:     slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	w.Fleet = f
	t.Cleanup(f.Close)
	f.Reconcile(t.Context()) // of no account: those that are added are watched at once
	return w
}

func (w *world) member(name string, types ...string) *Member {
	m := &Member{Fleet: w.Fleet, Worker: name, Cloud: w.region, Render: func(_ context.Context, o dormouse.Offering, l Launch) ([]byte, error) {
		return json.Marshal(request{l, o.InstanceType})
	}}
	if len(types) == 0 {
		types = []string{"m5.large"}
	}
	var offerings []dormouse.Offering
	for _, t := range types {
		offerings = append(offerings, dormouse.Offering{InstanceType: t, Market: dormouse.OnDemand})
	}
	m.Offerings = those(offerings...)
	return m
}

func those(offerings ...dormouse.Offering) func(context.Context) ([]dormouse.Offering, error) {
	return func(context.Context) ([]dormouse.Offering, error) { return offerings, nil }
}

func (w *world) alive(worker string, g int64, on bool) {
	w.mu.Lock()
	defer w.mu.Unlock()
	w.live[fmt.Sprintf("%s/%d", worker, g)] = on
}

func TestStartAndStop(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		m := w.member("bot1")
		w.alive("bot1", 1, true)
		id, err := m.Start(t.Context(), 1)
		if err != nil || id != "i-1" {
			t.Fatal(id, err)
		}
		w.region.set("i-1", dormouse.InstanceRunning)
		if state, _, err := m.Check(t.Context(), 1); state != dormouse.InstanceRunning || err != nil {
			t.Fatal(state, err)
		}
		if w.books.instance("i-1").RunningAt.IsZero() {
			t.Error("the ledger does not say when it ran")
		}
		w.alive("bot1", 1, false)
		if err := m.Stop(t.Context(), 1, true); err != nil {
			t.Fatal(err)
		}
		if w.books.consoles[1] != "console of i-1" {
			t.Errorf("console: %v", w.books.consoles)
		}
		if w.Stopping() != 1 {
			t.Errorf("%d stopping, want 1 until it was seen to end", w.Stopping())
		}
		w.region.set("i-1", dormouse.InstanceTerminated)
		time.Sleep(2 * time.Second)
		synctest.Wait()
		row := w.books.instance("i-1")
		if row.EndedAt.IsZero() || row.State != dormouse.InstanceTerminated || w.Stopping() != 0 {
			t.Errorf("ledger row %+v", row)
		}
		if diff := gocmp.Diff([]string{"bot1/1"}, w.ended); diff != "" {
			t.Error(diff)
		}
		before := w.region.lists
		time.Sleep(time.Minute)
		if w.region.lists != before {
			t.Error("listed although nothing is there to be seen")
		}
	})
}

func TestCapacityFallsBackAndIsRemembered(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.region.launch = func(n int) (error, bool) {
			if n == 1 {
				return dormouse.Errorf(dormouse.Capacity, "InsufficientInstanceCapacity"), false
			}
			return nil, false
		}
		if _, err := w.member("bot1", "a", "b").Start(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		if _, err := w.member("bot2", "a", "b").Start(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		time.Sleep(shortageMemory)
		if _, err := w.member("bot3", "a", "b").Start(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		want := []string{"1 a for bot1/1", "1 b for bot1/1", "1 b for bot2/1", "1 a for bot3/1"}
		if diff := gocmp.Diff(want, w.region.sentFor()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestNoCapacityAnywhere(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.region.launch = func(int) (error, bool) {
			return dormouse.Errorf(dormouse.Capacity, "InsufficientInstanceCapacity"), false
		}
		_, err := w.member("bot1", "a", "b").Start(t.Context(), 1)
		if dormouse.CodeOf(err) != dormouse.Capacity || len(w.region.sent) != 2 {
			t.Errorf("%v after %v", err, w.region.sent)
		}
	})
}

func TestALostAnswerSendsTheSameAgain(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.region.launch = func(n int) (error, bool) { return nil, n == 1 }
		m := w.member("bot1")
		if _, err := m.Start(t.Context(), 1); dormouse.CodeOf(err) != dormouse.Unanswered {
			t.Fatalf("a lost answer is %v", err)
		}
		id, err := m.Start(t.Context(), 1)
		if err != nil || id != "i-1" || len(w.region.instances) != 1 {
			t.Fatalf("%v %v, %d instances", id, err, len(w.region.instances))
		}
		if w.region.sent[0] != w.region.sent[1] {
			t.Errorf("sent %q", w.region.sent)
		}
	})
}

func TestAnAnswerThatCouldNotBeStoredIsAskedForAgain(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		fail := true
		w.books.fail = func(method string) error {
			if method == "SettleAttempts" && fail {
				fail = false
				return errors.New("disk full")
			}
			return nil
		}
		m := w.member("bot1")
		if _, err := m.Start(t.Context(), 1); dormouse.CodeOf(err) != dormouse.Unanswered {
			t.Fatal(err)
		}
		if id, err := m.Start(t.Context(), 1); err != nil || id != "i-1" || len(w.region.instances) != 1 {
			t.Fatal(id, err)
		}
	})
}

func TestNothingIsSentThatIsNotDurable(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.books.fail = func(string) error { return errors.New("disk full") }
		if _, err := w.member("bot1").Start(t.Context(), 1); err == nil || len(w.region.sent) != 0 {
			t.Errorf("%v, sent %v", err, w.region.sent)
		}
	})
}

func TestAnotherProcessGoesOn(t *testing.T) {
	for _, tc := range []struct {
		name  string
		crash func(w *world, m *Member)
	}{
		{"after the launch was stored and not sent", func(w *world, m *Member) {
			w.region.launch = func(int) (error, bool) { return dormouse.Errorf(dormouse.Unanswered, "crashed"), false }
			_, _ = m.Start(context.Background(), 1)
		}},
		{"after it was sent and before the answer was stored", func(w *world, m *Member) {
			w.books.fail = func(method string) error {
				if method == "SettleAttempts" {
					return errors.New("crashed")
				}
				return nil
			}
			_, _ = m.Start(context.Background(), 1)
		}},
		{"after all was stored", func(w *world, m *Member) { _, _ = m.Start(context.Background(), 1) }},
	} {
		for _, wanted := range []bool{true, false} {
			t.Run(fmt.Sprintf("%s, still wanted %v", tc.name, wanted), func(t *testing.T) {
				inWorld(t, func(t *testing.T, w *world) {
					w.alive("bot1", 1, true)
					tc.crash(w, w.member("bot1"))
					w.Close()
					w.region.launch, w.books.fail = nil, nil

					next := newWorld(t, w.region, w.books)
					m := next.member("bot1")
					next.AddAccount(w.region)
					next.alive("bot1", 1, wanted)
					next.Reconcile(t.Context())
					if wanted {
						if id, err := m.Start(t.Context(), 1); id != "i-1" || err != nil {
							t.Fatal(id, err)
						}
						next.alive("bot1", 1, false)
					}
					if err := m.Stop(t.Context(), 1, false); err != nil {
						t.Fatal(err)
					}
					if len(next.region.instances) != 1 || !next.region.instances["i-1"].State.Dying() {
						t.Errorf("%d instances", len(next.region.instances))
					}
				})
			})
		}
	}
}

func TestAResentLaunchIsNotSettledByARefusalThatDidNotLook(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.alive("bot1", 1, true)
		w.region.launch = func(n int) (error, bool) {
			if n == 1 {
				return nil, true
			}
			return dormouse.Errorf(dormouse.Configuration, "AuthFailure"), false
		}
		m := w.member("bot1")
		_, _ = m.Start(t.Context(), 1)
		w.region.forget("i-1") // it is not shown yet
		if err := m.Stop(t.Context(), 1, false); err == nil {
			t.Fatal("a stop succeeded although an instance may live")
		}
		w.region.hide()
		if err := m.Stop(t.Context(), 1, false); err != nil {
			t.Fatal(err)
		}
		if !w.region.instances["i-1"].State.Dying() {
			t.Error("the instance of the lost answer lives on")
		}
	})
}

func TestAResentLaunchThatNeverWasIsSettledByAListing(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.region.launch = func(n int) (error, bool) {
			if n == 1 {
				return dormouse.Errorf(dormouse.Unanswered, "time-out"), false
			}
			return dormouse.Errorf(dormouse.Configuration, "InvalidAMIID.NotFound"), false
		}
		m := w.member("bot1")
		_, _ = m.Start(t.Context(), 1)
		if _, err := m.Start(t.Context(), 1); dormouse.CodeOf(err) != dormouse.Unanswered {
			t.Fatal(err)
		}
		time.Sleep(visibleWithin)
		if _, err := m.Start(t.Context(), 1); dormouse.CodeOf(err) != dormouse.Configuration {
			t.Fatal(err)
		}
	})
}

func TestOneListingAndOneTerminationForAll(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var members []*Member
		for i := range 20 {
			name := fmt.Sprintf("bot%d", i)
			w.alive(name, 1, true)
			m := w.member(name)
			if _, err := m.Start(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			members = append(members, m)
		}
		var wg sync.WaitGroup
		for _, m := range members {
			wg.Go(func() {
				if _, _, err := m.Check(t.Context(), 1); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if w.region.lists != 1 {
			t.Errorf("%d listings for 20 checks", w.region.lists)
		}
		w.region.terminate = func(id string) error {
			if id == "i-7" {
				return dormouse.Errorf(dormouse.Throttled, "RequestLimitExceeded")
			}
			return nil
		}
		var mu sync.Mutex
		failed := 0
		for _, m := range members {
			wg.Go(func() {
				if err := m.Stop(t.Context(), 1, false); err != nil {
					mu.Lock()
					failed++
					mu.Unlock()
				}
			})
		}
		wg.Wait()
		if len(w.region.batches) != 1 || failed != 1 {
			t.Errorf("%d calls, %d failures", len(w.region.batches), failed)
		}
	})
}

func TestTheReaper(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.region.instances["i-orphan"] = &dormouse.CloudInstance{
			ID: "i-orphan", State: dormouse.InstanceRunning, LaunchTime: time.Now(),
			Tags: map[string]string{dormouse.TagDeployment: "d", dormouse.TagWorker: "bot9", dormouse.TagGeneration: "4"},
		}
		w.region.instances["i-live"] = &dormouse.CloudInstance{
			ID: "i-live", State: dormouse.InstancePending, LaunchTime: time.Now(),
			Tags: map[string]string{dormouse.TagDeployment: "d", dormouse.TagWorker: "bot1", dormouse.TagGeneration: "1"},
		}
		w.alive("bot1", 1, true)
		refusals := 2
		w.region.terminate = func(id string) error {
			if refusals > 0 {
				refusals--
				return dormouse.Errorf(dormouse.Throttled, "RequestLimitExceeded")
			}
			return nil
		}
		w.AddAccount(w.region)
		w.Reconcile(t.Context())
		time.Sleep(3 * sweepInterval)
		synctest.Wait()
		if !w.region.instances["i-orphan"].State.Dying() {
			t.Error("the orphan lives")
		}
		if w.region.instances["i-live"].State.Dying() {
			t.Error("a machine that boots for a live generation was killed")
		}
		if row := w.books.instance("i-orphan"); row.Worker != "bot9" || row.Generation != 4 || row.StoppingAt.IsZero() {
			t.Errorf("the ledger has %+v", row)
		}
	})
}

func TestAnInstanceThatEC2DoesNotShowYetIsNotDead(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.alive("bot1", 1, true)
		m := w.member("bot1")
		if _, err := m.Start(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		show := func(instances map[string]*dormouse.CloudInstance) map[string]*dormouse.CloudInstance {
			w.region.mu.Lock()
			defer w.region.mu.Unlock()
			before := w.region.instances
			w.region.instances = instances
			return before
		}
		hidden := show(nil)
		time.Sleep(time.Minute)
		if state, _, err := m.Check(t.Context(), 1); state != dormouse.InstancePending || err != nil {
			t.Fatal(state, err)
		}
		show(hidden)
		if err := m.Stop(t.Context(), 1, false); err != nil {
			t.Fatal(err)
		}
		show(nil)
		time.Sleep(visibleWithin + time.Minute)
		synctest.Wait()
		if row := w.books.instance("i-1"); row.State != dormouse.InstanceGone || row.EndedAt.IsZero() {
			t.Errorf("ledger row %+v", row)
		}
	})
}

func TestAnAttachmentBeforeTheStartReturns(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		at := time.Now()
		w.NoteAttached("bot1", 1, at)
		if _, err := w.member("bot1").Start(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		row := w.books.instance("i-1")
		if !row.AttachedAt.Equal(at) || row.State != dormouse.InstanceRunning {
			t.Errorf("ledger row %+v", row)
		}
	})
}

func TestAMachineThatEndsByItselfIsNoticed(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.alive("bot1", 1, true)
		m := w.member("bot1")
		if _, err := m.Start(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		w.region.set("i-1", dormouse.InstanceTerminated)
		if state, _, err := m.Check(t.Context(), 1); state != dormouse.InstanceGone || err != nil {
			t.Fatal(state, err)
		}
		synctest.Wait()
		if diff := gocmp.Diff([]string{"bot1/1"}, w.ended); diff != "" {
			t.Error(diff)
		}
	})
}

func TestALaunchForAll(t *testing.T) {
	for _, capacity := range []int{0, 7} {
		inWorld(t, func(t *testing.T, w *world) {
			w.region.capacity = capacity
			var wg sync.WaitGroup
			var mu sync.Mutex
			got := map[string]string{}
			for i := range 20 {
				m := w.member(fmt.Sprintf("bot%d", i), "a", "b")
				m.Batch = "bots"
				w.alive(m.Worker, 1, true)
				wg.Go(func() {
					id, err := m.Start(t.Context(), 1)
					if capacity != 0 && dormouse.CodeOf(err) == dormouse.Capacity {
						return
					}
					if err != nil {
						t.Error(err)
					}
					mu.Lock()
					defer mu.Unlock()
					if other := got[id]; other != "" {
						t.Errorf("%s is %s's and %s's", id, other, m.Worker)
					}
					got[id] = m.Worker
					if row := w.books.instance(id); row.Worker != m.Worker || row.Generation != 1 {
						t.Errorf("the ledger gives %s to %s", id, row.Worker)
					}
				})
			}
			wg.Wait()
			want := []string{"20 a for /0"}
			if capacity != 0 {
				want = append(want, "13 b for /0") // those who were short go on to the next
			}
			if diff := gocmp.Diff(want, w.region.sentFor()); diff != "" {
				t.Error(diff)
			}
			if len(got) != min(20, cmp.Or(2*capacity, 20)) {
				t.Errorf("%d instances", len(got))
			}
		})
	}
}

// A launch waits on while more come who want the same, but not for ever.
func TestWhoComesOneByOneStartsTogether(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var wg sync.WaitGroup
		for i := range 30 {
			m := w.member(fmt.Sprintf("bot%d", i), "a")
			m.Batch = "bots"
			w.alive(m.Worker, 1, true)
			wg.Go(func() {
				if _, err := m.Start(t.Context(), 1); err != nil {
					t.Error(err)
				}
			})
			time.Sleep(gather / 2)
			synctest.Wait()
		}
		wg.Wait()
		if diff := gocmp.Diff([]string{"20 a for /0", "10 a for /0"}, w.region.sentFor()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestALostAnswerOfALaunchForSeveral(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.region.launch = func(n int) (error, bool) { return nil, n == 1 }
		start := func(f *world, wantErr dormouse.Code) (ids map[string]bool) {
			ids = map[string]bool{}
			var wg sync.WaitGroup
			var mu sync.Mutex
			for i := range 3 {
				m := f.member(fmt.Sprintf("bot%d", i))
				m.Batch = "bots"
				f.alive(m.Worker, 1, true)
				wg.Go(func() {
					id, err := m.Start(t.Context(), 1)
					if dormouse.CodeOf(err) != wantErr {
						t.Error(err)
					}
					mu.Lock()
					defer mu.Unlock()
					ids[id] = true
				})
			}
			wg.Wait()
			return ids
		}
		start(w, dormouse.Unanswered)
		w.Close()
		again := newWorld(t, w.region, w.books)
		if ids := start(again, ""); len(ids) != 3 || len(w.region.instances) != 3 {
			t.Errorf("%v of %d instances", ids, len(w.region.instances))
		}
		if len(w.region.sent) != 2 || w.region.sent[0] != w.region.sent[1] {
			t.Errorf("sent %v", w.region.sentFor())
		}
	})
}

func TestWhoLeavesBeforeTheLaunchIsNotInIt(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		rendering, go_ := make(chan struct{}), make(chan struct{})
		ctx, leave := context.WithCancel(t.Context())
		var wg sync.WaitGroup
		for i := range 3 {
			m := w.member(fmt.Sprintf("bot%d", i))
			m.Batch = "bots"
			render := m.Render
			m.Render = func(c context.Context, o dormouse.Offering, l Launch) ([]byte, error) {
				if l.Count == 3 {
					close(rendering)
					<-go_
				}
				return render(c, o, l)
			}
			wg.Go(func() {
				c := t.Context()
				if i == 1 {
					c = ctx
				}
				_, err := m.Start(c, 1)
				if (err != nil) != (i == 1) {
					t.Errorf("bot%d: %v", i, err)
				}
			})
		}
		<-rendering
		leave()
		synctest.Wait()
		close(go_)
		wg.Wait()
		if diff := gocmp.Diff([]string{"2 m5.large for /0"}, w.region.sentFor()); diff != "" {
			t.Error(diff)
		}
		if err := w.member("bot1").Stop(t.Context(), 1, false); err != nil || len(w.region.instances) != 2 {
			t.Errorf("%v, %d instances", err, len(w.region.instances))
		}
	})
}

func TestWhoLeavesDuringTheLaunchGetsItStopped(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		sent, go_ := make(chan struct{}), make(chan struct{})
		w.region.launch = func(int) (error, bool) {
			close(sent)
			<-go_
			return nil, false
		}
		m := w.member("bot1")
		ctx, leave := context.WithCancel(t.Context())
		started := make(chan error, 1)
		go func() {
			_, err := m.Start(ctx, 1)
			started <- err
		}()
		<-sent
		leave()
		if err := <-started; !errors.Is(err, context.Canceled) {
			t.Fatal(err)
		}
		stopped := make(chan error, 1)
		go func() { stopped <- m.Stop(t.Context(), 1, false) }()
		synctest.Wait()
		close(go_)
		if err := <-stopped; err != nil {
			t.Fatal(err)
		}
		if !w.region.instances["i-1"].State.Dying() || len(w.region.sent) != 1 {
			t.Errorf("%v, sent %d times", w.region.instances["i-1"].State, len(w.region.sent))
		}
	})
}

func TestErrands(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var did []string
		busy := true
		m := w.member("bot1")
		m.Errands = Errands{
			Ready: func(context.Context) error {
				if busy {
					return dormouse.Errorf(dormouse.Busy, "the volume is in use")
				}
				return nil
			},
			Prepare: func(_ context.Context, id string) error { did = append(did, "prepare "+id); return nil },
			Release: func(ctx context.Context, id string) error {
				did = append(did, "release "+id)
				<-ctx.Done() // an API that hangs
				return ctx.Err()
			},
		}
		if _, err := m.Start(t.Context(), 1); dormouse.CodeOf(err) != dormouse.Busy || len(w.region.sent) != 0 {
			t.Fatalf("started while its volume is in use: %v", err)
		}
		busy = false
		w.alive("bot1", 1, true)
		if _, err := m.Start(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		if err := m.Prepare(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		if err := m.Stop(t.Context(), 1, false); err != nil {
			t.Fatalf("an address that cannot be taken back kept the instance alive: %v", err)
		}
		if diff := gocmp.Diff([]string{"prepare i-1", "release i-1"}, did); diff != "" || !w.region.instances["i-1"].State.Dying() {
			t.Errorf("%s", diff)
		}
	})
}

func TestAnInterruptionIsRememberedAsAShortage(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		zones := func(name string) *Member {
			m := w.member(name)
			m.Offerings = those(
				dormouse.Offering{InstanceType: "m5.large", Subnet: "subnet-1", Market: dormouse.Spot},
				dormouse.Offering{InstanceType: "m5.large", Subnet: "subnet-2", Market: dormouse.Spot},
			)
			m.Render = func(_ context.Context, o dormouse.Offering, l Launch) ([]byte, error) {
				return json.Marshal(request{l, o.Subnet})
			}
			return m
		}
		w.alive("bot1", 1, true)
		if _, err := zones("bot1").Start(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		w.region.mu.Lock()
		i := w.region.instances["i-1"]
		i.State, i.InstanceType, i.Zone, i.Market = dormouse.InstanceRunning, "m5.large", "us-east-1a", dormouse.Spot
		w.region.mu.Unlock()
		if _, _, err := zones("bot1").Check(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		w.region.mu.Lock()
		i.State, i.StateReason = dormouse.InstanceShuttingDown, "Server.SpotInstanceTermination: Spot instance termination"
		w.region.mu.Unlock()
		if _, _, err := zones("bot1").Check(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		if _, err := zones("bot2").Start(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		if diff := gocmp.Diff([]string{"1 subnet-1 for bot1/1", "1 subnet-2 for bot2/1"}, w.region.sentFor()); diff != "" {
			t.Error(diff)
		}
	})
}

// What is unplaced is bought elsewhere by EC2's own choice: it is passed over only
// where there is something else to buy.
func TestAnUnplacedOfferingIsPassedOverForAnother(t *testing.T) {
	for types, want := range map[string]string{"a b": "1 b for bot2/1", "a": "1 a for bot2/1"} {
		inWorld(t, func(t *testing.T, w *world) {
			w.alive("bot1", 1, true)
			m := w.member("bot1", strings.Fields(types)...)
			if _, err := m.Start(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			w.NoteInterrupted("bot1", 1, time.Time{})
			if _, err := w.member("bot2", strings.Fields(types)...).Start(t.Context(), 1); err != nil {
				t.Fatal(err)
			}
			if got := w.region.sentFor()[1]; got != want {
				t.Errorf("of %s: %s", types, got)
			}
		})
	}
}

// A subnet that is full says nothing of its zone's other subnets, a bid that is too
// low nothing of who bids more, and a quota nothing of what does not count against
// it: each refusal passes over what it is about.
func TestWhatARefusalSays(t *testing.T) {
	for _, tc := range []struct {
		reach      dormouse.Reach
		same, next []string // what the same worker, and then another, asks for
	}{
		{dormouse.ReachOffering, []string{"1", "3"}, []string{"3"}},
		{dormouse.ReachBatch, []string{"1", "3"}, []string{"3"}}, // of one, it is no batch
		{dormouse.ReachSubnet, []string{"1", "2"}, []string{"2"}},
		{dormouse.ReachBid, []string{"1", "2"}, []string{"1"}},
		{dormouse.ReachType, []string{"1", "m"}, []string{"1"}},
		{dormouse.ReachQuota, []string{"1", "g"}, []string{"g"}},
		{dormouse.ReachMarket, []string{"1", "d"}, []string{"d"}},
		{dormouse.ReachWorker, []string{"1"}, []string{"1"}},
	} {
		t.Run(cmp.Or(string(tc.reach), "offering"), func(t *testing.T) {
			inWorld(t, func(t *testing.T, w *world) {
				member := func(name string) *Member {
					m := w.member(name)
					m.Offerings = those(
						dormouse.Offering{InstanceType: "c5.large", Zone: "us-east-1a", Subnet: "1", Market: dormouse.Spot},
						dormouse.Offering{InstanceType: "c5.large", Zone: "us-east-1a", Subnet: "2", Market: dormouse.Spot},
						dormouse.Offering{InstanceType: "c5.large", Zone: "us-east-1b", Subnet: "3", Market: dormouse.Spot},
						dormouse.Offering{InstanceType: "m5.large", Zone: "us-east-1b", Subnet: "m", Market: dormouse.Spot},
						dormouse.Offering{InstanceType: "g5.xlarge", Zone: "us-east-1b", Subnet: "g", Market: dormouse.Spot},
						dormouse.Offering{InstanceType: "c5.large", Zone: "us-east-1b", Subnet: "d", Market: dormouse.OnDemand},
					)
					m.Render = func(_ context.Context, o dormouse.Offering, l Launch) ([]byte, error) {
						return json.Marshal(request{l, o.Subnet})
					}
					return m
				}
				w.region.launch = func(n int) (error, bool) {
					if n == 1 {
						return &dormouse.Error{Code: dormouse.Quota, Message: "no", Reach: tc.reach}, false
					}
					return nil, false
				}
				var want []string
				for _, subnet := range tc.same {
					want = append(want, "1 "+subnet+" for bot1/1")
				}
				for _, subnet := range tc.next {
					want = append(want, "1 "+subnet+" for bot2/1")
				}
				for _, name := range []string{"bot1", "bot2"} {
					_, err := member(name).Start(t.Context(), 1)
					if refused := tc.reach == dormouse.ReachWorker && name == "bot1"; (err != nil) != refused {
						t.Fatal(err)
					}
				}
				if diff := gocmp.Diff(want, w.region.sentFor()); diff != "" {
					t.Error(diff)
				}
			})
		})
	}
}

// What does not fit into the budget gives way to what does.
func TestABudgetLeavesCheaperOfferings(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.opt.Budget = Budget{PerHour: new(0.15)}
		prices := map[string]*float64{"dear": new(0.192), "cheap": new(0.01), "unknown": nil}
		member := func(name string, types ...string) *Member {
			m := w.member(name, types...)
			m.Price = func(_ context.Context, o dormouse.Offering) (*float64, string, error) {
				return prices[o.InstanceType], "test", nil
			}
			return m
		}
		if _, err := member("bot1", "dear", "unknown", "cheap").Start(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		_, err := member("bot2", "dear", "unknown").Start(t.Context(), 1)
		if dormouse.CodeOf(err) != dormouse.Budget || !strings.Contains(err.Error(), "$0.192") {
			t.Errorf("%v", err)
		}
		if diff := gocmp.Diff([]string{"1 cheap for bot1/1"}, w.region.sentFor()); diff != "" {
			t.Error(diff)
		}
	})
}

func TestABudgetHoldsLaunchesBack(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.opt.Budget = Budget{PerHour: new(0.25)}
		start := func(names ...string) (held int) {
			var wg sync.WaitGroup
			var mu sync.Mutex
			for _, name := range names {
				m := w.member(name)
				m.Batch = "bots"
				m.Price = func(context.Context, dormouse.Offering) (*float64, string, error) { return new(0.1), "test", nil }
				w.alive(name, 1, true)
				wg.Go(func() {
					switch _, err := m.Start(t.Context(), 1); dormouse.CodeOf(err) {
					case "":
					case dormouse.Budget:
						mu.Lock()
						defer mu.Unlock()
						held++
					default:
						t.Error(err)
					}
				})
			}
			wg.Wait()
			return held
		}
		if held := start("a", "b", "c", "d", "e"); held != 3 || len(w.region.instances) != 2 {
			t.Fatalf("%d held back, %d instances", held, len(w.region.instances))
		}
		if held := start("f"); held != 1 {
			t.Error("a launch beyond the budget was sent")
		}
		// An end makes room.
		row := w.instancesOf("a", 1)
		row = append(row, w.instancesOf("b", 1)...)
		row = append(row, w.instancesOf("c", 1)...)
		row = append(row, w.instancesOf("d", 1)...)
		row = append(row, w.instancesOf("e", 1)...)
		w.region.set(row[0].ID, dormouse.InstanceTerminated)
		w.AddAccount(w.region)
		w.Reconcile(t.Context())
		if held := start("g"); held != 0 {
			t.Error("the budget does not notice that an instance has ended")
		}
	})
}

func TestAnInstanceIsNotDeadWhileItsLaunchIsBeingStored(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.alive("bot1", 1, true)
		stored, go_ := make(chan struct{}), make(chan struct{})
		w.books.settled = func() error {
			close(stored)
			<-go_
			return nil
		}
		m := w.member("bot1")
		started := make(chan error, 1)
		go func() {
			_, err := m.Start(t.Context(), 1)
			started <- err
		}()
		<-stored // durable, and not in the fleet's memory yet
		if state, reason, err := m.Check(t.Context(), 1); state != dormouse.InstancePending || err != nil {
			t.Errorf("%s (%s), %v", state, reason, err)
		}
		close(go_)
		if err := <-started; err != nil {
			t.Fatal(err)
		}
	})
}

func TestALostLaunchOfAWorkerThatIsGoneIsEnded(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.region.launch = func(int) (error, bool) { return nil, true }
		if _, err := w.member("removed").Start(t.Context(), 1); dormouse.CodeOf(err) != dormouse.Unanswered {
			t.Fatal(err)
		}
		w.Close()
		next := newWorld(t, w.region, w.books)
		next.AddAccount(w.region)
		next.Reconcile(t.Context())
		time.Sleep(2 * terminateAgain)
		synctest.Wait()
		if !w.region.instances["i-1"].State.Dying() {
			t.Error("it lives on")
		}
		if _, ok := next.Lookup("i-1"); !ok {
			t.Error("the ledger does not have it")
		}
	})
}

func TestAnAcceptedLaunchThatMemoryLacks(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.alive("bot1", 1, true)
		lost := true
		w.books.settled = func() error {
			if lost {
				lost = false
				return errors.New("the connection broke after the commit")
			}
			return nil
		}
		m := w.member("bot1")
		if _, err := m.Start(t.Context(), 1); dormouse.CodeOf(err) != dormouse.Unanswered {
			t.Fatal(err)
		}
		if id, err := m.Start(t.Context(), 1); id != "i-1" || err != nil {
			t.Fatal(id, err)
		}
		if _, ok := w.Lookup("i-1"); !ok || w.Awaits(w.books.attempts[0].Launch) {
			t.Error("the ledger's memory still lacks it")
		}
	})
	inWorld(t, func(t *testing.T, w *world) {
		m := w.member("bot1")
		if _, err := m.Start(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		w.Close()
		w.books.instances["i-1"] = dormouse.Instance{ID: "i-1", Worker: "bot1", Generation: 1, EndedAt: time.Now(), State: dormouse.InstanceTerminated}
		next := newWorld(t, w.region, w.books)
		if _, err := next.member("bot1").Start(t.Context(), 1); dormouse.CodeOf(err) != dormouse.NotFound {
			t.Errorf("an instance that has ended is %v", err)
		}
	})
}

// The answer of the store that a launch is settled may be lost: whoever asks first
// learns it for all who have a part in it.
func TestTheSettlingOfALaunchHadNoAnswer(t *testing.T) {
	for _, refused := range []bool{false, true} {
		inWorld(t, func(t *testing.T, w *world) {
			lost := true
			w.books.settled = func() error {
				if lost {
					lost = false
					return dormouse.Errorf(dormouse.Unanswered, "the connection broke during the commit")
				}
				return nil
			}
			if refused {
				w.region.launch = func(n int) (error, bool) {
					if n == 1 {
						return dormouse.Errorf(dormouse.Configuration, "no such image"), false
					}
					return nil, false
				}
			}
			var members []*Member
			for i := range 2 {
				m := w.member(fmt.Sprintf("bot%d", i))
				m.Batch = "bots"
				w.alive(m.Worker, 1, true)
				members = append(members, m)
			}
			var wg sync.WaitGroup
			for _, m := range members {
				wg.Go(func() {
					if _, err := m.Start(t.Context(), 1); dormouse.CodeOf(err) != dormouse.Unanswered {
						t.Error(err)
					}
				})
			}
			wg.Wait()
			launch := w.books.attempts[0].Launch
			if !w.Awaits(launch) {
				t.Error("nobody awaits the launch")
			}
			if _, err := members[0].Start(t.Context(), 1); err != nil {
				t.Error(err)
			}
			if w.Awaits(launch) {
				t.Error("the launch is still awaited")
			}
			if _, ok := w.Lookup("i-2"); ok == refused {
				t.Errorf("refused: %v; the other's instance is known: %v", refused, ok)
			}
			if got := len(w.region.sent); refused && got != 2 || !refused && got != 1 {
				t.Errorf("%d launches were sent", got)
			}
		})
	}
}

// A generation whose instance only the store knows is stopped by its end, too.
func TestTheStopOfAnInstanceThatMemoryLacks(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.alive("bot1", 1, true)
		lost := true
		w.books.settled = func() error {
			if lost {
				lost = false
				return errors.New("the connection broke after the commit")
			}
			return nil
		}
		m := w.member("bot1")
		if _, err := m.Start(t.Context(), 1); dormouse.CodeOf(err) != dormouse.Unanswered {
			t.Fatal(err)
		}
		if err := m.Stop(t.Context(), 1, false); err != nil {
			t.Fatal(err)
		}
		if !w.region.instances["i-1"].State.Dying() || len(w.ended) != 0 || w.Stopping() != 1 || w.Awaits(w.books.attempts[0].Launch) {
			t.Errorf("it is %v; ended %v", w.region.instances["i-1"].State, w.ended)
		}
	})
}

// A launch that is durable, and whose opening had no answer, belongs to its
// generation from the moment that it is sent.
func TestALaunchWhoseOpeningHadNoAnswer(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.alive("bot1", 1, true)
		w.books.opened = func() error { return dormouse.Errorf(dormouse.Unanswered, "the connection broke during the commit") }
		m := w.member("bot1")
		if _, err := m.Start(t.Context(), 1); dormouse.CodeOf(err) != dormouse.Unanswered || len(w.region.sent) != 0 {
			t.Fatal(err, w.region.sent)
		}
		w.books.settled = func() error { return errors.New("disk full") }
		if _, err := m.Start(t.Context(), 1); dormouse.CodeOf(err) != dormouse.Unanswered || len(w.region.sent) != 1 {
			t.Fatal(err, w.region.sent)
		}
		if !w.Awaits(w.books.attempts[0].Launch) {
			t.Error("nobody awaits the launch")
		}
		for range 5 {
			time.Sleep(terminateAgain)
			w.Reconcile(t.Context())
			synctest.Wait()
		}
		if w.region.instances["i-1"].State.Dying() {
			t.Error("the instance of a generation that lives was ended")
		}
	})
}

// An open attempt is asked for where it was sent, whatever the configuration says
// now.
func TestAnAttemptIsAskedForWhereItWasSent(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.region.key = "us-east-1/a"
		w.region.launch = func(n int) (error, bool) { return nil, n == 1 }
		w.alive("bot1", 1, true)
		if _, err := w.member("bot1").Start(t.Context(), 1); dormouse.CodeOf(err) != dormouse.Unanswered {
			t.Fatal(err)
		}
		w.Close()
		other := newRegion()
		other.key, other.name = "eu-west-1/b", "eu-west-1"
		next := newWorld(t, other, w.books)
		next.alive("bot1", 1, true)
		m := next.member("bot1")
		if id, err := m.Start(t.Context(), 1); dormouse.CodeOf(err) != dormouse.Unanswered || !strings.Contains(err.Error(), "us-east-1/a") {
			t.Errorf("without the account: %q, %v", id, err)
		}
		if err := m.Stop(t.Context(), 1, false); err == nil || len(other.sent) != 0 {
			t.Errorf("stopped: %v; sent elsewhere: %v", err, other.sent)
		}
		next.AddAccount(w.region)
		if id, err := m.Start(t.Context(), 1); id != "i-1" || err != nil || len(other.sent) != 0 || len(w.region.sent) != 2 {
			t.Errorf("with it: %q, %v", id, err)
		}
	})
}

// A listing that is not whole ends nothing; what listings have lacked for a while
// has ended, and comes back into the ledger as it was.
func TestAnInstanceThatListingsLack(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.AddAccount(w.region)
		w.alive("bot1", 1, true)
		m := w.member("bot1")
		m.Price = func(context.Context, dormouse.Offering) (*float64, string, error) { return new(0.1), "test", nil }
		if _, err := m.Start(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		w.region.set("i-1", dormouse.InstanceRunning)
		w.NoteAttached("bot1", 1, time.Now())
		list := func() {
			if err := w.account(w.region).refresh(t.Context()); err != nil {
				t.Fatal(err)
			}
			synctest.Wait()
		}
		time.Sleep(time.Hour)
		before := w.books.instance("i-1")
		w.region.forget("i-1")
		list()
		w.region.hide()
		list()
		time.Sleep(time.Hour)
		w.region.forget("i-1")
		list()
		if _, ok := w.Lookup("i-1"); !ok || len(w.ended) != 0 {
			t.Fatalf("one listing lacked it, and it has ended: %v", w.ended)
		}
		time.Sleep(goneAfter)
		list()
		if row := w.books.instance("i-1"); row.State != dormouse.InstanceGone || row.EndedAt.IsZero() || len(w.ended) != 1 {
			t.Fatalf("%+v, ended %v", row, w.ended)
		}
		w.alive("bot1", 1, false)
		w.region.hide()
		list()
		time.Sleep(terminateAgain)
		list()
		time.Sleep(2 * gather)
		synctest.Wait()
		row := w.books.instance("i-1")
		if !w.region.instances["i-1"].State.Dying() || row.StoppingAt.IsZero() || !row.EndedAt.IsZero() {
			t.Errorf("it was not ended: %+v", row)
		}
		if row.Worker != "bot1" || row.AttemptID != before.AttemptID || row.PricePerHour == nil || !row.AttachedAt.Equal(before.AttachedAt) {
			t.Errorf("before %+v, and after it came back %+v", before, row)
		}
	})
}

func TestOtherCredentialsForTheSameAccount(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.alive("bot1", 1, true)
		if _, err := w.member("bot1").Start(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		w.Close()
		w.region.key = "us-east-1/rotated"
		next := newWorld(t, w.region, w.books)
		next.AddAccount(w.region)
		next.alive("bot1", 1, true)
		next.Reconcile(t.Context())
		if err := next.member("bot1").Stop(t.Context(), 1, false); err != nil {
			t.Fatal(err)
		}
		w.region.set("i-1", dormouse.InstanceTerminated)
		time.Sleep(5 * time.Second)
		synctest.Wait()
		if row := w.books.instance("i-1"); row.EndedAt.IsZero() || row.Account != "us-east-1/rotated" {
			t.Errorf("%+v", row)
		}
	})
}

// TestTheLedgerIsSavedInTheEnd: a store that fails while an instance ends does not
// leave it alive in the ledger, and the last row that is written is the newest.
func TestTheLedgerIsSavedInTheEnd(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		w.alive("bot1", 1, true)
		m := w.member("bot1")
		if _, err := m.Start(t.Context(), 1); err != nil {
			t.Fatal(err)
		}
		w.books.mu.Lock()
		w.books.fail = func(method string) error {
			if method == "SaveInstance" {
				return dormouse.Errorf(dormouse.Unavailable, "no space left on device")
			}
			return nil
		}
		w.books.mu.Unlock()
		w.alive("bot1", 1, false)
		if err := m.Stop(t.Context(), 1, false); err != nil {
			t.Fatal(err)
		}
		w.region.set("i-1", dormouse.InstanceTerminated)
		time.Sleep(10 * time.Second)
		synctest.Wait()
		if row := w.books.instance("i-1"); !row.EndedAt.IsZero() {
			t.Fatalf("the store has failed, and has %+v", row)
		}
		w.books.mu.Lock()
		w.books.fail = nil
		w.books.mu.Unlock()
		time.Sleep(2 * sweepInterval)
		synctest.Wait()
		if row := w.books.instance("i-1"); row.State != dormouse.InstanceTerminated || row.StoppingAt.IsZero() || time.Since(row.EndedAt) < sweepInterval {
			t.Errorf("the ledger has %+v", row)
		}
	})
}

// TestNotInCharge: whoever is not certain to be in charge ends nothing that it
// does not know.
func TestNotInCharge(t *testing.T) {
	inWorld(t, func(t *testing.T, w *world) {
		var asked atomic.Int64
		w.opt.InCharge = func(context.Context) error {
			asked.Add(1)
			return dormouse.Errorf(dormouse.Unavailable, "the database does not answer")
		}
		w.region.instances["i-other"] = &dormouse.CloudInstance{
			ID: "i-other", State: dormouse.InstanceRunning, LaunchTime: time.Now(), Tags: tagsOf("bot9", "4", "l9"),
		}
		w.region.things = []dormouse.Belonging{{Kind: dormouse.LeftoverSpotRequest, ID: "sir-other", Handle: "sir-other", State: "open"}}
		w.AddAccount(w.region)
		time.Sleep(3 * sweepInterval)
		synctest.Wait()
		for _, l := range w.Reap(t.Context()).Leftovers {
			if l.Done || l.Error == "" {
				t.Errorf("%+v", l)
			}
		}
		if asked.Load() == 0 || len(w.region.batches) != 0 || len(w.region.letGo) != 0 {
			t.Errorf("asked %d times; ended %v and %v", asked.Load(), w.region.batches, w.region.letGo)
		}
	})
}

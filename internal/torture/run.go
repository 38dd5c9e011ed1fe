package main

import (
	"context"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/dormouse-ci/dormouse/internal/brokenwire"
	"github.com/dormouse-ci/dormouse/internal/pgcluster"
	"github.com/dormouse-ci/dormouse/web"
)

const (
	// timeScale makes a worker's 90 s to come back 2.7 s, the sweep of five
	// minutes nine seconds, and a master's lease 0.9 s: as little as agents that
	// try twice a second can be held to on a loaded machine.
	timeScale = 0.03
	// lease is a watchdog's, at first; its ten minutes by timeScale.
	lease = 18 * time.Second
	// settleTime is how long a run may take to come to its end once it is left
	// in peace: some quarantines, sweeps and boots, on a loaded machine.
	settleTime = 2 * time.Minute
)

// run is one deployment that is tortured.
type run struct {
	site
	dir   string
	rng   *rand.Rand // of what is drawn before the run begins
	began time.Time
	plan  plan
	ctx   context.Context // of the run's processes

	endpoint *process
	address  string // of the endpoint
	has      belongings
	clock    clock
	wire     *brokenwire.Proxy // from the machines to the master
	db       *brokenwire.Proxy // from the masters to PostgreSQL; nil with SQLite
	database string            // its URL, by the proxy
	seats    []seat
	starting sync.Mutex // held while a master is started

	mu      sync.Mutex
	masters []*master // the last is in charge
	killed  []time.Time
	told    []string
	fig     figures
}

// site is what all runs have in common.
type site struct {
	program, repo string
	cluster       *pgcluster.Cluster // nil: masters keep their state in SQLite
	stock         bool               // there is a stock worker
}

func newRun(s site, seed uint64, number int, dir string) *run {
	r := &run{site: s, dir: dir, rng: rand.New(rand.NewPCG(seed, uint64(number)))}
	r.plan = draw(r.rng)
	r.plan.stock = r.plan.stock && s.stock
	r.plan.rival = r.plan.rival && s.cluster != nil
	return r
}

// tell adds a line to the run's story.
func (r *run) tell(format string, args ...any) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.told = append(r.told, fmt.Sprintf("%6.2fs  ", time.Since(r.began).Seconds())+fmt.Sprintf(format, args...))
}

func (r *run) count(what *int, n int) {
	r.mu.Lock()
	defer r.mu.Unlock()
	*what += n
}

func (r *run) story() []string {
	r.mu.Lock()
	defer r.mu.Unlock()
	return append([]string{fmt.Sprintf("%+v", r.plan)}, r.told...)
}

// journal is where commands write that they have run.
func (r *run) journal() string { return filepath.Join(r.dir, "journal") }

// play plays the run, and returns what came of it.
func (r *run) play(ctx context.Context) figures {
	r.began = time.Now()
	r.fig.runs = 1
	if err := r.try(ctx); err != nil && ctx.Err() == nil {
		r.fig.lose(&r.fig.broken, "the run is broken: %v", err)
	}
	return r.fig
}

func (r *run) try(ctx context.Context) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	r.ctx = ctx
	end, err := r.build(ctx)
	defer end()
	if err != nil {
		return err
	}
	accepted := r.torment(ctx)
	if r.plan.gone {
		if err := r.desert(ctx); err != nil {
			return err
		}
	}
	if err := r.pacify(ctx); err != nil {
		return err
	}
	if err := r.judge(ctx, accepted); err != nil {
		return err
	}
	if err := r.judgeMasters(ctx); err != nil {
		return err
	}
	m := r.current()
	if m == nil {
		return nil // told already
	}
	r.mu.Lock()
	m.mayEnd = true
	r.mu.Unlock()
	if err := m.stop(settleTime); err != nil {
		return fmt.Errorf("the master: %w", err)
	}
	return r.judgeLeftovers(ctx)
}

// build makes the deployment. What it returns ends what there is of it.
func (r *run) build(ctx context.Context) (end func(), err error) {
	var ends []func()
	end = func() {
		for i := len(ends) - 1; i >= 0; i-- {
			ends[i]()
		}
	}
	if err := os.MkdirAll(r.dir, 0o700); err != nil {
		return end, err
	}
	if r.clock, err = newClock(filepath.Join(r.dir, "clock")); err != nil {
		return end, err
	}
	r.endpoint, err = start(ctx, filepath.Join(r.dir, "ec2.log"), nil, r.program, "ec2", "--json", "--boot-delay", r.plan.boot.String(),
		"--rate-scale", "20", "--dir", filepath.Join(r.dir, "machines"), "--image", watchedImage(r.program))
	if err != nil {
		return end, err
	}
	ends = append(ends, func() { _ = r.endpoint.stop(startTimeout) }) // its machines are judged, not its own end
	r.address = r.endpoint.said["endpoint"].(string)
	if r.wire, err = brokenwire.Start("tcp", "127.0.0.1:1"); err != nil { // until a master serves
		return end, err
	}
	ends = append(ends, func() { r.wire.Close() })
	if r.cluster != nil {
		drop, err := r.makeDatabase(ctx)
		if err != nil {
			return end, err
		}
		ends = append(ends, drop)
	}
	if err := r.acquire(ctx); err != nil {
		return end, err
	}
	if err := r.furnish(); err != nil {
		return end, err
	}
	ends = append(ends, func() {
		for _, m := range r.masters {
			m.kill()
		}
	})
	return end, r.ensureMaster(ctx, r.seats[0])
}

// makeDatabase makes the run's database, behind a proxy that can break its
// connections.
func (r *run) makeDatabase(ctx context.Context) (drop func(), err error) {
	name := filepath.Base(r.dir)
	if err := r.cluster.Create(ctx, name); err != nil {
		return nil, err
	}
	if r.db, err = brokenwire.Start("unix", r.cluster.Socket()); err != nil {
		return nil, err
	}
	r.database = fmt.Sprintf("postgresql://postgres@%s/%s?sslmode=disable", r.db.Addr(), name)
	return func() {
		r.db.Close()
		if err := r.cluster.Drop(context.WithoutCancel(ctx), name); err != nil {
			r.tell("the database is left: %v", err)
		}
	}, nil
}

// torment asks for builds and disturbs them, and returns the requests that were
// accepted.
func (r *run) torment(ctx context.Context) (accepted []int64) {
	var wg sync.WaitGroup
	at := func(moment time.Duration, do func()) {
		wg.Go(func() {
			select {
			case <-time.After(moment - time.Since(r.began)):
				do()
			case <-ctx.Done():
			}
		})
	}
	base := time.Since(r.began)
	within := func(d time.Duration) time.Duration { return base + time.Duration(r.rng.Int64N(int64(d))) }
	r.misbehave(1, r.plan.taken)
	for range r.plan.requests {
		builder := fmt.Sprintf("b%d", r.rng.IntN(r.plan.builders))
		at(within(1500*time.Millisecond), func() {
			if id := r.ask(ctx, builder); id != 0 {
				r.mu.Lock()
				accepted = append(accepted, id)
				r.mu.Unlock()
			}
		})
	}
	for range 1 + r.rng.IntN(5) {
		moment, d := within(4*time.Second), r.disturbance()
		at(moment, func() {
			r.tell("%s", d.name)
			undo := d.do()
			if undo == nil {
				return
			}
			select {
			case <-time.After(d.lasts):
			case <-ctx.Done():
			}
			undo()
		})
	}
	wg.Wait()
	return accepted
}

// ask asks for a build until that is answered, and returns the request; 0 if it
// never was.
func (r *run) ask(ctx context.Context, builder string) int64 {
	for began := time.Now(); time.Since(began) < 10*time.Second && ctx.Err() == nil; {
		made, err := r.api().Force(ctx, web.ForceRequest{Builder: builder})
		if err == nil {
			r.tell("request %d for %s", made[0].ID, builder)
			return made[0].ID
		}
		// It may have been stored all the same: then it is built twice.
		r.tell("a request for %s was not answered: %v", builder, err)
		select {
		case <-time.After(500 * time.Millisecond):
		case <-ctx.Done():
		}
	}
	return 0
}

// pacify ends all disturbances, and has a master serve.
func (r *run) pacify(ctx context.Context) error {
	r.misbehave(0)
	r.wire.Use(nil)
	if r.db != nil {
		r.db.Use(nil)
	}
	if err := r.clock.set(0); err != nil {
		return err
	}
	r.tell("left in peace")
	return r.ensureMaster(ctx, r.seats[0])
}

// desert leaves the machines without a master for longer than their watchdogs'
// lease: they must end themselves.
func (r *run) desert(ctx context.Context) error {
	r.misbehave(0)
	r.wire.Use(nil)
	for _, m := range r.masters {
		m.mayEnd = true
		m.kill()
	}
	r.tell("no master is there any more")
	var alive []string
	err := await(ctx, func() (bool, error) {
		l, err := r.ledger(ctx)
		alive = alive[:0]
		for _, i := range l.Instances {
			if !i.State.Ended() && booted(i) {
				alive = append(alive, i.ID)
			}
		}
		return len(alive) == 0, err
	})
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if err != nil {
		r.fig.lose(&r.fig.leaked, "%v run on with a watchdog and without a master: %v", alive, err)
	}
	return nil
}

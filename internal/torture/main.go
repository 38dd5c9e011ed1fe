package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/dormouse-ci/dormouse/internal/pgcluster"
)

type options struct {
	runs, parallel, only int
	seed                 uint64
	limit                time.Duration
	store                string
	dormouse             string
	keep                 bool
	points, spread       bool
	point                string
}

func main() {
	var o options
	flag.IntVar(&o.runs, "runs", 50, "how many runs")
	flag.DurationVar(&o.limit, "for", 0, "start no further run after so long (0: all of them)")
	flag.IntVar(&o.parallel, "parallel", 6, "how many at a time")
	flag.Uint64Var(&o.seed, "seed", uint64(time.Now().UnixNano())%1_000_000, "what the lots are drawn from")
	flag.StringVar(&o.store, "store", "sqlite", "where masters keep their state: sqlite or postgres")
	flag.IntVar(&o.only, "run", 0, "play this one alone, and keep its directory")
	flag.StringVar(&o.dormouse, "dormouse", "", "the program to torture (default: built from this module, with a clock that can be shifted)")
	flag.BoolVar(&o.keep, "keep", false, "keep the directory of every run")
	flag.BoolVar(&o.points, "points", false, "go through the crash points in place of runs")
	flag.BoolVar(&o.spread, "spread", false, "with -points: one before and one after each kind of write and call, drawn from -seed")
	flag.StringVar(&o.point, "point", "", "with -points: this one alone")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	play := torture
	if o.points {
		play = crashPoints
	}
	err := play(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "torture:", err)
		os.Exit(1)
	}
}

var errLosses = errors.New("something was lost; each is described above")

func torture(ctx context.Context, o options) (err error) {
	dir, err := os.MkdirTemp("", "dormouse-torture-")
	if err != nil {
		return err
	}
	t := &tally{o: o, dir: dir, kept: o.keep || o.only > 0, began: time.Now()}
	defer func() {
		if !t.kept {
			os.RemoveAll(dir)
		}
	}()
	s, end, err := makeSite(ctx, o, dir)
	defer end()
	if err != nil {
		return err
	}
	t.began = time.Now()
	var wg sync.WaitGroup
	turns := make(chan struct{}, max(o.parallel, 1))
	first, last := 1, o.runs
	if o.only > 0 {
		first, last = o.only, o.only
	}
	for n := first; n <= last && ctx.Err() == nil; n++ {
		if o.limit > 0 && time.Since(t.began) > o.limit {
			break
		}
		turns <- struct{}{}
		wg.Go(func() {
			defer func() { <-turns }()
			r := newRun(s, o.seed, n, filepath.Join(dir, fmt.Sprintf("run-%d", n)))
			if f := r.play(ctx); ctx.Err() == nil {
				t.add(n, r, f)
			}
		})
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return err
	}
	fmt.Printf("torture: seed %d, %s, %s, in %v\n", o.seed, o.store, t.total.String(), time.Since(t.began).Round(time.Second))
	if t.total.bad() {
		return errLosses
	}
	return nil
}

// makeSite makes what all runs have in common. What it returns ends that.
func makeSite(ctx context.Context, o options, dir string) (s site, end func(), err error) {
	end = func() {}
	if o.store != "sqlite" && o.store != "postgres" {
		return s, end, fmt.Errorf("-store %s is neither sqlite nor postgres", o.store)
	}
	if _, err := os.Stat(stockWorker); err == nil {
		s.stock = true
	} else if os.Getenv("CI") == "true" {
		return s, end, fmt.Errorf("%s is missing: apt-get install buildbot-worker", stockWorker)
	} else {
		fmt.Fprintf(os.Stderr, "torture: no run has stock workers, as %s is missing\n", stockWorker)
	}
	if s.repo, err = makeRepository(ctx, dir); err != nil {
		return s, end, err
	}
	if s.program = o.dormouse; s.program == "" {
		s.program = filepath.Join(dir, "dormouse")
		if err := buildPatched(ctx, dir, s.program, clockPatch, writesPatch); err != nil {
			return s, end, fmt.Errorf("building dormouse: %w", err)
		}
	}
	if o.store == "sqlite" {
		return s, end, nil
	}
	if s.cluster, err = pgcluster.Start(ctx); err != nil {
		return s, end, err
	}
	return s, func() {
		if err := s.cluster.Stop(); err != nil {
			fmt.Fprintln(os.Stderr, "torture: PostgreSQL:", err)
		}
	}, nil
}

// tally is what has come of all runs.
type tally struct {
	o     options
	dir   string
	began time.Time

	mu    sync.Mutex
	kept  bool
	total figures
}

// add adds a run that has ended, and tells what it has lost.
func (t *tally) add(number int, r *run, f figures) {
	t.mu.Lock()
	defer t.mu.Unlock()
	t.total.add(f)
	if len(f.losses) > 0 {
		t.kept = true
		fmt.Printf("run %d of seed %d, again by: go run ./internal/torture -store %s -seed %d -run %d\n", number, t.o.seed, t.o.store, t.o.seed, number)
		for _, loss := range f.losses {
			fmt.Println("  " + loss)
		}
		for _, line := range r.story() {
			fmt.Println("    " + line)
		}
		fmt.Printf("  its logs are in %s\n", r.dir)
	} else if !t.o.keep && t.o.only == 0 {
		os.RemoveAll(r.dir)
	}
	if t.total.runs%25 == 0 {
		fmt.Fprintf(os.Stderr, "%d runs in %v: %s\n", t.total.runs, time.Since(t.began).Round(time.Second), t.total.String())
	}
}

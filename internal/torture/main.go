package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"sync"
	"syscall"
	"time"
)

type options struct {
	runs, parallel, only int
	seed                 uint64
	limit                time.Duration
	dormouse             string
	keep                 bool
}

func main() {
	var o options
	flag.IntVar(&o.runs, "runs", 50, "how many runs")
	flag.DurationVar(&o.limit, "for", 0, "start no further run after so long (0: all of them)")
	flag.IntVar(&o.parallel, "parallel", 4, "how many at a time")
	flag.Uint64Var(&o.seed, "seed", uint64(time.Now().UnixNano())%1_000_000, "what the lots are drawn from")
	flag.IntVar(&o.only, "run", 0, "play this one alone, and keep its directory")
	flag.StringVar(&o.dormouse, "dormouse", "", "the program to torture (default: built from this module)")
	flag.BoolVar(&o.keep, "keep", false, "keep the directory of every run")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	err := torture(ctx, o)
	stop()
	if err != nil {
		fmt.Fprintln(os.Stderr, "torture:", err)
		os.Exit(1)
	}
}

var errLosses = errors.New("something was lost; each is described above")

func torture(ctx context.Context, o options) error {
	dir, err := os.MkdirTemp("", "dormouse-torture-")
	if err != nil {
		return err
	}
	kept := o.keep || o.only > 0
	defer func() {
		if !kept {
			os.RemoveAll(dir)
		}
	}()
	if o.dormouse == "" {
		o.dormouse = filepath.Join(dir, "dormouse")
		build := exec.CommandContext(ctx, "go", "build", "-o", o.dormouse, "./cmd/dormouse")
		build.Stderr = os.Stderr
		if err := build.Run(); err != nil {
			return fmt.Errorf("building dormouse: %w", err)
		}
	}
	repo, err := makeRepository(ctx, dir)
	if err != nil {
		return err
	}
	var total figures
	var mu sync.Mutex
	var wg sync.WaitGroup
	began := time.Now()
	turns := make(chan struct{}, max(o.parallel, 1))
	first, last := 1, o.runs
	if o.only > 0 {
		first, last = o.only, o.only
	}
	for n := first; n <= last && ctx.Err() == nil; n++ {
		if o.limit > 0 && time.Since(began) > o.limit {
			break
		}
		turns <- struct{}{}
		wg.Go(func() {
			defer func() { <-turns }()
			r := newRun(o.seed, n, filepath.Join(dir, fmt.Sprintf("run-%d", n)), o.dormouse, repo)
			f := r.play(ctx)
			if ctx.Err() != nil {
				return
			}
			mu.Lock()
			defer mu.Unlock()
			total.add(f)
			if len(f.losses) > 0 {
				kept = true
				fmt.Printf("run %d of seed %d, again by: go run ./internal/torture -seed %d -run %d\n", n, o.seed, o.seed, n)
				for _, loss := range f.losses {
					fmt.Println("  " + loss)
				}
				for _, line := range r.story() {
					fmt.Println("    " + line)
				}
				fmt.Printf("  its logs are in %s\n", r.dir)
			} else if !o.keep && o.only == 0 {
				os.RemoveAll(r.dir)
			}
			if n%25 == 0 {
				fmt.Fprintf(os.Stderr, "%d runs in %v: %s\n", total.runs, time.Since(began).Round(time.Second), total.String())
			}
		})
	}
	wg.Wait()
	if err := ctx.Err(); err != nil {
		return err
	}
	fmt.Printf("torture: seed %d, %s, in %v\n", o.seed, total.String(), time.Since(began).Round(time.Second))
	if total.bad() {
		return errLosses
	}
	return nil
}

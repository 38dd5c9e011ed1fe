package main

import (
	"context"
	"fmt"
	"maps"
	"math/rand/v2"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"time"
)

// crashPoints goes through the points of every life, or a spread of them: one
// master for each, which is killed there, and another that has to bring
// everything to the end that it would have had.
func crashPoints(ctx context.Context, o options) error {
	if o.dormouse != "" || o.store != "sqlite" {
		return fmt.Errorf("-points goes with neither -dormouse nor -store %s", o.store)
	}
	dir, err := os.MkdirTemp("", "dormouse-points-")
	if err != nil {
		return err
	}
	c := &crashes{options: o, dir: dir, program: filepath.Join(dir, "dormouse"), began: time.Now()}
	defer func() {
		if !c.kept {
			os.RemoveAll(dir)
		}
	}()
	if err := buildPatched(ctx, dir, c.program, clockPatch, writesPatch); err != nil {
		return fmt.Errorf("building dormouse: %w", err)
	}
	c.began = time.Now()
	all := c.survey(ctx)
	if c.lost == 0 {
		for _, wrong := range judgePoints(all) {
			c.lose("%s", wrong)
		}
	}
	if ctx.Err() != nil || c.lost > 0 {
		return c.conclude(ctx, all, nil)
	}
	chosen := all
	if o.spread {
		chosen = spread(all, rand.New(rand.NewPCG(o.seed, 0)))
	}
	if o.point != "" {
		chosen = slices.DeleteFunc(slices.Clone(all), func(p point) bool { return p.String() != o.point })
		if len(chosen) == 0 {
			return fmt.Errorf("there is no point %q", o.point)
		}
	}
	c.each(ctx, chosen)
	return c.conclude(ctx, all, chosen)
}

// crashes is what comes of going through points.
type crashes struct {
	options
	dir, program string
	began        time.Time

	mu             sync.Mutex
	kept           bool
	played, missed int
	lost           int
}

// survey leads each life without a killing, and returns all their points.
func (c *crashes) survey(ctx context.Context) []point {
	found := make([][]point, len(lives))
	whole := make([]point, len(lives))
	for i := range lives {
		whole[i].life = i
	}
	c.inTurns(whole, func(p point) {
		s, err := c.lead(ctx, p)
		if err == nil && s.died {
			err = fmt.Errorf("the master was killed at no point")
		}
		c.close(p, s, err)
		if err == nil {
			found[p.life] = pointsOf(p.life, s.done)
		}
	})
	return slices.Concat(found...)
}

// each leads a life for each of the points.
func (c *crashes) each(ctx context.Context, points []point) {
	c.inTurns(points, func(p point) {
		if ctx.Err() != nil {
			return
		}
		s, err := c.lead(ctx, p)
		c.close(p, s, err)
		c.mu.Lock()
		defer c.mu.Unlock()
		c.played++
		if !s.died {
			c.missed++
		}
	})
}

// inTurns does something for each of the points, as many at a time as -parallel
// says.
func (c *crashes) inTurns(points []point, do func(point)) {
	var wg sync.WaitGroup
	defer wg.Wait()
	turns := make(chan struct{}, max(c.parallel, 1))
	for _, p := range points {
		turns <- struct{}{}
		wg.Go(func() {
			defer func() { <-turns }()
			do(p)
		})
	}
}

// lead leads a life with one point in a directory of its own, which is kept where
// something was lost.
func (c *crashes) lead(ctx context.Context, p point) (*stage, error) {
	dir, err := os.MkdirTemp(c.dir, fmt.Sprintf("life-%d-", p.life))
	if err != nil {
		return &stage{}, err
	}
	s := &stage{life: lives[p.life], end: p, program: c.program, dir: dir}
	err = s.play(ctx)
	return s, err
}

// close tells of what was lost at a point, if anything was, and removes the
// directory otherwise.
func (c *crashes) close(p point, s *stage, err error) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.kept = c.kept || c.keep || err != nil
	switch {
	case err != nil:
		again := ""
		if p.kind != "" {
			again = fmt.Sprintf("; again by: go run ./internal/torture -points -point %q", p)
		}
		c.lose("%v: %v\n  its logs are in %s%s", p, err, s.dir, again)
	case !c.keep:
		os.RemoveAll(s.dir)
	}
}

// lose notes a loss, and prints it.
func (c *crashes) lose(format string, args ...any) {
	c.lost++
	fmt.Printf(format+"\n", args...)
}

// conclude prints what came of it.
func (c *crashes) conclude(ctx context.Context, all, chosen []point) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	of, kinds := map[string]int{}, map[string]bool{}
	for _, p := range chosen {
		of[lives[p.life].name]++
		kinds[p.kind] = true
	}
	// How often something is looked at depends on how long things take.
	if c.missed > c.played/10 {
		c.lose("%d of %d points were never come to", c.missed, c.played)
	}
	fmt.Printf("torture: seed %d, %d points (of %d) in %d lives (%v), of %d kinds: %s; at %d of them nobody was killed, since things took another course; in %v\n",
		c.seed, c.played, len(all), len(lives), of, len(kinds), strings.Join(slices.Sorted(maps.Keys(kinds)), ", "), c.missed, time.Since(c.began).Round(time.Second))
	if c.lost > 0 {
		return errLosses
	}
	return nil
}

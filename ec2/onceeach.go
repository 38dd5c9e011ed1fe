package ec2

import (
	"context"
	"errors"
	"sync"

	"golang.org/x/sync/singleflight"

	"github.com/dormouse-ci/dormouse"
)

// onceEach remembers, by name, what has been found or made, and lets one
// caller at a time look while the others wait for its answer. Failures are not
// remembered. Names come from the configuration, so they stay few.
type onceEach[T any] struct {
	flight singleflight.Group
	mu     sync.Mutex
	known  map[string]T
}

func (o *onceEach[T]) do(ctx context.Context, name string, find func(context.Context) (T, error)) (T, error) {
	o.mu.Lock()
	v, ok := o.known[name]
	o.mu.Unlock()
	if ok {
		return v, nil
	}
	return share(ctx, &o.flight, name, func(ctx context.Context) (T, error) {
		v, err := find(ctx)
		if err == nil {
			o.mu.Lock()
			if o.known == nil {
				o.known = map[string]T{}
			}
			o.known[name] = v
			o.mu.Unlock()
		}
		return v, err
	})
}

func (o *onceEach[T]) forget(name string) {
	o.mu.Lock()
	delete(o.known, name)
	o.mu.Unlock()
}

func (o *onceEach[T]) clear() {
	o.mu.Lock()
	clear(o.known)
	o.mu.Unlock()
}

// share is one call for all who ask for the same at the same time. The first
// one's context carries it; whoever finds that this one gave up asks itself.
func share[T any](ctx context.Context, g *singleflight.Group, key string, f func(context.Context) (T, error)) (T, error) {
	for {
		mine := false
		ch := g.DoChan(key, func() (any, error) {
			mine = true
			return f(ctx)
		})
		select {
		case r := <-ch:
			if r.Err != nil && !mine && ctx.Err() == nil && (errors.Is(r.Err, context.Canceled) || errors.Is(r.Err, context.DeadlineExceeded)) {
				continue
			}
			v, _ := r.Val.(T)
			return v, r.Err
		case <-ctx.Done():
			var zero T
			return zero, dormouse.Errorf(dormouse.Unavailable, "given up waiting for EC2's answer: %w", ctx.Err())
		}
	}
}

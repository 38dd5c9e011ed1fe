package build

import "context"

// persist carries out a write of the build. While the store has no room or no
// connection for it, the build is held back, and says so: that ends it no more than
// a slow store does. The write must be one that can be repeated, as all of [Store]
// are. It is tried a last time when ctx ends.
func (b *running) persist(ctx context.Context, write func() error) error {
	return b.persistUntil(ctx, nil, write)
}

// persistUntil is persist that ends also with over, where that is not nil.
func (b *running) persistUntil(ctx, over context.Context, write func() error) error {
	err := write()
	if passes(err) {
		err = b.holdBack(ctx, over, err, write)
	}
	return err
}

// holdBack is persist once a try has failed.
func (b *running) holdBack(ctx, over context.Context, failed error, write func() error) error {
	b.log.Error("the build is held back until the store can be written again", "error", failed)
	if over != nil {
		var cancel context.CancelFunc
		ctx, cancel = context.WithCancel(ctx)
		defer cancel()
		defer context.AfterFunc(over, cancel)()
	}
	first := true
	return b.runner.Store.Until(ctx, "storing the progress of a build of "+b.job.Build.Builder, func() error {
		if first { // it was just tried
			first = false
			return failed
		}
		return write()
	})
}

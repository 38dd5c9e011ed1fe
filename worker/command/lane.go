package command

import (
	"context"
	"sync"

	"github.com/dormouse-ci/dormouse/wire"
)

// lane carries updates of one command over one connection, in order.
type lane struct {
	to     Link
	cancel context.CancelFunc
	unsent chan sending // its capacity is the window: whoever keeps to it never waits
	acks   chan error   // one for each of unsent, in order
	wg     sync.WaitGroup
}

// sending is an update that is to be sent.
type sending struct {
	first int64
	data  wire.Updates
}

func newLane(ctx context.Context, to Link, commandID string) *lane {
	ctx, cancel := context.WithCancel(ctx)
	l := &lane{to: to, cancel: cancel, unsent: make(chan sending, updateWindow), acks: make(chan error, updateWindow)}
	waits := make(chan func(context.Context) error, updateWindow)
	l.wg.Go(func() {
		defer close(waits)
		for s := range l.unsent {
			wait, err := to.Send(ctx, commandID, s.first, s.data)
			if err != nil {
				wait = func(context.Context) error { return err }
			}
			waits <- wait
		}
	})
	l.wg.Go(func() {
		for wait := range waits {
			l.acks <- wait(ctx)
		}
	})
	return l
}

// close gives up what is under way.
func (l *lane) close() {
	l.cancel()
	close(l.unsent)
	l.wg.Wait()
}

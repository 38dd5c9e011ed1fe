package worker

import (
	"context"
	"errors"
	"log/slog"
	"sync"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/wire"
)

const (
	// defaultMaxLineLength, defaultBufferSize and defaultBufferTimeout are
	// Buildbot's own, in force until the master's settings arrive.
	defaultMaxLineLength = 4096
	defaultBufferSize    = 64 << 10
	defaultBufferTimeout = 5 * time.Second

	// maxBufferSize bounds what a master can make the agent hold for one
	// command.
	maxBufferSize = 8 << 20

	// updateWindow is how many updates of one command may be unacknowledged.
	// With the default buffer size it keeps a link of 100 ms round trip busy
	// at 2.5 MB/s, and holds 256 KiB.
	updateWindow = 4

	// firstDelay is how long the first output after silence waits for
	// company, steadyDelay how long output waits while it keeps coming, which
	// is after steadyAfter flushes with less than a second between them:
	// short enough to watch, long enough that a chatty command sends two
	// updates a second, not hundreds. The master's buffer_timeout can only
	// shorten them.
	firstDelay  = 100 * time.Millisecond
	steadyDelay = 500 * time.Millisecond
	steadyAfter = 5

	// lineCost is what Buildbot counts for a line beside its text: its index
	// and its time. pairCost is the same for any other update.
	lineCost = 16
	pairCost = 20
)

// updater is what a command needs of the connection.
type updater interface {
	// SendUpdate returns once the update has its place on the wire; wait
	// returns when the master has acknowledged it.
	SendUpdate(ctx context.Context, commandID string, updates []wire.UpdatePair) (wait func(context.Context) error, err error)
}

// outbox collects what one command has to say and sends it in order, with at
// most [updateWindow] updates unacknowledged. It belongs to the command's own
// goroutine, which calls every method, receives from [outbox.Acks] and
// [outbox.Due], and stops feeding it while it is [outbox.Full]: that is how a
// slow master holds a fast process back.
//
//	command ─▶ lines ─▶ queue ─▶ unsent ─▶ sender ─▶ waits ─▶ acker ─▶ acks ─▶ command
type outbox struct {
	size    int
	timeout time.Duration

	lines    []dormouse.LogLine
	cost     int
	queue    [][]wire.UpdatePair
	inFlight int

	timer     *time.Timer
	armed     bool
	lastFlush time.Time
	streak    int // flushes since the last silence

	unsent chan []wire.UpdatePair
	acks   chan error
	wg     sync.WaitGroup
	log    *slog.Logger
}

// newOutbox starts the outbox's two goroutines, which end with
// [outbox.Close], or early when ctx does.
func newOutbox(ctx context.Context, to updater, commandID string, set wire.Settings, log *slog.Logger) *outbox {
	o := &outbox{
		size:    min(cmpOr(set.BufferSize, defaultBufferSize), maxBufferSize),
		timeout: cmpOr(set.BufferTimeout, defaultBufferTimeout),
		timer:   time.NewTimer(time.Hour),
		unsent:  make(chan []wire.UpdatePair, updateWindow),
		acks:    make(chan error, updateWindow),
		log:     log,
	}
	o.timer.Stop()
	waits := make(chan func(context.Context) error, updateWindow)
	o.wg.Go(func() {
		defer close(waits)
		for updates := range o.unsent {
			wait, err := to.SendUpdate(ctx, commandID, updates)
			if err != nil {
				wait = func(context.Context) error { return err }
			}
			waits <- wait
		}
	})
	o.wg.Go(func() {
		for wait := range waits {
			o.acks <- wait(ctx)
		}
	})
	return o
}

// cmpOr returns v if it is above zero, else other.
func cmpOr[T int | time.Duration](v, other T) T {
	if v > 0 {
		return v
	}
	return other
}

// Lines adds lines; it keeps no reference to the slice.
func (o *outbox) Lines(lines []dormouse.LogLine) {
	for _, line := range lines {
		cost := len(line.Text) + 1 + lineCost
		if o.cost+cost > o.size {
			o.seal()
		}
		o.lines = append(o.lines, line)
		o.cost += cost
	}
	o.pump()
	if len(o.lines) > 0 {
		o.arm()
	}
}

// Pair adds any other update, in its place after the lines before it. It goes
// out with the next flush.
func (o *outbox) Pair(key string, value any) {
	o.seal()
	pair := wire.UpdatePair{Key: key, Value: value}
	if n := len(o.queue); n > 0 {
		o.queue[n-1] = append(o.queue[n-1], pair)
	} else {
		o.queue = append(o.queue, []wire.UpdatePair{pair})
	}
	o.arm()
}

// seal makes a message of the lines so far.
func (o *outbox) seal() {
	if len(o.lines) == 0 {
		return
	}
	o.queue = append(o.queue, wire.EncodeStreams(o.lines))
	o.lines, o.cost = nil, 0
}

// pump sends what the window admits.
func (o *outbox) pump() {
	for len(o.queue) > 0 && o.inFlight < updateWindow {
		o.unsent <- o.queue[0] // never blocks: its capacity is the window
		o.queue = o.queue[1:]
		o.inFlight++
	}
}

// arm starts the timer that flushes, unless it runs.
func (o *outbox) arm() {
	if o.armed {
		return
	}
	delay := firstDelay
	if time.Since(o.lastFlush) >= 2*steadyDelay {
		o.streak = 0
	} else if o.streak >= steadyAfter {
		delay = steadyDelay
	}
	o.timer.Reset(min(delay, o.timeout))
	o.armed = true
}

// Due delivers when [outbox.Flush] is to be called.
func (o *outbox) Due() <-chan time.Time { return o.timer.C }

// Flush sends what there is, as far as the window admits.
func (o *outbox) Flush() {
	o.timer.Stop()
	o.armed = false
	o.lastFlush = time.Now()
	o.streak++
	o.seal()
	o.pump()
}

// Acks delivers the fate of each update sent, for [outbox.Acked].
func (o *outbox) Acks() <-chan error { return o.acks }

// Acked notes that an update was acknowledged, or refused.
func (o *outbox) Acked(err error) {
	o.inFlight--
	if err != nil && !errors.Is(err, context.Canceled) {
		o.log.Warn("the master did not take an update", "err", err)
	}
	o.pump()
}

// Full reports whether messages wait for the window: then nothing more should
// be read from the process.
func (o *outbox) Full() bool { return len(o.queue) > 0 && o.inFlight >= updateWindow }

// Close sends what is left, waits until all of it is acknowledged or ctx
// ends, and ends the outbox's goroutines.
func (o *outbox) Close(ctx context.Context) {
	o.Flush()
	for o.inFlight > 0 && ctx.Err() == nil {
		select {
		case err := <-o.acks:
			o.Acked(err)
		case <-ctx.Done():
		}
	}
	o.timer.Stop()
	close(o.unsent)
	o.wg.Wait()
}

package command

import (
	"context"
	"errors"
	"log/slog"
	"slices"
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

// relink is a connection that takes the place of the last, and what the master
// has of the command.
type relink struct {
	to       Link
	position int64
}

// outbox collects what one command has to say and sends it in order, with at
// most [updateWindow] updates unacknowledged. It belongs to the command's own
// goroutine, which calls every method, receives from [outbox.Acks],
// [outbox.Due] and [outbox.Links], and stops feeding it while it is
// [outbox.Full]: that is how a slow master holds a fast process back.
//
//	command ─▶ lines ─▶ pairs ─▶ queue ─▶ lane (sender ─▶ acker) ─▶ acks ─▶ command
//
// What is in the queue is not acknowledged yet. The command of a group outlives
// its connection: then there is no lane, and the queue grows, on disk beyond
// some, until a new connection is told by [outbox.Relink].
type outbox struct {
	ctx     context.Context // of the command
	id      string
	held    bool // outlives its connection
	size    int
	timeout time.Duration

	lines []dormouse.LogLine
	pairs []wire.UpdatePair
	cost  int // of both
	items int64

	said  int64 // lines and values up to the end of the queue
	queue spool
	sent  int // the first of the queue that are on the lane
	lane  *lane
	links chan relink // holds the newest
	lost  error       // what was said cannot be told any more

	timer     *time.Timer
	armed     bool
	lastFlush time.Time
	streak    int // flushes since the last silence

	log *slog.Logger
}

// newOutbox makes the outbox of a command that was started on a connection. Its
// goroutines end with [outbox.Close], or early when ctx does.
func newOutbox(ctx context.Context, to Link, commandID string, held bool, set wire.Settings, queue spool, log *slog.Logger) *outbox {
	o := &outbox{
		ctx: ctx, id: commandID, held: held,
		size:    min(cmpOr(set.BufferSize, defaultBufferSize), maxBufferSize),
		timeout: cmpOr(set.BufferTimeout, defaultBufferTimeout),
		queue:   queue,
		links:   make(chan relink, 1),
		timer:   time.NewTimer(time.Hour),
		log:     log,
	}
	o.timer.Stop()
	o.lane = newLane(ctx, to, commandID)
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
	if o.ctx.Err() != nil {
		return // nobody wants them, and nothing must be held back for them
	}
	for _, line := range lines {
		cost := len(line.Text) + 1 + lineCost
		if o.cost+cost > o.size {
			o.seal()
		}
		o.lines = append(o.lines, line)
		o.cost += cost
		o.items++
	}
	o.pump()
	if len(o.lines) > 0 {
		o.arm()
	}
}

// Log adds lines to a log of its own; it keeps no reference to the slice.
func (o *outbox) Log(name string, lines []dormouse.LogLine) {
	for len(lines) > 0 {
		n, cost := 0, 0
		for n < len(lines) && (n == 0 || o.cost+cost < o.size) {
			cost += len(lines[n].Text) + 1 + lineCost
			n++
		}
		o.fold()
		o.pairs = append(o.pairs, wire.EncodeLog(name, slices.Clone(lines[:n])))
		o.cost += cost
		o.items += int64(n)
		lines = lines[n:]
		if o.cost >= o.size {
			o.seal()
		}
	}
	o.pump()
	if len(o.pairs) > 0 {
		o.arm()
	}
}

// Pair adds any other update, in its place after the lines before it. It goes
// out with the next flush.
func (o *outbox) Pair(key string, value any) {
	o.fold()
	o.pairs = append(o.pairs, wire.UpdatePair{Key: key, Value: value})
	o.cost += pairCost
	o.items++
	o.arm()
}

// fold makes pairs of the lines so far.
func (o *outbox) fold() {
	o.pairs = append(o.pairs, wire.EncodeStreams(o.lines)...)
	o.lines = nil
}

// seal makes a record of what there is.
func (o *outbox) seal() {
	o.fold()
	if len(o.pairs) == 0 {
		return
	}
	data, err := wire.EncodeUpdates(o.pairs)
	if err != nil { // a value of ours that cannot be sent: a mistake of this program
		o.lose(err)
	} else if o.lost == nil {
		o.queue.add(record{first: o.said, count: o.items, data: data})
	}
	o.said += o.items
	o.pairs, o.cost, o.items = nil, 0, 0
}

// lose gives up telling the master anything but that.
func (o *outbox) lose(err error) {
	if o.lost == nil {
		o.lost = err
		o.log.Error("what the command says cannot be told to the master", "error", err)
	}
}

// pump sends what the window admits.
func (o *outbox) pump() {
	for o.lane != nil && o.lost == nil && o.sent < o.queue.len() && o.sent < updateWindow {
		data, err := o.queue.data(o.sent)
		if err != nil {
			o.lose(err)
			return
		}
		first := int64(wire.NoPosition)
		if o.held {
			first = o.queue.records[o.sent].first
		}
		o.lane.unsent <- sending{first, data} // never blocks: its capacity is the window
		o.sent++
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
func (o *outbox) Acks() <-chan error {
	if o.lane == nil {
		return nil
	}
	return o.lane.acks
}

// Acked notes that an update was acknowledged, or refused, or that the
// connection is lost.
func (o *outbox) Acked(err error) {
	if o.held && errors.Is(err, wire.ErrConnectionLost) {
		o.unlink()
		return
	}
	o.sent--
	o.queue.drop()
	switch {
	case err == nil || errors.Is(err, context.Canceled):
	case o.held:
		o.lose(err) // or the master would have a hole, and not know
	default:
		o.log.Warn("the master did not take an update", "error", err)
	}
	o.pump()
}

// Links delivers connections that follow the first, for [outbox.Relink].
func (o *outbox) Links() <-chan relink { return o.links }

// offer hands a new connection to the command. Unlike the other methods it may
// be called from any goroutine, one at a time.
func (o *outbox) offer(l relink) {
	select {
	case <-o.links: // one that the command never saw
	default:
	}
	o.links <- l
}

// Relink goes on over a new connection, with what the master does not have yet.
func (o *outbox) Relink(l relink) {
	o.unlink()
	for o.queue.len() > 0 && o.queue.records[0].first+o.queue.records[0].count <= l.position {
		o.queue.drop()
	}
	o.lane = newLane(o.ctx, l.to, o.id)
	o.pump()
}

// unlink gives the connection up.
func (o *outbox) unlink() {
	if o.lane != nil {
		o.lane.close()
		o.lane, o.sent = nil, 0
	}
}

// Full reports whether nothing more should be read from the process: messages
// wait for the window, or the queue, or its file, is at its bound.
func (o *outbox) Full() bool {
	if o.ctx.Err() != nil {
		return false // nobody wants what is said: see Lines
	}
	if o.lane == nil {
		return o.queue.full()
	}
	return o.queue.spent() || o.sent < o.queue.len() && o.sent >= updateWindow
}

// Drain sends what is left, and waits until all of it is acknowledged or the
// command's context ends. Its error says that some cannot be told.
func (o *outbox) Drain() error {
	o.Flush()
	for o.queue.len() > 0 && o.lost == nil && o.ctx.Err() == nil {
		select {
		case err := <-o.Acks():
			o.Acked(err)
		case l := <-o.links:
			o.Relink(l)
		case <-o.ctx.Done():
		}
	}
	o.timer.Stop()
	return o.lost
}

// Complete tells the master that the command has ended, and waits until it is
// acknowledged or the command's context ends.
func (o *outbox) Complete(failure string) {
	for o.ctx.Err() == nil {
		if o.lane != nil {
			err := o.lane.to.Complete(o.ctx, o.id, failure)
			if !o.held || !errors.Is(err, wire.ErrConnectionLost) {
				if err != nil && o.ctx.Err() == nil {
					o.log.Warn("the master did not take the command's end", "error", err)
				}
				return
			}
			o.unlink()
		}
		select {
		case l := <-o.links:
			o.Relink(l)
		case <-o.ctx.Done():
		}
	}
}

// Close ends the outbox's goroutines and gives up what is left.
func (o *outbox) Close() {
	o.timer.Stop()
	o.unlink()
	o.queue.close()
}

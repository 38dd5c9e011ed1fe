package wire

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/tinylib/msgp/msgp"

	"github.com/dormouse-ci/dormouse"
)

// Command is what [Worker.Start] has a worker run. Names and arguments are the
// protocol's: see the package comment.
type Command struct {
	Name string // "shell", "mkdir", …
	// Group, if not "", makes a command that outlives the connection, with a
	// worker that [Worker.Resumes]. Group says what it belongs to, and ID names it
	// among all commands of the worker's session.
	Group, ID string
	Builder   string // the builder's name, for the worker's log only
	Args      map[string]any
	Transfer  Transfer
}

// Update is one thing a command reported: output, or a value. Long output
// comes as several Updates.
type Update struct {
	// Kind is "stdout", "stderr", "header" or "log" for output, and the
	// command's own word otherwise: "rc", "elapsed", "files", "stat",
	// "failure_reason", …
	Kind    string
	LogName string // of Kind "log"
	// Lines are output; their Stream follows Kind, and is Stdout for a log.
	Lines []dormouse.LogLine
	// Value is any other update's: nil, bool, int64, uint64 (above the range
	// of int64), float64, string, []byte, []any or map[string]any.
	Value any
	// Position is how much a command of a group has said, this update included:
	// each line and each value counts one. See [Worker.Resume].
	Position int64
}

// Complete is the Kind of the last Update of a command of a group: its Value is
// nil, or the failure that the worker reported.
const Complete = "complete"

// Running is a command that the worker has accepted.
type Running struct {
	w       *Worker
	id      string
	command Command
	on      func(context.Context, Update) error
	// position counts what on was given; owned by run.
	position int64

	mu     sync.Mutex
	queue  []item // bounded by the connection's budget
	wake   chan struct{}
	closed error // no more will be pushed, and why

	once     sync.Once
	finished chan struct{}
	err      error
}

// item is a request for this command that waits to be handled.
type item struct {
	frame frame
	buf   []byte
	cost  int
}

func newRunning(w *Worker, id string, c Command, on func(context.Context, Update) error) *Running {
	return &Running{
		w: w, id: id, command: c, on: on,
		wake: make(chan struct{}, 1), finished: make(chan struct{}),
	}
}

// Wait returns nil once the worker has said that the command is complete and
// all its updates are handled. It returns the failure that the worker reported
// instead (code Internal), the error of the function that handles updates,
// [ErrMissing], or why the connection ended (code Unavailable, [ErrConnectionLost]).
func (r *Running) Wait(ctx context.Context) error {
	select {
	case <-r.finished:
		return r.err
	default:
	}
	select {
	case <-r.finished:
		return r.err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// Interrupt asks the worker to stop the command, which then completes as
// usual. It returns once the worker has heard; of a command that has ended it
// returns nil at once.
func (r *Running) Interrupt(ctx context.Context, why string) error {
	r.mu.Lock()
	over := errors.Is(r.closed, errComplete)
	r.mu.Unlock()
	if over {
		return nil
	}
	return r.interrupt(ctx, why)
}

func (r *Running) interrupt(ctx context.Context, why string) error {
	_, err := r.w.call(ctx, "interrupt_command", field{"builder_name", r.command.Builder},
		field{"command_id", r.id}, field{"why", why})
	return err
}

// push queues an item. It reports false if the command takes no more.
func (r *Running) push(it item) bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed != nil {
		return false
	}
	if it.frame.op == "complete" {
		r.closed = errComplete
	}
	r.queue = append(r.queue, it)
	r.signal()
	return true
}

var errComplete = errors.New("complete")

// close ends the queue: after what is in it, err is the outcome.
func (r *Running) close(err error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.closed == nil {
		r.closed = err
		r.signal()
	}
}

func (r *Running) signal() {
	select {
	case r.wake <- struct{}{}:
	default:
	}
}

func (r *Running) finish(err error) {
	r.once.Do(func() {
		r.err = err
		close(r.finished)
	})
}

// run handles the items in order until the command is over.
func (r *Running) run(ctx context.Context) {
	var failed error // of on: no further update is taken
	for {
		r.mu.Lock()
		items, closed := r.queue, r.closed
		r.queue = nil
		r.mu.Unlock()
		for _, it := range items {
			if it.frame.op == "complete" {
				r.w.budget.release(it.cost)
				r.complete(ctx, it, failed)
				return
			}
			var result any
			err := errGivenUp
			if failed == nil {
				result, err = r.handle(ctx, &it.frame)
				var own *handlerError
				switch {
				case errors.As(err, &own):
					failed = own.err
					r.finish(failed)
					err = errGivenUp
				case err != nil && it.frame.op == "update":
					failed = fmt.Errorf("worker %q: command %s: %w: %w", r.w.hello.Name, r.command.Name, ErrMissing, err)
					r.finish(failed)
				}
			}
			seq := it.frame.seq
			putBuffer(it.buf)
			r.w.budget.release(it.cost)
			if r.unsaid(ctx, cmp.Or(failed, err)) {
				continue
			}
			r.w.reply(seq, result, err)
		}
		if len(items) > 0 {
			continue
		}
		if closed != nil {
			r.finish(closed)
			return
		}
		<-r.wake
	}
}

// ErrMissing ends a command of which an update could not be taken: it was not one,
// or it began beyond what had come before. The worker, which is told, takes it for
// said, so that what it says from then on has a hole.
var ErrMissing = errors.New("a part of what it said is missing")

// ErrNoAnswer is returned by the function that handles the updates of a command
// of a group to have the worker get no answer to this one, nor to any that
// follows on the connection: a worker forgets what was refused, and the next
// connection wants it.
var ErrNoAnswer = errors.New("left to the next connection")

// unsaid reports whether the answer to an update must not be given: so it was
// asked for, or it was the server's own end that kept it from being handled.
func (r *Running) unsaid(ctx context.Context, err error) bool {
	return err != nil && r.command.Group != "" && (ctx.Err() != nil || errors.Is(err, ErrNoAnswer))
}

// complete handles the last word of a command. That of a command of a group is
// for its function, too: it is acknowledged only then.
func (r *Running) complete(ctx context.Context, it item, failed error) {
	failure := it.frame.value("args")
	putBuffer(it.buf)
	if r.unsaid(ctx, failed) {
		return
	}
	if r.command.Group != "" && failed == nil {
		u := Update{Kind: Complete, Position: r.position}
		if failure != nil {
			u.Value = remoteText(failure)
		}
		if err := r.on(ctx, u); err != nil {
			r.finish(err)
			if !r.unsaid(ctx, err) {
				r.w.reply(it.frame.seq, nil, errGivenUp)
			}
			return
		}
	}
	r.w.reply(it.frame.seq, nil, nil)
	if failure == nil {
		r.finish(nil)
		return
	}
	r.finish(CommandFailed(r.w.hello.Name, r.command.Name, remoteText(failure)))
}

// CommandFailed is the error of a command that the worker itself failed to carry
// out, with its words.
func CommandFailed(worker, command, words string) error {
	return &dormouse.Error{
		Code:    dormouse.Internal,
		Message: fmt.Sprintf("worker %q: command %s failed: %s", worker, command, words),
		Remote:  words,
	}
}

// handlerError is an error of the command's own update function, as opposed to
// one over what the worker sent.
type handlerError struct{ err error }

func (e *handlerError) Error() string { return e.err.Error() }

func (r *Running) handle(ctx context.Context, f *frame) (any, error) {
	if f.op == "update" {
		args, ok := f.raw("args")
		if !ok {
			return nil, errors.New("update without args")
		}
		if r.command.Group == "" {
			return nil, r.update(ctx, args, 0)
		}
		first, ok := f.value("first").(int64)
		if !ok || first < 0 || first > r.position {
			return nil, fmt.Errorf("an update from %v on, where %d would follow", f.value("first"), r.position)
		}
		return nil, r.update(ctx, args, r.position-first)
	}
	return r.command.Transfer.handle(ctx, f)
}

var errUpdate = errors.New("update args that are not a list of [key, value]")

// update hands the pairs of an update to the command's function, but for what it
// had before: the first known lines and values.
func (r *Running) update(ctx context.Context, args []byte, known int64) error {
	return decodeUpdates(args, time.Now(), func(u Update) error {
		said := int64(max(len(u.Lines), 1))
		if known >= said {
			known -= said
			return nil
		}
		if known > 0 {
			u.Lines, said, known = u.Lines[known:], said-known, 0
		}
		r.position += said
		u.Position = r.position
		if err := r.on(ctx, u); err != nil {
			return &handlerError{err}
		}
		return nil
	})
}

// decodeUpdates calls on for each Update that the encoded args of an update
// hold.
func decodeUpdates(args []byte, now time.Time, on func(Update) error) error {
	if msgp.NextType(args) != msgp.ArrayType {
		return errUpdate
	}
	n, b, err := msgp.ReadArrayHeaderBytes(args)
	if err != nil {
		return errUpdate
	}
	for range n {
		pair := b
		if b, err = msgp.Skip(b); err != nil {
			return errUpdate
		}
		key, value, err := readPair(pair)
		if err != nil {
			return err
		}
		if err := decodeUpdate(key, value, now, on); err != nil {
			return err
		}
	}
	return nil
}

// readPair reads [text, value]; the value stays encoded.
func readPair(b []byte) (key string, value []byte, err error) {
	if msgp.NextType(b) != msgp.ArrayType {
		return "", nil, errUpdate
	}
	n, b, err := msgp.ReadArrayHeaderBytes(b)
	if err != nil || n != 2 {
		return "", nil, errUpdate
	}
	text, value, err := readText(b)
	if err != nil {
		return "", nil, errUpdate
	}
	return validText(text), value, nil
}

func decodeUpdate(key string, value []byte, now time.Time, on func(Update) error) error {
	u := Update{Kind: key}
	stream := dormouse.Stdout
	switch key {
	case "stdout":
	case "stderr":
		stream = dormouse.Stderr
	case "header":
		stream = dormouse.Header
	case "log":
		var err error
		if u.LogName, value, err = readPair(value); err != nil {
			return err
		}
	default:
		v, _, err := decodeValue(value)
		if err != nil {
			return errUpdate
		}
		u.Value = v
		return on(u)
	}
	r, err := newOutputReader(value, stream, now)
	if err != nil {
		return err
	}
	for u.Lines = r.next(); u.Lines != nil; u.Lines = r.next() {
		if err := on(u); err != nil {
			return err
		}
	}
	return nil
}

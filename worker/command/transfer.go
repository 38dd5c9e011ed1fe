package command

import (
	"context"
	"errors"
	"fmt"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/wire"
)

const (
	// defaultBlock is the block size of most of Buildbot's steps, for a master
	// that asks for none.
	defaultBlock = 16 << 10
	// maxBlock bounds what a master can make a transfer hold: larger blocks
	// save no time, and have to fit into a frame.
	maxBlock = 1 << 20
)

// transfer is a command that moves a file, or a directory, to the master or
// from it. It ends with its connection.
type transfer struct {
	path    string
	block   int
	maxSize int64 // -1 is no limit
	header  string
	// move does it. Its error is for the log.
	move func(ctx context.Context, r *running, t *transfer) error
	note string // for the log, of what was done all the same
}

// parseTransfer reads the arguments that all transfers have.
func parseTransfer(a *arguments) *transfer {
	t := &transfer{path: a.path("path"), maxSize: -1, block: defaultBlock}
	if n, set := a.size("maxsize"); set {
		t.maxSize = n
	}
	if n, set := a.size("blocksize"); set {
		if n == 0 {
			a.fail("blocksize", "is zero")
		}
		t.block = int(min(n, maxBlock))
	}
	return t
}

// allowed is how much of a block of n bytes the size limit admits.
func (t *transfer) allowed(n int, moved int64) int {
	if t.maxSize < 0 {
		return n
	}
	return int(min(int64(n), t.maxSize-moved))
}

// tooLarge is the error of what has more than the limit.
func (t *transfer) tooLarge(what string) error {
	return fmt.Errorf("%s has more than the %d bytes that maxsize allows: %s", t.path, t.maxSize, what)
}

func (t *transfer) run(r *running) (failure string) {
	if t.header != "" {
		r.header(t.header)
	}
	var err error
	stop := r.work(limits{}, func(ctx context.Context, _ func()) { err = t.move(ctx, r, t) })
	if t.note != "" {
		r.header(t.note)
	}
	code := 0
	switch {
	case stop != nil: // the log says so already
		code = 1
	case err != nil:
		code = 1
		r.line(dormouse.Stderr, err.Error())
		if refusedByMaster(err) {
			// Not the file's fault, nor the build's.
			failure = err.Error()
		}
	}
	r.out.Pair("rc", code)
	return failure
}

// refusedByMaster reports whether it is the master that could not go on, or does
// not keep to the protocol.
func refusedByMaster(err error) bool {
	if _, ok := errors.AsType[*wire.RemoteError](err); ok {
		return true
	}
	e, ok := errors.AsType[*dormouse.Error](err)
	return ok && e.Code == dormouse.Internal
}

// pathError is an error with the path it is about, in a sentence.
func pathError(doing, path string, err error) error {
	return &reasonError{fmt.Sprintf("cannot %s %s: %s", doing, path, reasonOf(err)), err}
}

type reasonError struct {
	text string
	err  error
}

func (e *reasonError) Error() string { return e.text }
func (e *reasonError) Unwrap() error { return e.err }

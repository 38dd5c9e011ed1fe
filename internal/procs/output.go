package procs

import (
	"errors"
	"io"
	"os"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"
)

// settledSize bounds what is read of an output that is settled: as much as Linux
// lets an ordinary user's pipe hold.
const settledSize = 1 << 20

// Output is our end of what a process prints, a pipe or a terminal. It is read by
// one goroutine; Settle and Close may come from another one.
type Output struct {
	f       *os.File
	settled atomic.Bool
	ended   atomic.Bool
	rest    int // what may still be read of a settled output
	last    bool
}

// NewOutput takes our end of a pipe or a terminal.
func NewOutput(f *os.File) *Output { return &Output{f: f} }

// Read reads what there is, and waits for it. It returns io.EOF once no process
// holds the other end, or all is read that was there when the output was settled.
func (o *Output) Read(p []byte) (int, error) {
	if !o.settled.Load() {
		n, err := o.f.Read(p)
		if n > 0 || !errors.Is(err, os.ErrDeadlineExceeded) {
			return n, o.end(err)
		}
	}
	if !o.last {
		o.last, o.rest = true, settledSize
	}
	if o.rest <= 0 {
		return 0, io.EOF
	}
	n, err := o.readNow(p[:min(len(p), o.rest)])
	o.rest -= n
	if errors.Is(err, unix.EAGAIN) {
		o.rest = 0
		return 0, io.EOF
	}
	return n, o.end(err)
}

// readNow reads what there is, and does not wait.
func (o *Output) readNow(p []byte) (n int, err error) {
	conn, err := o.f.SyscallConn()
	if err != nil {
		return 0, err
	}
	read := func(fd uintptr) bool {
		for {
			n, err = unix.Read(int(fd), p)
			if !errors.Is(err, unix.EINTR) {
				return true
			}
		}
	}
	failed := conn.Read(read)
	for errors.Is(failed, os.ErrDeadlineExceeded) { // Settle's, which came later than its news
		if failed = o.f.SetReadDeadline(time.Time{}); failed == nil {
			failed = conn.Read(read)
		}
	}
	switch {
	case failed != nil:
		return 0, failed
	case err != nil:
		return 0, err
	case n == 0:
		return 0, io.EOF
	}
	return n, nil
}

// end notes that the output has ended. A terminal's end is an error on Linux
// (EIO), and there is no other one that could be acted on.
func (o *Output) end(err error) error {
	if err == nil {
		return nil
	}
	o.ended.Store(true)
	return io.EOF
}

// Settle has Read return io.EOF once it has read what is there now, whoever
// holds the other end.
func (o *Output) Settle() {
	if !o.settled.Swap(true) {
		// A read that waits returns; where it cannot be told to, Close ends it.
		_ = o.f.SetReadDeadline(time.Unix(1, 0))
	}
}

// Held reports whether a process still holds the other end. Nobody reads the
// output any more.
func (o *Output) Held() bool {
	if o.ended.Load() {
		return false
	}
	held := true
	if conn, err := o.f.SyscallConn(); err == nil {
		_ = conn.Control(func(fd uintptr) {
			ask := []unix.PollFd{{Fd: int32(fd), Events: unix.POLLIN}}
			if _, err := unix.Poll(ask, 0); err == nil {
				held = ask[0].Revents&unix.POLLHUP == 0
			}
		})
	}
	return held
}

// File is the end that is ours.
func (o *Output) File() *os.File { return o.f }

// Discard reads on for nobody, so that who holds the other end is not stopped by
// that, until the output ends or is closed. Nobody else reads it any more.
func (o *Output) Discard() {
	_ = o.f.SetReadDeadline(time.Time{})
	_, _ = io.Copy(io.Discard, o.f)
}

// Close closes our end, which ends a read that waits.
func (o *Output) Close() { o.f.Close() }

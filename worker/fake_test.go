package worker

import (
	"context"
	"errors"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dormouse-ci/dormouse/wire"
	"github.com/dormouse-ci/dormouse/worker/command"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

const testPath = "PATH=/usr/local/bin:/usr/bin:/bin"

// fakeConn is a connection to a master that hears nothing of what commands say, but
// for their ends, and moves no files.
type fakeConn struct {
	command.Mover

	keepalive  func(context.Context) error
	serve      func() // runs once the agent has the connection
	extensions wire.Extensions

	mu        sync.Mutex
	completed map[string]string
	notices   []wire.Notice
	changed   chan struct{}

	done     chan struct{}
	doneOnce sync.Once
	err      error
}

func newFakeConn() *fakeConn {
	return &fakeConn{completed: make(map[string]string), changed: make(chan struct{}, 1), done: make(chan struct{})}
}

func (c *fakeConn) Send(context.Context, string, int64, wire.Updates) (func(context.Context) error, error) {
	return func(context.Context) error { return nil }, nil
}

func (c *fakeConn) Complete(_ context.Context, id, failure string) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.completed[id] = failure
	return nil
}

func (c *fakeConn) Interruption(_ context.Context, n wire.Notice) error {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.notices = append(c.notices, n)
	select {
	case c.changed <- struct{}{}:
	default:
	}
	return nil
}

func (c *fakeConn) Extensions() wire.Extensions         { return c.extensions }
func (c *fakeConn) SecretBound() bool                   { return false }
func (c *fakeConn) Machine() string                     { return "" }
func (c *fakeConn) Leave()                              {}
func (c *fakeConn) Keepalive(ctx context.Context) error { return c.keepalive(ctx) }
func (c *fakeConn) Done() <-chan struct{}               { return c.done }
func (c *fakeConn) Err() error                          { return c.err }
func (c *fakeConn) Wait()                               {}

func (c *fakeConn) Close() error {
	c.drop(errors.New("closed by the agent"))
	return nil
}

// drop ends the connection.
func (c *fakeConn) drop(err error) {
	c.doneOnce.Do(func() {
		c.err = err
		close(c.done)
	})
}

// await waits until the master has heard what holds.
func (c *fakeConn) await(t *testing.T, holds func() bool) {
	t.Helper()
	deadline := time.After(time.Minute)
	for !holds() {
		select {
		case <-c.changed:
		case <-deadline:
			t.Fatal("not heard within a minute")
		}
	}
}

// family is a shell command that does not end, and has a child that does not
// either; see [awaitFamily].
const family = "sleep 1000 & echo $$ $! >pids.tmp; mv pids.tmp pids; wait"

// awaitFamily returns the processes of a [family] that has begun in a directory.
func awaitFamily(t *testing.T, dir string) []int {
	t.Helper()
	path := filepath.Join(dir, "pids")
	awaitFile(t, path)
	text, err := os.ReadFile(path)
	if err != nil {
		t.Error(err)
	}
	if err := os.Remove(path); err != nil { // for the next
		t.Error(err)
	}
	var pids []int
	for _, word := range strings.Fields(string(text)) {
		pid, err := strconv.Atoi(word)
		if err != nil {
			t.Error(err)
		}
		pids = append(pids, pid)
	}
	if len(pids) != 2 {
		t.Errorf("the command printed %q", text)
	}
	return pids
}

// awaitFile waits until a command has made a file.
func awaitFile(t *testing.T, path string) {
	t.Helper()
	for deadline := time.Now().Add(5 * time.Minute); ; {
		if _, err := os.Stat(path); err == nil {
			return
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is not there", path)
		}
		<-time.After(5 * time.Millisecond)
	}
}

// gone waits until a process has ended.
func gone(t *testing.T, pid int) {
	t.Helper()
	deadline := time.After(time.Minute)
	for {
		stat, err := os.ReadFile("/proc/" + strconv.Itoa(pid) + "/stat")
		if err != nil {
			return
		}
		// A zombie whose new parent has not reaped it yet is dead as well.
		if _, rest, ok := strings.Cut(string(stat), ") "); ok && rest[0] == 'Z' {
			return
		}
		select {
		case <-deadline:
			t.Fatalf("process %d still lives after a minute", pid)
		case <-time.After(time.Millisecond):
		}
	}
}

// files are what is in a directory, by their paths in it, with their text.
func files(t *testing.T, dir string) map[string]string {
	t.Helper()
	got := map[string]string{}
	err := filepath.WalkDir(dir, func(path string, e os.DirEntry, err error) error {
		if err != nil || path == dir {
			return err
		}
		rel, err := filepath.Rel(dir, path)
		if err != nil {
			return err
		}
		if e.IsDir() {
			got[rel] = "directory"
			return nil
		}
		text, err := os.ReadFile(path)
		got[rel] = string(text)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	return got
}

// write writes a file.
func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o644); err != nil {
		t.Fatal(err)
	}
}

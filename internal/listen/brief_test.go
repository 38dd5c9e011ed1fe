package listen

import (
	"bytes"
	"fmt"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"
)

// buffer takes a log.
type buffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *buffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *buffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func TestBrief(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out buffer
		log := Brief(slog.New(slog.NewTextHandler(&out, nil)))
		lines := func() int {
			synctest.Wait()
			return strings.Count(out.String(), "\n")
		}
		for range 5000 {
			log.Warn("worker refused", "remote", "192.0.2.1:1")
		}
		log.Warn("something else")
		if n := lines(); n != briefLines+1 {
			t.Errorf("%d lines of 5000 of one kind and one of another", n)
		}
		time.Sleep(briefTime)
		synctest.Wait()
		if n := lines(); n != briefLines+2 || !strings.Contains(out.String(), `msg="worker refused" suppressed=4990 in=1m0s`) {
			t.Errorf("%d lines:\n%s", n, out.String())
		}
		// It begins anew, and what is rare is never left out.
		for range 3 * briefLines {
			log.Warn("worker refused", "rare", true)
			time.Sleep(briefTime / briefLines)
		}
		if n := strings.Count(out.String(), "rare=true"); n != 3*briefLines {
			t.Errorf("%d of %d lines that were rare", n, 3*briefLines)
		}
	})
}

// Messages that are made up of what a peer says take no memory.
func TestBriefKinds(t *testing.T) {
	t.Parallel()
	synctest.Test(t, func(t *testing.T) {
		var out buffer
		log := Brief(slog.New(slog.NewTextHandler(&out, nil)))
		for i := range 10_000 {
			log.Warn(fmt.Sprint("message ", i))
		}
		synctest.Wait()
		if n := strings.Count(out.String(), "\n"); n > briefKinds+briefLines {
			t.Errorf("%d lines", n)
		}
		if n := len(log.Handler().(*brief).kinds); n > briefKinds+1 {
			t.Errorf("%d kinds", n)
		}
	})
}

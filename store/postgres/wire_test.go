package postgres_test

import (
	"bytes"
	"context"
	"encoding/binary"
	"fmt"
	"net/url"
	"slices"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/internal/brokenwire"
	"github.com/dormouse-ci/dormouse/store"
	"github.com/dormouse-ci/dormouse/store/postgres"
	"github.com/dormouse-ci/dormouse/store/storetest"
)

// proxied makes an empty database, and returns its URL through a proxy.
func proxied(t *testing.T) (string, *brokenwire.Proxy) {
	t.Helper()
	direct, err := url.Parse(newDatabase(t))
	if err != nil {
		t.Fatal(err)
	}
	p, err := brokenwire.Start("unix", server.Socket())
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { check(t, p.Close()) })
	return "postgres://postgres@" + p.Addr() + direct.Path + "?sslmode=disable", p
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// messages breaks a connection behind so many messages in one direction, and some
// bytes of the next. It is for connections that have been made before: each
// message is a byte for its type and four for its length.
type messages struct {
	to    brokenwire.Direction
	left  int // messages
	then  int // bytes of the next message
	fault brokenwire.Fault

	head  []byte // of the message that is passing
	body  int    // bytes of it that are still to come
	fired atomic.Bool
}

func (m *messages) rule(p brokenwire.Piece) (int, brokenwire.Fault) {
	if p.To != m.to || m.fired.Load() {
		return len(p.Data), brokenwire.Pass
	}
	const header = 5
	for i, b := range p.Data {
		if m.left == 0 {
			if m.then == 0 {
				m.fired.Store(true)
				return i, m.fault
			}
			m.then--
			continue
		}
		if m.body == 0 || len(m.head) < header {
			if m.head = append(m.head, b); len(m.head) == header {
				m.body = int(binary.BigEndian.Uint32(m.head[1:])) - 4
			}
		} else {
			m.body--
		}
		if len(m.head) == header && m.body == 0 {
			m.left, m.head = m.left-1, nil
		}
	}
	return len(p.Data), brokenwire.Pass
}

// atCommit breaks a connection around a commit: so many bytes behind the beginning
// of its message, or of the answer.
type atCommit struct {
	to    brokenwire.Direction
	bytes int
	fault brokenwire.Fault

	conn  int // that commits, 0 before
	fired atomic.Bool
}

func (c *atCommit) rule(p brokenwire.Piece) (int, brokenwire.Fault) {
	begin := 0
	if c.conn == 0 && p.To == brokenwire.ToServer {
		// Q, a length of 11, and the text with its NUL.
		if begin = bytes.Index(p.Data, []byte("Q\x00\x00\x00\x0bcommit\x00")); begin >= 0 {
			c.conn = p.Conn
		}
	}
	if c.conn != p.Conn || p.To != c.to || c.fired.Load() {
		return len(p.Data), brokenwire.Pass
	}
	if end := begin + c.bytes; end <= len(p.Data) {
		c.fired.Store(true)
		return end, c.fault
	}
	c.bytes -= len(p.Data) - begin
	return len(p.Data), brokenwire.Pass
}

// TestBrokenCommits breaks the connection around the commit of each kind of write:
// before it is sent, in the midst of it, behind it, and in its answer. Whatever was
// lost, the write is done once in the end, by being repeated; and its error says
// what is known.
func TestBrokenCommits(t *testing.T) {
	t.Parallel()
	points := []struct {
		to    brokenwire.Direction
		bytes int
		fault brokenwire.Fault
	}{
		{brokenwire.ToServer, 0, brokenwire.Cut},
		{brokenwire.ToServer, 7, brokenwire.Truncate},
		{brokenwire.ToServer, 12, brokenwire.Cut}, // all of it
		{brokenwire.ToClient, 0, brokenwire.Truncate},
		{brokenwire.ToClient, 7, brokenwire.Cut},
		{brokenwire.ToClient, 17, brokenwire.Truncate}, // all but a byte
	}
	for _, w := range storetest.Writes {
		t.Run(w.Name, func(t *testing.T) {
			t.Parallel()
			location, p := proxied(t)
			f := storetest.NewFixture(t, open(t, location))
			once, look := w.Prepare(t, f, 0)
			check(t, once(t.Context()))
			want := look(t)
			for i, point := range points {
				do, look := w.Prepare(t, f, i+1)
				c := &atCommit{to: point.to, bytes: point.bytes, fault: point.fault}
				p.Use(c.rule)
				if err := do(t.Context()); dormouse.CodeOf(err) != dormouse.Unanswered {
					t.Errorf("%v behind %d bytes of the commit %v: %v", point.fault, point.bytes, point.to, err)
				}
				p.Use(nil)
				until(t, do)
				if got := look(t); !c.fired.Load() || got != want {
					t.Errorf("%v behind %d bytes of the commit %v: %s\nwant: %s", point.fault, point.bytes, point.to, got, want)
				}
			}
		})
	}
}

// TestBrokenWrites breaks the connection behind each message of a write, and within
// each, in both directions.
func TestBrokenWrites(t *testing.T) {
	t.Parallel()
	for _, w := range storetest.Writes {
		if w.Name == "AppendLog" || w.Name == "RenewLease" {
			t.Run(w.Name, func(t *testing.T) {
				t.Parallel()
				breakWrite(t, w)
			})
		}
	}
}

func breakWrite(t *testing.T, w storetest.Write) {
	location, p := proxied(t)
	f := storetest.NewFixture(t, open(t, location))
	n := 0
	once, look := w.Prepare(t, f, n)
	check(t, once(t.Context()))
	want := look(t)
	for _, to := range []brokenwire.Direction{brokenwire.ToServer, brokenwire.ToClient} {
		for after, more := 0, true; more; after++ {
			n++
			do, look := w.Prepare(t, f, n)
			p.CutAll() // so that each time the same is said, over a new connection
			until(t, f.Warm)
			until(t, func(ctx context.Context) error { _, err := f.PendingRequests(ctx); return err })
			m := &messages{to: to, left: after / 2, fault: brokenwire.Cut}
			if after%2 == 1 {
				m.then, m.fault = 3, brokenwire.Truncate
			}
			what := fmt.Sprintf("%v behind %d messages and %d bytes %v", m.fault, m.left, m.then, to)
			p.Use(m.rule)
			until(t, do)
			p.Use(nil)
			if got := look(t); got != want {
				t.Fatalf("%s: %s\nwant: %s", what, got, want)
			}
			more = m.fired.Load() // else it has fewer messages
		}
	}
	if n < 20 {
		t.Errorf("%d tries", n)
	}
}

// until does a write until it is done. Any other error than one which passes is the test's failure.
func until(t *testing.T, do func(context.Context) error) {
	t.Helper()
	for {
		err := do(t.Context())
		switch dormouse.CodeOf(err) {
		case "":
			return
		case dormouse.Unanswered, dormouse.Unavailable:
		default:
			t.Fatalf("it is not to be repeated: %v (%s)", err, dormouse.CodeOf(err))
		}
	}
}

// TestSilentWrites has the connection fall silent at the points where it matters:
// the write ends in its time, with the right class, and is done once in the end.
func TestSilentWrites(t *testing.T) {
	t.Parallel()
	for _, w := range storetest.Writes {
		if !slices.Contains([]string{"RenewLease", "SettleAttempts", "AppendLog", "FinishBuild"}, w.Name) {
			continue // silence is bounded in one place, for all of them
		}
		t.Run(w.Name, func(t *testing.T) {
			t.Parallel()
			location, p := proxied(t)
			f := storetest.NewFixture(t, impatient(t, location))
			once, look := w.Prepare(t, f, 0)
			until(t, once)
			want := look(t)
			n := 0
			for _, m := range []*messages{
				{to: brokenwire.ToServer, left: 0, fault: brokenwire.Deaf},            // BEGIN is lost
				{to: brokenwire.ToServer, left: 2, then: 3, fault: brokenwire.Deaf},   // in the midst of a statement
				{to: brokenwire.ToClient, left: 3, fault: brokenwire.Deaf},            // the answers to one
				{to: brokenwire.ToClient, left: 3, then: 2, fault: brokenwire.Stall},  // … arrive when it is too late
				{to: brokenwire.ToServer, left: 10, then: 1, fault: brokenwire.Stall}, // around the commit
			} {
				n++
				do, look := w.Prepare(t, f, n)
				p.Use(m.rule)
				until(t, do)
				p.Use(nil)
				if got := look(t); got != want {
					t.Errorf("%v behind %d messages %v: %s\nwant: %s", m.fault, m.left, m.to, got, want)
				}
			}
		})
	}
}

// impatient opens a database with limits that tests can wait for. Its schema is
// made without them, and a busy machine may need more than one attempt to open it.
func impatient(t *testing.T, location string) *store.DB {
	t.Helper()
	patient, err := postgres.Open(t.Context(), location)
	check(t, err)
	check(t, patient.Close())
	var db *store.DB
	until(t, func(ctx context.Context) (err error) {
		db, err = postgres.OpenImpatient(ctx, location, 300*time.Millisecond)
		return err
	})
	t.Cleanup(func() { check(t, db.Close()) })
	return db
}

// TestAllConnectionsGoDeaf: what was in the pools when the network went away does
// not hold up what comes when it is back.
func TestAllConnectionsGoDeaf(t *testing.T) {
	t.Parallel()
	location, p := proxied(t)
	f := storetest.NewFixture(t, impatient(t, location))
	busy := make(chan error)
	all := func() {
		const many = 20 // more than there are connections
		for range many {
			go func() { busy <- f.Warm(t.Context()) }()
			go func() {
				_, err := f.PendingRequests(t.Context())
				busy <- err
			}()
			go func() {
				_, err := f.Build(t.Context(), 1)
				busy <- err
			}()
		}
		for range 3 * many {
			if err := <-busy; err != nil && !slices.Contains([]dormouse.Code{dormouse.Unavailable, dormouse.Unanswered, dormouse.NotFound}, dormouse.CodeOf(err)) {
				t.Error(err)
			}
		}
	}
	all()
	p.Use(brokenwire.Always(brokenwire.Deaf))
	all() // all of them end
	p.Use(nil)
	until(t, f.Warm)
	until(t, func(ctx context.Context) error { _, err := f.PendingRequests(ctx); return err })
}

// TestBrokenReads: a read ends whatever becomes of its connection, and says that it may
// be repeated.
func TestBrokenReads(t *testing.T) {
	t.Parallel()
	location, p := proxied(t)
	f := storetest.NewFixture(t, impatient(t, location))
	reads := map[string]func(context.Context) error{
		"one statement": func(ctx context.Context) error { _, err := f.PendingRequests(ctx); return err },
		"a snapshot":    func(ctx context.Context) error { _, err := f.UsageOf(ctx, []string{"i-1"}, time.Now()); return err },
	}
	for name, read := range reads {
		for _, fault := range []brokenwire.Fault{brokenwire.Cut, brokenwire.Truncate, brokenwire.Deaf, brokenwire.Stall} {
			for _, to := range []brokenwire.Direction{brokenwire.ToServer, brokenwire.ToClient} {
				for after := range 4 {
					until(t, read)
					m := &messages{to: to, left: after, fault: fault}
					p.Use(m.rule)
					err := read(t.Context())
					if m.fired.Load() && err != nil && dormouse.CodeOf(err) != dormouse.Unavailable {
						t.Errorf("%s, %v behind %d messages %v: %v", name, fault, after, to, err)
					}
					p.Use(nil)
				}
			}
		}
	}
	if _, err := f.Build(t.Context(), 99); dormouse.CodeOf(err) != dormouse.NotFound {
		t.Error(fmt.Errorf("in the end: %w", err))
	}
}

package notify

import (
	"context"
	"errors"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dormouse-ci/dormouse"
)

// box is a store of mails.
type box struct {
	mu    sync.Mutex
	mails []dormouse.Mail
	last  int64
}

func (b *box) AddMail(_ context.Context, m dormouse.Mail) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.last++
	m.ID = b.last
	b.mails = append(b.mails, m)
	return nil
}

func (b *box) Mails(context.Context) ([]dormouse.Mail, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	out := slices.Clone(b.mails)
	slices.SortStableFunc(out, func(x, y dormouse.Mail) int { return x.NextAt.Compare(y.NextAt) })
	return out, nil
}

func (b *box) PostponeMail(_ context.Context, id int64, attempts int, next time.Time) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	for i := range b.mails {
		if b.mails[i].ID == id {
			b.mails[i].Attempts, b.mails[i].NextAt = attempts, next
		}
	}
	return nil
}

func (b *box) RemoveMail(_ context.Context, id int64) error {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.mails = slices.DeleteFunc(b.mails, func(m dormouse.Mail) bool { return m.ID == id })
	return nil
}

func (b *box) len() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.mails)
}

// answers is a server that answers in turn, and with the last for ever.
type answers struct {
	mu      sync.Mutex
	list    []error
	at      []time.Duration
	started time.Time
}

func (a *answers) Send(context.Context, dormouse.Mail) error {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.at = append(a.at, time.Since(a.started))
	err := a.list[0]
	if len(a.list) > 1 {
		a.list = a.list[1:]
	}
	return err
}

func TestOutbox(t *testing.T) {
	later := errors.New("later")
	for _, tc := range []struct {
		name  string
		says  []error
		at    []time.Duration // when it is tried
		after time.Duration
		left  int
	}{
		{"taken", []error{nil}, []time.Duration{0}, time.Hour, 0},
		{"taken in the end", []error{later, later, later, nil}, []time.Duration{0, 30 * time.Second, 90 * time.Second, 210 * time.Second}, time.Hour, 0},
		{"refused for good", []error{dormouse.Errorf(dormouse.Invalid, "nobody here")}, []time.Duration{0}, time.Hour, 0},
		{"still tried", []error{later}, nil, 2 * 24 * time.Hour, 1},
		{"given up", []error{later}, nil, 4 * 24 * time.Hour, 0},
	} {
		t.Run(tc.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				store, server := &box{}, &answers{list: tc.says, started: time.Now()}
				o := Start(store, map[string]Server{"relay": server}, slog.New(slog.DiscardHandler))
				m := aMail()
				m.Server = "relay"
				if err := o.Add(t.Context(), m); err != nil {
					t.Fatal(err)
				}
				time.Sleep(tc.after)
				synctest.Wait()
				if store.len() != tc.left || tc.at != nil && !slices.Equal(server.at, tc.at) {
					t.Errorf("%d left, tried at %v", store.len(), server.at)
				}
				o.Stop()
				o.Stop()
			})
		})
	}
}

// TestOutboxGoesOn: what an earlier process has left is sent by the next.
func TestOutboxGoesOn(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		store := &box{}
		m := aMail()
		m.Server, m.CreatedAt = "relay", time.Now()
		if err := store.AddMail(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		m.Server = "gone"
		if err := store.AddMail(t.Context(), m); err != nil {
			t.Fatal(err)
		}
		server := &answers{list: []error{nil}, started: time.Now()}
		o := Start(store, map[string]Server{"relay": server}, slog.New(slog.DiscardHandler))
		synctest.Wait()
		if store.len() != 0 || len(server.at) != 1 {
			t.Errorf("%d left, %d sent", store.len(), len(server.at))
		}
		o.Stop()
	})
}

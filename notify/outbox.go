package notify

import (
	"context"
	"log/slog"
	"sync"
	"sync/atomic"
	"time"

	"github.com/dormouse-ci/dormouse"
)

const (
	// A mail server that is restarted, or that puts unknown senders off for a
	// while, takes a mail minutes later; RFC 5321, 4.5.4.1, has senders wait half
	// an hour at least in the long run, and give up after four to five days.
	// Nobody wants to hear of a boot that failed so long ago.
	retryFirst = 30 * time.Second
	retryMost  = time.Hour
	giveUp     = 3 * 24 * time.Hour
	// storeAgain is the pause when the outbox itself cannot be read or written.
	storeAgain = 10 * time.Second
)

// Store keeps the outbox. Adding is durable before it returns.
type Store interface {
	AddMail(ctx context.Context, m dormouse.Mail) error
	Mails(ctx context.Context) ([]dormouse.Mail, error) // what is due first comes first
	PostponeMail(ctx context.Context, id int64, attempts int, next time.Time) error
	RemoveMail(ctx context.Context, id int64) error
}

// Server takes mails. An error of class [dormouse.Invalid] is for good.
type Server interface {
	Send(ctx context.Context, m dormouse.Mail) error
}

// Outbox sends what is in its store. One goroutine does it all.
type Outbox struct {
	store   Store
	servers atomic.Pointer[map[string]Server]
	log     *slog.Logger
	wake    chan struct{}
	cancel  context.CancelFunc
	wg      sync.WaitGroup
}

// Start begins to send what is in the store, by the servers of these names, and
// what is added.
func Start(store Store, servers map[string]Server, log *slog.Logger) *Outbox {
	ctx, cancel := context.WithCancel(context.Background())
	o := &Outbox{store: store, log: log, wake: make(chan struct{}, 1), cancel: cancel}
	o.SetServers(servers)
	o.wg.Go(func() { o.run(ctx) })
	return o
}

// SetServers replaces the servers, for what is sent from now on.
func (o *Outbox) SetServers(servers map[string]Server) { o.servers.Store(&servers) }

// Add makes a mail durable, and has it sent.
func (o *Outbox) Add(ctx context.Context, m dormouse.Mail) error {
	m.CreatedAt = time.Now()
	m.NextAt = m.CreatedAt
	if err := o.store.AddMail(ctx, m); err != nil {
		return err
	}
	select {
	case o.wake <- struct{}{}:
	default:
	}
	return nil
}

// Stop ends the sending, and waits for it. What is left is sent by the next.
// Calling it again does nothing.
func (o *Outbox) Stop() {
	o.cancel()
	o.wg.Wait()
}

func (o *Outbox) run(ctx context.Context) {
	for ctx.Err() == nil {
		next, err := o.round(ctx)
		if err != nil && ctx.Err() == nil {
			o.log.Error("the outbox of mails cannot be kept; trying again", "error", err)
			next = time.Now().Add(storeAgain)
		}
		var due <-chan time.Time
		if !next.IsZero() {
			due = time.After(time.Until(next))
		}
		select {
		case <-due:
		case <-o.wake:
		case <-ctx.Done():
		}
	}
}

// round sends what is due, and returns when the next is; zero when there is none.
func (o *Outbox) round(ctx context.Context) (next time.Time, err error) {
	mails, err := o.store.Mails(ctx)
	if err != nil {
		return next, err
	}
	tried := false
	for _, m := range mails {
		if at := dueAt(m.NextAt, time.Now()); at.After(time.Now()) {
			if next.IsZero() || at.Before(next) {
				next = at
			}
			continue
		}
		if err := o.send(ctx, m); err != nil {
			return next, err
		}
		tried = true
	}
	if tried {
		return time.Now(), nil // there may be more, and some were postponed
	}
	return next, nil
}

// send tries one mail, and stores what came of it.
func (o *Outbox) send(ctx context.Context, m dormouse.Mail) error {
	server, ok := (*o.servers.Load())[m.Server]
	err := error(dormouse.Errorf(dormouse.Invalid, "mail server %s has left the configuration", m.Server))
	if ok {
		err = server.Send(ctx, m)
	}
	log := o.log.With("subject", m.Subject, "to", m.To, "server", m.Server)
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case err == nil:
		log.Info("mail sent")
	case dormouse.CodeOf(err) == dormouse.Invalid || time.Since(m.CreatedAt) > giveUp:
		log.Error("a mail cannot be sent, and is given up", "error", err)
	default:
		wait := pause(m.Attempts)
		log.Warn("a mail could not be sent; it is tried again", "error", err, "in", wait)
		return o.store.PostponeMail(ctx, m.ID, m.Attempts+1, time.Now().Add(wait))
	}
	return o.store.RemoveMail(ctx, m.ID)
}

// dueAt is when a mail is sent that was to wait until a time. None waits longer than
// the longest pause: a clock that was ahead, and has been set since, would have it
// wait for as long as it was wrong.
func dueAt(next, now time.Time) time.Time {
	if next.Sub(now) > retryMost {
		return now
	}
	return next
}

// pause is the wait after so many failed attempts before this one.
func pause(attempts int) time.Duration {
	d := retryFirst
	for range min(attempts, 16) {
		d = min(2*d, retryMost)
	}
	return d
}

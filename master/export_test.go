package master

import (
	"context"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/build"
	"github.com/dormouse-ci/dormouse/store"
)

// AroundWrites has f stand around every write to the store: it is told what the
// write is for, and carries it out by calling it.
func (o *Options) AroundWrites(f func(what string, write func() error) error) {
	o.wrap = func(w store.Writer) store.Writer { return aroundWriter{w, f} }
}

type aroundWriter struct {
	store.Writer
	around func(what string, write func() error) error
}

func (w aroundWriter) Write(ctx context.Context, what string, f func(context.Context, store.Tx) error) error {
	return w.around(what, func() error { return w.Writer.Write(ctx, what, f) })
}

// Crash ends a master without its ending anything: what a kill leaves, but for
// the process.
func (m *Master) Crash() {
	m.stopOnce.Do(func() {
		m.dispatcher()
		m.giveUp()
		m.lost.Store(true) // it stores no end of a build either
		m.endBuilds(build.ErrLeft)
		ctx, cancel := context.WithCancel(context.Background())
		cancel()
		m.awaitBuilds(ctx)
		m.closeServers()
		m.release()
	})
}

// Drop cuts a worker's connection.
func (m *Master) Drop(name string) { m.hosted(name).connection().Close("dropped by a test") }

// Freeze leaves all builds as they are, whatever is asked of them.
func (m *Master) Freeze() {
	m.lost.Store(true)
	m.endBuilds(build.ErrLeft)
	m.builds.Wait()
}

// DB is the master's store.
func (m *Master) DB() *store.DB { return m.db }

// DeploymentID is what the master's instances are tagged with.
func (m *Master) DeploymentID() string { return m.deployment.ID }

// Mails returns how many mails wait in the outbox.
func (m *Master) Mails() int {
	mails, err := m.db.Mails(m.ctx)
	if err != nil {
		return -1
	}
	return len(mails)
}

// Hurry has the mails in the outbox tried now.
func (m *Master) Hurry(t *testing.T) {
	t.Helper()
	mails, err := m.db.Mails(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	for _, mail := range mails {
		if err := m.owner.PostponeMail(t.Context(), mail.ID, mail.Attempts, time.Now()); err != nil {
			t.Fatal(err)
		}
	}
	if err := m.outbox.Add(t.Context(), dormouse.Mail{MessageID: mails[0].MessageID}); err != nil { // wakes it
		t.Fatal(err)
	}
}

// SubmitForTest makes requests as schedulers do.
func (m *Master) SubmitForTest(ctx context.Context, requests []dormouse.BuildRequest) ([]dormouse.BuildRequest, error) {
	return m.submit(ctx, requests)
}

// Running returns how many builds run.
func (m *Master) Running() int { return len(m.running.all()) }

package master

import (
	"context"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/build"
	"github.com/dormouse-ci/dormouse/store"
)

// OnOpen has f called with the store, before anything is written.
func (o *Options) OnOpen(f func(*store.DB)) { o.opened = f }

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

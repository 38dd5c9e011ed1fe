package master_test

import (
	"fmt"
	"testing"

	"github.com/dormouse-ci/dormouse/internal/loopback"
)

// TestAPlainWorkerIsMissed: people are told of a worker that does not attach after
// the master's start, and once for each time that it has gone; not of one that is
// nobody's concern, or that is there.
func TestAPlainWorkerIsMissed(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	port, err := loopback.FreePort() // nobody takes mails
	if err != nil {
		t.Fatal(err)
	}
	m := s.start(fmt.Sprintf(`
from buildbot.plugins import reporters
c['workers'] = [
    worker.Worker('bot', 'pw', missing_timeout=0.05, notify_on_missing='ops@example.org'),
    worker.Worker('unasked', 'pw', missing_timeout=0.01),
    worker.Worker('never', 'pw', missing_timeout=None, notify_on_missing='ops@example.org'),
    worker.Worker('patient', 'pw', notify_on_missing='ops@example.org'),
]
c['services'] = [reporters.MailNotifier('ci@example.org', extraRecipients=['all@example.org'], relayhost='127.0.0.1', smtpPort=%d,
    generators=[reporters.WorkerMissingGenerator()])]
forced([builder('b', ['bot', 'unasked', 'never', 'patient'], 'true')])
`, port))
	m.awaitMails(1) // it has not attached
	s.attach(m, "bot", "pw")
	if err := m.StopWorker(t.Context(), "bot", true); err != nil {
		t.Fatal(err)
	}
	m.awaitMails(2)
}

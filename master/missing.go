package master

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/config"
	"github.com/dormouse-ci/dormouse/latent"
	"github.com/dormouse-ci/dormouse/notify"
)

// consoleTime bounds the question for the console output that a mail shows.
const consoleTime = 15 * time.Second

// startOutbox begins to send mails: those that an earlier master has left, too.
func (m *Master) startOutbox() {
	m.outbox = notify.Start(records{m.db, m.owner}, servers(m.now().config), m.log)
}

// servers are the mail servers of a configuration, by name.
func servers(c *config.Master) map[string]notify.Server {
	out := map[string]notify.Server{}
	for _, n := range c.MailNotifiers {
		out[n.Name()] = notify.SMTP{
			Host: n.RelayHost, Port: n.SMTPPort, STARTTLS: n.UseTLS, TLS: n.UseSMTPS, User: n.SMTPUser, Password: n.SMTPPassword,
		}
	}
	return out
}

// missing tells people that an instance of a worker did not attach, and the host
// once that is certain: else the next master does it.
func (m *Master) missing(w *worker, generation int64, reason string) {
	m.log.Error("an instance did not attach", "worker", w.name, "generation", generation, "why", reason)
	m.aside.Go(func() {
		c := w.defined().config
		told := m.tell(c, w.name, generation, func() (string, string) { return notify.Missing(m.missingWorker(w, generation, reason)) })
		if told {
			w.latent.Post(latent.Told{Generation: generation})
		}
	})
}

// tell has mails sent about a worker that is missing. What tells one time from
// another, such as the generation, is in their Message-ID, so that of each this is
// told once. It reports false when the master ended before that was certain.
func (m *Master) tell(c config.Worker, name string, which int64, write func() (subject, text string)) bool {
	for _, n := range m.now().config.MailNotifiers {
		to := slices.Concat(c.NotifyOnMissing, n.ExtraRecipients)
		if !n.Tells(c.Name) || len(to) == 0 {
			continue
		}
		for i, address := range to {
			if !strings.Contains(address, "@") { // somebody on this machine
				to[i] = address + "@localhost"
			}
		}
		mail := dormouse.Mail{
			MessageID: fmt.Sprintf("missing.%s.%d.%s.%s@dormouse", name, which, n.Name(), m.deployment.ID),
			Server:    n.Name(), From: n.FromAddr, To: to,
		}
		mail.Subject, mail.Text = write()
		if !m.post(mail) {
			return false
		}
	}
	return true
}

// watchPlain tells people when a worker that is not latent has been away for its
// missing_timeout, once for each absence. As in Buildbot, that counts from the end
// of its connection, and from the master's start where it has not attached since.
func (m *Master) watchPlain(w *worker) {
	m.aside.Go(func() {
		var told time.Time // the absence that people have been told of
		timer := time.NewTimer(time.Hour)
		defer timer.Stop()
		for {
			w.mu.Lock()
			away, since, changed, c := w.conn == nil, w.since, w.changed, w.defined().config
			w.mu.Unlock()
			if m.hosted(w.name) != w {
				return
			}
			timer.Stop()
			if away && !since.Equal(told) && c.MissingTimeout > 0 {
				timer.Reset(time.Until(since.Add(c.MissingTimeout)))
			}
			select {
			case <-timer.C:
				told = since
				m.plainMissing(w, c, since)
			case <-changed:
			case <-m.ctx.Done():
				return
			}
		}
	})
}

// plainMissing tells people that a worker has been away since a time.
func (m *Master) plainMissing(w *worker, c config.Worker, since time.Time) {
	if m.now().worker(w.name) != w {
		return // it has left the configuration
	}
	m.log.Warn("a worker is missing", "worker", w.name, "since", since)
	if len(c.NotifyOnMissing) == 0 {
		return
	}
	site := m.now().config
	m.tell(c, w.name, since.UnixMilli(), func() (string, string) {
		return notify.Away(notify.AwayWorker{
			Title: site.Title, URL: site.BuildbotURL, Worker: w.name, Since: since, Timeout: c.MissingTimeout,
			Attached: since.After(w.configuredAt),
		})
	})
}

// post makes a mail durable, however long that takes, and reports false when the
// master ended first.
func (m *Master) post(mail dormouse.Mail) bool {
	return m.insist(m.ctx, "storing the mail "+mail.Subject, func() error { return m.outbox.Add(m.ctx, mail) }) == nil
}

// missingWorker collects what there is to tell. What cannot be read is left
// out: that the worker is missing is the news.
func (m *Master) missingWorker(w *worker, generation int64, reason string) notify.MissingWorker {
	ctx, cancel := context.WithTimeout(m.ctx, consoleTime)
	defer cancel()
	site := m.now().config
	out := notify.MissingWorker{Title: site.Title, URL: site.BuildbotURL, Worker: w.name, Generation: generation, Reason: reason}
	out.Attempts, _ = m.db.Attempts(ctx, w.name, generation)
	out.Instances, _ = m.db.InstancesOf(ctx, w.name, generation)
	for _, i := range out.Instances {
		if text, err := w.memberOf(generation).Cloud.Console(ctx, i.ID); err == nil && text != "" {
			out.Console = consoleEnd(text)
		}
	}
	return out
}

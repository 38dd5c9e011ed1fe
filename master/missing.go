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
	m.outbox = notify.Start(fenced{m.db, m.fence}, servers(m.now().config), m.log)
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
				// The same for ever: of one generation this is told once.
				MessageID: fmt.Sprintf("missing.%s.%d.%s.%s@dormouse", w.name, generation, n.Name(), m.deployment.ID),
				Server:    n.Name(), From: n.FromAddr, To: to,
			}
			mail.Subject, mail.Text = notify.Missing(m.missingWorker(w, generation, reason))
			if !m.post(mail) {
				return
			}
		}
		w.latent.Post(latent.Told{Generation: generation})
	})
}

// post makes a mail durable, however long that takes, and reports false when the
// master ended first.
func (m *Master) post(mail dormouse.Mail) bool {
	for {
		err := m.outbox.Add(m.ctx, mail)
		if err == nil {
			return true
		}
		if m.ctx.Err() != nil || m.superseded(err) {
			return false
		}
		m.storeFailed("storing the mail "+mail.Subject, err)
		select {
		case <-time.After(storeRetry):
		case <-m.ctx.Done():
			return false
		}
	}
}

// missingWorker collects what there is to tell. What can not be read is left
// out: that the worker is missing is the news.
func (m *Master) missingWorker(w *worker, generation int64, reason string) notify.MissingWorker {
	ctx, cancel := context.WithTimeout(m.ctx, consoleTime)
	defer cancel()
	site := m.now().config
	out := notify.MissingWorker{Title: site.Title, URL: site.BuildbotURL, Worker: w.name, Generation: generation, Reason: reason}
	out.Attempts, _ = m.db.Attempts(ctx, w.name, generation)
	out.Instances, _ = fenced{m.db, m.fence}.InstancesOf(ctx, w.name, generation)
	for _, i := range out.Instances {
		if text, err := w.memberOf(generation).Cloud.Console(ctx, i.ID); err == nil && text != "" {
			out.Console = consoleEnd(text)
		}
	}
	return out
}

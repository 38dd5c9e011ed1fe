package config

import (
	"fmt"
	"net/mail"
	"strconv"
	"strings"

	"go.starlark.net/starlark"

	"github.com/dormouse-ci/dormouse/config/dialect"
)

var _ = register(&class{
	name: "reporters.MailNotifier", positional: 1, list: "services",
	params: []param{
		{name: "fromaddr", support: required},
		{name: "generators", support: required},
		{name: "extraRecipients"},
		{name: "relayhost"},
		{name: "smtpPort"},
		{name: "useTls"},
		{name: "useSmtps"},
		{name: "smtpUser"},
		{name: "smtpPassword", secret: true},
		// These are about mails on builds.
		{name: "sendToInterestedUsers", support: ignored},
		{name: "lookup", support: later, advice: "use whole addresses"},
		{name: "extraHeaders", support: later, advice: "use rules for the sender, which is `fromaddr`"},
		{name: "dumpMailsToLog", support: later, advice: "use the master's log, which names each mail that cannot be sent"},
	},
	read: readMailNotifier,
})

var missingClass = register(&class{
	name: "reporters.WorkerMissingGenerator", positional: 1,
	params: []param{{name: "workers"}, {name: "message_formatter", support: later, advice: "use the text as it is: the phases' times, and the end of the console output"}},
	read:   readMissingGenerator,
})

// MailNotifier is a mail server, and what goes out by it.
type MailNotifier struct {
	FromAddr        string
	ExtraRecipients []string
	RelayHost       string
	SMTPPort        int
	UseTLS          bool // STARTTLS is insisted on
	UseSMTPS        bool // TLS from the first byte on
	SMTPUser        string
	SMTPPassword    string
	// Missing are the workers of which it is told that they are missing; MissingAll
	// is all of them.
	Missing    []string
	MissingAll bool
	Pos        string
}

// Name tells mail servers apart, also in the outbox.
func (n MailNotifier) Name() string { return fmt.Sprintf("%s:%d", n.RelayHost, n.SMTPPort) }

func readMailNotifier(a arguments) any {
	n := &MailNotifier{
		FromAddr: a.requiredText("fromaddr"), ExtraRecipients: a.mailAddresses("extraRecipients"),
		RelayHost: a.text("relayhost", "localhost"), SMTPPort: 25,
		UseTLS: a.flag("useTls", false), UseSMTPS: a.flag("useSmtps", false),
		SMTPUser: a.text("smtpUser", ""), SMTPPassword: a.secretText("smtpPassword"),
		Pos: a.r.pos(a.o.at),
	}
	if n.FromAddr != "" {
		if _, err := mail.ParseAddress(n.FromAddr); err != nil {
			a.errorf("fromaddr", "", "fromaddr must be a mail address, such as 'ci@example.com', not %s", quote(n.FromAddr))
		}
	}
	if f, ok := a.some("smtpPort"); ok {
		n.SMTPPort, _ = f.integer(1, 65535)
	}
	if n.UseTLS && n.UseSMTPS {
		a.errorf("useSmtps", "leave one of them out", "useTls and useSmtps cannot both be")
	}
	if (n.SMTPUser == "") != (n.SMTPPassword == "") && a.given("smtpUser") != a.given("smtpPassword") {
		a.errorf("smtpUser", "give both or neither", "smtpUser and smtpPassword go together")
	}
	f, ok := a.some("generators")
	if !ok {
		return n
	}
	const allowed = "a list of reporters.WorkerMissingGenerator"
	items, ok := f.items(allowed)
	if ok && len(items) == 0 {
		f.bad(allowed)
	}
	for _, item := range items {
		o, _ := item.v.(*object)
		if o == nil || o.class != missingClass {
			if o == nil || !o.class.later {
				item.bad("made by reporters.WorkerMissingGenerator")
			}
			continue
		}
		m, _ := a.r.value(o).(missing)
		n.MissingAll = n.MissingAll || m.all
		n.Missing = append(n.Missing, m.workers...)
	}
	return n
}

// missing is a WorkerMissingGenerator.
type missing struct {
	all     bool
	workers []string
}

func readMissingGenerator(a arguments) any {
	f, ok := a.some("workers")
	if !ok || f.v == starlark.String("all") {
		return missing{all: true}
	}
	return missing{workers: f.texts()}
}

// services reads c['services'], and says which mails nobody would send.
func (g *global) services(m *Master) {
	g.list("services", "reporters, such as reporters.MailNotifier(…)", func(_ *object, v any) bool {
		n, ok := v.(*MailNotifier)
		if ok {
			m.MailNotifiers = append(m.MailNotifiers, *n)
		}
		return ok
	})
	known := map[string]bool{}
	for _, w := range m.Workers {
		known[w.Name] = true
		if len(w.NotifyOnMissing) == 0 || m.mailed(w.Name) {
			continue
		}
		g.r.warnf(placeOfPos(w.NotifyPos, g.at("workers")), "add reporters.MailNotifier(…, generators=[reporters.WorkerMissingGenerator()]) to c['services']",
			"worker %s has notify_on_missing, but nobody sends the mail", quote(w.Name))
	}
	for _, n := range m.MailNotifiers {
		for _, name := range n.Missing {
			if !known[name] {
				g.r.errorf(g.at("services"), dialect.DidYouMean(name, sortedKeys(known)), "reporters.WorkerMissingGenerator names the worker %s, which is not configured", quote(name))
			}
		}
	}
}

// mailed reports whether some mail server tells that a worker is missing.
func (m *Master) mailed(worker string) bool {
	for _, n := range m.MailNotifiers {
		if n.Tells(worker) {
			return true
		}
	}
	return false
}

// Tells reports whether mails about a missing worker of this name go out by it.
func (n MailNotifier) Tells(worker string) bool {
	for _, name := range n.Missing {
		if name == worker {
			return true
		}
	}
	return n.MissingAll
}

// placeOfPos reads a position as values keep it, "file:line:column".
func placeOfPos(pos string, otherwise dialect.Place) dialect.Place {
	parts := strings.Split(pos, ":")
	if len(parts) < 3 {
		return otherwise
	}
	line, err1 := strconv.Atoi(parts[len(parts)-2])
	col, err2 := strconv.Atoi(parts[len(parts)-1])
	if err1 != nil || err2 != nil {
		return otherwise
	}
	return dialect.Place{Line: line, Col: col}
}

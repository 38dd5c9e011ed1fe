package master_test

import (
	"bufio"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
	"github.com/dormouse-ci/dormouse/internal/loopback"
)

// TestMissingIsMailed: an instance that never attaches is told of by mail, with
// what it printed; a mail that could not be sent is sent by the next master.
func TestMissingIsMailed(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.boot = func(m ec2sim.Machine) { fmt.Fprintln(m.Console, "kernel panic: no root") }
	port, err := loopback.FreePort() // where nobody takes mails yet
	if err != nil {
		t.Fatal(err)
	}
	text := fmt.Sprintf(`
from buildbot.plugins import reporters
c['workers'] = [worker.EC2LatentWorker('bot', 'password', 't3.small', ami=%q, session=session(), user_data=USER_DATA,
    missing_timeout=1, check_instance_interval=1, notify_on_missing=['ops@example.org', 'root'])]
c['services'] = [reporters.MailNotifier('ci@example.org', relayhost='127.0.0.1', smtpPort=%d, generators=[reporters.WorkerMissingGenerator()])]
forced([builder('b', ['bot'], 'true')])
`, ec2sim.WorkerImageID, port)
	m := s.start(text)
	r := m.force("b", 1)[0]
	m.until("the failure", func() bool { return strings.Contains(m.worker("bot").Reason, "did not attach") })
	if err := m.CancelRequest(t.Context(), r.ID); err != nil {
		t.Fatal(err)
	}
	m.awaitMails(1)
	m.stop()

	l, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port))
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	mails := make(chan string, 1)
	go func() {
		for {
			c, err := l.Accept()
			if err != nil {
				return
			}
			takeMail(c, mails)
		}
	}()
	m = s.start(text)
	m.Hurry(t)
	got := <-mails
	for _, want := range []string{
		"Subject: Dormouse: worker bot did not attach", "<ops@example.org>", "<root@localhost>", "generation 1",
		"t3.small on-demand", "kernel panic: no root", "dormouse why REQUEST",
	} {
		if !strings.Contains(got, want) {
			t.Errorf("the mail does not say %q:\n%s", want, got)
		}
	}
	m.awaitMails(0)
}

// awaitMails waits until so many mails are in the outbox.
func (r *run) awaitMails(n int) {
	r.t.Helper()
	r.look(fmt.Sprintf("%d mails in the outbox", n), func() bool { return r.Mails() == n })
}

// takeMail is the least that a mail server says.
func takeMail(c net.Conn, mails chan<- string) {
	defer c.Close()
	r := bufio.NewReader(c)
	fmt.Fprint(c, "220 test\r\n")
	var text strings.Builder
	for inData := false; ; {
		line, err := r.ReadString('\n')
		if err != nil {
			return
		}
		switch {
		case inData && line != ".\r\n":
			text.WriteString(line)
			continue
		case inData:
			inData = false
			mails <- text.String()
			fmt.Fprint(c, "250 taken\r\n")
		case strings.HasPrefix(line, "DATA"):
			inData = true
			fmt.Fprint(c, "354 go on\r\n")
		case strings.HasPrefix(line, "QUIT"):
			fmt.Fprint(c, "221 bye\r\n")
			return
		default:
			fmt.Fprint(c, "250 ok\r\n")
		}
	}
}

package main

import (
	"fmt"
	"os"
	"path/filepath"
	"regexp"
	"runtime"
	"strings"
	"time"

	"github.com/dormouse-ci/dormouse"
)

// scenarios are everything that is played, in order.
var scenarios = []scenario{
	{name: "flow", play: wholeFlow},
	{name: "restart", play: disturbed(atOnce, func(s *stage, m *machine) error {
		return m.run(s, "systemctl restart dormouse-worker.service")
	})},
	{name: "kill", play: disturbed(atOnce, func(s *stage, m *machine) error {
		return m.run(s, "systemctl kill --kill-whom=main --signal=KILL dormouse-worker.service")
	})},
	{name: "reboot", play: disturbed(atOnce, func(s *stage, m *machine) error {
		return m.run(s, "systemctl reboot")
	})},
	{name: "reset", play: disturbed(afterReset, func(s *stage, m *machine) error { return m.reset(s) })},
	{name: "reset-early", play: resetAfterInstall},
	{name: "dead", play: disturbed(silence, func(s *stage, m *machine) error { return m.crash(s) })},
	{name: "late-master", play: lateMaster},
	{name: "lost-master", timeScale: shortLease.Seconds() / (10 * time.Minute).Seconds(), play: lostMaster},
	{name: "full-install", diskMiB: 30, play: endsAtOnce(regexp.MustCompile(`(?i)no space|disk.* full`))},
	{name: "full-build", diskMiB: 300, play: fullBuild},
	{name: "checksum", prepare: serveOwnProgram, play: func(s *stage) error {
		if err := changeProgram(s); err != nil {
			return err
		}
		return endsAtOnce(regexp.MustCompile(`SHA-256`))(s)
	}},
}

// The limits are the product's promises.
const (
	// atOnce is how long a generation lasts whose agent has ended, or has been started
	// again: five of these seconds are systemd's.
	atOnce = 15 * time.Second
	// afterReset stands for atOnce after the first word of the rebooted machine's agent,
	// which is as long after the reset as its first was after its launch.
	afterReset = 0
	// silence is how long it lasts where nothing is heard of its machine any more: the
	// keepalive of 20 s, 10 s for its answer, and 90 s to come back.
	silence = 2*time.Minute + 2*time.Second
	// bootTime is how long a machine may take from its launch to its attachment.
	bootTime = 4 * time.Minute
	// hopeless is how long a machine may last on which nothing can be installed.
	hopeless = 2 * time.Minute
	// shortLease is a watchdog's lease in the scenario that waits for its end; it is
	// ten minutes otherwise.
	shortLease = time.Minute
)

// begin asks for a build, and waits until its machine has attached.
func (s *stage) begin(builder string) (request int64, m *machine, err error) {
	if request, err = s.force(builder); err != nil {
		return 0, nil, err
	}
	if m, err = s.machine(request); err != nil {
		return 0, nil, err
	}
	return request, m, s.attached(request, bootTime)
}

// systemd are the variables that systemd gives to services, which are nobody else's.
var systemd = regexp.MustCompile(`(?m)^(DORMOUSE_\w*|INVOCATION_ID|JOURNAL_STREAM|SYSTEMD_\w+|NOTIFY_SOCKET|WATCHDOG_\w+|LISTEN_\w+|CREDENTIALS_DIRECTORY|MAINPID|MANAGERPID)=`)

// wholeFlow is a build as it should be: the machine attaches, builds, and goes.
func wholeFlow(s *stage) error {
	request, m, err := s.begin(shortBuilder)
	if err != nil {
		return err
	}
	b, err := s.ended(shortBuilder, 1, dormouse.Success, m.launchedAt, time.Minute)
	if err != nil {
		return err
	}
	if err := s.closed(request, m, b.FinishedAt, time.Minute); err != nil {
		return err
	}
	text, err := s.logOf(b)
	if err != nil {
		return err
	}
	if found := systemd.FindAllString(text, -1); len(found) > 0 {
		return fmt.Errorf("the build sees %s", strings.Join(found, " "))
	}
	if strings.Contains(text, "user 0\n") {
		return fmt.Errorf("the build is root")
	}
	// Those that cloud-init has read of the endpoint's metadata, as it does on EC2.
	if want := "cloud-init aws us-east-1 " + m.ID + " " + m.MAC + "\n"; !strings.Contains(text, want) {
		return fmt.Errorf("cloud-init has not read %q of the metadata:\n%s", want, text)
	}
	return nil
}

// disturbed is a build whose machine is disturbed once its step runs. The build is
// tried again, on another machine.
func disturbed(limit time.Duration, disturb func(*stage, *machine) error) func(*stage) error {
	return func(s *stage) error {
		request, m, err := s.begin(longBuilder)
		if err != nil {
			return err
		}
		if err := s.started(longBuilder); err != nil {
			return err
		}
		since := time.Now()
		if err := disturb(s, m); err != nil {
			return err
		}
		return s.replaced(request, m, since, limit)
	}
}

// replaced waits until a machine's build has ended, then its generation, and then
// until the build has succeeded on another machine.
func (s *stage) replaced(request int64, m *machine, since time.Time, limit time.Duration) error {
	if limit == afterReset {
		limit = s.bootedIn + atOnce
	}
	if _, err := s.ended(longBuilder, 1, dormouse.Retry, since, 3*time.Minute); err != nil {
		return err
	}
	if err := s.closed(request, m, since, limit); err != nil {
		return err
	}
	if _, err := s.ended(longBuilder, 2, dormouse.Success, since, 3*time.Minute); err != nil {
		return err
	}
	if n, last := s.alarms(); n > 1 {
		return fmt.Errorf("the master's log has %d errors, the last of them: %s", n, last)
	}
	return nil
}

// resetAfterInstall resets a machine seconds after its installation: what is on its
// disk must be whole.
func resetAfterInstall(s *stage) error {
	request, err := s.force(longBuilder)
	if err != nil {
		return err
	}
	m, err := s.machine(request)
	if err != nil {
		return err
	}
	if _, err := s.until("the agent is installed", bootTime, func() (bool, error) { return m.said("dormouse: installed"), nil }); err != nil {
		return err
	}
	if err := s.attached(request, bootTime); err != nil {
		return err
	}
	if err := s.started(longBuilder); err != nil {
		return err
	}
	// The journal of ext4 writes every five seconds, and what is in files later.
	<-time.After(6 * time.Second)
	since := time.Now()
	if err := m.reset(s); err != nil {
		return err
	}
	installed, err := os.Stat(filepath.Join(m.root(), "usr/local/bin/dormouse"))
	if err != nil {
		return fmt.Errorf("after the reset: %w", err)
	}
	program, err := os.Stat(s.program)
	if err != nil {
		return err
	}
	s.notef("after the reset the program has %d of %d bytes", installed.Size(), program.Size())
	if err := s.replaced(request, m, since, afterReset); err != nil {
		return err
	}
	if installed.Size() != program.Size() {
		return fmt.Errorf("the program was truncated")
	}
	return nil
}

// lateMaster has a machine boot while its master is away, as for an upgrade.
func lateMaster(s *stage) error {
	request, err := s.force(shortBuilder)
	if err != nil {
		return err
	}
	m, err := s.machine(request)
	if err != nil {
		return err
	}
	s.master.kill()
	if _, err := s.until("the machine misses its master", bootTime, func() (bool, error) { return m.said("trying again"), nil }); err != nil {
		return err
	}
	<-time.After(30 * time.Second) // long enough for pauses to have grown
	if err := s.startMaster(); err != nil {
		return err
	}
	since := time.Now()
	if err := s.attached(request, bootTime); err != nil {
		return err
	}
	b, err := s.ended(shortBuilder, 1, dormouse.Success, since, time.Minute)
	if err != nil {
		return err
	}
	if after := b.StartedAt.Sub(since); after > 15*time.Second {
		return fmt.Errorf("the build has begun %s after the master was there again", seconds(after))
	}
	return s.closed(request, m, b.FinishedAt, time.Minute)
}

// lostMaster has a machine lose its master for good: it powers itself off. The next
// master tries the build again.
func lostMaster(s *stage) error {
	request, m, err := s.begin(longBuilder)
	if err != nil {
		return err
	}
	if err := s.started(longBuilder); err != nil {
		return err
	}
	// Until its first lease a watchdog allows for ten minutes.
	if _, err := s.until("the watchdog has its lease", bootTime, func() (bool, error) {
		err := m.run(s, "systemctl show --property=StatusText dormouse-watchdog.service | grep -q 'holding a lease'")
		return err == nil, err
	}); err != nil {
		return err
	}
	since := time.Now()
	s.master.kill()
	// The lease, the watchdog's notice before it ends a machine, and the shutdown.
	gone, err := s.until("the machine has powered itself off", shortLease+30*time.Second+stopTime, func() (bool, error) { return !m.gone().IsZero(), nil })
	if err != nil {
		return err
	}
	s.notef("machine gone +%s, by its watchdog", seconds(gone.Sub(since)))
	if m.said("the power-off command failed") {
		return fmt.Errorf("its console says that the power-off command failed, which it did not")
	}
	if err := s.startMaster(); err != nil {
		return err
	}
	since = time.Now()
	s.notef("another master")
	if _, err := s.ended(longBuilder, 1, dormouse.Retry, since, 2*time.Minute); err != nil {
		return err
	}
	if err := s.closed(request, m, since, 2*time.Minute); err != nil {
		return err
	}
	_, err = s.ended(longBuilder, 2, dormouse.Success, since, 3*time.Minute)
	return err
}

// endsAtOnce is a machine on which nothing can be installed: it ends at once, and
// `dormouse why` says why.
func endsAtOnce(why *regexp.Regexp) func(*stage) error {
	return func(s *stage) error {
		request, err := s.force(shortBuilder)
		if err != nil {
			return err
		}
		m, err := s.machine(request)
		if err != nil {
			return err
		}
		if err := s.closed(request, m, m.launchedAt, hopeless); err != nil {
			return err
		}
		line, err := s.why(request, why)
		if err != nil {
			return err
		}
		s.notef("why: %q", shorten(line))
		return s.master.client.CancelRequest(s, request)
	}
}

// why waits until what is told of a request has a line of that form, which it
// returns. EC2 has a console's last output some time after the machine's end.
func (s *stage) why(request int64, form *regexp.Regexp) (line string, err error) {
	var text string
	_, err = s.until("why says why", 15*time.Second, func() (bool, error) {
		story, err := s.master.client.Story(s, request)
		if err != nil {
			return false, err
		}
		text = ""
		for _, w := range story.Workers {
			text += w.Worker.Reason + "\n"
			for _, g := range w.Generations {
				for _, a := range g.Attempts {
					text += a.Console + "\n"
				}
			}
		}
		for l := range strings.Lines(text) {
			if form.MatchString(l) {
				line = strings.TrimSpace(l)
				return true, nil
			}
		}
		return false, nil
	})
	if err != nil {
		return "", fmt.Errorf("%w; it says: %s", err, tail(text, 12))
	}
	return line, nil
}

// fullBuild has a build fill its machine's disk. The build fails, and the machine
// goes as any other does.
func fullBuild(s *stage) error {
	request, m, err := s.begin(fillBuilder)
	if err != nil {
		return err
	}
	b, err := s.ended(fillBuilder, 1, dormouse.Failure, m.launchedAt, 3*time.Minute)
	if err != nil {
		return err
	}
	if text, err := s.logOf(b); err != nil || !strings.Contains(text, "No space left on device") {
		return fmt.Errorf("its log does not say that the disk was full: %w: %s", err, tail(text, 10))
	}
	return s.closed(request, m, b.FinishedAt, time.Minute)
}

// ownProgram is a program that the master serves in place of itself.
func (s *stage) ownProgram() string {
	return filepath.Join(s.masterDir(), "workers", "dormouse-linux-"+runtime.GOARCH)
}

func serveOwnProgram(s *stage) error {
	text, err := os.ReadFile(s.program)
	if err == nil {
		err = os.MkdirAll(filepath.Dir(s.ownProgram()), 0o700)
	}
	if err != nil {
		return err
	}
	return os.WriteFile(s.ownProgram(), text, 0o755)
}

// changeProgram changes what the master serves, after it was measured.
func changeProgram(s *stage) error {
	file, err := os.OpenFile(s.ownProgram(), os.O_WRONLY, 0)
	if err != nil {
		return err
	}
	defer file.Close()
	_, err = file.WriteAt([]byte("changed"), 4096)
	return err
}

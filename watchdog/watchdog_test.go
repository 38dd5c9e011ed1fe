package watchdog

import (
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/dormouse-ci/dormouse"
)

// leaseMaster answers questions for a lease in bubble time.
type leaseMaster struct {
	begin time.Time
	// answer is the status and body at a time since the begin; status 0 is no
	// answer ever.
	answer func(at time.Duration) (status int, body string)
	took   time.Duration   // by each answer
	asked  []time.Duration // since the begin
	last   *http.Request
}

func (m *leaseMaster) RoundTrip(r *http.Request) (*http.Response, error) {
	at := time.Since(m.begin)
	m.asked = append(m.asked, at)
	m.last = r
	status, body := m.answer(at)
	if status == 0 {
		<-r.Context().Done()
		return nil, r.Context().Err()
	}
	select {
	case <-time.After(m.took):
	case <-r.Context().Done():
		return nil, r.Context().Err()
	}
	return &http.Response{
		StatusCode: status, Status: fmt.Sprint(status), Body: io.NopCloser(strings.NewReader(body)),
		Header: http.Header{"Location": {"http://elsewhere:9989/lease"}}, Request: r,
	}, nil
}

const tenMinutes = `{"lease_seconds": 600}`

// When the machine goes off, by what the master says.
func TestWatchdogPowersOff(t *testing.T) {
	type answer = func(time.Duration) (int, string)
	always := func(status int, body string) answer {
		return func(time.Duration) (int, string) { return status, body }
	}
	// until says 200 before a time, and then something else for ever.
	until := func(end time.Duration, then answer) answer {
		return func(at time.Duration) (int, string) {
			if at < end {
				return http.StatusOK, tenMinutes
			}
			return then(at)
		}
	}
	for _, tt := range []struct {
		name   string
		answer answer
		took   time.Duration
		lease  time.Duration
		off    time.Duration // 0: never, within two hours
		why    string
	}{
		{name: "held", answer: always(200, tenMinutes)},
		{name: "never an answer", answer: always(0, ""), off: 10 * time.Minute, why: "has not given a lease"},
		{name: "never an answer, by its own time", answer: always(0, ""), lease: 3 * time.Minute, off: 3 * time.Minute},
		{name: "unknown", answer: always(401, "no such worker"), off: 10 * time.Minute},
		{name: "no such address", answer: always(404, "page not found"), off: 10 * time.Minute},
		{name: "redirected", answer: always(307, ""), off: 10 * time.Minute},
		{name: "not a lease", answer: always(200, "<html>"), off: 10 * time.Minute},
		{name: "no time", answer: always(200, `{"lease_seconds": 0}`), off: 10 * time.Minute},
		{name: "a year", answer: always(200, `{"lease_seconds": 31536000}`), off: 10 * time.Minute},
		// Asked at 0, 200 s, 400 s, …, 3600 s: the last one is that of 3400 s.
		{name: "master goes away", answer: until(time.Hour, always(0, "")), off: 3400*time.Second + 10*time.Minute, why: "for the time of a lease"},
		{name: "master shuts down", answer: until(time.Hour, always(503, "shutting down")), off: 3400*time.Second + 10*time.Minute},
		{name: "over from the first", answer: always(409, "over"), off: overGrace, why: "no more use"},
		{name: "over", answer: until(time.Hour, always(409, "over")), off: time.Hour + overGrace},
		{name: "over, then away", answer: until(time.Hour, func(at time.Duration) (int, string) {
			if at < time.Hour+5*time.Second {
				return 409, "over"
			}
			return 0, ""
		}), off: time.Hour + overGrace, why: "no more use"},
		{name: "over by mistake", answer: until(time.Hour, func(at time.Duration) (int, string) {
			if at < time.Hour+15*time.Second {
				return 409, "over"
			}
			return 200, tenMinutes
		})},
		{name: "restarts", answer: until(time.Hour, func(at time.Duration) (int, string) {
			if at < time.Hour+6*time.Minute {
				return 503, "starting"
			}
			return 200, tenMinutes
		})},
		// The lease is counted from the question.
		{name: "slow answers", took: 15 * time.Second, answer: until(time.Second, always(0, "")), off: 10 * time.Minute},
		{name: "longer by the master", answer: func(at time.Duration) (int, string) {
			if at == 0 {
				return 200, `{"lease_seconds": 3600}`
			}
			return 0, ""
		}, off: time.Hour},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				var log strings.Builder
				m := &leaseMaster{begin: time.Now(), answer: tt.answer, took: tt.took}
				d, err := New(Config{
					Master: "ci:9989", Name: "w", Password: "hunter2", Lease: tt.lease, PowerOffCommand: "off", Transport: m,
					Log: slog.New(slog.NewTextHandler(&log, nil)),
				})
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithTimeout(t.Context(), 2*time.Hour)
				defer cancel()
				var off time.Duration
				d.chance = func() float64 { return 0 }
				d.now = time.Now // the bubble's
				d.shell = func(_ context.Context, command string) error {
					off = time.Since(m.begin)
					if command != "off" {
						t.Errorf("it runs %q", command)
					}
					cancel()
					return nil
				}
				d.Run(ctx)
				if off != tt.off || !strings.Contains(log.String(), tt.why) {
					t.Errorf("off after %v, want %v; asked at %v\n%s", off, tt.off, m.asked, log.String())
				}
				for _, at := range m.asked {
					if tt.off > 0 && at >= tt.off {
						t.Errorf("asked at %v, when it is too late", at)
					}
				}
				if len(m.asked) > 120 {
					t.Errorf("%d questions in %v", len(m.asked), time.Since(m.begin))
				}
				if m.last.URL.Host != "ci:9989" {
					t.Errorf("the password went to %s", m.last.URL)
				}
				if strings.Contains(log.String(), "hunter2") {
					t.Errorf("the log shows the password:\n%s", log.String())
				}
			})
		})
	}
}

// A machine that does not find out who it is goes off, too; what it finds out
// late counts from the start.
func TestWatchdogDiscovers(t *testing.T) {
	for _, tt := range []struct {
		name     string
		discover func(at time.Duration, c *Config) error
		off      time.Duration
		command  string
	}{
		{"never", func(time.Duration, *Config) error { return errors.New("no metadata") }, 10 * time.Minute, "early"},
		{"nothing of use", func(time.Duration, *Config) error { return nil }, 10 * time.Minute, "early"},
		{"late", func(at time.Duration, c *Config) error {
			if at < 5*time.Minute {
				return errors.New("no metadata yet")
			}
			c.Master, c.Name, c.Password, c.Lease, c.PowerOffCommand = "ci:9989", "w", "pw", 30*time.Minute, "late"
			return nil
		}, 30 * time.Minute, "late"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				m := &leaseMaster{begin: time.Now(), answer: func(time.Duration) (int, string) { return 0, "" }}
				d, err := New(Config{
					PowerOffCommand: "early", Transport: m,
					Discover: func(_ context.Context, c *Config) error { return tt.discover(time.Since(m.begin), c) },
				})
				if err != nil {
					t.Fatal(err)
				}
				ctx, cancel := context.WithCancel(t.Context())
				d.now = time.Now // the bubble's
				d.shell = func(_ context.Context, command string) error {
					if at := time.Since(m.begin); at != tt.off || command != tt.command {
						t.Errorf("%q after %v, want %q after %v", command, at, tt.command, tt.off)
					}
					cancel()
					return nil
				}
				d.Run(ctx)
			})
		})
	}
}

// A machine that stays on is powered off again and again, and its own way only
// by its own command.
func TestWatchdogInsists(t *testing.T) {
	for _, tt := range []struct {
		command, first, last string
	}{
		{"", DefaultPowerOff, forcedPowerOff},
		{"mine", "mine", "mine"},
	} {
		synctest.Test(t, func(t *testing.T) {
			d, err := New(Config{
				Master: "ci:9989", Name: "w", Password: "pw", PowerOffCommand: tt.command,
				Transport: &leaseMaster{begin: time.Now(), answer: func(time.Duration) (int, string) { return 0, "" }},
			})
			if err != nil {
				t.Fatal(err)
			}
			var commands []string
			ctx, cancel := context.WithTimeout(t.Context(), time.Hour-time.Second)
			defer cancel()
			d.now = time.Now // the bubble's
			d.shell = func(_ context.Context, command string) error {
				commands = append(commands, command)
				return errors.New("not permitted")
			}
			d.Run(ctx)
			if len(commands) != 50 || commands[0] != tt.first || commands[49] != tt.last {
				t.Errorf("%d: %q", len(commands), commands)
			}
		})
	}
}

func TestWatchdogRefusals(t *testing.T) {
	for _, tt := range []struct {
		c    Config
		want string
	}{
		{Config{}, "no master"},
		{Config{Master: "ci:1"}, "no worker name"},
		{Config{Master: "ci:1", Name: "a:b"}, "colon"},
		{Config{Master: "ci:1", InstanceID: "i-1"}, "no password"},
		{Config{Master: "http://ci:1", Name: "w", Password: "p"}, "none of HOST:PORT"},
		{Config{Lease: time.Millisecond, Discover: func(context.Context, *Config) error { return nil }}, "--lease 1ms"},
		{Config{Lease: -time.Hour, Discover: func(context.Context, *Config) error { return nil }}, "--lease -1h"},
	} {
		_, err := New(tt.c)
		if dormouse.CodeOf(err) != dormouse.Invalid || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("%v, want %q", err, tt.want)
		}
	}
}

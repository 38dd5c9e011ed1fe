package worker

import (
	"context"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/wire"
)

func testConfig(t *testing.T) Config {
	t.Helper()
	return Config{Master: "127.0.0.1:9989", Name: "w1", Password: "pw", BaseDir: filepath.Join(t.TempDir(), "base")}
}

// testWorker makes a worker whose attempts to attach are answered by dial,
// and whose back-off is the longest by chance.
func testWorker(t *testing.T, cfg Config, dial func(attempt int, o wire.DialOptions) (conn, error)) *Worker {
	t.Helper()
	w, err := New(cfg)
	if err != nil {
		t.Fatal(err)
	}
	w.chance = func() float64 { return 1 }
	attempt := 0
	w.dial = func(_ context.Context, o wire.DialOptions, connected func(conn)) error {
		attempt++
		c, err := dial(attempt, o)
		if err != nil {
			return err
		}
		connected(c)
		if f, ok := c.(*fakeConn); ok && f.serve != nil {
			go f.serve()
		}
		return nil
	}
	return w
}

func TestRetries(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		var at []time.Duration
		ctx, stop := context.WithCancel(t.Context())
		cfg := testConfig(t)
		cfg.MaxDelay = 5 * time.Second
		w := testWorker(t, cfg, func(attempt int, _ wire.DialOptions) (conn, error) {
			at = append(at, time.Since(begin))
			switch attempt {
			case 3: // wrong credentials are tried again, too: somebody may mend them
				return nil, dormouse.Errorf(dormouse.Unauthorized, "no")
			case 5: // a connection that lasts makes the waits short again
				c := newFakeConn()
				time.AfterFunc(time.Minute, func() { c.drop(errors.New("gone")) })
				return c, nil
			case 6: // one that does not last, does not; only a refusal can say that it is over
				c := newFakeConn()
				c.drop(dormouse.Errorf(dormouse.Conflict, "another connection took over"))
				return c, nil
			case 8:
				stop()
			}
			return nil, dormouse.Errorf(dormouse.Unavailable, "no")
		})
		if err := w.Run(ctx); err != nil {
			t.Error(err)
		}
		want := []time.Duration{
			0, 1 * time.Second, 3 * time.Second, 7 * time.Second, 12 * time.Second,
			73 * time.Second, 74 * time.Second, 76 * time.Second,
		}
		if diff := cmp.Diff(want, at); diff != "" {
			t.Error(diff)
		}
	})
}

func TestEnds(t *testing.T) {
	unavailable := dormouse.Errorf(dormouse.Unavailable, "nobody there")
	for _, tt := range []struct {
		name     string
		dial     func(attempt int, o wire.DialOptions) (conn, error)
		attempts int
		code     dormouse.Code
		is       error
		off      bool
	}{
		{
			name: "generation over", attempts: 2, code: dormouse.Conflict, is: ErrSuperseded, off: true,
			dial: func(attempt int, _ wire.DialOptions) (conn, error) {
				if attempt == 1 {
					return nil, unavailable
				}
				return nil, dormouse.Errorf(dormouse.Conflict, "stale")
			},
		},
		{
			name: "gave up", attempts: 3, code: dormouse.Unavailable, is: ErrGaveUp, off: true,
			dial: func(int, wire.DialOptions) (conn, error) { return nil, unavailable },
		},
		{
			name: "wrong credentials for too long", attempts: 3, code: dormouse.Unauthorized, is: ErrGaveUp, off: true,
			dial: func(int, wire.DialOptions) (conn, error) {
				return nil, dormouse.Errorf(dormouse.Unauthorized, "no")
			},
		},
		{
			name: "master's order", attempts: 1, off: true,
			dial: func(_ int, o wire.DialOptions) (conn, error) {
				o.Handler.Shutdown()
				o.Handler.Shutdown() // twice is once
				return newFakeConn(), nil
			},
		},
		{
			name: "not an address", attempts: 1, code: dormouse.Invalid,
			dial: func(int, wire.DialOptions) (conn, error) { return nil, dormouse.Errorf(dormouse.Invalid, "no") },
		},
	} {
		t.Run(tt.name, func(t *testing.T) {
			mark := filepath.Join(t.TempDir(), "off")
			cfg := testConfig(t)
			cfg.MaxRetries = 3
			cfg.MaxDelay = time.Millisecond
			cfg.PowerOffCommand = "echo \"$DORMOUSE_TOKEN$DORMOUSE_WORKER_PASSWORD\" > " + mark
			cfg.Environ = []string{testPath, "DORMOUSE_TOKEN=secret", "DORMOUSE_WORKER_PASSWORD=secret"}
			attempts := 0
			w := testWorker(t, cfg, func(attempt int, o wire.DialOptions) (conn, error) {
				attempts = attempt
				return tt.dial(attempt, o)
			})
			err := w.Run(t.Context())
			if dormouse.CodeOf(err) != tt.code || (tt.is != nil && !errors.Is(err, tt.is)) {
				t.Errorf("error %v", err)
			}
			if attempts != tt.attempts {
				t.Errorf("%d attempts, want %d", attempts, tt.attempts)
			}
			said, err := os.ReadFile(mark)
			if off := err == nil; off != tt.off {
				t.Errorf("powered off: %v, want %v", off, tt.off)
			}
			if strings.Contains(string(said), "secret") {
				t.Error("the power-off command sees the agent's secrets")
			}
		})
	}
}

// A machine that stops ends the power-off command and the agent, whichever first:
// then the command has not failed.
func TestPowerOffEndsTheAgent(t *testing.T) {
	power := filepath.Join(t.TempDir(), "power")
	if err := syscall.Mkfifo(power, 0o600); err != nil {
		t.Fatal(err)
	}
	off, err := os.OpenFile(power, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer off.Close()
	ctx, stop := context.WithCancel(t.Context())
	go func() {
		_, _ = off.Read(make([]byte, 4))
		stop()
	}()
	var log strings.Builder
	cfg := testConfig(t)
	cfg.Log = slog.New(slog.NewTextHandler(&log, nil))
	cfg.PowerOffCommand = "echo $DORMOUSE_INSTANCE_ID >" + power + "; kill -TERM $$"
	cfg.Environ = []string{testPath, "DORMOUSE_INSTANCE_ID=i-1"}
	w := testWorker(t, cfg, func(_ int, o wire.DialOptions) (conn, error) {
		o.Handler.Shutdown()
		return newFakeConn(), nil
	})
	if err := w.Run(ctx); err != nil || strings.Contains(log.String(), "failed") || !strings.Contains(log.String(), "powering the machine off") {
		t.Errorf("%v\n%s", err, log.String())
	}
}

func TestKeepalive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		begin := time.Now()
		ctx, stop := context.WithCancel(t.Context())
		cfg := testConfig(t)
		cfg.Keepalive = time.Minute
		var dropped []time.Duration
		w := testWorker(t, cfg, func(attempt int, _ wire.DialOptions) (conn, error) {
			if attempt == 2 {
				dropped = append(dropped, time.Since(begin))
				stop()
			}
			c := newFakeConn()
			answers := 3
			c.keepalive = func(ctx context.Context) error {
				if answers--; answers >= 0 {
					return nil
				}
				<-ctx.Done()
				return ctx.Err()
			}
			return c, nil
		})
		if err := w.Run(ctx); err != nil {
			t.Error(err)
		}
		// Three answers, the fourth missed for 30 s, and a second's back-off.
		if diff := cmp.Diff([]time.Duration{4*time.Minute + keepalivePatience + time.Second}, dropped); diff != "" {
			t.Error(diff)
		}
	})
}

// Commands end with their connection, report nothing, and end before the next
// attempt; also when the agent is told to end.
func TestCommandsEndWithConnection(t *testing.T) {
	first := newFakeConn()
	second := newFakeConn()
	ctx, stop := context.WithCancel(t.Context())
	dir := t.TempDir()
	var started []int
	run := func(o wire.DialOptions) {
		err := o.Handler.StartCommand(wire.StartCommand{ID: "7", Name: "shell", Args: map[string]any{"workdir": dir, "command": family, "logEnviron": false}})
		if err != nil {
			t.Error(err)
		}
	}
	cfg := testConfig(t)
	cfg.MaxDelay = time.Millisecond
	w := testWorker(t, cfg, func(attempt int, o wire.DialOptions) (conn, error) {
		if attempt == 1 {
			first.serve = func() {
				run(o)
				if err := o.Handler.StartCommand(wire.StartCommand{ID: "7", Name: "stat", Args: map[string]any{"path": "/"}}); dormouse.CodeOf(err) != dormouse.Conflict {
					t.Errorf("an id that is in use: %v", err)
				}
				started = awaitFamily(t, dir)
				first.drop(errors.New("gone"))
			}
			return first, nil
		}
		for _, pid := range started {
			gone(t, pid)
		}
		second.serve = func() {
			run(o) // the old one of the same id is no more
			started = awaitFamily(t, dir)
			stop()
		}
		return second, nil
	})
	if err := w.Run(ctx); err != nil {
		t.Error(err)
	}
	for _, pid := range started {
		gone(t, pid)
	}
	if len(first.completed)+len(second.completed) > 0 {
		t.Error("a command that was killed with its connection is reported as complete")
	}
}

func TestConfigCheck(t *testing.T) {
	_, err := New(Config{Master: "http://x", Name: "a:b", MaxRetries: -1})
	for _, want := range []string{`master "http://x"`, `"a:b" has a colon`, "no password", "no base directory", "--maxretries"} {
		if err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("error %v says nothing of %q", err, want)
		}
	}
	if dormouse.CodeOf(err) != dormouse.Invalid {
		t.Errorf("code %q", dormouse.CodeOf(err))
	}
	for in, want := range map[string]int{"0o22": 0o22, "022": 0o22, "18": 0o22, "0": 0, "None": -1, "": -1, "x": -2, "0o1000": -2, "-1": -2} {
		got, err := ParseUmask(in)
		switch {
		case (err != nil) != (want == -2):
			t.Errorf("umask %q: %v", in, err)
		case err == nil && (got == nil) != (want == -1), got != nil && *got != want:
			t.Errorf("umask %q: %v", in, got)
		}
	}
}

func TestDescribe(t *testing.T) {
	cfg := testConfig(t)
	cfg.Environ = []string{"A=1", "DORMOUSE_WORKER_PASSWORD=secret", "DORMOUSE_TOKEN=secret", "DORMOUSE_MASTER=m", "NOTIFY_SOCKET=/n", "B=\xff"}
	cfg.NumCPUs = 3
	if err := cfg.check(); err != nil {
		t.Fatal(err)
	}
	info := filepath.Join(cfg.BaseDir, "info")
	if err := os.MkdirAll(filepath.Join(info, "directory"), 0o755); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(info, "admin"), []byte("Ann <ann@example.com>\n"), 0o644); err != nil {
		t.Fatal(err)
	}
	got := describe(&cfg)
	for k := range got {
		if strings.HasPrefix(k, "os_") {
			delete(got, k)
		}
	}
	const v = "3.1" // of Buildbot 3.7's worker
	want := map[string]any{
		"admin": "Ann <ann@example.com>\n", "environ": map[string]any{"A": "1", "B": "\uFFFD"}, "system": "posix", "basedir": cfg.BaseDir,
		"numcpus": 3, "version": "dormouse", "delete_leftover_dirs": false,
		"worker_commands": map[string]any{
			"shell": v, "mkdir": v, "rmdir": v, "cpdir": v, "stat": v, "glob": v, "listdir": v, "rmfile": v,
			"upload_file": v, "upload_directory": v, "download_file": v,
			"uploadFile": v, "uploadDirectory": v, "downloadFile": v,
		},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	release := parseOSRelease("# comment\nID=debian\nNAME=\"Debian GNU/Linux\"\nEMPTY=\nbroken\n")
	if diff := cmp.Diff(map[string]string{"id": "debian", "name": "Debian GNU/Linux"}, release); diff != "" {
		t.Error(diff)
	}
}

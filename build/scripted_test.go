package build_test

import (
	"context"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/build"
	"github.com/dormouse-ci/dormouse/wire"
)

// scripted is an agent that says what a test has it say. It never heeds an
// interruption.
type scripted struct {
	conn  *wire.AgentConn
	play  func(ctx context.Context, c *wire.AgentConn, id string)
	plays sync.WaitGroup
}

func (s *scripted) WorkerInfo() map[string]any {
	return map[string]any{
		"basedir": "/base", "version": "3.7.0", "system": "posix", "numcpus": 1,
		"environ": map[string]any{}, "worker_commands": map[string]any{"shell": "3.3"}, "delete_leftover_dirs": false,
	}
}

func (s *scripted) StartCommand(c wire.StartCommand) error {
	ctx, cancel := context.WithCancel(context.Background())
	s.plays.Go(func() {
		<-s.conn.Done()
		cancel()
	})
	s.plays.Go(func() {
		if c.Name == "shell" {
			s.play(ctx, s.conn, c.ID)
			return
		}
		_ = s.conn.Update(ctx, c.ID, []wire.UpdatePair{
			{Key: "rc", Value: 0}, {Key: "files", Value: []any{}},
		})
		_ = s.conn.Complete(ctx, c.ID, "")
	})
	return nil
}

func (s *scripted) KeepCommands([]string)                 {}
func (s *scripted) EndGroup(string) []string              { return nil }
func (s *scripted) ResumeCommand(string, int64) bool      { return false }
func (s *scripted) Settings(wire.Settings)                {}
func (s *scripted) InterruptCommand(string, string) error { return nil }
func (s *scripted) Print(string)                          {}
func (s *scripted) Shutdown()                             {}

func newScriptedFarm(t *testing.T, play func(ctx context.Context, c *wire.AgentConn, id string)) *farm {
	t.Helper()
	url, attached := master(t)
	s := &scripted{play: play}
	conn, err := wire.Dial(t.Context(), wire.DialOptions{
		URL: url, Name: "bot1", Password: "secret", Handler: s, Connected: func(c *wire.AgentConn) { s.conn = c },
	})
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = conn.Close()
		conn.Wait()
		s.plays.Wait()
	})
	f := &farm{dir: "/base"}
	f.await(t, attached)
	return f
}

func said(texts ...string) []dormouse.LogLine {
	var out []dormouse.LogLine
	for _, text := range texts {
		out = append(out, dormouse.LogLine{Stream: dormouse.Header, Text: text, Time: time.UnixMilli(1_700_000_000_000)})
	}
	return out
}

func TestRunGivesUpAWorkerThatDoesNotStop(t *testing.T) {
	f := newScriptedFarm(t, func(ctx context.Context, c *wire.AgentConn, id string) {
		_ = c.Update(ctx, id, wire.EncodeStreams(said("started")))
		<-ctx.Done() // and no word more
	})
	stop := make(chan string, 1)
	m := &memory{watch: when("started", func() { stop <- "enough" })}
	r := build.Runner{Store: m, Log: slog.New(slog.DiscardHandler), InterruptWait: 50 * time.Millisecond}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	out := r.Run(ctx, f.job(sh("a", "x"), always(sh("b", "x"))), stop)
	if out.Result != dormouse.Cancelled || len(m.steps) != 1 {
		t.Errorf("%+v, %v", out, m.results())
	}
	if !strings.Contains(m.text(0), "the connection to worker bot1 is given up") {
		t.Errorf("log:\n%s", m.text(0))
	}
	select {
	case <-f.worker.Done():
	case <-time.After(patience):
		t.Error("the connection is still there")
	}
}

func TestRunOnOddWorkers(t *testing.T) {
	tests := []struct {
		name  string
		play  func(ctx context.Context, c *wire.AgentConn, id string)
		want  dormouse.Result
		state string
		log   string
	}{
		{
			name: "no exit code", want: dormouse.Exception, state: "'x' (exception)", log: "did not say how the command ended",
			play: func(ctx context.Context, c *wire.AgentConn, id string) { _ = c.Complete(ctx, id, "") },
		},
		{
			name: "a failure of the worker's own", want: dormouse.Exception, state: "'x' (exception)", log: "Traceback: oh",
			play: func(ctx context.Context, c *wire.AgentConn, id string) { _ = c.Complete(ctx, id, "Traceback: oh") },
		},
		{
			name: "a timeout told in words alone", want: dormouse.Failure, state: "'x' (failure) (timed out)", log: "hprogram finished with exit code -1",
			play: func(ctx context.Context, c *wire.AgentConn, id string) {
				_ = c.Update(ctx, id, append(wire.EncodeStreams(said("", "command timed out: 1 seconds without output")), wire.UpdatePair{Key: "rc", Value: -1}))
				_ = c.Complete(ctx, id, "")
			},
		},
		{
			name: "an exit code that is none", want: dormouse.Exception, state: "'x' (exception)", log: "exit code",
			play: func(ctx context.Context, c *wire.AgentConn, id string) {
				_ = c.Update(ctx, id, []wire.UpdatePair{{Key: "rc", Value: "zero"}})
				_ = c.Complete(ctx, id, "")
			},
		},
		{
			name: "another log", want: dormouse.Success, state: "'x'", log: "oin a file",
			play: func(ctx context.Context, c *wire.AgentConn, id string) {
				_ = c.Update(ctx, id, []wire.UpdatePair{wire.EncodeLog("test.log", said("in a file")), {Key: "rc", Value: 0}})
				_ = c.Complete(ctx, id, "")
			},
		},
	}
	for _, tt := range tests {
		t.Run(tt.name, func(t *testing.T) {
			f, m := newScriptedFarm(t, tt.play), &memory{}
			out := f.run(t, m, f.job(sh("a", "x")), nil)
			if out.Result != tt.want || m.steps[0].StateString != tt.state {
				t.Errorf("%+v, state %q, want %v, %q", out, m.steps[0].StateString, tt.want, tt.state)
			}
			if !strings.Contains(m.text(0), tt.log) {
				t.Errorf("the log does not say %q:\n%s", tt.log, m.text(0))
			}
		})
	}
}

// A hole in what a command says is no success: the build is tried again.
func TestRunOnAHole(t *testing.T) {
	for _, resumable := range []bool{true, false} {
		f := newScriptedFarm(t, func(ctx context.Context, c *wire.AgentConn, id string) {
			send := func(first int64, pairs ...wire.UpdatePair) {
				updates, err := wire.EncodeUpdates(pairs)
				if err != nil {
					t.Error(err)
				}
				if !resumable {
					first = wire.NoPosition
				}
				if wait, err := c.Send(ctx, id, first, updates); err == nil {
					_ = wait(ctx)
				}
			}
			send(0, wire.EncodeStreams(said("one"))...)
			if resumable {
				send(2, wire.EncodeStreams(said("three"))...)
			} else {
				send(0, wire.UpdatePair{Key: "stdout", Value: 3})
			}
			send(1, wire.UpdatePair{Key: "rc", Value: 0})
			_ = c.Complete(ctx, id, "")
		})
		m, j := &memory{}, f.job(sh("a", "x"), sh("b", "x"))
		abandoned := 0
		j.Resumable = resumable
		j.Abandon = func() error { abandoned++; return nil }
		j.Reattach = func(context.Context) (build.Worker, error) {
			t.Error("another connection is waited for")
			return nil, context.Canceled
		}
		out := f.run(t, m, j, nil)
		if out.Result != dormouse.Retry || len(m.steps) != 1 || resumable != (abandoned == 1) {
			t.Errorf("%+v, %v, abandoned %d times", out, m.results(), abandoned)
		}
		if !strings.Contains(m.text(0), "a part of what it said is missing") {
			t.Errorf("log:\n%s", m.text(0))
		}
	}
}

package command

import (
	"context"
	"os"
	"strings"
	"sync"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/internal/procs"
)

// fakeProcess is a process for a test in bubble time. What the signals do is
// the test's choice.
type fakeProcess struct {
	output   chan chunk
	exited   chan struct{}
	begin    time.Time
	onSignal func(syscall.Signal)

	mu       sync.Mutex
	signals  []string // with the time since begin
	status   exitStatus
	group    bool // others live
	closed   bool
	settled  string // when, since begin
	holders  []string
	onSettle <-chan struct{}
	once     sync.Once // closes output
}

func newFakeProcess() *fakeProcess {
	return &fakeProcess{output: make(chan chunk), exited: make(chan struct{}), begin: time.Now()}
}

func (p *fakeProcess) Output() <-chan chunk    { return p.output }
func (p *fakeProcess) Exited() <-chan struct{} { return p.exited }

func (p *fakeProcess) Signal(sig syscall.Signal) {
	p.mu.Lock()
	p.signals = append(p.signals, sig.String()+" at "+time.Since(p.begin).String())
	p.mu.Unlock()
	if p.onSignal != nil {
		p.onSignal(sig)
	}
}

func (p *fakeProcess) Reap() exitStatus { return p.status }

func (p *fakeProcess) GroupAlive() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.group
}

func (p *fakeProcess) Settle() {
	if p.settled != "" {
		return
	}
	p.settled = time.Since(p.begin).String()
	go func() {
		if p.onSettle != nil {
			<-p.onSettle // what is in the pipe
		}
		p.endOutput()
	}()
}

func (p *fakeProcess) Close() ([]*procs.Output, []string) {
	p.closed = true
	if p.settled == "" {
		return nil, nil
	}
	r, w, err := os.Pipe()
	if err != nil {
		panic(err)
	}
	w.Close()
	return []*procs.Output{procs.NewOutput(r)}, p.holders
}

// end ends the leader, and all output where the pipe is held by nobody else.
func (p *fakeProcess) end(status exitStatus, outputToo bool) {
	p.status = status
	close(p.exited)
	if outputToo {
		p.endOutput()
	}
}

func (p *fakeProcess) endOutput() { p.once.Do(func() { close(p.output) }) }

func (p *fakeProcess) print(text string) {
	p.output <- chunk{stream: dormouse.Stdout, data: []byte(text), time: time.Now()}
}

// supervise runs a supervisor over p in the background.
func supervise(ctx context.Context, master Link, p process, l limits) (r *running, ended chan string) {
	r = newRunning(ctx, master)
	c := &shellCommand{argv: []string{"cmd"}, shown: []string{"cmd"}, wantStdout: true, wantStderr: true, limits: l}
	if c.signal == 0 {
		c.signal = syscall.SIGKILL
	}
	ended = make(chan string, 1)
	go func() {
		failure := newSupervisor(r, p, nil, c, time.Now()).run()
		_ = r.out.Drain()
		r.out.Close()
		ended <- failure
	}()
	return r, ended
}

func TestSilenceIsCountedFromTheLastOutput(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newFakeProcess()
		p.onSignal = func(sig syscall.Signal) { go p.end(exitStatus{-1, sig}, true) }
		master := newFakeConn()
		_, ended := supervise(t.Context(), master, p, limits{timeout: 10 * time.Second})
		for range 5 {
			time.Sleep(9 * time.Second)
			p.print("x\n")
		}
		<-ended
		if diff := cmp.Diff([]string{"killed at 55s"}, p.signals); diff != "" {
			t.Error(diff)
		}
		if master.pairs["failure_reason"] != failedSilent {
			t.Error(master.pairs)
		}
	})
}

func TestMaxTimeCountsWhateverIsPrinted(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newFakeProcess()
		p.onSignal = func(sig syscall.Signal) { go p.end(exitStatus{-1, sig}, true) }
		master := newFakeConn()
		_, ended := supervise(t.Context(), master, p, limits{timeout: 10 * time.Second, maxTime: 12 * time.Second})
		time.Sleep(9 * time.Second)
		p.print("x\n")
		<-ended
		if diff := cmp.Diff([]string{"killed at 12s"}, p.signals); diff != "" {
			t.Error(diff)
		}
		if master.pairs["failure_reason"] != failedTimeout {
			t.Error(master.pairs)
		}
	})
}

// A process that the master holds back has not gone silent.
func TestHeldBackIsNotSilent(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newFakeProcess()
		master := newFakeConn()
		master.hold = make(chan struct{})
		_, ended := supervise(t.Context(), master, p, limits{timeout: 10 * time.Second})
		line := strings.Repeat("x", 4000) + "\n"
		go func() {
			for range 200 {
				p.print(line)
			}
			p.end(exitStatus{}, true)
		}()
		time.Sleep(time.Hour)
		if len(p.signals) != 0 {
			t.Errorf("signals %v", p.signals)
		}
		if held := len(master.text(dormouse.Stdout)); held > (updateWindow+1)*defaultBufferSize {
			t.Errorf("%d bytes went out unacknowledged", held)
		}
		close(master.hold)
		if failure := <-ended; failure != "" || master.pairs["rc"] != 0 {
			t.Errorf("failure %q, %v", failure, master.pairs)
		}
		if got, want := master.text(dormouse.Stdout), strings.Repeat(line, 200); got != want {
			t.Errorf("%d bytes of output, want %d", len(got), len(want))
		}
		if master.most > updateWindow {
			t.Errorf("%d updates unacknowledged at once", master.most)
		}
	})
}

func TestEscalation(t *testing.T) {
	for _, tt := range []struct {
		name   string
		limits limits
		diesOf syscall.Signal
		group  bool // others outlive the leader until SIGKILL
		want   []string
		failed bool
	}{
		{name: "at once", diesOf: syscall.SIGKILL, want: []string{"killed at 1s"}},
		{name: "dies of SIGTERM", limits: limits{sigtermTime: 30 * time.Second}, diesOf: syscall.SIGTERM, want: []string{"terminated at 1s"}},
		{name: "ignores SIGTERM", limits: limits{sigtermTime: 30 * time.Second}, diesOf: syscall.SIGKILL, want: []string{"terminated at 1s", "killed at 31s"}},
		{name: "its children ignore SIGTERM", limits: limits{sigtermTime: 30 * time.Second}, diesOf: syscall.SIGTERM, group: true, want: []string{"terminated at 1s", "killed at 31s"}},
		{name: "ignores the interrupt signal", limits: limits{signal: syscall.SIGINT}, diesOf: syscall.SIGKILL, want: []string{"interrupt at 1s", "killed at 6s"}},
		{name: "does not die", want: []string{"killed at 1s"}, failed: true},
	} {
		t.Run(tt.name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p := newFakeProcess()
				p.group = tt.group
				dead := false
				p.onSignal = func(sig syscall.Signal) {
					if sig == syscall.SIGKILL && tt.diesOf != 0 {
						p.mu.Lock()
						p.group = false
						p.mu.Unlock()
					}
					if sig == tt.diesOf && !dead {
						dead = true
						go p.end(exitStatus{-1, sig}, true)
					}
				}
				master := newFakeConn()
				r, ended := supervise(t.Context(), master, p, tt.limits)
				time.Sleep(time.Second)
				r.interrupt("")
				failure := <-ended
				if diff := cmp.Diff(tt.want, p.signals); diff != "" {
					t.Error(diff)
				}
				if (failure != "") != tt.failed || master.pairs["rc"] != -1 {
					t.Errorf("failure %q, %v", failure, master.pairs)
				}
				if !p.closed {
					t.Error("the pipes stay open")
				}
			})
		})
	}
}

// A command has ended when its process has, whoever holds its output: with its
// own exit code, soon, and by no limit.
func TestEndsWithItsProcess(t *testing.T) {
	for name, l := range map[string]limits{
		"no limit": {}, "limits": {timeout: time.Second, maxTime: 11 * time.Second},
	} {
		t.Run(name, func(t *testing.T) {
			synctest.Test(t, func(t *testing.T) {
				p, master := newFakeProcess(), newFakeConn()
				p.holders = []string{"12 (sleep 60)", "13 (tail -f)"}
				_, ended := supervise(t.Context(), master, p, l)
				for range 20 {
					time.Sleep(500 * time.Millisecond)
					p.print("x\n")
				}
				p.end(exitStatus{code: 3}, false)
				time.Sleep(time.Second)
				p.print("late\n")
				<-ended
				if len(p.signals) > 0 || p.settled != "12s" || master.pairs["rc"] != 3 || master.pairs["failure_reason"] != nil {
					t.Errorf("signals %v, settled at %s, %v", p.signals, p.settled, master.pairs)
				}
				const rule = " still has the command's output open: it is left running until the build ends, and what it prints is not kept\n"
				if got := master.text(dormouse.Header); !strings.HasPrefix(got, "process 12 (sleep 60)"+rule+"process 13 (tail -f)"+rule) {
					t.Errorf("header:\n%s", got)
				}
				if got := master.text(dormouse.Stdout); !strings.HasSuffix(got, "x\nlate\n") {
					t.Errorf("output:\n%s", got)
				}
			})
		})
	}
}

// What a command has printed is delivered however slow the master is.
func TestEndsWithItsProcessHeldBack(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p, master := newFakeProcess(), newFakeConn()
		master.hold = make(chan struct{})
		printed := make(chan struct{})
		p.onSettle = printed
		_, ended := supervise(t.Context(), master, p, limits{timeout: time.Second})
		line := strings.Repeat("x", 4000) + "\n"
		p.print(line)
		go func() {
			defer close(printed)
			for range 200 {
				p.print(line)
			}
		}()
		time.Sleep(time.Second)
		p.end(exitStatus{}, false)
		time.Sleep(time.Hour)
		close(master.hold)
		<-ended
		if got := master.text(dormouse.Stdout); got != strings.Repeat(line, 201) || master.pairs["rc"] != 0 {
			t.Errorf("%d bytes, %v", len(got), master.pairs)
		}
	})
}

func TestAbandonedInMidKill(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newFakeProcess()
		p.onSignal = func(sig syscall.Signal) {
			if sig == syscall.SIGKILL {
				go p.end(exitStatus{-1, sig}, true)
			}
		}
		ctx, lose := context.WithCancel(t.Context())
		r, ended := supervise(ctx, newFakeConn(), p, limits{sigtermTime: time.Hour})
		r.interrupt("")
		time.Sleep(time.Second)
		lose()
		<-ended
		if diff := cmp.Diff([]string{"terminated at 0s", "killed at 6s"}, p.signals); diff != "" {
			t.Error(diff)
		}
	})
}

// The first output after silence goes out at once, as people see it; a stream
// of it goes out in fewer updates than lines.
func TestOutputIsLive(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		p := newFakeProcess()
		master := newFakeConn()
		_, ended := supervise(t.Context(), master, p, limits{})
		want := ""
		for _, silence := range []time.Duration{0, 300 * time.Millisecond, time.Minute} {
			time.Sleep(silence)
			p.print("first\n")
			want += "first\n"
			time.Sleep(200 * time.Millisecond)
			if got := master.text(dormouse.Stdout); got != want {
				t.Errorf("200 ms after a silence of %v the master has %q", silence, got)
			}
		}
		for range 1000 {
			time.Sleep(10 * time.Millisecond)
			p.print("x\n")
		}
		time.Sleep(steadyDelay)
		if got := strings.Count(master.text(dormouse.Stdout), "x\n"); got != 1000 {
			t.Errorf("%d lines arrived", got)
		}
		if master.updates > 30 {
			t.Errorf("%d updates for ten seconds of output", master.updates)
		}
		p.print("unfinished")
		p.end(exitStatus{code: 7}, true)
		<-ended
		if got := master.text(dormouse.Stdout); !strings.HasSuffix(got, "x\nunfinished\n") || master.pairs["rc"] != 7 {
			t.Errorf("the end is %q, rc %v", got[len(got)-20:], master.pairs["rc"])
		}
	})
}

func TestOutboxCuts(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		master := newFakeConn()
		r := newRunning(t.Context(), master)
		var want strings.Builder
		for i := range 10_000 {
			stream := []dormouse.Stream{dormouse.Stdout, dormouse.Stderr}[i/3%2]
			text := strings.Repeat("y", i%300)
			r.out.Lines([]dormouse.LogLine{{Stream: stream, Text: text}})
			want.WriteString(text + "\n")
			for r.out.Full() {
				r.out.Acked(<-r.out.Acks())
			}
		}
		r.out.Pair("rc", 0)
		_ = r.out.Drain()
		r.out.Close()
		if master.text(dormouse.Stdout, dormouse.Stderr) != want.String() {
			t.Error("lines are lost, doubled or out of order")
		}
		if master.updates < 20 || master.updates > 40 {
			t.Errorf("%d updates for 1.6 MB in buffers of 64 KiB", master.updates)
		}
		if master.pairs["rc"] != 0 {
			t.Error("the pair at the end is lost")
		}
	})
}

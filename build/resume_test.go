package build_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/build"
	"github.com/dormouse-ci/dormouse/wire"
	"github.com/dormouse-ci/dormouse/worker"
)

// mortal is the store of a master that is killed at one write: before it is
// carried out, or after it is and before anybody hears of it.
type mortal struct {
	*memory
	at     int
	before bool
	around func(n int, carryOut func() error) error // each write, if not nil

	mu     sync.Mutex
	writes int
	dead   bool
	dying  chan struct{} // closed at the kill
	buried chan struct{} // closed once its connections are gone
}

var errDead = errors.New("this master is dead")

func (m *mortal) write(f func() error) error {
	m.mu.Lock()
	m.writes++
	if m.around != nil {
		n := m.writes
		m.mu.Unlock()
		return m.around(n, f)
	}
	last := !m.dead && m.writes == m.at
	dead := m.dead
	m.dead = m.dead || last
	m.mu.Unlock()
	if last {
		defer func() { <-m.buried }()
		defer close(m.dying)
		if m.before {
			return errDead
		}
		_ = f()
		return errDead
	}
	if dead {
		<-m.buried
		return errDead
	}
	return f()
}

func (m *mortal) StartStep(ctx context.Context, s dormouse.Step) (out dormouse.Step, err error) {
	err = m.write(func() (err error) { out, err = m.memory.StartStep(ctx, s); return err })
	return out, err
}

func (m *mortal) FinishStep(ctx context.Context, id int64, r dormouse.Result, state string, hidden bool, at time.Time) (s dormouse.Step, err error) {
	err = m.write(func() (err error) { s, err = m.memory.FinishStep(ctx, id, r, state, hidden, at); return err })
	return s, err
}

func (m *mortal) NewLog(ctx context.Context, step int64, name string, kind dormouse.LogType) (l dormouse.Log, err error) {
	err = m.write(func() (err error) { l, err = m.memory.NewLog(ctx, step, name, kind); return err })
	return l, err
}

func (m *mortal) AppendLog(ctx context.Context, id, first int64, lines []dormouse.LogLine, progress string) (l dormouse.Log, err error) {
	err = m.write(func() (err error) { l, err = m.memory.AppendLog(ctx, id, first, lines, progress); return err })
	return l, err
}

func (m *mortal) CompleteLog(ctx context.Context, id int64) (l dormouse.Log, err error) {
	err = m.write(func() (err error) { l, err = m.memory.CompleteLog(ctx, id); return err })
	return l, err
}

func (m *mortal) SetProgress(ctx context.Context, step int64, progress string) error {
	return m.write(func() error { return m.memory.SetProgress(ctx, step, progress) })
}

func (m *mortal) SetProperties(ctx context.Context, id int64, p dormouse.Properties) error {
	return m.write(func() error { return m.memory.SetProperties(ctx, id, p) })
}

func (m *mortal) SetBuildState(ctx context.Context, id int64, s string) error {
	return m.write(func() error { return m.memory.SetBuildState(ctx, id, s) })
}

// life is the context of a mortal master's builds: when it dies, so do they and its
// connections. ended is to be called after the build.
func (m *mortal) life(t *testing.T, f *farm) (life context.Context, ended func()) {
	life, kill := context.WithCancelCause(t.Context())
	var coroner sync.WaitGroup
	coroner.Go(func() {
		select {
		case <-m.dying:
		case <-life.Done(): // it had fewer writes this time
			return
		}
		kill(build.ErrLeft)
		f.worker.Close("the master is dead")
		<-f.worker.Done()
		close(m.buried)
	})
	return life, func() {
		kill(nil)
		coroner.Wait()
	}
}

func newMortal(at int, before bool) *mortal {
	return &mortal{memory: &memory{}, at: at, before: before, dying: make(chan struct{}), buried: make(chan struct{})}
}

// comesBack is how a build waits for the worker's next connection.
func comesBack(attached <-chan *wire.Worker) func(context.Context) (build.Worker, error) {
	return func(ctx context.Context) (build.Worker, error) {
		select {
		case w := <-attached:
			return w, w.KeepCommands(ctx, []string{"1"})
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}

// newResumingFarm is a farm whose agent keeps its commands over connections.
func newResumingFarm(t *testing.T) (f *farm, attached <-chan *wire.Worker) {
	t.Helper()
	url, attached := master(t)
	f = &farm{dir: t.TempDir()}
	agent, err := worker.New(worker.Config{
		Master: url, Name: "bot1", Password: "secret", BaseDir: f.dir, MaxDelay: time.Millisecond, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	var running sync.WaitGroup
	running.Go(func() { _ = agent.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	f.await(t, attached)
	return f, attached
}

// past is what a store has of a build's steps.
func (m *memory) past() []build.PastStep {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out []build.PastStep
	for _, s := range m.steps {
		p := build.PastStep{Step: s, Progress: m.progress[s.ID]}
		for _, l := range m.logs {
			if l.StepID == s.ID {
				p.Logs = append(p.Logs, l)
			}
		}
		out = append(out, p)
	}
	return out
}

// printed is what a step's log says, but for what differs from run to run.
func (m *memory) printed(step int) string {
	var out strings.Builder
	for line := range strings.Lines(m.text(step)) {
		switch {
		case strings.HasPrefix(line, "helapsedTime="):
			line = "helapsedTime=…\n"
		case strings.HasPrefix(line, "h") && strings.Contains(line, " in dir "):
			line = "h in dir …\n"
		}
		out.WriteString(line)
	}
	return out.String()
}

func notAbandoned(t *testing.T) func() error {
	return func() error { t.Error("a build that could be gone on with was abandoned"); return nil }
}

// TestAbandonedBeforeItIsEnded: before a command is interrupted for another reason
// than that stopping was asked for, or its output is refused, nobody may go on
// with the build any more; while that cannot be made so, it is left as it is.
func TestAbandonedBeforeItIsEnded(t *testing.T) {
	for _, failing := range []bool{false, true} { // the store, which else takes what is printed
		for _, abandons := range []bool{true, false} {
			t.Run(fmt.Sprintf("failing=%v,abandons=%v", failing, abandons), func(t *testing.T) {
				f, _ := newResumingFarm(t)
				j := f.job(sh("a", "trap 'echo interrupted >../../ended; exit' TERM INT HUP; echo one; while :; do sleep 0.01; done"))
				ended := func() bool {
					_, err := os.Stat(filepath.Join(f.dir, "ended"))
					return err == nil
				}
				var m build.Store
				ctx, cancel := context.WithCancelCause(t.Context())
				defer cancel(nil)
				known := &memory{}
				m = known
				if failing {
					m = &refusing{known}
				} else {
					known.watch = when("one", func() { cancel(build.Interrupted{Reason: "EC2 takes it back"}) })
				}
				asked := 0
				j.Resumable, j.Abandon = true, func() error {
					asked++
					if ended() {
						t.Error("it was ended before")
					}
					if !abandons {
						return errDead
					}
					return nil
				}
				out := (&build.Runner{Store: m, Announce: known.announce, Log: slog.New(slog.DiscardHandler)}).Run(ctx, j, nil)
				want := dormouse.Retry
				if failing {
					want = dormouse.Exception
				}
				if out.Left == abandons || abandons && out.Result != want || asked != 1 {
					t.Errorf("%+v, asked %d times", out, asked)
				}
				if !abandons && len(known.results()) > 0 && known.steps[0].Result != nil {
					t.Errorf("what is left has ended: %v", known.results())
				}
			})
		}
	}
}

// refusing is a store that takes nothing that is printed.
type refusing struct{ *memory }

func (r *refusing) AppendLog(context.Context, int64, int64, []dormouse.LogLine, string) (dormouse.Log, error) {
	return dormouse.Log{}, dormouse.Errorf(dormouse.Internal, "the stored log is corrupt")
}

// TestMasterDiesAtEachWrite kills the master at each write of a build's life,
// before and after it is carried out, and has another one go on with it: in the
// end everything is as if nothing had been, and every command ran once.
func TestMasterDiesAtEachWrite(t *testing.T) {
	repository := newRepository(t)
	job := func(f *farm) build.Job {
		const count = "../../count" // seen from the builder's directory
		steps := []dormouse.StepSpec{
			{Name: "git", FlunkOnFailure: true, HaltOnFailure: true, Action: dormouse.Git{RepoURL: repository.dir, Mode: "incremental"}},
			sh("print", "echo print >>"+count+"; for i in 1 2 3 4 5; do echo $i; sleep 0.02; echo err$i >&2; done"),
			sh("fail", "echo fail >>"+count+"; echo failing; exit 3"),
			sh("never", "echo never >>"+count),
			always(sh("always", "echo always >>"+count+"; echo bye")),
		}
		j := f.job(steps...)
		j.Resumable, j.Abandon = true, notAbandoned(t)
		return j
	}
	type result struct {
		Outcome build.Outcome
		Steps   []string
		Logs    []string
		Head    any
		Ran     string
	}
	sum := func(f *farm, m *memory, out build.Outcome) result {
		ran, err := os.ReadFile(filepath.Join(f.dir, "count"))
		if err != nil {
			t.Fatal(err)
		}
		r := result{Outcome: out, Steps: m.results(), Head: m.props["got_revision"].Value, Ran: string(ran)}
		for i := range m.steps {
			// Streams are read one beside the other: each is compared alone.
			for _, stream := range []string{"o", "e", "h"} {
				for line := range strings.Lines(m.printed(i)) {
					if strings.HasPrefix(line, stream) && m.steps[i].Name != "git" {
						r.Logs = append(r.Logs, fmt.Sprint(i, " ", line))
					}
				}
			}
			r.Logs = append(r.Logs, fmt.Sprint(i, " exits ", strings.Count(m.text(i), "hprogram finished with exit code")))
		}
		return r
	}

	f, _ := newResumingFarm(t)
	m := &mortal{memory: &memory{}}
	runner := build.Runner{Store: m, Announce: m.announce, Log: slog.New(slog.DiscardHandler)}
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	want := sum(f, m.memory, runner.Run(ctx, job(f), nil))
	if want.Head != repository.second || want.Outcome.Result != dormouse.Failure || want.Ran != "print\nfail\nalways\n" {
		t.Fatalf("undisturbed: %+v", want)
	}
	writes := m.writes
	t.Logf("a build of %d writes: %d kills", writes, 2*writes)

	for at := 1; at <= writes; at++ {
		for _, before := range []bool{true, false} {
			name := fmt.Sprintf("after write %d", at)
			if before {
				name = fmt.Sprintf("before write %d", at)
			}
			t.Run(name, func(t *testing.T) {
				t.Parallel()
				f, attached := newResumingFarm(t)
				m := newMortal(at, before)
				life, ended := m.life(t, f)
				j := job(f)
				j.Reattach = comesBack(attached)
				out := (&build.Runner{Store: m, Announce: m.announce, Log: slog.New(slog.DiscardHandler)}).Run(life, j, nil)
				ended()
				if !m.dead {
					t.Logf("it had only %d writes this time: output comes in other pieces", m.writes)
					return
				}
				if !out.Left {
					t.Fatalf("the killed master's build ended: %+v", out)
				}
				j.Worker, j.Past = nil, m.past()
				j.Build.Properties = m.props.Clone()
				if j.Build.Properties == nil {
					j.Build.Properties = dormouse.Properties{}
				}
				if diff := cmp.Diff(want, sum(f, m.memory, f.run(t, m.memory, j, nil))); diff != "" {
					t.Errorf("(-undisturbed +killed)\n%s", diff)
				}
			})
		}
	}
}

// TestConnectionDropsDuringBuild: the build goes on over the next connection,
// and notices nothing.
func TestConnectionDropsDuringBuild(t *testing.T) {
	f, attached := newResumingFarm(t)
	j := f.job(sh("a", "echo one; echo two; while [ ! -e gate ]; do sleep 0.01; done; echo three"), sh("b", "echo four"))
	j.Resumable, j.Abandon = true, notAbandoned(t)
	drops := 0
	m := &memory{}
	m.watch = when("two", func() { f.worker.Close("dropped") })
	j.Reattach = func(ctx context.Context) (build.Worker, error) {
		select {
		case w := <-attached:
			drops++
			if err := os.WriteFile(filepath.Join(f.dir, "x", "build", "gate"), nil, 0o600); err != nil {
				return nil, err
			}
			return w, w.KeepCommands(ctx, []string{"1"})
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
	out := f.run(t, m, j, nil)
	if out.Result != dormouse.Success || drops != 1 || m.stdout(0) != "one\ntwo\nthree\n" || m.stdout(1) != "four\n" {
		t.Errorf("%+v after %d drops: %q, %q", out, drops, m.stdout(0), m.stdout(1))
	}
}

// TestWorkerDoesNotComeBack: the build is tried again.
func TestWorkerDoesNotComeBack(t *testing.T) {
	f, _ := newResumingFarm(t)
	j := f.job(sh("a", "echo one; sleep 1000"))
	abandoned := 0
	j.Resumable, j.Abandon = true, func() error { abandoned++; return nil }
	m := &memory{}
	m.watch = when("one", func() { f.worker.Close("dropped") })
	j.Reattach = func(context.Context) (build.Worker, error) { return nil, errors.New("it is gone") }
	if out := f.run(t, m, j, nil); out.Result != dormouse.Retry || abandoned != 1 {
		t.Errorf("%+v, abandoned %d times", out, abandoned)
	}
}

// TestStopWhileTheWorkerIsAway: whoever asks the build to stop need not wait
// for the worker.
func TestStopWhileTheWorkerIsAway(t *testing.T) {
	f, _ := newResumingFarm(t)
	stop := make(chan string, 1)
	j := f.job(sh("a", "echo one; sleep 1000"), sh("b", "echo never"))
	j.Resumable, j.Abandon = true, func() error { return nil }
	m := &memory{}
	m.watch = when("one", func() { f.worker.Close("dropped") })
	j.Reattach = func(ctx context.Context) (build.Worker, error) {
		stop <- "enough"
		<-ctx.Done()
		return nil, ctx.Err()
	}
	if out := f.run(t, m, j, stop); out.Result != dormouse.Cancelled || len(m.steps) != 1 {
		t.Errorf("%+v, %v", out, m.results())
	}
}

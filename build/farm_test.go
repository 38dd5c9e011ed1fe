package build_test

import (
	"context"
	"errors"
	"log/slog"
	"net/http/httptest"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"go.uber.org/goleak"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/build"
	"github.com/dormouse-ci/dormouse/store"
	"github.com/dormouse-ci/dormouse/wire"
	"github.com/dormouse-ci/dormouse/worker"
)

func TestMain(m *testing.M) { goleak.VerifyTestMain(m) }

// farm is a master's end of the wire with one real agent attached to it.
type farm struct {
	worker *wire.Worker
	dir    string // the agent's base directory
	kill   context.CancelFunc
}

// patience bounds how long a test waits for what must come. It only says how soon
// a broken test ends.
const patience = 5 * time.Minute

// master is the wire's server end. It returns its address, and attached
// workers one by one. Register what ends the agent after it.
func master(t testing.TB) (url string, attached <-chan *wire.Worker) {
	t.Helper()
	workers := make(chan *wire.Worker, 1)
	server := wire.NewServer(wire.ServerOptions{
		Authenticate: func(context.Context, wire.Hello) (wire.Identity, error) { return wire.Identity{}, nil },
		Attach: func(ctx context.Context, w *wire.Worker) error {
			if err := w.SetBuilders(ctx, []wire.BuilderDir{{Name: "x", Dir: "x"}}); err != nil {
				return err
			}
			workers <- w
			return nil
		},
		Detached: func(*wire.Worker) {},
	})
	web := httptest.NewServer(server)
	t.Cleanup(func() {
		end, done := context.WithTimeout(context.Background(), patience)
		defer done()
		if err := server.Shutdown(end); err != nil {
			t.Errorf("shutdown of the wire: %v", err)
		}
		web.Close()
	})
	return "ws" + strings.TrimPrefix(web.URL, "http"), workers
}

func (f *farm) await(t testing.TB, attached <-chan *wire.Worker) {
	t.Helper()
	select {
	case f.worker = <-attached:
	case <-time.After(patience):
		t.Fatal("the agent did not attach")
	}
}

func newFarm(t testing.TB) *farm {
	t.Helper()
	url, attached := master(t)
	f := &farm{dir: t.TempDir()}
	agent, err := worker.New(worker.Config{
		Master: url, Name: "bot1", Password: "secret", BaseDir: f.dir, Log: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	f.kill = cancel
	var running sync.WaitGroup
	running.Go(func() { _ = agent.Run(ctx) })
	t.Cleanup(func() {
		cancel()
		running.Wait()
	})
	f.await(t, attached)
	return f
}

// memory is a store that keeps all it is given, or counts it.
type memory struct {
	mu      sync.Mutex
	steps   []dormouse.Step
	logs    []dormouse.Log
	lines   map[int64][]dormouse.LogLine
	props   dormouse.Properties
	states  []string
	discard bool                      // count the lines only
	fail    func(method string) error // nil never fails
	events  []dormouse.Event
	// progress is of each step, by id.
	progress map[int64]string
	watch    func(dormouse.LogLine) // sees each line before it is stored
}

func (m *memory) enter(method string) error {
	if m.fail != nil {
		return m.fail(method)
	}
	return nil
}

// Until tries again as the store of a master does.
func (m *memory) Until(ctx context.Context, what string, write func() error) error {
	var owner store.Owner
	owner.SetLogger(slog.New(slog.DiscardHandler))
	return owner.Until(ctx, what, write)
}

func (m *memory) StartStep(_ context.Context, s dormouse.Step) (dormouse.Step, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.enter("StartStep"); err != nil {
		return s, err
	}
	if i := slices.IndexFunc(m.steps, func(o dormouse.Step) bool { return o.Index == s.Index && o.BuildID == s.BuildID }); i >= 0 {
		if there := m.steps[i]; there.Name == s.Name && there.StartedAt.Equal(s.StartedAt) && there.Result == nil {
			return there, nil
		}
		return s, errors.New("there is such a step")
	}
	s.ID = int64(len(m.steps) + 1)
	m.steps = append(m.steps, s)
	return s, nil
}

func (m *memory) FinishStep(_ context.Context, id int64, r dormouse.Result, state string, hidden bool, at time.Time) (dormouse.Step, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.enter("FinishStep"); err != nil {
		return dormouse.Step{}, err
	}
	s := &m.steps[id-1]
	if s.Result != nil {
		if *s.Result == r && s.FinishedAt.Equal(at) {
			return *s, nil
		}
		return dormouse.Step{}, errors.New("finished twice")
	}
	s.Result, s.StateString, s.Hidden, s.FinishedAt = &r, state, hidden, at
	return *s, nil
}

func (m *memory) NewLog(_ context.Context, step int64, name string, t dormouse.LogType) (dormouse.Log, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.enter("NewLog"); err != nil {
		return dormouse.Log{}, err
	}
	if i := slices.IndexFunc(m.logs, func(o dormouse.Log) bool { return o.StepID == step && o.Name == name }); i >= 0 {
		if m.logs[i].Lines > 0 || m.logs[i].Complete {
			return dormouse.Log{}, errors.New("there is such a log")
		}
		return m.logs[i], nil
	}
	l := dormouse.Log{ID: int64(len(m.logs) + 1), StepID: step, Name: name, Type: t}
	m.logs = append(m.logs, l)
	return l, nil
}

func (m *memory) SetProgress(_ context.Context, step int64, progress string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.enter("SetProgress"); err != nil {
		return err
	}
	m.keep(step, progress)
	return nil
}

func (m *memory) keep(step int64, progress string) {
	if m.progress == nil {
		m.progress = map[int64]string{}
	}
	m.progress[step] = progress
}

func (m *memory) AppendLog(_ context.Context, id, first int64, lines []dormouse.LogLine, progress string) (dormouse.Log, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.enter("AppendLog"); err != nil {
		return dormouse.Log{}, err
	}
	l := &m.logs[id-1]
	if l.Complete {
		return *l, errors.New("appended to a complete log")
	}
	if l.Lines != first {
		if l.Lines == first+int64(len(lines)) && !m.discard && slices.Equal(m.lines[id][first:], lines) {
			return *l, nil
		}
		return *l, errors.New("appended at another line than the last")
	}
	if progress != "" {
		m.keep(l.StepID, progress)
	}
	if m.lines == nil {
		m.lines = make(map[int64][]dormouse.LogLine)
	}
	for _, line := range lines {
		if m.watch != nil {
			m.watch(line)
		}
		l.Lines++
		l.Bytes += int64(len(line.Text)) + 1
	}
	if !m.discard {
		m.lines[id] = append(m.lines[id], lines...)
	}
	return *l, nil
}

func (m *memory) CompleteLog(_ context.Context, id int64) (dormouse.Log, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if err := m.enter("CompleteLog"); err != nil {
		return dormouse.Log{}, err
	}
	m.logs[id-1].Complete = true
	return m.logs[id-1], nil
}

func (m *memory) SetProperties(_ context.Context, _ int64, p dormouse.Properties) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.props = p
	return m.enter("SetProperties")
}

func (m *memory) SetBuildState(_ context.Context, _ int64, s string) error {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.states = append(m.states, s)
	return m.enter("SetBuildState")
}

func (m *memory) announce(e dormouse.Event) {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.events = append(m.events, e)
}

// text is all a step wrote to its stdio log, each line after its stream.
func (m *memory) text(step int) string {
	m.mu.Lock()
	defer m.mu.Unlock()
	var out strings.Builder
	for _, l := range m.logs {
		if l.StepID == int64(step+1) {
			for _, line := range m.lines[l.ID] {
				out.WriteByte(byte(line.Stream))
				out.WriteString(line.Text)
				out.WriteByte('\n')
			}
		}
	}
	return out.String()
}

// stdout is what a step's command printed.
func (m *memory) stdout(step int) string {
	var out []string
	for line := range strings.Lines(m.text(step)) {
		if after, ok := strings.CutPrefix(line, "o"); ok {
			out = append(out, after)
		}
	}
	return strings.Join(out, "")
}

func (m *memory) results() []string {
	var out []string
	for _, s := range m.steps {
		if s.Result == nil {
			out = append(out, s.Name+" unfinished")
			continue
		}
		out = append(out, s.Name+" "+s.Result.String())
	}
	return out
}

// sh is a step that runs a line of shell, with Buildbot's defaults.
func sh(name, line string) dormouse.StepSpec {
	return dormouse.StepSpec{Name: name, FlunkOnFailure: true, HaltOnFailure: true, Action: dormouse.ShellCommand{
		Command: line, WantStdout: true, WantStderr: true, Timeout: 20 * time.Minute,
	}}
}

func always(s dormouse.StepSpec) dormouse.StepSpec {
	s.AlwaysRun = true
	return s
}

func (f *farm) job(steps ...dormouse.StepSpec) build.Job {
	return build.Job{
		Build:   dormouse.Build{ID: 1, Builder: "x", Number: 1, Worker: "bot1", Properties: dormouse.Properties{}},
		Builder: dormouse.Builder{Name: "x", Steps: steps}, Worker: f.worker,
	}
}

// run runs the steps to their end, which must come.
func (f *farm) run(t testing.TB, m *memory, job build.Job, stop <-chan string) build.Outcome {
	t.Helper()
	return f.runWith(t, build.Runner{Store: m, Announce: m.announce}, m, job, stop)
}

// runWith is run with a runner that has more than a store.
func (f *farm) runWith(t testing.TB, r build.Runner, m *memory, job build.Job, stop <-chan string) build.Outcome {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	if r.Log == nil {
		r.Log = slog.New(slog.DiscardHandler)
	}
	out := r.Run(ctx, job, stop)
	if ctx.Err() != nil {
		t.Fatalf("the build did not end; steps: %v", m.results())
	}
	for _, l := range m.logs {
		if !l.Complete && m.fail == nil {
			t.Errorf("log %s of step %d is not complete", l.Name, l.StepID)
		}
	}
	if i := slices.IndexFunc(m.steps, func(s dormouse.Step) bool { return s.Result == nil }); i >= 0 && m.fail == nil {
		t.Errorf("step %s has not ended", m.steps[i].Name)
	}
	return out
}

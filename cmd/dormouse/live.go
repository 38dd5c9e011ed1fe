package main

import (
	"fmt"
	"io"
	"strings"
	"sync"
	"time"

	"charm.land/bubbles/v2/spinner"
	"charm.land/lipgloss/v2"

	"github.com/dormouse-ci/dormouse"
)

// liveLine keeps a status line at the foot of a terminal, below what else is
// printed. Where the output is no terminal it does nothing.
type liveLine struct {
	w     io.Writer
	paint func(string) string
	done  chan struct{}
	once  sync.Once
	wait  sync.WaitGroup

	mu    sync.Mutex
	text  string
	frame int
	shown bool
	// open says that the last write did not end its line.
	open bool
}

// startLiveLine puts itself between a printer and its terminal.
func startLiveLine(p *printer) *liveLine {
	l := &liveLine{w: p.out, done: make(chan struct{}), paint: func(s string) string { return p.paint(cyan, s) }}
	if !p.terminal {
		return l
	}
	p.out = l
	l.wait.Go(l.spin)
	return l
}

func (l *liveLine) spin() {
	s := spinner.MiniDot
	t := time.NewTicker(s.FPS)
	defer t.Stop()
	for {
		select {
		case <-t.C:
			l.mu.Lock()
			l.frame = (l.frame + 1) % len(s.Frames)
			l.draw()
			l.mu.Unlock()
		case <-l.done:
			return
		}
	}
}

// set changes the status.
func (l *liveLine) set(text string) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.text = text
}

// Write prints above the status line.
func (l *liveLine) Write(p []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	l.clear()
	n, err := l.w.Write(p)
	if n > 0 {
		l.open = p[n-1] != '\n'
	}
	return n, err
}

// stop takes the status line away. Writes go on to the terminal.
func (l *liveLine) stop() {
	l.once.Do(func() {
		close(l.done)
		l.wait.Wait()
		l.mu.Lock()
		defer l.mu.Unlock()
		l.clear()
		l.text = ""
	})
}

func (l *liveLine) draw() {
	if l.text == "" || l.open {
		return
	}
	l.clear()
	fmt.Fprintf(l.w, "%s %s", l.paint(spinner.MiniDot.Frames[l.frame]), lipgloss.NewStyle().MaxWidth(78).Render(l.text))
	l.shown = true
}

func (l *liveLine) clear() {
	if l.shown {
		io.WriteString(l.w, "\r\x1b[K") //nolint:errcheck // a terminal that is gone shows nothing
		l.shown = false
	}
}

// demoState is what the status line of a demo says.
type demoState struct {
	builds    int
	running   map[int64]string // what each build is at
	finished  int
	instances map[string]dormouse.InstanceState
}

func newDemoState(builds int) *demoState {
	return &demoState{builds: builds, running: map[int64]string{}, instances: map[string]dormouse.InstanceState{}}
}

func (s *demoState) take(e dormouse.Event) {
	switch {
	case e.Instance != nil && e.Instance.EndedAt.IsZero():
		s.instances[e.Instance.ID] = e.Instance.State
	case e.Instance != nil:
		delete(s.instances, e.Instance.ID)
	case e.Kind == dormouse.EventBuildStarted:
		s.running[e.Build.ID] = "starting"
	case e.Kind == dormouse.EventBuildFinished:
		delete(s.running, e.Build.ID)
		s.finished++
	case e.Kind == dormouse.EventStepStarted:
		s.running[e.Step.BuildID] = e.Step.Name
	}
}

// String is the status in words.
func (s *demoState) String() string {
	parts := []string{fmt.Sprintf("%d of %s done", s.finished, count(s.builds, "build"))}
	for _, at := range s.running {
		if len(s.running) > 1 {
			parts = append(parts, fmt.Sprintf("%d running", len(s.running)))
		} else {
			parts = append(parts, "at "+plain(at))
		}
		break
	}
	byState := map[dormouse.InstanceState]int{}
	for _, state := range s.instances {
		byState[state]++
	}
	for _, state := range []dormouse.InstanceState{dormouse.InstancePending, dormouse.InstanceRunning, dormouse.InstanceShuttingDown} {
		if n := byState[state]; n > 0 {
			parts = append(parts, count(n, "instance")+" "+string(state))
		}
	}
	return strings.Join(parts, " · ")
}

package main

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/web/client"
)

// demoMaster is a master as the demo needs it: one of this process, or, where it
// is to be killed, a process of its own.
type demoMaster interface {
	WWWAddr() string
	WorkerAddr() string
	Stop(ctx context.Context)
	Subscribe() (events <-chan dormouse.Event, cancel func())
	Instances(ctx context.Context, all bool) ([]dormouse.Instance, error)
}

const (
	// killStep is the step whose master dies: it prints killLines lines, two a
	// second, and the master is killed at line killAt, for killAway.
	killStep  = "count"
	killLines = 12
	killAt    = 4
	killAway  = 2 * time.Second
)

// killSteps is the step of --kill-master.
func (d *demo) killSteps() string {
	if !d.kill {
		return ""
	}
	return fmt.Sprintf("    steps.ShellCommand(name=%q, logEnviron=False,\n"+
		"                       command='for i in $(seq %[2]d); do echo line $i of %[2]d; sleep 0.5; done'),\n", killStep, killLines)
}

// masterProcess is a master that is a process of its own.
type masterProcess struct {
	dir      string // with master.star, token and master.log
	www, bot string
	client   *client.Client
	cmd      *exec.Cmd
}

// start starts the process and waits until it serves.
func (m *masterProcess) start() error {
	self, err := os.Executable()
	if err != nil {
		return err
	}
	log, err := os.OpenFile(filepath.Join(filepath.Dir(m.dir), "master.log"), os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	m.cmd = exec.Command(self, "master", m.dir, "--json")
	m.cmd.Stderr = log
	// An interruption of the demo is for the demo alone, which then stops this.
	m.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	out, err := m.cmd.StdoutPipe()
	if err != nil {
		return err
	}
	if err := m.cmd.Start(); err != nil {
		return err
	}
	var said struct{ URL, Workers string }
	line, err := bufio.NewReader(out).ReadBytes('\n')
	if err == nil {
		err = json.Unmarshal(line, &said)
	}
	if err != nil {
		m.kill()
		return fmt.Errorf("the master's process does not serve: %w", err)
	}
	m.www, m.bot = strings.TrimPrefix(said.URL, "http://"), said.Workers
	return nil
}

// kill ends the process without its ending anything.
func (m *masterProcess) kill() {
	_ = m.cmd.Process.Kill()
	_ = m.cmd.Wait() // it was killed
}

func (m *masterProcess) WWWAddr() string    { return m.www }
func (m *masterProcess) WorkerAddr() string { return m.bot }

func (m *masterProcess) Instances(ctx context.Context, all bool) ([]dormouse.Instance, error) {
	return m.client.Instances(ctx, all)
}

// Stop has the process stop in good order, or kills it when ctx ends.
func (m *masterProcess) Stop(ctx context.Context) {
	_ = m.cmd.Process.Signal(syscall.SIGTERM)
	defer context.AfterFunc(ctx, func() { _ = m.cmd.Process.Kill() })()
	_ = m.cmd.Wait() // the ledger says what came of it
}

func (m *masterProcess) Subscribe() (<-chan dormouse.Event, func()) {
	ctx, cancel := context.WithCancel(context.Background())
	all := client.EventQuery{Kinds: []string{"request", "build", "step", "log", string(dormouse.EventLogAppended), "worker", "instance"}}
	events := make(chan dormouse.Event)
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer close(events)
		for message, err := range m.client.Events(ctx, all) {
			if err != nil {
				return
			}
			if message.Reset {
				continue
			}
			select {
			case events <- message.Event:
			case <-ctx.Done():
				return
			}
		}
	}()
	return events, func() {
		cancel()
		<-done
	}
}

// startMasterProcess starts a master that can be killed. Its ports are fixed, so
// that whoever talked to the one that dies finds the next.
func (d *demo) startMasterProcess(base string) error {
	if err := os.WriteFile(filepath.Join(base, "token"), []byte(d.token+"\n"), 0o600); err != nil {
		return err
	}
	m := &masterProcess{dir: base}
	if err := m.start(); err != nil {
		return err
	}
	d.master = m
	var err error
	m.client, err = client.New("http://"+m.www, d.token)
	return err
}

// killer kills the master in the middle of a step, and starts it again.
type killer struct {
	demo *demo
	step int64 // its id, once it has begun
	done bool
}

// take looks whether the moment has come.
func (k *killer) take(e dormouse.Event) {
	m, ok := k.demo.master.(*masterProcess)
	switch {
	case !ok || k.done:
		return
	case e.Step != nil && e.Step.Name == killStep:
		k.step = e.Step.ID
	}
	// Before the step's own lines stand four of what is run, and how.
	if e.Log == nil || e.Log.StepID != k.step || k.step == 0 || e.Log.Lines < killAt+4 {
		return
	}
	k.done = true
	d := k.demo
	d.printf("%s %s\n", d.at(), d.paint(red, fmt.Sprintf("kill -9 of the master, process %d: the step goes on without it", m.cmd.Process.Pid)))
	m.kill()
	time.Sleep(killAway)
	if err := m.start(); err != nil {
		d.notef("The master could not be started again: %v\n", err)
		return
	}
	d.printf("%s the master is started again, as process %d: it goes on with the build\n", d.at(), m.cmd.Process.Pid)
}

// checkKilled says whether the build is as if nothing had happened.
func (d *demo) checkKilled(ctx context.Context, s *summary) error {
	if len(s.Builds) == 0 {
		return errors.New("there is no build")
	}
	build := s.Builds[0].request.BuildID
	steps, err := d.client.Steps(ctx, build)
	if err != nil {
		return err
	}
	for _, step := range steps {
		if step.Name != killStep || len(step.Logs) == 0 {
			continue
		}
		next := 1
		lines, err := d.client.LogLines(ctx, step.Logs[0].ID, 0, step.Logs[0].Lines)
		if err != nil {
			return err
		}
		for _, line := range lines {
			if line.Stream != string(byte(dormouse.Stdout)) {
				continue
			}
			if line.Text != fmt.Sprintf("line %d of %d", next, killLines) {
				return fmt.Errorf("the log has %q where line %d would be", line.Text, next)
			}
			next++
		}
		if next != killLines+1 {
			return fmt.Errorf("the log has %d of %d lines", next-1, killLines)
		}
		d.printf("%s the step went on while there was no master: its log has each of the %d lines once, in order\n", d.at(), killLines)
		return nil
	}
	return fmt.Errorf("build %d has no step %s", build, killStep)
}

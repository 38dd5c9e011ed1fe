package main

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"sync"
	"time"

	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
	"github.com/dormouse-ci/dormouse/internal/loopback"
	"github.com/dormouse-ci/dormouse/machine"
	"github.com/dormouse-ci/dormouse/worker"
)

// stage is where a life is led: an endpoint whose machines are agents in this
// process, so that a life is short, and the directory of its masters.
type stage struct {
	life    life
	end     point // at which the master is killed; of no kind: nowhere
	program string
	dir     string

	endpoint *ec2sim.Server
	url      string // of the endpoint
	diary    diary

	mu     sync.Mutex
	victim *process       // the master that is killed; nil: none, or the next one serves
	counts map[string]int // its calls, by their action

	// What came of it.
	done []string // the writes and calls of the master
	died bool     // it was killed at the point
}

// play leads the life, and judges its end.
func (s *stage) play(ctx context.Context) (err error) {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	closeStage, err := s.open(ctx)
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, closeStage()) }()
	accepted, err := s.live(ctx)
	if err != nil {
		return fmt.Errorf("the master that is killed: %w", err)
	}
	return s.finish(ctx, accepted)
}

// open makes the endpoint and the master's directory.
func (s *stage) open(ctx context.Context) (end func() error, err error) {
	s.diary, s.counts = diary{filepath.Join(s.dir, "diary")}, map[string]int{}
	s.endpoint, err = ec2sim.New(ec2sim.Options{
		BootDelay: -1, Dir: filepath.Join(s.dir, "instances"), Boot: s.boot, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		return nil, err
	}
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return nil, err
	}
	s.url = "http://" + listener.Addr().String()
	server := &http.Server{Handler: http.HandlerFunc(s.serve), ReadHeaderTimeout: startTimeout}
	go func() { _ = server.Serve(listener) }() // until it is closed
	end = func() error {
		ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), settleTime)
		defer cancel()
		return errors.Join(s.endpoint.Close(ctx), server.Close())
	}
	if err := s.furnish(ctx); err != nil {
		return nil, errors.Join(err, end())
	}
	if s.life.scenario != "" {
		scenario, err := ec2sim.ParseScenario([]byte(s.life.scenario))
		if err != nil {
			return nil, errors.Join(err, end())
		}
		s.endpoint.SetScenario(scenario)
	}
	return end, nil
}

// furnish makes the master's directory, and what belongs to its worker.
func (s *stage) furnish(ctx context.Context) error {
	var has belongings
	var err error
	if s.life.belongs {
		if has.volume, err = createVolume(ctx, s.url); err != nil {
			return err
		}
		if has.address, err = allocateAddress(ctx, s.url); err != nil {
			return err
		}
	}
	port, err := loopback.FreePort()
	if err != nil {
		return err
	}
	if err := os.MkdirAll(s.base(), 0o700); err != nil {
		return err
	}
	if err := os.WriteFile(filepath.Join(s.base(), "token"), []byte(token+"\n"), 0o600); err != nil {
		return err
	}
	return os.WriteFile(filepath.Join(s.base(), "master.star"), []byte(s.life.configuration(s.url, port, has)), 0o600)
}

// base is the directory of the masters.
func (s *stage) base() string { return filepath.Join(s.dir, "master") }

// agent is a machine: one dormouse worker, configured by its user data.
type agent struct {
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

func (a *agent) Stop(context.Context) error { a.cancel(); a.wg.Wait(); return nil }
func (a *agent) Discard() error             { return nil }

func (s *stage) boot(ctx context.Context, m ec2sim.Machine) (ec2sim.Process, error) {
	ctx, cancel := context.WithCancel(ctx)
	a := &agent{cancel: cancel}
	settings, err := machine.ParseUserData(string(m.UserData), []string{"DORMOUSE_MASTER", "DORMOUSE_WORKER_NAME", "DORMOUSE_WORKER_PASSWORD"})
	if err != nil {
		return a, err
	}
	w, err := worker.New(worker.Config{
		Master: settings["DORMOUSE_MASTER"], Name: settings["DORMOUSE_WORKER_NAME"], Password: settings["DORMOUSE_WORKER_PASSWORD"],
		InstanceID: m.ID, BaseDir: filepath.Join(s.dir, "agents", m.ID), MaxDelay: 200 * time.Millisecond,
	})
	if err != nil {
		return a, err
	}
	a.wg.Go(func() {
		if err := w.Run(ctx); err != nil {
			fmt.Fprintf(m.Console, "the agent ended: %v\n", err)
			m.PowerOff()
		}
	})
	return a, nil
}

// serve answers a call of EC2. It notes those of the master that is to be killed,
// and kills it where the point is at a call.
func (s *stage) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	victim, action := s.victim, ""
	if victim != nil {
		action = actionOf(r)
	}
	if action == "" {
		s.mu.Unlock()
		s.endpoint.ServeHTTP(w, r)
		return
	}
	s.counts[action]++
	n := s.counts[action]
	if err := s.diary.add(action); err != nil {
		fmt.Fprintln(os.Stderr, "torture:", err)
	}
	s.mu.Unlock()
	at := point{life: s.end.life, kind: action, n: n}
	if s.end == at {
		s.kill(victim)
	}
	at.after = true
	if s.end == at {
		func() {
			defer func() { _ = recover() }() // where the endpoint loses the answer anyway
			s.endpoint.ServeHTTP(nowhere{http.Header{}}, r)
		}()
		s.kill(victim)
	}
	s.endpoint.ServeHTTP(w, r)
}

// kill kills the master at its point, and leaves its call without an answer.
func (s *stage) kill(victim *process) {
	if err := s.diary.add(diedLine); err != nil {
		fmt.Fprintln(os.Stderr, "torture:", err)
	}
	victim.kill()
	panic(http.ErrAbortHandler)
}

// actionOf reads a call's action; what is no call has none.
func actionOf(r *http.Request) string {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return ""
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return ""
	}
	return form.Get("Action")
}

// nowhere is where the answer goes to a master that is dead.
type nowhere struct{ header http.Header }

func (n nowhere) Header() http.Header         { return n.header }
func (n nowhere) Write(p []byte) (int, error) { return len(p), nil }
func (n nowhere) WriteHeader(int)             {}

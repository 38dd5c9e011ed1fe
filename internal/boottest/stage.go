package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
	"github.com/dormouse-ci/dormouse/web"
)

// scenario is one life of a deployment.
type scenario struct {
	name      string
	diskMiB   int                // of each machine; 0 for plenty
	timeScale float64            // of the master; 0 for 1
	prepare   func(*stage) error // before the master starts
	play      func(*stage) error
}

// plentyMiB is a disk that nothing here fills. Its file is as long as what is on it.
const plentyMiB = 4096

// noteLength is how much of a reason a scenario's line has, in characters.
const noteLength = 120

// stage is where a scenario is played: an endpoint, a master, and the machines.
type stage struct {
	context.Context
	scenario
	program, dir string

	host     *host
	endpoint *ec2sim.Server
	master   *buildMaster
	bootedIn time.Duration // from the first launch to its attachment
	notes    []string
}

// run plays the scenario, prints its line, and reports whether it held.
func (s scenario) run(ctx context.Context, program, image, dir string, keep bool) bool {
	ctx, cancel := context.WithTimeout(ctx, 15*time.Minute)
	defer cancel()
	if s.diskMiB == 0 {
		s.diskMiB = plentyMiB
	}
	if s.timeScale == 0 {
		s.timeScale = 1
	}
	st := &stage{Context: ctx, scenario: s, program: program, dir: dir}
	began := time.Now()
	err := st.perform(image)
	verdict := "ok  "
	if err != nil {
		verdict = "FAIL"
		st.notef("%v", err)
	}
	fmt.Printf("%s %-13s %s; %s in all\n", verdict, s.name, strings.Join(st.notes, ", "), seconds(time.Since(began)))
	if err == nil && !keep {
		err = os.RemoveAll(dir)
	}
	return err == nil
}

// perform sets the stage, plays, and clears it.
func (s *stage) perform(image string) (err error) {
	metadata := &metadata{}
	s.host = &host{image: image, dir: filepath.Join(s.dir, "machines"), diskMiB: s.diskMiB, metadata: metadata}
	if err := os.MkdirAll(s.host.dir, 0o700); err != nil {
		return err
	}
	log, err := os.Create(filepath.Join(s.dir, "endpoint.log"))
	if err != nil {
		return err
	}
	defer log.Close()
	s.endpoint, err = ec2sim.New(ec2sim.Options{Boot: s.host.boot, Logger: slog.New(slog.NewTextHandler(log, nil))})
	if err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.endpoint.Close(context.WithoutCancel(s))) }()
	for address, handler := range map[string]http.Handler{endpointAddress: s.endpoint, metadataIP + ":80": metadata} {
		listener, err := net.Listen("tcp", address)
		if err != nil {
			return err
		}
		server := &http.Server{Handler: handler, ReadHeaderTimeout: time.Minute}
		go func() { _ = server.Serve(listener) }() // until it is closed
		defer server.Close()
	}
	if s.prepare != nil {
		if err := s.prepare(s); err != nil {
			return err
		}
	}
	if err := s.startMaster(); err != nil {
		return err
	}
	defer func() { err = errors.Join(err, s.master.stop()) }()
	return s.play(s)
}

func (s *stage) masterDir() string { return filepath.Join(s.dir, "master") }

func (s *stage) startMaster() (err error) {
	s.master, err = startMaster(s.program, s.masterDir(), s.timeScale)
	return err
}

// notef adds to what the scenario's line says.
func (s *stage) notef(format string, args ...any) {
	s.notes = append(s.notes, fmt.Sprintf(format, args...))
}

func seconds(d time.Duration) string { return fmt.Sprintf("%.1f s", d.Seconds()) }

// shorten keeps the part of a text that a line has room for.
func shorten(text string) string {
	if runes := []rune(text); len(runes) > noteLength {
		return string(runes[:noteLength]) + "…"
	}
	return text
}

// until waits until something is so, and returns when it was seen.
func (s *stage) until(what string, limit time.Duration, is func() (bool, error)) (time.Time, error) {
	deadline := time.Now().Add(limit)
	for {
		ok, err := is()
		switch {
		case ok:
			return time.Now(), nil
		case time.Now().After(deadline) && err != nil:
			return time.Time{}, fmt.Errorf("%s: not within %v: %w", what, limit, err)
		case time.Now().After(deadline):
			return time.Time{}, fmt.Errorf("%s: not within %v", what, limit)
		}
		select {
		case <-time.After(100 * time.Millisecond):
		case <-s.Done():
			return time.Time{}, fmt.Errorf("%s: %w", what, s.Err())
		}
	}
}

// force asks for a build.
func (s *stage) force(builder string) (request int64, err error) {
	made, err := s.master.client.Force(s, web.ForceRequest{Builder: builder, Reason: "boot-test"})
	if err != nil {
		return 0, err
	}
	return made[0].ID, nil
}

// generation is what is known of the worker's first generation.
func (s *stage) generation(request int64) (g dormouse.GenerationStory, err error) {
	story, err := s.master.client.Story(s, request)
	if err != nil {
		return g, err
	}
	for _, w := range story.Workers {
		for _, g := range w.Generations {
			if g.Generation.Number == 1 {
				return g, nil
			}
		}
	}
	return g, errors.New("there is no generation yet")
}

// machine waits for the machine of the first generation, and returns it.
func (s *stage) machine(request int64) (m *machine, err error) {
	_, err = s.until("the machine boots", time.Minute, func() (bool, error) {
		g, err := s.generation(request)
		if err != nil || len(g.Instances) == 0 {
			return false, err
		}
		if m = s.host.machine(g.Instances[0].ID); m != nil {
			m.launchedAt = g.Instances[0].LaunchedAt
		}
		return m != nil, nil
	})
	return m, err
}

// attached waits until the first generation's worker is attached, and notes how
// long its launch took until then.
func (s *stage) attached(request int64, limit time.Duration) error {
	var g dormouse.GenerationStory
	_, err := s.until("the worker is attached", limit, func() (ok bool, err error) {
		g, err = s.generation(request)
		return !g.Generation.AttachedAt.IsZero(), err
	})
	if err == nil {
		s.bootedIn = g.Generation.AttachedAt.Sub(g.Instances[0].LaunchedAt)
		s.notef("launch→attach %s", seconds(s.bootedIn))
	}
	return err
}

// closed waits until the first generation has ended and its machine is gone, and
// notes how long after since that was.
func (s *stage) closed(request int64, m *machine, since time.Time, limit time.Duration) error {
	var g dormouse.GenerationStory
	_, err := s.until("the generation has ended", limit+5*time.Second, func() (ok bool, err error) {
		g, err = s.generation(request)
		return !g.Generation.ClosedAt.IsZero(), err
	})
	if err != nil {
		return err
	}
	after := g.Generation.ClosedAt.Sub(since)
	s.notef("generation ended +%s (%s)", seconds(after), shorten(g.Generation.Reason))
	if after > limit {
		return fmt.Errorf("that is later than %v", limit)
	}
	_, err = s.until("the machine is gone", time.Minute, func() (bool, error) { return !m.gone().IsZero(), nil })
	if err == nil && m.gone().After(since) {
		s.notef("machine gone +%s", seconds(m.gone().Sub(since)))
	}
	return err
}

// build is the n-th build of a builder; false where there is none yet.
func (s *stage) build(builder string, number int) (dormouse.Build, bool) {
	b, err := s.master.client.BuildByNumber(s, builder, number)
	return b, err == nil
}

// ended waits until a build has ended with that result, and notes when.
func (s *stage) ended(builder string, number int, want dormouse.Result, since time.Time, limit time.Duration) (b dormouse.Build, err error) {
	_, err = s.until(fmt.Sprintf("build %d has ended", number), limit, func() (bool, error) {
		var there bool
		b, there = s.build(builder, number)
		return there && b.Result != nil, nil
	})
	if err != nil {
		return b, err
	}
	s.notef("build %d: %s +%s", number, b.Result, seconds(b.FinishedAt.Sub(since)))
	if *b.Result != want {
		return b, fmt.Errorf("its result should be %s: %s", want, b.StateString)
	}
	return b, nil
}

// logOf is what a build's step has printed.
func (s *stage) logOf(b dormouse.Build) (string, error) {
	all, err := s.master.client.Steps(s, b.ID)
	if err != nil {
		return "", err
	}
	var text strings.Builder
	for _, step := range all {
		for _, log := range step.Logs {
			lines, err := s.master.client.LogLines(s, log.ID, 0, web.MaxPage)
			if err != nil {
				return "", err
			}
			for _, line := range lines {
				text.WriteString(line.Text + "\n")
			}
		}
	}
	return text.String(), nil
}

// started waits until the first build of a builder runs its step.
func (s *stage) started(builder string) error {
	_, err := s.until("the step runs", 2*time.Minute, func() (bool, error) {
		b, there := s.build(builder, 1)
		if !there {
			return false, nil
		}
		text, err := s.logOf(b)
		return strings.Contains(text, startedWord), err
	})
	return err
}

// alarms counts the errors in the master's log.
func (s *stage) alarms() (count int, last string) {
	text, err := os.ReadFile(filepath.Join(s.dir, "master.log"))
	if err != nil {
		return 0, err.Error()
	}
	for line := range strings.Lines(string(text)) {
		if strings.Contains(line, "level=ERROR") {
			count, last = count+1, strings.TrimSpace(line)
		}
	}
	return count, last
}

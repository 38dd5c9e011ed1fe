package main

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"syscall"
	"time"

	"github.com/dormouse-ci/dormouse/web/client"
)

// seat is a directory that a master serves from.
type seat struct{ dir, log string }

// master is a master process that serves, or did.
type master struct {
	*process
	client *client.Client
	// mayEnd says that it was told to stop, or killed, or that another wanted its
	// place: one that had the lease for a moment ends it.
	mayEnd bool
}

// furnish makes the directories of the run's masters: one, or two that want the
// same database.
func (r *run) furnish() error {
	names := []string{"master"}
	if r.plan.rival {
		names = append(names, "rival")
	}
	for _, name := range names {
		s := seat{filepath.Join(r.dir, name), filepath.Join(r.dir, name+".log")}
		if err := os.MkdirAll(s.dir, 0o700); err != nil {
			return err
		}
		for file, text := range map[string]string{"master.star": r.configuration(), "token": token + "\n"} {
			if err := os.WriteFile(filepath.Join(s.dir, file), []byte(text), 0o600); err != nil {
				return err
			}
		}
		r.seats = append(r.seats, s)
	}
	return nil
}

// launch starts a master in a seat, once. It is in charge from then on: another
// that was has been overtaken, and must end by itself.
func (r *run) launch(ctx context.Context, s seat) error {
	p, err := start(ctx, s.log, []string{r.clock.env()}, r.program, "master", s.dir, "--json", "--time-scale", fmt.Sprint(timeScale))
	if err != nil {
		return err
	}
	c, err := client.New(p.said["url"].(string), token)
	if err != nil {
		p.kill()
		return err
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.masters = append(r.masters, &master{process: p, client: c})
	r.wire.Server("tcp", p.said["workers"].(string))
	return nil
}

// current is the master that serves, the last that was started; nil for none.
func (r *run) current() *master {
	r.mu.Lock()
	defer r.mu.Unlock()
	if len(r.masters) == 0 {
		return nil
	}
	m := r.masters[len(r.masters)-1]
	if m.running() {
		return m
	}
	if !m.mayEnd {
		r.fig.lose(&r.fig.broken, "a master ended by itself: %v", m.cmd.ProcessState)
		m.mayEnd = true
	}
	return nil
}

// api is the client of the last master.
func (r *run) api() *client.Client {
	r.mu.Lock()
	defer r.mu.Unlock()
	return r.masters[len(r.masters)-1].client
}

// ensureMaster has a master serve, in that seat unless one does already, and
// tries until one does: what else is disturbed may keep it from starting.
func (r *run) ensureMaster(ctx context.Context, s seat) error {
	r.starting.Lock()
	defer r.starting.Unlock()
	ctx, cancel := context.WithTimeoutCause(ctx, settleTime, fmt.Errorf("no master has started within %v", settleTime))
	defer cancel()
	for r.current() == nil {
		err := r.launch(r.ctx, s)
		if err == nil {
			r.tell("a master serves from %s", filepath.Base(s.dir))
			return nil
		}
		r.tell("a master did not start in %s: %v", filepath.Base(s.dir), err)
		select {
		case <-time.After(300 * time.Millisecond):
		case <-ctx.Done():
			return errors.Join(err, context.Cause(ctx))
		}
	}
	return nil
}

// overtake starts a master in a seat while another one serves. Unless that one's
// lease has run out, it is refused; a master that starts is in charge.
func (r *run) overtake(s seat, attempts int) {
	r.starting.Lock()
	defer r.starting.Unlock()
	for range attempts {
		m := r.current()
		if m == nil {
			return // it has been killed, and who did that starts the next
		}
		r.mu.Lock()
		m.mayEnd = true
		r.mu.Unlock()
		if err := r.launch(r.ctx, s); err == nil {
			r.count(&r.fig.takeovers, 1)
			r.tell("the master in %s has taken over", filepath.Base(s.dir))
			r.wire.CutAll() // as an address does that moves to another machine
			return
		}
		<-time.After(200 * time.Millisecond)
	}
	r.tell("the master in %s was refused", filepath.Base(s.dir))
}

// killMaster kills the master, if one serves.
func (r *run) killMaster() {
	m := r.current()
	if m == nil {
		return
	}
	r.mu.Lock()
	m.mayEnd = true
	r.killed = append(r.killed, time.Now())
	r.fig.kills++
	r.mu.Unlock()
	m.kill()
}

// signalMaster signals the master, if one serves.
func (r *run) signalMaster(times int, s syscall.Signal) {
	m := r.current()
	if m == nil {
		return
	}
	if s == syscall.SIGTERM {
		r.mu.Lock()
		m.mayEnd = true
		r.fig.stops++
		r.mu.Unlock()
	}
	for n := range times {
		if n > 0 {
			<-time.After(100 * time.Millisecond) // two at once may be one
		}
		_ = m.cmd.Process.Signal(s) // it may have gone
	}
}

// suspend stops the master as a machine does that sleeps, and returns what lets
// it go on.
func (r *run) suspend() (resume func()) {
	m := r.current()
	if m == nil {
		return func() {}
	}
	_ = m.cmd.Process.Signal(syscall.SIGSTOP) // it may have gone
	r.count(&r.fig.suspensions, 1)
	return func() { _ = m.cmd.Process.Signal(syscall.SIGCONT) }
}

// judgeMasters holds that masters which were overtaken end by themselves.
func (r *run) judgeMasters(ctx context.Context) error {
	r.mu.Lock()
	overtaken := r.masters[:len(r.masters)-1]
	r.mu.Unlock()
	for _, m := range overtaken {
		select {
		case <-m.done:
		case <-time.After(settleTime):
			r.fig.lose(&r.fig.shared, "a master that was overtaken still runs: %d", m.cmd.Process.Pid)
			m.kill()
		case <-ctx.Done():
			return ctx.Err()
		}
	}
	return nil
}

package worker

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/dormouse-ci/dormouse/wire"
	"github.com/dormouse-ci/dormouse/worker/command"
)

// keepalivePatience is how long the master may take to answer a keepalive:
// the stock worker's figure.
const keepalivePatience = 30 * time.Second

// ending says how an attachment ended.
type ending int

const (
	endRefused ending = iota // it never began
	endLost
	endOrdered // the master ordered the shutdown
)

// attachment is one connection to the master. It is the connection's handler.
type attachment struct {
	w        *Worker
	log      *slog.Logger
	conn     conn
	commands *command.Attachment

	ctx      context.Context // ends when the connection is of no more use
	cancel   context.CancelFunc
	shutdown chan struct{}
	once     sync.Once // closes shutdown
	wg       sync.WaitGroup
}

// attach connects to the master and serves it until the connection ends, all
// its commands have ended, and nothing of it is left.
func (w *Worker) attach(ctx context.Context, log *slog.Logger) (ending, error) {
	a := &attachment{w: w, log: log, shutdown: make(chan struct{})}
	a.ctx, a.cancel = context.WithCancel(ctx)
	defer a.cancel()
	err := w.dial(ctx, wire.DialOptions{
		URL:         w.cfg.Master,
		Name:        w.cfg.Name,
		Password:    w.cfg.Password,
		InstanceID:  w.cfg.InstanceID,
		Session:     w.session,
		SecretHash:  hashSecret(w.secret),
		Machine:     w.machine,
		Agent:       w.cfg.Version,
		Handler:     a,
		Trust:       w.cfg.trust,
		DialContext: w.cfg.DialContext,
		Log:         log,
	}, func(c conn) {
		a.conn, a.commands = c, w.commands.Attach(a.ctx, c, log)
		if c.SecretBound() {
			w.cfg.Password = w.secret
		}
		w.keepMachine(c.Machine(), log)
		if !c.Extensions().Has(wire.Resume) {
			// This master cannot take them up, and must not start others
			// beside them.
			w.commands.Keep(nil)
		}
	})
	if err != nil {
		return endRefused, err
	}
	log.Info("attached to the master")
	// A master that pings is watched by the connection itself.
	if interval := w.cfg.Keepalive; interval > 0 && !a.conn.Extensions().Has(wire.Ping) {
		a.wg.Go(func() { a.keepalive(interval) })
	}
	if a.conn.Extensions().Has(wire.Interruption) {
		a.wg.Go(a.tellNotices)
	}
	how := endLost
	select {
	case <-a.conn.Done():
		err = a.conn.Err()
	case <-a.shutdown:
		how = endOrdered
	case <-ctx.Done():
		// The master need not wait for a process that does not come back.
		a.commands.Stop()
		a.conn.Leave()
	}
	// The commands first: they must not report that they were killed, or the
	// master would count a failure where it should try again.
	a.commands.Stop()
	a.cancel()
	a.commands.Close()
	a.wg.Wait()
	_ = a.conn.Close() // it has ended, or now does
	a.conn.Wait()
	return how, err
}

// keepalive ends a connection whose master does not answer.
func (a *attachment) keepalive(interval time.Duration) {
	ticker := time.NewTicker(interval)
	defer ticker.Stop()
	for {
		select {
		case <-a.ctx.Done():
			return
		case <-ticker.C:
		}
		ctx, cancel := context.WithTimeout(a.ctx, keepalivePatience)
		err := a.conn.Keepalive(ctx)
		cancel()
		if err != nil {
			if a.ctx.Err() == nil {
				a.log.Warn("the master does not answer a keepalive: dropping the connection", "error", err)
				_ = a.conn.Close() // the attachment hears of it by Done
			}
			return
		}
	}
}

// WorkerInfo describes the worker to the master.
func (a *attachment) WorkerInfo() map[string]any { return describe(&a.w.cfg) }

// Settings takes the master's, for commands that start from now on.
func (a *attachment) Settings(s wire.Settings) { a.commands.Settings(s) }

// StartCommand starts a command; its error says what is wrong with the request.
func (a *attachment) StartCommand(start wire.StartCommand) error { return a.commands.Start(start) }

// KeepCommands ends what earlier connections have begun and the master does not
// want any more.
func (a *attachment) KeepCommands(groups []string) { a.w.commands.Keep(groups) }

// EndGroup ends what is left of a group, and names it.
func (a *attachment) EndGroup(group string) []string { return a.w.commands.EndGroup(group) }

// ResumeCommand has a command of an earlier connection go on over this one.
func (a *attachment) ResumeCommand(id string, position int64) bool {
	return a.commands.Resume(id, position)
}

// InterruptCommand asks a command to end. One that has ended is no error.
func (a *attachment) InterruptCommand(id, why string) error {
	a.commands.Interrupt(id, why)
	return nil
}

// Print logs what the master wants said here.
func (a *attachment) Print(msg string) { a.log.Info("message from the master", "message", msg) }

// Shutdown ends the agent, as the master ordered.
func (a *attachment) Shutdown() { a.once.Do(func() { close(a.shutdown) }) }

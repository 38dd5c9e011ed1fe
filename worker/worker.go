package worker

import (
	"context"
	crand "crypto/rand"
	"crypto/sha256"
	"encoding/hex"
	"errors"
	"log/slog"
	"math/rand/v2"
	"os"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/machine"
	"github.com/dormouse-ci/dormouse/wire"
	"github.com/dormouse-ci/dormouse/worker/command"
)

// ErrSuperseded is in the error of [Worker.Run] when the master has no more
// use for this machine: the generation it was started for is over.
var ErrSuperseded = errors.New("this machine is not wanted any more")

// ErrGaveUp is in the error of [Worker.Run] when Config.MaxRetries attempts
// in a row have failed.
var ErrGaveUp = errors.New("gave up attaching to the master")

const (
	// defaultMaxDelay is the stock worker's.
	defaultMaxDelay = 5 * time.Minute
	// heldMaxDelay takes the place of a longer limit while commands go on
	// without a master: one that was restarted gives a worker that has builds
	// only so long to come back (90 s).
	heldMaxDelay = 15 * time.Second
	// settled is how long an attachment must have lasted to count as a
	// success: one that ends sooner was not accepted in earnest, and trying
	// again at once would be a storm.
	settled = 10 * time.Second
)

// conn is an attachment's connection, as [wire.AgentConn] has it.
type conn interface {
	command.Conn
	Extensions() wire.Extensions
	Interruption(ctx context.Context, n wire.Notice) error
	SecretBound() bool
	Machine() string
	Leave()
	Keepalive(ctx context.Context) error
	Done() <-chan struct{}
	Err() error
	Close() error
	Wait()
}

// dialFunc connects; connected is called before any method of the handler is.
type dialFunc func(ctx context.Context, o wire.DialOptions, connected func(conn)) error

// Worker is an agent. Make it with [New].
type Worker struct {
	cfg    Config
	dial   dialFunc
	chance func() float64 // in [0, 1), for the back-off
	// session names this process to the master: a connection of the same one
	// finds the commands of the one before it.
	session string
	// secret takes the place of the password that the launch gave to the
	// machine, once the master has bound it. It is in memory alone, so that
	// builds, which can read the launch's, cannot read it.
	secret string
	// machine is the token by which the master knows, when this agent is started
	// again, that it is on the same machine. It is on the disk, where builds can read
	// it, too: all that it is good for is to end what runs here.
	machine string
	// commands are what runs, from the begin of Run on.
	commands *command.Commands
	// notices are what EC2 has said of this instance's end.
	notices *notices
}

// New checks the configuration; its error is Invalid and names every mistake.
func New(cfg Config) (*Worker, error) {
	if err := cfg.check(); err != nil {
		return nil, err
	}
	return &Worker{cfg: cfg, dial: dialWire, chance: rand.Float64, session: crand.Text(), secret: crand.Text(), notices: newNotices()}, nil
}

// hashSecret is what the agent commits to its secret by.
func hashSecret(secret string) string {
	sum := sha256.Sum256([]byte(secret))
	return hex.EncodeToString(sum[:])
}

func dialWire(ctx context.Context, o wire.DialOptions, connected func(conn)) error {
	o.Connected = func(c *wire.AgentConn) { connected(c) }
	_, err := wire.Dial(ctx, o)
	return err
}

// Run attaches to the master, again and again, until ctx ends or the master
// orders the shutdown: then it returns nil, with every command it ran ended.
// Else its error is a *dormouse.Error: Conflict around [ErrSuperseded],
// Unavailable or Unauthorized around [ErrGaveUp], Invalid where the base
// directory cannot be used. It is to be called once.
func (w *Worker) Run(ctx context.Context) error {
	if w.cfg.Umask != nil {
		syscall.Umask(*w.cfg.Umask)
	}
	// info is where the administrator describes the machine; see describe.
	if err := os.MkdirAll(filepath.Join(w.cfg.BaseDir, "info"), 0o777); err != nil {
		return dormouse.Errorf(dormouse.Invalid, "cannot make the worker's base directory: %w", err)
	}
	w.machine = machine.ReadToken(w.cfg.BaseDir)
	log := w.cfg.Log.With("worker", w.cfg.Name, "master", w.cfg.Master)
	w.commands = command.New(ctx, command.Config{
		BaseDir: w.cfg.BaseDir, SpoolSize: w.cfg.SpoolSize, Environ: w.cfg.Environ, OwnProcess: w.cfg.OwnProcess,
	}, log)
	defer w.commands.Close()
	defer w.watchInterruptions(ctx, log)()
	failures := 0
	for {
		begin := time.Now()
		end, err := w.attach(ctx, log)
		switch {
		case ctx.Err() != nil:
			log.Info("the worker ends: it was told to")
			return nil
		case end == endOrdered:
			log.Info("the worker ends: the master ordered it")
			w.powerOff(ctx, log)
			return nil
		case end == endRefused && dormouse.CodeOf(err) == dormouse.Conflict:
			log.Error("the worker ends: its generation is over", "error", err)
			w.powerOff(ctx, log)
			return dormouse.Errorf(dormouse.Conflict, "%w: %w", ErrSuperseded, err)
		case end == endRefused && dormouse.CodeOf(err) == dormouse.Invalid:
			return err
		}
		if end == endLost && time.Since(begin) >= settled {
			failures = 0
		} else if failures++; w.cfg.MaxRetries > 0 && failures >= w.cfg.MaxRetries {
			log.Error("the worker ends: too many failures to attach in a row", "failures", failures, "error", err)
			w.powerOff(ctx, log)
			if err == nil {
				err = errors.New("the connection ended without a reason")
			}
			return dormouse.Errorf(codeOf(err), "%w: %w", ErrGaveUp, err)
		}
		longest := w.cfg.MaxDelay
		if w.commands.Held() {
			longest = min(longest, heldMaxDelay)
		}
		delay := machine.Backoff(max(failures, 1), longest, w.chance())
		w.report(log, end, err, delay)
		select {
		case <-time.After(delay):
		case <-ctx.Done():
		}
	}
}

// watchInterruptions hears EC2's notices until stop is called.
func (w *Worker) watchInterruptions(ctx context.Context, log *slog.Logger) (stop func()) {
	if w.cfg.WatchInterruptions == nil {
		return func() {}
	}
	ctx, cancel := context.WithCancel(ctx)
	var watching sync.WaitGroup
	watching.Go(func() {
		w.cfg.WatchInterruptions(ctx, log, func(n wire.Notice) {
			if w.notices.add(n) {
				log.Warn("EC2 will take this instance back", "rebalance", n.Rebalance, "at", n.At)
			}
		})
	})
	return func() {
		cancel()
		watching.Wait()
	}
}

// codeOf is an attachment's error's class: what has none is a connection that
// broke.
func codeOf(err error) dormouse.Code {
	if code := dormouse.CodeOf(err); code != dormouse.Internal {
		return code
	}
	return dormouse.Unavailable
}

// report says why the worker is not attached.
func (w *Worker) report(log *slog.Logger, end ending, err error, delay time.Duration) {
	retry := slog.Duration("retry_in", delay.Round(time.Millisecond))
	switch {
	case end == endLost:
		log.Warn("lost the connection to the master", slog.Any("error", err), retry)
	case dormouse.CodeOf(err) == dormouse.Unauthorized:
		log.Error("the master refuses this worker's name or password: compare them with its configuration", slog.Any("error", err), retry)
	default:
		log.Warn("cannot attach to the master", slog.Any("error", err), retry)
	}
}

// keepMachine keeps the machine's token for the process that comes after this one.
func (w *Worker) keepMachine(token string, log *slog.Logger) {
	if token == "" || token == w.machine {
		return
	}
	if err := machine.KeepToken(w.cfg.BaseDir, token); err != nil {
		log.Warn("the machine's token cannot be kept: if the agent is started again, the master takes longer to notice", "error", err)
		return
	}
	w.machine = token
}

// powerOff runs the power-off command, also when ctx has ended.
func (w *Worker) powerOff(ctx context.Context, log *slog.Logger) {
	if w.cfg.PowerOffCommand == "" {
		return
	}
	log.Info("powering the machine off", "command", w.cfg.PowerOffCommand)
	err := machine.PowerOff(ctx, w.cfg.PowerOffCommand, w.cfg.BaseDir, w.cfg.powerOffEnviron)
	if err != nil && !machine.Stopping(ctx) {
		log.Error("the power-off command failed: this machine may run on", "error", err)
	}
}

package worker

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/wire"
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

// attachment is one connection to the master and the commands that end with it.
// It is the connection's handler.
type attachment struct {
	w    *Worker
	log  *slog.Logger
	conn conn

	ctx      context.Context // ends when the connection is of no more use
	cancel   context.CancelFunc
	shutdown chan struct{}
	once     sync.Once // closes shutdown

	mu       sync.Mutex
	settings wire.Settings
	nl       newline
	commands map[string]*running
	ending   bool // no more commands are started
	wg       sync.WaitGroup
}

// attach connects to the master and serves it until the connection ends, all
// its commands have ended, and nothing of it is left.
func (w *Worker) attach(ctx context.Context, log *slog.Logger) (ending, error) {
	a := &attachment{
		w: w, log: log,
		shutdown: make(chan struct{}),
		settings: wire.Settings{MaxLineLength: defaultMaxLineLength, BufferSize: defaultBufferSize, BufferTimeout: defaultBufferTimeout},
		nl:       newline{stock: true},
		commands: make(map[string]*running),
	}
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
		a.conn = c
		if c.SecretBound() {
			w.cfg.Password = w.secret
		}
		w.keepMachine(c.Machine(), log)
		if !c.Extensions().Has(wire.Resume) {
			// This master can not take them up, and must not start others
			// beside them.
			w.endGroups(nil, log)
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
		a.stopStarting()
		a.conn.Leave()
	}
	// The commands first: they must not report that they were killed, or the
	// master would count a failure where it should try again.
	a.stopStarting()
	a.cancel()
	a.wg.Wait()
	w.remains.end("", log)
	_ = a.conn.Close() // it has ended, or now does
	a.conn.Wait()
	return how, err
}

func (a *attachment) stopStarting() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ending = true
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
				a.log.Warn("the master does not answer a keepalive: dropping the connection", "err", err)
				_ = a.conn.Close() // the attachment hears of it by Done
			}
			return
		}
	}
}

// WorkerInfo describes the worker to the master.
func (a *attachment) WorkerInfo() map[string]any { return describe(&a.w.cfg) }

// Settings takes the master's, for commands that start from now on.
func (a *attachment) Settings(s wire.Settings) {
	nl, exact := parseNewline(s.NewlineRE)
	if !exact {
		a.log.Warn(`the master's newline_re can not be used here: lines end at \n alone`, "newline_re", s.NewlineRE)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.settings, a.nl = s, nl
}

// StartCommand starts a command; its error says what is wrong with the request.
func (a *attachment) StartCommand(start wire.StartCommand) error {
	c, err := parseCommand(start.Name, start.Args)
	if err != nil {
		return err
	}
	if _, moves := c.(*transfer); moves && start.Group != "" {
		return dormouse.Errorf(dormouse.Invalid, "command %q moves a file, and can not outlive its connection", start.Name)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ending {
		// No answer of ours is right any more: the end of the connection is.
		return nil
	}
	if a.commands[start.ID] != nil || a.w.held.get(start.ID) != nil {
		return dormouse.Errorf(dormouse.Conflict, "a command with id %q runs already", start.ID)
	}
	within := a.ctx
	if start.Group != "" {
		within = a.w.ctx
	}
	log := a.log.With("command", start.Name, "id", start.ID)
	r := &running{
		id: start.ID, name: start.Name, group: start.Group,
		interrupts: make(chan string, 1),
		settings:   a.settings,
		nl:         a.nl,
		environ:    a.w.cfg.Environ,
		files:      a.conn,
		remains:    a.w.remains,
		base:       a.w.cfg.BaseDir,
		done:       make(chan struct{}),
		log:        log,
	}
	r.ctx, r.cancel = context.WithCancel(within)
	queue := spool{dir: a.w.cfg.BaseDir, limit: a.w.cfg.SpoolSize, log: log}
	r.out = newOutbox(r.ctx, a.conn, r.id, r.group != "", a.settings, queue, log)
	log.Info("command started")
	if r.group != "" {
		a.w.held.run(r, c)
		return nil
	}
	a.commands[r.id] = r
	a.wg.Go(func() {
		defer r.cancel()
		r.run(c)
		a.mu.Lock()
		delete(a.commands, r.id)
		a.mu.Unlock()
	})
	return nil
}

// KeepCommands ends what earlier connections have begun and the master does not
// want any more.
func (a *attachment) KeepCommands(groups []string) { a.w.endGroups(groups, a.log) }

// EndGroup ends what is left of a group, and names it.
func (a *attachment) EndGroup(group string) []string {
	a.w.held.drop(func(g string) bool { return g == group })
	return a.w.remains.end(group, a.log)
}

// ResumeCommand has a command of an earlier connection go on over this one.
func (a *attachment) ResumeCommand(id string, position int64) bool {
	r := a.w.held.get(id)
	if r == nil {
		return false
	}
	r.log.Info("command goes on over a new connection", "position", position)
	r.out.offer(relink{a.conn, position})
	return true
}

// InterruptCommand asks a command to end. One that has ended is no error.
func (a *attachment) InterruptCommand(id, why string) error {
	r := a.w.held.get(id)
	if r == nil {
		a.mu.Lock()
		r = a.commands[id]
		a.mu.Unlock()
	}
	if r != nil {
		r.log.Info("command interrupted", "why", why)
		r.interrupt(why)
	}
	return nil
}

// Print logs what the master wants said here.
func (a *attachment) Print(msg string) { a.log.Info("message from the master", "message", msg) }

// Shutdown ends the agent, as the master ordered.
func (a *attachment) Shutdown() { a.once.Do(func() { close(a.shutdown) }) }

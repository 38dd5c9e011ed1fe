package command

import (
	"context"
	"log/slog"
	"sync"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/wire"
)

// Attachment is what a master asks for over one connection, and the commands that
// end with it. Make it with [Commands.Attach].
type Attachment struct {
	all  *Commands
	conn Conn
	log  *slog.Logger

	ctx    context.Context // ends with the connection
	cancel context.CancelFunc

	mu       sync.Mutex
	settings wire.Settings
	nl       newline
	commands map[string]*running
	ending   bool // no more commands are started
	wg       sync.WaitGroup
}

// Attach takes a connection, whose commands end when ctx does. Its Close has to be
// called in any case, while the connection is still there.
func (c *Commands) Attach(ctx context.Context, conn Conn, log *slog.Logger) *Attachment {
	a := &Attachment{
		all: c, conn: conn, log: log,
		settings: wire.Settings{MaxLineLength: defaultMaxLineLength, BufferSize: defaultBufferSize, BufferTimeout: defaultBufferTimeout},
		nl:       newline{stock: true},
		commands: make(map[string]*running),
	}
	a.ctx, a.cancel = context.WithCancel(ctx)
	return a
}

// Settings takes the master's, for commands that start from now on.
func (a *Attachment) Settings(s wire.Settings) {
	nl, exact := parseNewline(s.NewlineRE)
	if !exact {
		a.log.Warn(`the master's newline_re cannot be used here: lines end at \n alone`, "newline_re", s.NewlineRE)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	a.settings, a.nl = s, nl
}

// Start starts a command; its error says what is wrong with the request. A command
// of a group outlives the connection.
func (a *Attachment) Start(start wire.StartCommand) error {
	c, err := parseCommand(start.Name, start.Args)
	if err != nil {
		return err
	}
	if _, moves := c.(*transfer); moves && start.Group != "" {
		return dormouse.Errorf(dormouse.Invalid, "command %q moves a file, and cannot outlive its connection", start.Name)
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.ending {
		// No answer of ours is right any more: the end of the connection is.
		return nil
	}
	if a.commands[start.ID] != nil || a.all.held.get(start.ID) != nil {
		return dormouse.Errorf(dormouse.Conflict, "a command with id %q runs already", start.ID)
	}
	r := a.newRunning(start)
	r.log.Info("command started")
	if r.group != "" {
		a.all.held.run(r, c)
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

// newRunning is a command that is about to run. The caller holds the lock.
func (a *Attachment) newRunning(start wire.StartCommand) *running {
	within := a.ctx
	if start.Group != "" {
		within = a.all.ctx
	}
	cfg, log := &a.all.cfg, a.log.With("command", start.Name, "id", start.ID)
	r := &running{
		id: start.ID, name: start.Name, group: start.Group,
		interrupts: make(chan string, 1),
		settings:   a.settings,
		nl:         a.nl,
		environ:    cfg.Environ,
		files:      a.conn,
		remains:    a.all.remains,
		base:       cfg.BaseDir,
		done:       make(chan struct{}),
		log:        log,
	}
	r.ctx, r.cancel = context.WithCancel(within)
	queue := spool{dir: cfg.BaseDir, limit: cfg.SpoolSize, log: log}
	r.out = newOutbox(r.ctx, a.conn, r.id, r.group != "", a.settings, queue, log)
	return r
}

// Resume has a command of an earlier connection go on over this one. It reports
// false if there is none with that id.
func (a *Attachment) Resume(id string, position int64) bool {
	r := a.all.held.get(id)
	if r == nil {
		return false
	}
	r.log.Info("command goes on over a new connection", "position", position)
	r.out.offer(relink{a.conn, position})
	return true
}

// Interrupt asks a command to end. One that has ended is left alone.
func (a *Attachment) Interrupt(id, why string) {
	r := a.all.held.get(id)
	if r == nil {
		a.mu.Lock()
		r = a.commands[id]
		a.mu.Unlock()
	}
	if r != nil {
		r.log.Info("command interrupted", "why", why)
		r.interrupt(why)
	}
}

// Stop has no more commands start: they would be of a connection that ends.
func (a *Attachment) Stop() {
	a.mu.Lock()
	defer a.mu.Unlock()
	a.ending = true
}

// Close ends the commands that end with the connection, and what they have left,
// and waits for their end. They do not tell the master of it.
func (a *Attachment) Close() {
	a.Stop()
	a.cancel()
	a.wg.Wait()
	a.all.remains.end("", a.log)
}

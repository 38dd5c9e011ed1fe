package command

import (
	"context"
	"log/slog"
	"slices"
	"sync"

	"github.com/dormouse-ci/dormouse/internal/procs"
)

// Config says where commands run, and with what.
type Config struct {
	// BaseDir is the agent's directory. What a master sends goes below it.
	BaseDir string
	// SpoolSize bounds what one command's output may take of the disk while the
	// master is away, in bytes; beyond, the command is held back.
	SpoolSize int64
	// Environ is what commands inherit.
	Environ []string
	// OwnProcess says that this process is the agent's alone: it adopts what builds
	// leave behind without a parent.
	OwnProcess bool
}

// Commands are all that one agent runs, over all its connections. Make it with
// [New].
type Commands struct {
	cfg     Config
	log     *slog.Logger
	ctx     context.Context // of the held commands
	cancel  context.CancelFunc
	held    held
	remains *remains // what commands have left behind
	reaping sync.WaitGroup
}

// New makes an agent ready to run commands until ctx ends. [Commands.Close] has to
// be called in any case.
func New(ctx context.Context, cfg Config, log *slog.Logger) *Commands {
	c := &Commands{cfg: cfg, log: log, remains: newRemains(cfg.OwnProcess)}
	c.ctx, c.cancel = context.WithCancel(ctx)
	if cfg.OwnProcess {
		if err := procs.Adopt(); err != nil {
			log.Warn("processes that leave their parents cannot be adopted: one that wipes its environment, too, outlives its build", "error", err)
		}
		c.reaping.Go(func() { c.remains.reap(c.ctx) })
	}
	return c
}

// Held reports whether there are commands that outlive their connection.
func (c *Commands) Held() bool { return c.held.any() }

// Keep ends all that belongs to other groups than these, commands and what they
// have left, and waits for their end.
func (c *Commands) Keep(groups []string) {
	c.held.drop(func(g string) bool { return !slices.Contains(groups, g) })
	for _, g := range c.remains.others(groups) {
		c.remains.end(g, c.log)
	}
}

// EndGroup ends what is left of a group, and names it.
func (c *Commands) EndGroup(group string) []string {
	c.held.drop(func(g string) bool { return g == group })
	return c.remains.end(group, c.log)
}

// Close ends every command and what they have left, and waits for their end.
// Attachments have to be closed before.
func (c *Commands) Close() {
	c.Keep(nil)
	c.cancel()
	c.held.end()
	c.reaping.Wait()
}

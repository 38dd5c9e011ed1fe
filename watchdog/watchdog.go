package watchdog

import (
	"context"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/internal/boottime"
	"github.com/dormouse-ci/dormouse/machine"
	"github.com/dormouse-ci/dormouse/wire"
)

// DefaultPowerOff is how a watchdog powers the machine off where it is not told
// how: the first of these that works.
const DefaultPowerOff = "systemctl poweroff || poweroff || shutdown -h now || halt -p"

const (
	// forcedPowerOff takes the place of [DefaultPowerOff] when that has worked
	// so often without an end of the machine: nothing is saved any more.
	forcedPowerOff = "systemctl --force --force poweroff || poweroff -f || echo o >/proc/sysrq-trigger"
	politePowerOff = 5
	// powerOffAgain is the time between attempts: a machine that stops in an
	// orderly way takes less, and stops the watchdog meanwhile.
	powerOffAgain = time.Minute
)

// Config says what a [Watchdog] guards. Master, Name or InstanceID, and
// Password are required, here or from Discover; they are the worker's.
type Config struct {
	Master     string // ws://HOST:PORT/, wss://HOST:PORT/ or HOST:PORT
	Name       string // by default InstanceID
	Password   string
	InstanceID string
	CAFile     string // holds the certificates by which the master is known; "": the system's
	// Lease is how long the master may be silent from the start on, until its
	// own word counts; 0 is DefaultLease.
	Lease time.Duration
	// PowerOffCommand is run by /bin/sh; "" is DefaultPowerOff.
	PowerOffCommand string
	// Discover, if not nil, completes the configuration from what this machine
	// knows of itself. It is called until it succeeds; the clock runs
	// meanwhile, so that a machine which cannot find out who it is goes off.
	Discover func(ctx context.Context, c *Config) error

	// Version is how the watchdog introduces itself.
	Version string
	// Transport carries the questions; nil is one as the agent has.
	Transport http.RoundTripper
	// NotifySocket is systemd's, "" if it does not ask: see sd_notify(3).
	NotifySocket string
	Log          *slog.Logger // nil discards
}

// check completes the configuration, or says all that is wrong with it.
func (c *Config) check() error {
	var wrong []string
	var err error
	if c.Master, err = machine.MasterURL(c.Master); err != nil {
		wrong = append(wrong, err.Error())
	}
	if c.Name == "" {
		c.Name = c.InstanceID // the master knows which worker this machine is
	}
	if c.Name == "" || strings.Contains(c.Name, ":") {
		wrong = append(wrong, fmt.Sprintf("no worker name, or one with a colon: %q", c.Name))
	}
	if c.Password == "" {
		wrong = append(wrong, "no password: give --password-file or DORMOUSE_WORKER_PASSWORD")
	}
	trust, err := machine.ReadTrust(c.CAFile)
	if err != nil {
		wrong = append(wrong, err.Error())
	}
	if c.Transport == nil {
		c.Transport = wire.Transport(trust)
	}
	if err := c.checkLease(); err != nil {
		wrong = append(wrong, err.Error())
	}
	if len(wrong) > 0 {
		return dormouse.Errorf(dormouse.Invalid, "watchdog: %s", strings.Join(wrong, "; "))
	}
	return nil
}

func (c *Config) checkLease() error {
	if c.Lease < minLease || c.Lease > maxLease {
		return dormouse.Errorf(dormouse.Invalid, "--lease %v is not between %v and %v", c.Lease, minLease, maxLease)
	}
	return nil
}

// Watchdog holds a lease from the master, and powers the machine off when it
// cannot renew it. Make it with [New].
type Watchdog struct {
	cfg    Config
	known  bool           // the configuration is complete
	chance func() float64 // in [0, 1)
	now    func() time.Time
	shell  func(ctx context.Context, command string) error
	notify notifier
}

// New checks the configuration; its error is Invalid and names every
// mistake. What Discover is to find is checked once it was found.
func New(c Config) (*Watchdog, error) {
	if c.Lease == 0 {
		c.Lease = DefaultLease
	}
	if c.PowerOffCommand == "" {
		c.PowerOffCommand = DefaultPowerOff
	}
	if c.Version == "" {
		c.Version = "dormouse"
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	check := c.check
	if c.Discover != nil {
		check = c.checkLease
	}
	if err := check(); err != nil {
		return nil, err
	}
	environ := os.Environ()
	return &Watchdog{
		cfg: c, known: c.Discover == nil, chance: rand.Float64, now: boottime.Time, notify: notifier{socket: c.NotifySocket, log: c.Log},
		shell: func(ctx context.Context, command string) error { return machine.PowerOff(ctx, command, "/", environ) },
	}, nil
}

// Run watches until ctx ends, also when the machine should be off and is not.
// It is to be called once.
func (d *Watchdog) Run(ctx context.Context) {
	log := d.cfg.Log
	w := watchFrom(d.now(), d.cfg.Lease)
	d.notify.send("READY=1\nSTATUS=asking the master for a lease")
	log.Info("the watchdog is on", "lease", d.cfg.Lease)
	for ctx.Err() == nil {
		switch what, wait := w.duty(d.now()); what {
		case dutyWait:
			select {
			case <-time.After(min(wait, lookAgain)):
			case <-ctx.Done():
			}
		case dutyAsk:
			w = d.ask(ctx, w)
		case dutyPowerOff:
			d.powerOff(ctx, w)
		}
	}
	log.Info("the watchdog ends: it was told to")
}

// ask asks the master once, within what is left of the lease.
func (d *Watchdog) ask(ctx context.Context, w watch) watch {
	start := d.now()
	limit := min(askPatience, w.until.Sub(start))
	attempt, cancel := context.WithTimeout(ctx, limit)
	defer cancel()
	if !d.known {
		c := d.cfg
		err := d.cfg.Discover(attempt, &c)
		if err == nil {
			err = c.check()
		}
		if err != nil {
			return d.unanswered(ctx, w, fmt.Errorf("cannot find out who this machine is: %w", err))
		}
		began := w.until.Add(-w.term)
		d.cfg, d.known = c, true
		w.term, w.until = c.Lease, began.Add(c.Lease)
	}
	term, err := askLease(attempt, d.cfg)
	if err != nil {
		return d.unanswered(ctx, w, err)
	}
	if !w.held || w.failures > 0 {
		d.cfg.Log.Info("the master wants this machine", "lease", term)
	}
	d.notify.send(fmt.Sprintf("STATUS=holding a lease of %v", term))
	return w.renewed(start, term, d.chance())
}

// unanswered is the watch after a question that brought no lease.
func (d *Watchdog) unanswered(ctx context.Context, w watch, err error) watch {
	if ctx.Err() != nil {
		return w // told to end
	}
	now := d.now()
	text := "no lease from the master"
	if dormouse.CodeOf(err) == dormouse.Conflict {
		text = "the master has no more use for this machine"
		w = w.refused(now)
	} else {
		w = w.failed(now, d.chance())
	}
	off := w.until.Sub(now).Round(time.Second)
	d.cfg.Log.Warn(text, "error", err, "power_off_in", off, "ask_again_in", w.next.Sub(now).Round(time.Millisecond))
	d.notify.send(fmt.Sprintf("STATUS=%s: powering off in %v", text, off))
	return w
}

// powerOff powers the machine off, again and again until that ends the watchdog
// too.
func (d *Watchdog) powerOff(ctx context.Context, w watch) {
	why := "the master could not be reached for the time of a lease"
	switch {
	case w.over:
		why = "the master has no more use for this machine"
	case !w.held:
		why = "the master has not given a lease since the watchdog began"
	}
	d.notify.send("STATUS=powering the machine off: " + why)
	for attempt := 1; ctx.Err() == nil; attempt++ {
		command := d.cfg.PowerOffCommand
		if command == DefaultPowerOff && attempt > politePowerOff {
			command = forcedPowerOff
		}
		d.cfg.Log.Error("powering the machine off: "+why, "command", command, "attempt", attempt)
		err := d.shell(ctx, command)
		again := time.After(powerOffAgain)
		if err != nil && !machine.Stopping(ctx) {
			d.cfg.Log.Error("the power-off command failed: this machine runs on, and is tried again", "error", err)
		}
		select {
		case <-again:
		case <-ctx.Done():
		}
	}
}

package worker

import (
	"context"
	"crypto/tls"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/internal/environ"
	"github.com/dormouse-ci/dormouse/machine"
	"github.com/dormouse-ci/dormouse/wire"
)

// DefaultKeepalive is the stock worker's interval: below the quarter of an
// hour or so after which routers forget a silent connection.
const DefaultKeepalive = 10 * time.Minute

// DefaultSpoolSize is what one command's output may take of the disk while the
// master is away: a day of a chatty build's, and little on a build machine's
// disk.
const DefaultSpoolSize = 256 << 20

// Config says how the agent runs. Master, Name or InstanceID, Password and
// BaseDir are required.
type Config struct {
	Master string // ws://HOST:PORT/, wss://HOST:PORT/ or HOST:PORT
	// Name is the worker's; by default InstanceID, of a machine that was started
	// without being told: the master knows which worker it is.
	Name     string
	Password string
	// CAFile holds the certificates, in PEM, by which the master is known; "": those
	// that the system trusts.
	CAFile string
	// InstanceID is of the EC2 instance the agent runs on, "" if of none.
	InstanceID string
	// BaseDir holds the builders' directories and info/; it is made if absent.
	BaseDir string

	// MaxRetries ends the agent after so many failures to attach in a row; 0
	// is never.
	MaxRetries int
	// MaxDelay bounds the wait between attempts; 0 is 300 s.
	MaxDelay time.Duration
	// SpoolSize bounds what one command's output may take of the disk while the
	// master is away, in bytes; beyond, the command is held back. 0 is
	// DefaultSpoolSize.
	SpoolSize int64
	// Keepalive is the interval at which the master must answer; 0 is never. A
	// master of ours is watched without it: see [wire.PingInterval].
	Keepalive time.Duration
	// PowerOffCommand is run by /bin/sh when this machine is of no more use:
	// its generation is over, MaxRetries is exhausted, or the master ordered
	// the shutdown. "" leaves the machine on.
	PowerOffCommand string
	// Umask is of the agent and all it starts; nil leaves it as it is. It is
	// the whole process's.
	Umask *int
	// NumCPUs is what the master is told; 0 is what there are.
	NumCPUs int

	// Environ is what commands inherit, less the agent's own variables and those
	// of systemd; nil is os.Environ().
	Environ []string
	// OwnProcess says that this process is the agent's alone: it adopts what builds
	// leave behind without a parent.
	OwnProcess bool
	// Version is how the agent introduces itself.
	Version string
	// WatchInterruptions tells of EC2's notices to this instance until ctx ends;
	// nil: it can have none. See [machine.WatchInterruptions].
	WatchInterruptions func(ctx context.Context, log *slog.Logger, tell func(wire.Notice))
	// DialContext makes the connections; nil is plain TCP.
	DialContext func(ctx context.Context, network, addr string) (net.Conn, error)
	Log         *slog.Logger // nil discards

	trust *tls.Config // of CAFile; nil: the system's
	// powerOffEnviron is what the power-off command inherits: it may want to know the instance.
	powerOffEnviron []string
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
	switch {
	case c.Name == "":
		wrong = append(wrong, "no worker name: give --name")
	case strings.Contains(c.Name, ":"):
		wrong = append(wrong, "worker name "+strconv.Quote(c.Name)+" has a colon, which the protocol cannot carry")
	}
	if c.trust, err = machine.ReadTrust(c.CAFile); err != nil {
		wrong = append(wrong, err.Error())
	}
	if c.Password == "" {
		wrong = append(wrong, "no password: give --password-file or DORMOUSE_WORKER_PASSWORD")
	}
	if c.BaseDir == "" {
		wrong = append(wrong, "no base directory: give --basedir")
	} else if c.BaseDir, err = filepath.Abs(c.BaseDir); err != nil {
		wrong = append(wrong, err.Error())
	}
	if c.MaxRetries < 0 {
		wrong = append(wrong, "--maxretries is below zero")
	}
	if c.SpoolSize < 0 {
		wrong = append(wrong, "--spool-size is below zero")
	}
	if c.MaxDelay < 0 || c.Keepalive < 0 {
		wrong = append(wrong, "--maxdelay or --keepalive is below zero")
	}
	if c.NumCPUs < 0 {
		wrong = append(wrong, "--numcpus is below zero")
	}
	if len(wrong) > 0 {
		return dormouse.Errorf(dormouse.Invalid, "worker: %s", strings.Join(wrong, "; "))
	}
	if c.SpoolSize == 0 {
		c.SpoolSize = DefaultSpoolSize
	}
	if c.MaxDelay == 0 {
		c.MaxDelay = defaultMaxDelay
	}
	if c.NumCPUs == 0 {
		c.NumCPUs = runtime.NumCPU()
	}
	if c.Environ == nil {
		c.Environ = os.Environ()
	}
	c.powerOffEnviron = c.Environ
	c.Environ = environ.Inherited(c.Environ)
	if c.Version == "" {
		c.Version = "dormouse"
	}
	if c.Log == nil {
		c.Log = slog.New(slog.DiscardHandler)
	}
	return nil
}

// ParseUmask reads a file mode mask as the stock worker does: octal with a
// leading 0 or 0o, else decimal. "" and "None" are no mask at all.
func ParseUmask(s string) (*int, error) {
	if s == "" || s == "None" {
		return nil, nil
	}
	mask, err := strconv.ParseUint(s, 0, 16)
	if err != nil || mask > 0o777 {
		return nil, dormouse.Errorf(dormouse.Invalid, "umask %q is not a mask such as 0o022", s)
	}
	return new(int(mask)), nil
}

package main

import (
	"context"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/dormouse-ci/dormouse/internal/private"
	"github.com/dormouse-ci/dormouse/machine"
	"github.com/dormouse-ci/dormouse/watchdog"
)

// watchdogFlags are the flags of the watchdog command.
type watchdogFlags struct {
	master, caFile, name, passwordFile, instanceID string
	lease                                          time.Duration
	powerOff                                       string
	fromUserData                                   bool
	logFormat, logLevel                            string
}

// newWatchdogCommand makes "dormouse watchdog", which runs beside a worker.
func newWatchdogCommand() *cobra.Command {
	var f watchdogFlags
	cmd := &cobra.Command{
		Use:   "watchdog",
		Short: "Power this machine off when its master has no use for it any more",
		Long: `Power this machine off when its master has no use for it any more, or could not
be reached for the time of a lease (at first that of --lease, counted from the
start; then what the master says).

It runs beside "dormouse worker" or a stock buildbot-worker, as root, so that a
build cannot stop it, with the worker's settings: flags, environment and with
--from-user-data the instance's user data, whose keys are those of "dormouse
worker" and this command's own. With --from-user-data or an --instance-id of
"auto" a machine that cannot find out who it is goes off, too.`,
		Example: `  dormouse watchdog --from-user-data
  dormouse watchdog --master wss://ci.example.com:9989 --name linux-1 --password-file /etc/dormouse/password --instance-id auto`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runWatchdog(cmd, &f) },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.master, "master", "", "the master's worker port: HOST:PORT, ws://HOST:PORT/ or wss://HOST:PORT/")
	fl.StringVar(&f.caFile, "ca-file", "", caFileUsage)
	fl.StringVar(&f.name, "name", "", "the worker's name in the master's configuration")
	fl.StringVar(&f.passwordFile, "password-file", "", "file that holds the worker's password")
	fl.StringVar(&f.instanceID, "instance-id", "", instanceIDUsage)
	fl.DurationVar(&f.lease, "lease", watchdog.DefaultLease, "how long the master may be silent before it has said how long")
	fl.StringVar(&f.powerOff, "poweroff-command", watchdog.DefaultPowerOff, "shell command that powers the machine off")
	fl.BoolVar(&f.fromUserData, "from-user-data", false, fromUserDataUsage)
	addAgentLogFlags(fl, &f.logFormat, &f.logLevel)
	annotateIdentity(cmd)
	return cmd
}

func runWatchdog(cmd *cobra.Command, f *watchdogFlags) error {
	log, err := newLogger(cmd, f.logFormat, f.logLevel)
	if err != nil {
		return err
	}
	machine.HideProcess(log)
	c := watchdog.Config{
		Master: f.master, CAFile: f.caFile, Name: f.name, InstanceID: f.instanceID, Lease: f.lease, PowerOffCommand: f.powerOff,
		Version: "dormouse-watchdog/" + version(), NotifySocket: os.Getenv("NOTIFY_SOCKET"), Log: log,
	}
	if f.lease == 0 {
		return usageErrorf("--lease 0s would power the machine off at once")
	}
	if c.Password, err = agentPassword(f.passwordFile, nil); err != nil {
		return err
	}
	if f.fromUserData || f.instanceID == instanceAuto {
		c.Discover = func(ctx context.Context, c *watchdog.Config) error {
			return f.discover(ctx, cmd, c)
		}
	}
	w, err := watchdog.New(c)
	if err != nil {
		return workerExit(err)
	}
	w.Run(cmd.Context())
	return nil
}

// discover completes the configuration by what the machine's metadata say.
func (f *watchdogFlags) discover(ctx context.Context, cmd *cobra.Command, c *watchdog.Config) error {
	values, id, err := readMachine(ctx, cmd, f.fromUserData, f.instanceID)
	if err != nil {
		return err
	}
	if c.Password, err = agentPassword(f.passwordFile, values); err != nil {
		return err
	}
	c.Master, c.CAFile, c.Name, c.InstanceID, c.Lease, c.PowerOffCommand = f.master, f.caFile, f.name, id, f.lease, f.powerOff
	return nil
}

// agentPassword is the password of a worker: a named file's, the environment's,
// or the user data's; "" if there is none.
func agentPassword(file string, userData map[string]string) (string, error) {
	if file != "" {
		text, err := private.Read(file)
		if err != nil {
			return "", usageErrorf("cannot read the worker's password: %w", err)
		}
		return strings.TrimRight(string(text), "\r\n"), nil
	}
	if password := os.Getenv(workerPassword); password != "" {
		return password, nil
	}
	return userData[workerPassword], nil
}

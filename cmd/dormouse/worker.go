package main

import (
	"context"
	"log/slog"
	"slices"
	"time"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/machine"
	"github.com/dormouse-ci/dormouse/wire"
	"github.com/dormouse-ci/dormouse/worker"
)

// workerPassword is where the password comes from when no file is named. It
// has no flag: the arguments of a process are for everyone to see.
const workerPassword = "DORMOUSE_WORKER_PASSWORD"

// metadataPatience is how long a booting machine waits for its metadata.
const metadataPatience = 2 * time.Minute

// workerFlags are the flags of the worker command.
type workerFlags struct {
	master, caFile, name, passwordFile, instanceID, basedir string

	maxRetries, numCPUs int
	maxDelay, keepalive float64 // seconds, as the stock worker counts
	spoolSize           int64   // MiB
	powerOff, umask     string
	fromUserData        bool
	logFormat, logLevel string
}

// newWorkerCommand makes "dormouse worker", the agent that runs on an
// instance.
func newWorkerCommand() *cobra.Command {
	var f workerFlags
	cmd := &cobra.Command{
		Use:   "worker",
		Short: "Run the agent that attaches to a master and runs its builds",
		Long: `Run the agent that attaches to a master and runs its builds.

It speaks Buildbot's worker protocol (msgpack_experimental_v7), so that the
master may be Dormouse's or Buildbot's own. It attaches again whenever the
connection is lost. Put it on an AMI with --from-user-data, and it reads its
settings from the instance's user data: one KEY=VALUE a line, the keys being
the environment variables of its flags and of those of "dormouse watchdog", and
` + workerPassword + `.

Connections to a wss:// address go through the proxy that HTTPS_PROXY names, less
what NO_PROXY excepts.

The password comes from --password-file or from ` + workerPassword + `.`,
		Example: `  dormouse worker --master wss://ci.example.com:9989 --name linux-1 --password-file /etc/dormouse/password
  dormouse worker --from-user-data --basedir /var/lib/dormouse --poweroff-command 'systemctl poweroff'`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error { return runWorker(cmd, &f) },
	}
	fl := cmd.Flags()
	fl.StringVar(&f.master, "master", "", "the master's worker port: HOST:PORT, ws://HOST:PORT/ or wss://HOST:PORT/")
	fl.StringVar(&f.caFile, "ca-file", "", caFileUsage)
	fl.StringVar(&f.name, "name", "", "this worker's name in the master's configuration")
	fl.StringVar(&f.passwordFile, "password-file", "", "file that holds this worker's password")
	fl.StringVar(&f.instanceID, "instance-id", "", instanceIDUsage)
	fl.StringVar(&f.basedir, "basedir", "worker", "directory for everything that builds make")
	fl.IntVar(&f.maxRetries, "maxretries", 0, "exit after so many failures to attach in a row (0: never)")
	fl.Float64Var(&f.maxDelay, "maxdelay", 300, "longest time between attempts to attach, in `seconds`")
	fl.Int64Var(&f.spoolSize, "spool-size", worker.DefaultSpoolSize>>20, "how much of a command's output is kept on disk while the master is away, in `MiB`; beyond, the command is held back")
	fl.Float64Var(&f.keepalive, "keepalive", worker.DefaultKeepalive.Seconds(), "a Buildbot master must answer every so many `seconds` (0: it need not); Dormouse's and its agent hear of each other every 20 s")
	fl.StringVar(&f.powerOff, "poweroff-command", "", "shell command to run when this machine is of no more use")
	fl.StringVar(&f.umask, "umask", "", "file mode mask of all that builds make, such as 0o022")
	fl.IntVar(&f.numCPUs, "numcpus", 0, "number of CPUs to tell the master (0: what there are)")
	fl.BoolVar(&f.fromUserData, "from-user-data", false, fromUserDataUsage)
	addAgentLogFlags(fl, &f.logFormat, &f.logLevel)
	annotateIdentity(cmd)
	_ = cmd.MarkFlagDirname("basedir")
	return cmd
}

// What the worker and its watchdog have in common.
const (
	instanceAuto      = "auto"
	instanceIDUsage   = "this machine's EC2 instance `id`; " + instanceAuto + ": ask the instance metadata service"
	caFileUsage       = "`file` with the certificates, in PEM, by which the master is known, where its address is wss:// (default: those that the system trusts)"
	fromUserDataUsage = "read settings from the EC2 instance's user data; flags and environment go first"
)

func addAgentLogFlags(fl *pflag.FlagSet, format, level *string) {
	fl.StringVar(format, "log-format", "text", "how to log: text or json")
	fl.StringVar(level, "log-level", "info", "what to log: debug, info, warn or error")
}

// annotateIdentity gives the flags that say who a worker is their variables:
// the plain ones would be taken for the master's.
func annotateIdentity(cmd *cobra.Command) {
	fl := cmd.Flags()
	fl.Lookup("name").Annotations = map[string][]string{envAnnotation: {"DORMOUSE_WORKER_NAME"}}
	fl.Lookup("password-file").Annotations = map[string][]string{envAnnotation: {"DORMOUSE_WORKER_PASSWORD_FILE"}}
	_ = cmd.MarkFlagFilename("password-file")
}

func runWorker(cmd *cobra.Command, f *workerFlags) error {
	ctx := cmd.Context() // ends with SIGINT and SIGTERM
	var values map[string]string
	instance := f.instanceID
	if f.fromUserData || instance == instanceAuto {
		asking, cancel := context.WithTimeout(ctx, metadataPatience)
		defer cancel()
		var err error
		values, instance, err = readMachine(asking, cmd, f.fromUserData, f.instanceID)
		if ctx.Err() != nil {
			return nil // told to end
		}
		if err != nil {
			return workerExit(err)
		}
	}
	log, err := newLogger(cmd, f.logFormat, f.logLevel)
	if err != nil {
		return err
	}
	machine.HideProcess(log)
	password, err := agentPassword(f.passwordFile, values)
	if err != nil {
		return err
	}
	umask, err := worker.ParseUmask(f.umask)
	if err != nil {
		return workerExit(err)
	}
	var watch func(context.Context, *slog.Logger, func(wire.Notice))
	if f.fromUserData || f.instanceID == instanceAuto { // there is a metadata service
		watch = machine.WatchInterruptions
	}
	w, err := worker.New(worker.Config{
		WatchInterruptions: watch,

		Master:          f.master,
		CAFile:          f.caFile,
		Name:            f.name,
		Password:        password,
		InstanceID:      instance,
		BaseDir:         f.basedir,
		MaxRetries:      f.maxRetries,
		MaxDelay:        time.Duration(f.maxDelay * float64(time.Second)),
		Keepalive:       time.Duration(f.keepalive * float64(time.Second)),
		PowerOffCommand: f.powerOff,
		Umask:           umask,
		SpoolSize:       f.spoolSize << 20,
		NumCPUs:         f.numCPUs,
		OwnProcess:      true,
		Version:         "dormouse-worker/" + version(),
		Log:             log,
	})
	if err != nil {
		return workerExit(err)
	}
	return workerExit(w.Run(ctx))
}

// workerExit gives the end of the agent its exit code.
func workerExit(err error) error {
	switch dormouse.CodeOf(err) {
	case "":
		return nil
	case dormouse.Invalid:
		return &exitError{code: exitUsage, err: err}
	case dormouse.Unavailable:
		return &exitError{code: exitUnreachable, err: err}
	case dormouse.Unauthorized, dormouse.Conflict:
		return &exitError{code: exitRefused, err: err}
	}
	return err
}

// readMachine reads what the machine's metadata say, and returns its user data's
// settings, if they are asked for, and its id, unless that was given.
func readMachine(ctx context.Context, cmd *cobra.Command, userData bool, given string) (values map[string]string, instance string, err error) {
	if !userData {
		instance, err = machine.ReadInstanceID(ctx)
		return nil, instance, err
	}
	if values, instance, err = readUserData(ctx, cmd); given != "" && given != instanceAuto {
		instance = given
	}
	return values, instance, err
}

// readUserData sets flags from the instance's user data, and returns all its
// settings and the instance's id.
func readUserData(ctx context.Context, cmd *cobra.Command) (values map[string]string, instance string, err error) {
	meta, err := machine.ReadMetadata(ctx)
	if err != nil {
		return nil, "", err
	}
	if values, err = machine.ParseUserData(meta.UserData, userDataKeys()); err != nil {
		return nil, "", err
	}
	return values, meta.InstanceID, applyUserData(cmd.LocalNonPersistentFlags(), values)
}

// userDataKeys are the keys that user data may set: the variables of the
// worker's flags and of its watchdog's, since both read the same; but for the
// one that asks for user data.
func userDataKeys() []string {
	keys := []string{workerPassword}
	for _, cmd := range []*cobra.Command{newWorkerCommand(), newWatchdogCommand()} {
		cmd.Flags().VisitAll(func(f *pflag.Flag) {
			if f.Name != "from-user-data" {
				keys = append(keys, envName(f))
			}
		})
	}
	slices.Sort(keys)
	return slices.Compact(keys)
}

// applyUserData sets the flags that neither the command line nor the
// environment has set.
func applyUserData(flags *pflag.FlagSet, values map[string]string) error {
	var err error
	flags.VisitAll(func(f *pflag.Flag) {
		value, ok := values[envName(f)]
		if !ok || f.Changed || err != nil {
			return
		}
		if flags.Set(f.Name, value) != nil {
			err = dormouse.Errorf(dormouse.Invalid, "user data: %s has a value that does not fit (want: %s)", envName(f), f.Value.Type())
		}
	})
	return err
}

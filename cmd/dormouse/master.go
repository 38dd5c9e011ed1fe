package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/signal"
	"path/filepath"
	"strings"
	"syscall"
	"time"

	"github.com/spf13/cobra"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/config"
	"github.com/dormouse-ci/dormouse/master"
	"github.com/dormouse-ci/dormouse/store"
)

func newMasterCommand() *cobra.Command {
	var tokenFile, logFormat, logLevel string
	var grace, stopTime time.Duration
	var timeScale float64
	var asJSON, adopt bool
	cmd := &cobra.Command{
		Use:   "master [DIR]",
		Short: "Serve a build master",
		Long: `Serve the build master whose configuration is master.star in a directory, by
default this one. Its database and its token are kept there too.

SIGTERM and SIGINT drain it: no more builds are started, and those that run may
end, for up to --grace; then the rest goes back to the queue, and instances are
terminated. A second signal ends the waiting for builds, a third the waiting for
instances. Requests that wait are kept; what is not finished, or a kill prevents,
the next master takes up. Workers with on_shutdown='keep' keep their instances
for the next master, and our agents on them their builds, which are not waited
for: so an upgrade costs nobody a build.

SIGHUP has it read master.star again: what runs goes on, and what is started from
then on is started as the file now says. A file with a mistake changes nothing,
and the log says why; where the database is kept and which addresses are served
takes a restart.

A database that is a copy of another master's (a copied directory, a restored
backup, a cloned disk) is refused: that master may be at work, and its instances
would be ended. Where it is gone for good, --adopt-deployment, once, has this one
go on in its place, and end what is left of it.

The configuration is checked first: with a mistake in it nothing is started, and
the exit code is 1.`,
		Example: `  dormouse init ci && dormouse master ci`,
		Args:    cobra.MaximumNArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error {
			dir := "."
			if len(args) == 1 {
				dir = args[0]
			}
			log, err := newLogger(cmd, logFormat, logLevel)
			if err != nil {
				return err
			}
			if tokenFile == "" {
				tokenFile = filepath.Join(dir, "token")
			}
			if grace < 0 || stopTime < 0 {
				return usageErrorf("--grace and --stop-time cannot be negative")
			}
			o := master.Options{Log: log, TimeScale: timeScale, AdoptDeployment: adopt}
			return serveMaster(cmd, dir, tokenFile, o, grace, stopTime, asJSON)
		},
	}
	f := cmd.Flags()
	f.StringVar(&tokenFile, "token-file", "", "the `file` with the token that callers must present (default: token in the directory)")
	f.StringVar(&logFormat, "log-format", "text", "how to log: text or json")
	f.StringVar(&logLevel, "log-level", "info", "what to log: debug, info, warn or error")
	f.DurationVar(&grace, "grace", 10*time.Minute, "how long builds that run may take to end, once the master is told to stop; 0s: not at all")
	f.DurationVar(&stopTime, "stop-time", 2*time.Minute, "how long to wait for instances to end before stopping all the same; after a second signal, 15s at most")
	f.Float64Var(&timeScale, "time-scale", 1, "multiplies the master's own limits of time, for tests")
	_ = f.MarkHidden("time-scale")
	f.BoolVar(&adopt, "adopt-deployment", false, "go on in place of the master whose database this one was copied from, and which is gone for good")
	f.BoolVar(&asJSON, "json", false, "print the addresses as one JSON object")
	return cmd
}

func newLogger(cmd *cobra.Command, format, level string) (*slog.Logger, error) {
	var l slog.Level
	if err := l.UnmarshalText([]byte(level)); err != nil {
		return nil, usageErrorf("--log-level %q is none of debug, info, warn, error", level)
	}
	options := &slog.HandlerOptions{Level: l}
	switch format {
	case "text":
		return slog.New(slog.NewTextHandler(cmd.ErrOrStderr(), options)), nil
	case "json":
		return slog.New(slog.NewJSONHandler(cmd.ErrOrStderr(), options)), nil
	}
	return nil, usageErrorf("--log-format %q is neither text nor json", format)
}

func serveMaster(cmd *cobra.Command, dir, tokenFile string, o master.Options, grace, stopTime time.Duration, asJSON bool) error {
	ctx, log := cmd.Context(), o.Log
	hangups := make(chan os.Signal, 1)
	signal.Notify(hangups, syscall.SIGHUP)
	defer signal.Stop(hangups)
	hangupReloads.Store(true)
	defer hangupReloads.Store(false)
	c, err := loadMaster(ctx, dir, log)
	if err != nil {
		return explainConfig(err)
	}
	token, err := readToken(tokenFile)
	if err != nil && c.WWW.Listen != "" {
		return fmt.Errorf("%w\n\"dormouse init\" makes one; --token-file names it", err)
	}
	o.Config, o.Token, o.Version = c, token, version()
	m, err := master.Start(ctx, o)
	if errors.Is(err, store.ErrCopy) {
		return fmt.Errorf("%w, so nothing was touched.\n"+
			"If that master is gone for good, go on in its place: dormouse master --adopt-deployment (this once).\n"+
			"For a second master beside it, begin with a new directory (dormouse init), or an empty database", err)
	}
	if err != nil {
		return err
	}
	if err := announceMaster(cmd, m, c.Protocols.TLS.On(), asJSON); err != nil {
		return err
	}
	for {
		select {
		case <-hangups:
			reload(ctx, m, dir, log)
		case <-ctx.Done():
			// Those that come after the first, which has ended ctx.
			signals := make(chan os.Signal, 1)
			signal.Notify(signals, os.Interrupt, syscall.SIGTERM)
			defer signal.Stop(signals)
			if drain(ctx, m, log, grace, signals) {
				stopTime = min(stopTime, hurriedStop)
			}
			return stopMaster(ctx, m, stopTime, signals)
		case failed := <-m.Failed():
			log.Error("the master cannot go on", "error", failed)
			_ = stopMaster(ctx, m, stopTime, nil)
			return failed
		}
	}
}

// hurriedStop is how long is waited for instances to end after a second signal:
// long enough where EC2 answers, and where it does not, the next master goes on.
const hurriedStop = 15 * time.Second

// drain waits for the builds that run, for the time of grace, until a signal. It
// reports whether there was one.
func drain(ctx context.Context, m *master.Master, log *slog.Logger, grace time.Duration, signals <-chan os.Signal) (hurry bool) {
	limit, done := untilSignal(ctx, grace, signals)
	defer done()
	until := time.Now().Add(grace)
	m.Drain(limit, func(left []dormouse.Build) {
		if len(left) == 0 {
			log.Info("stopping: no build runs")
			return
		}
		const named = 5
		var names []string
		for _, b := range left[:min(len(left), named)] {
			names = append(names, fmt.Sprintf("%s/%d on %s", b.Builder, b.Number, b.Worker))
		}
		if more := len(left) - named; more > 0 {
			names = append(names, fmt.Sprintf("%d more", more))
		}
		log.Info("draining: no more builds are started, and these may end; signal again to have them go back to the queue",
			"running", strings.Join(names, ", "), "until", until.Format("15:04:05"))
	})
	return errors.Is(limit.Err(), context.Canceled)
}

// stopMaster stops the master, and waits for instances until a signal.
func stopMaster(ctx context.Context, m *master.Master, limit time.Duration, signals <-chan os.Signal) error {
	stopping, done := untilSignal(ctx, limit, signals)
	defer done()
	m.Stop(stopping)
	select {
	case err := <-m.Failed():
		return err
	default:
		return nil
	}
}

// untilSignal is a context of its own that ends after a time, or with a signal.
func untilSignal(ctx context.Context, limit time.Duration, signals <-chan os.Signal) (context.Context, func()) {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), limit)
	done := make(chan struct{})
	go func() {
		defer close(done)
		select {
		case <-signals:
			cancel()
		case <-ctx.Done():
		}
	}()
	return ctx, func() {
		cancel()
		<-done
	}
}

func announceMaster(cmd *cobra.Command, m *master.Master, tls, asJSON bool) error {
	www, workers := m.WWWURL(), m.WorkerAddr()
	if tls {
		workers = "wss://" + workers + "/"
	}
	if asJSON {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(map[string]any{"url": www, "workers": workers, "pid": os.Getpid()})
	}
	if www != "" {
		fmt.Fprintf(cmd.OutOrStdout(), "REST API at %s\n", www)
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "workers attach at %s\n", workers)
	return err
}

// explainConfig adds to a configuration's errors how to see them in place.
func explainConfig(err error) error {
	var wrong config.Errors
	if !errors.As(err, &wrong) {
		return err
	}
	return dormouse.Errorf(dormouse.Configuration, "%w\nNothing was started. \"dormouse checkconfig\" shows each mistake in its line.", err)
}

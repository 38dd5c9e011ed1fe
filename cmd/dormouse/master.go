package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"time"

	"github.com/spf13/cobra"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/config"
	"github.com/dormouse-ci/dormouse/master"
)

func newMasterCommand() *cobra.Command {
	var tokenFile, logFormat, logLevel string
	var stopTime time.Duration
	var timeScale float64
	var asJSON bool
	cmd := &cobra.Command{
		Use:   "master [DIR]",
		Short: "Serve a build master",
		Long: `Serve the build master whose configuration is master.star in a directory, by
default this one. Its database and its token are kept there too.

SIGTERM and SIGINT stop it: builds that run go back to the queue, and instances
are terminated. What that does not finish in time, or a kill prevents, the next
master takes up. The configuration is checked first: with a mistake in it nothing
is started, and the exit code is 1.`,
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
			return serveMaster(cmd, dir, tokenFile, log, stopTime, timeScale, asJSON)
		},
	}
	f := cmd.Flags()
	f.StringVar(&tokenFile, "token-file", "", "the `file` with the token that callers must present (default: token in the directory)")
	f.StringVar(&logFormat, "log-format", "text", "how to log: text or json")
	f.StringVar(&logLevel, "log-level", "info", "what to log: debug, info, warn or error")
	f.DurationVar(&stopTime, "stop-time", 2*time.Minute, "how long to wait for instances to end before stopping all the same")
	f.Float64Var(&timeScale, "time-scale", 1, "multiplies the master's own limits of time, for tests")
	_ = f.MarkHidden("time-scale")
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

func serveMaster(cmd *cobra.Command, dir, tokenFile string, log *slog.Logger, stopTime time.Duration, timeScale float64, asJSON bool) error {
	ctx := cmd.Context()
	c, err := config.Load(filepath.Join(dir, "master.star"), config.Options{Print: func(s string) { log.Info("master.star: " + s) }})
	if err != nil {
		return explainConfig(err)
	}
	for _, w := range c.Warnings {
		log.Warn(w.Error())
	}
	token, err := readToken(tokenFile)
	if err != nil && c.WWW.Listen != "" {
		return fmt.Errorf("%w\n\"dormouse init\" makes one; --token-file names it", err)
	}
	m, err := master.Start(ctx, master.Options{Config: c, Token: token, Version: version(), Log: log, TimeScale: timeScale})
	if err != nil {
		return err
	}
	if err := announceMaster(cmd, m, asJSON); err != nil {
		return err
	}
	var failed error
	select {
	case <-ctx.Done():
		log.Info("stopping: no new builds; builds that run go back to the queue, instances are terminated")
	case failed = <-m.Failed():
		log.Error("the master can not go on", "error", failed)
	}
	stopping, cancel := context.WithTimeout(context.WithoutCancel(ctx), stopTime)
	defer cancel()
	m.Stop(stopping)
	return failed
}

func announceMaster(cmd *cobra.Command, m *master.Master, asJSON bool) error {
	www := m.WWWAddr()
	if www != "" {
		www = "http://" + www
	}
	if asJSON {
		return json.NewEncoder(cmd.OutOrStdout()).Encode(map[string]any{"url": www, "workers": m.WorkerAddr(), "pid": os.Getpid()})
	}
	if www != "" {
		fmt.Fprintf(cmd.OutOrStdout(), "REST API at %s\n", www)
	}
	_, err := fmt.Fprintf(cmd.OutOrStdout(), "workers attach at %s\n", m.WorkerAddr())
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

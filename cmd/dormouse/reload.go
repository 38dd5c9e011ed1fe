package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"syscall"
	"time"

	"github.com/dormouse-ci/dormouse/config"
	"github.com/dormouse-ci/dormouse/master"
)

// loadMaster reads the configuration of a master's directory, and logs what it
// is warned of, also that a worker is never started. That ends no master: the
// other workers are of use.
func loadMaster(ctx context.Context, dir string, log *slog.Logger) (*config.Master, error) {
	c, err := config.Load(filepath.Join(dir, defaultConfig), config.Options{
		Context: ctx, Print: func(s string) { log.Info(defaultConfig + ": " + s) },
	})
	if err != nil {
		return nil, err
	}
	never, late := master.Check(ctx, c)
	for _, w := range slices.Concat(c.Warnings, never, late) {
		log.Warn(w.Error())
	}
	return c, nil
}

// reload puts the configuration as it is now in force; one with a mistake changes
// nothing.
func reload(ctx context.Context, m *master.Master, dir string, log *slog.Logger) {
	err := tryReading(ctx, dir)
	if err == nil {
		var c *config.Master
		if c, err = loadMaster(ctx, dir, log); err == nil {
			err = m.Reconfigure(ctx, c)
		}
	}
	if err != nil {
		log.Error("the configuration was not taken up; the one before stays in force", "error", err)
	}
}

// What the process may take that reads a configuration first: more than the
// limits of package config, which end the reading with a better word where they
// hold.
const (
	trialTime   = 30 * time.Second
	trialMemory = 1 << 30 // bytes
)

// tryReading has another process read the configuration: whatever that does to
// its reader, it does not do it to the master. What it prints is read again here,
// so that only an end by force counts.
func tryReading(ctx context.Context, dir string) error {
	self, err := ownProgram()
	if err != nil {
		return err
	}
	limit, done := context.WithTimeout(ctx, trialTime)
	defer done()
	trial := exec.CommandContext(limit, self)
	trial.Args = []string{os.Args[0], "checkconfig", "--limited", filepath.Join(dir, defaultConfig)}
	trial.WaitDelay = time.Second
	err = trial.Run()
	var exit *exec.ExitError
	switch {
	case ctx.Err() != nil:
		return ctx.Err()
	case limit.Err() != nil:
		return fmt.Errorf("reading %s took longer than %s", defaultConfig, trialTime)
	case err == nil, errors.As(err, &exit) && exit.ExitCode() == exitFailed:
		return nil
	case exit == nil:
		return nil // it could not be started; the limits of package config hold here, too
	}
	return fmt.Errorf("the process that read %s was ended by what it read, at the latest at %d MiB of memory: %w", defaultConfig, trialMemory>>20, err)
}

// ownProgram is the path of this program, on Linux also after an upgrade has put
// another in its place.
func ownProgram() (string, error) {
	const running = "/proc/self/exe"
	if _, err := os.Stat(running); err == nil {
		return running, nil
	}
	return os.Executable()
}

// limitMemory has this process end, rather than take more memory than a trial
// may.
func limitMemory() error {
	return syscall.Setrlimit(syscall.RLIMIT_DATA, &syscall.Rlimit{Cur: trialMemory, Max: trialMemory})
}

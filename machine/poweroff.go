package machine

import (
	"context"
	"errors"
	"fmt"
	"os/exec"
	"slices"
	"strings"
	"time"
)

// powerOffPatience bounds the power-off command, which only has to start what
// ends the machine.
const powerOffPatience = 2 * time.Minute

// stopPatience is how long after the end of its power-off command a process may
// still be told to end by the machine that stops: systemd signals both at once, and
// which of them is quicker says nothing.
const stopPatience = 5 * time.Second

// Stopping reports whether a power-off command failed because the machine stops,
// which ends the command and the process it is of. It waits a moment for the process
// to be told.
func Stopping(ctx context.Context) bool {
	select {
	case <-ctx.Done():
		return true
	case <-time.After(stopPatience):
		return false
	}
}

// secretVariables are not passed on to a power-off command, which gets the agent's
// other variables: it may want to know the instance.
var secretVariables = []string{"DORMOUSE_WORKER_PASSWORD", "DORMOUSE_TOKEN"}

// PowerOff runs a power-off command by the shell in dir, also when ctx has ended,
// with environ less the agent's own secrets. The error has what the command printed.
func PowerOff(ctx context.Context, command, dir string, environ []string) error {
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), powerOffPatience)
	defer cancel()
	cmd := exec.CommandContext(ctx, "/bin/sh", "-c", command)
	cmd.Dir = dir
	cmd.Env = slices.DeleteFunc(slices.Clone(environ), func(e string) bool {
		name, _, _ := strings.Cut(e, "=")
		return slices.Contains(secretVariables, name)
	})
	cmd.WaitDelay = time.Second // what it left in the background is its own affair
	out, err := cmd.CombinedOutput()
	if err == nil || errors.Is(err, exec.ErrWaitDelay) {
		return nil
	}
	const shown = 4096 // enough for an error message, and no flood
	return fmt.Errorf("%w: %q", err, out[:min(len(out), shown)])
}

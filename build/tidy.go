package build

import (
	"context"
	"maps"
	"time"

	"github.com/dormouse-ci/dormouse/wire"
)

// tidyTime bounds how long the end of a build waits for what it has left on the
// worker: a little more than a worker gives a process that heeds no signal.
const tidyTime = 15 * time.Second

// markVariable is in the environment of what a build starts where the worker does
// not know by itself what belongs to it.
const markVariable = "BUILD_PROCESS_MARK"

// tidy has the worker end what the build's commands have left running, before
// the worker is anybody else's. Nothing of it is the build's fault: what fails is
// said in the master's log.
func (b *running) tidy(ctx context.Context) {
	if b.worker == nil || !b.shells {
		return
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), tidyTime)
	defer cancel()
	select {
	case <-b.worker.Done():
		return // it ends, with its connection or before the next, what is of no build
	default:
	}
	var ended []string
	var err error
	if b.worker.EndsGroups() {
		ended, err = b.worker.EndGroup(ctx, Group(b.job.Build.ID))
	} else if b.worker.Facts()["system"] == posix {
		ended, err = b.tidyByScript(ctx)
	}
	for _, name := range ended {
		b.log.Info("a process that outlived its build was ended", "process", b.mask.apply(name))
	}
	if err != nil {
		b.log.Warn("what the build has left on its worker may still run", "error", err)
	}
}

// posix is what workers say of systems that have signals.
const posix = "posix"

// marked returns a command's arguments with the build's mark, where the worker
// makes none of its own.
func (b *running) marked(c command) map[string]any {
	if c.name != "shell" {
		return c.args
	}
	b.shells = true
	if b.worker.EndsGroups() {
		return c.args
	}
	args := maps.Clone(c.args)
	env, _ := args["env"].(map[string]any)
	if env = maps.Clone(env); env == nil {
		env = map[string]any{}
	}
	env[markVariable] = b.mark
	args["env"] = env
	return args
}

// tidyScript ends what has its argument in its environment: with SIGTERM, and five
// seconds later with SIGKILL. It names what it finds, and asks for no more than a
// POSIX shell, grep and Linux's /proc; where that is missing it finds nothing.
const tidyScript = `n=0
while [ $n -lt 100 ]; do
  found=$(grep -lsF -- "$1" /proc/[0-9]*/environ 2>/dev/null)
  [ -n "$found" ] || exit 0
  for f in $found; do
    pid=${f#/proc/}; pid=${pid%/environ}
    if [ $n = 0 ]; then
      echo "$pid ($(tr '\0' ' ' </proc/$pid/cmdline 2>/dev/null))"
      kill -TERM $pid
    elif [ $n -ge 50 ]; then
      kill -KILL $pid
    fi
  done 2>/dev/null
  n=$((n+1))
  sleep 0.1 2>/dev/null || sleep 1
done
exit 1`

// tidyByScript ends processes on a worker that knows no groups by a command, which
// is all that the protocol has for it.
func (b *running) tidyByScript(ctx context.Context) (ended []string, err error) {
	c := wire.Command{Name: "shell", Builder: b.job.Builder.Name, Args: map[string]any{
		"command": []any{"/bin/sh", "-c", tidyScript, "tidy", b.mark},
		"workdir": b.worker.Path(), "env": map[string]any{}, "timeout": int64(tidyTime / time.Second), "maxTime": nil, "sigtermTime": nil,
		"want_stdout": true, "want_stderr": false, "logEnviron": false, "usePTY": false, "initial_stdin": nil, "logfiles": map[string]any{},
	}}
	r, err := b.worker.Start(ctx, c, func(_ context.Context, u wire.Update) error {
		if u.Kind == "stdout" && len(ended) < maxEnded {
			for _, line := range u.Lines {
				ended = append(ended, line.Text)
			}
		}
		return nil
	})
	if err != nil {
		return nil, err
	}
	if err = r.Wait(ctx); err != nil {
		return nil, err // what it said may still be on the way
	}
	return ended, nil
}

// maxEnded bounds how many processes are named.
const maxEnded = 100

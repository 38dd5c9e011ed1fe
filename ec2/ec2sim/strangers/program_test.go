package strangers_test

import (
	"bytes"
	"context"
	"os"
	"os/exec"
	"syscall"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
	"github.com/dormouse-ci/dormouse/internal/procs"
)

// python is the interpreter that Debian's packages are for; another may come
// first on the PATH, without them.
const python = "/usr/bin/python3"

// grace is what a program has between SIGTERM and SIGKILL.
const grace = 20 * time.Second

// need skips the test where a program of a Debian package is missing; where CI
// is true, that is a failure.
func need(t *testing.T, path, debian string) {
	t.Helper()
	if _, err := os.Stat(path); err == nil {
		return
	}
	if os.Getenv("CI") == "true" {
		t.Fatalf("%s is missing: apt-get install %s", path, debian)
	}
	t.Skipf("%s is missing: apt-get install %s", path, debian)
}

// environment is what a stranger sees: the endpoint's keys, and nothing of
// whoever runs the tests, whose own AWS configuration must stay out of it.
func environment(t *testing.T) []string {
	t.Helper()
	return []string{
		"PATH=/usr/bin:/bin",
		"HOME=" + t.TempDir(),
		"LC_ALL=C.UTF-8",
		"PYTHONDONTWRITEBYTECODE=1",
		"AWS_ACCESS_KEY_ID=" + ec2sim.DefaultAccessKeyID,
		"AWS_SECRET_ACCESS_KEY=" + ec2sim.DefaultSecretAccessKey,
		"AWS_DEFAULT_REGION=" + region,
		"AWS_EC2_METADATA_DISABLED=true",
		"AWS_PAGER=",
		"NO_PROXY=127.0.0.1",
	}
}

// program prepares a command that is gone, with all of its process group, when
// the context ends; it is to be started with [procs.Start].
func program(ctx context.Context, env []string, path string, args ...string) *exec.Cmd {
	cmd := exec.CommandContext(ctx, path, args...)
	cmd.Env = env
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	cmd.Cancel = func() error { return syscall.Kill(-cmd.Process.Pid, syscall.SIGTERM) }
	cmd.WaitDelay = grace
	return cmd
}

// output runs a program to its end and returns what it printed and its exit
// code.
func output(t *testing.T, env []string, path string, args ...string) (stdout, stderr string, code int) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	cmd := program(ctx, env, path, args...)
	var out, errs bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &errs
	ended, err := procs.Start(cmd)
	if err == nil {
		<-ended
	}
	if err != nil || ctx.Err() != nil {
		t.Fatalf("%s %q: %v\n%s%s", path, args, err, out.String(), errs.String())
	}
	return out.String(), errs.String(), cmd.ProcessState.ExitCode()
}

// needModule is need for a module of the system's Python.
func needModule(t *testing.T, name, debian string) {
	t.Helper()
	need(t, python, "python3")
	need(t, "/usr/lib/python3/dist-packages/"+name, debian)
}

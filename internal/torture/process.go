package main

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// process is a dormouse command that serves.
type process struct {
	cmd  *exec.Cmd
	said map[string]any // the JSON object that it began with, once it serves
	line chan error     // what came of reading that
	done chan struct{}
}

// startTimeout is how long a command may take to serve on a loaded machine.
const startTimeout = 30 * time.Second

// start starts a command, and returns once it serves.
func start(ctx context.Context, log string, env []string, program string, args ...string) (*process, error) {
	p, err := begin(ctx, log, env, program, args...)
	if err != nil {
		return nil, err
	}
	return p, p.serves()
}

// begin starts a command.
func begin(ctx context.Context, log string, env []string, program string, args ...string) (*process, error) {
	out, err := os.OpenFile(log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return nil, err
	}
	defer out.Close()
	p := &process{cmd: exec.CommandContext(ctx, program, args...), line: make(chan error, 1), done: make(chan struct{})}
	p.cmd.Stderr, p.cmd.Env = out, append(os.Environ(), env...)
	// It ends with this program, however that ends.
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	stdout, err := p.cmd.StdoutPipe()
	if err != nil {
		return nil, err
	}
	if err := p.cmd.Start(); err != nil {
		return nil, err
	}
	go func() {
		defer close(p.done)
		text, err := bufio.NewReader(stdout).ReadBytes('\n')
		if err == nil {
			err = json.Unmarshal(text, &p.said)
		}
		p.line <- err
		_ = p.cmd.Wait() // how it ended is asked of ProcessState
	}()
	return p, nil
}

// serves waits until the command serves, and kills one that does not.
func (p *process) serves() (err error) {
	select {
	case err = <-p.line:
	case <-time.After(startTimeout):
		err = fmt.Errorf("it says nothing for %v", startTimeout)
	}
	if err != nil {
		p.kill()
		return fmt.Errorf("%s %s: %w", filepath.Base(p.cmd.Path), p.cmd.Args[1], err)
	}
	return nil
}

// running reports whether it has not ended.
func (p *process) running() bool {
	select {
	case <-p.done:
		return false
	default:
		return true
	}
}

// kill ends it as the kernel would.
func (p *process) kill() {
	_ = p.cmd.Process.Signal(syscall.SIGKILL) // it may have gone
	<-p.done
}

// stop asks it to end, and reports whether it did so in good order.
func (p *process) stop(patience time.Duration) error {
	_ = p.cmd.Process.Signal(syscall.SIGTERM)
	select {
	case <-p.done:
	case <-time.After(patience):
		p.kill()
		return fmt.Errorf("it did not stop within %v", patience)
	}
	if !p.cmd.ProcessState.Success() {
		return fmt.Errorf("it stopped with %v", p.cmd.ProcessState)
	}
	return nil
}

// makeRepository makes a repository for Git steps.
func makeRepository(ctx context.Context, dir string) (string, error) {
	repo := filepath.Join(dir, "repository")
	for _, args := range [][]string{
		{"init", "-q", repo},
		{"-C", repo, "-c", "user.name=torture", "-c", "user.email=torture@localhost", "commit", "-q", "--allow-empty", "-m", "nothing"},
	} {
		if out, err := exec.CommandContext(ctx, "git", args...).CombinedOutput(); err != nil {
			return "", fmt.Errorf("git %s: %w: %s", args[0], err, out)
		}
	}
	return repo, nil
}

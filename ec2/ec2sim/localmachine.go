//go:build unix

package ec2sim

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/internal/listen"
)

// markerVariable is in the environment of everything that a machine runs: by
// its value the machine's processes are found wherever they have gone.
const markerVariable = "LOCAL_EC2_INSTANCE"

// localMachines boots machines as processes of this machine.
type localMachines struct {
	opts      Options
	temporary bool // the directory was made for this endpoint
	spawner   *spawner
}

func newLocalMachines(opts Options) (*localMachines, error) {
	l := &localMachines{opts: opts}
	if l.opts.Dir == "" {
		dir, err := os.MkdirTemp("", "dormouse-ec2-")
		if err != nil {
			return nil, dormouse.Errorf(dormouse.Unavailable, "make a directory for the machines: %w", err)
		}
		l.opts.Dir, l.temporary = dir, true
	}
	// What runs in a machine has another working directory.
	dir, err := filepath.Abs(l.opts.Dir)
	if err != nil {
		return nil, dormouse.Errorf(dormouse.Invalid, "find the directory for the machines: %w", err)
	}
	l.opts.Dir = dir
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, dormouse.Errorf(dormouse.Unavailable, "make the directory for the machines: %w", err)
	}
	l.spawner = newSpawner()
	return l, nil
}

// close is called when no machine is left.
func (l *localMachines) close() error {
	l.spawner.close()
	if l.temporary && !l.opts.KeepDirs {
		return os.RemoveAll(l.opts.Dir)
	}
	return nil
}

// localMachine is a machine that was booted.
type localMachine struct {
	id      string
	dir     string
	keep    bool
	grace   time.Duration
	command *exec.Cmd // nil when there was nothing to run

	stopping atomic.Bool
	metadata *http.Server
	power    *os.File      // the pipe that its shutdown writes to
	output   *os.File      // the reading end of its console's pipe; nil without a command
	copied   chan struct{} // closed when nothing is read from output any more
	tasks    sync.WaitGroup
}

// boot is a [Boot].
func (l *localMachines) boot(_ context.Context, m Machine) (Process, error) {
	lm := &localMachine{
		id: m.ID, dir: filepath.Join(l.opts.Dir, m.ID), keep: l.opts.KeepDirs, grace: l.opts.StopGrace,
		copied: make(chan struct{}),
	}
	if err := l.bootIn(lm, m); err != nil {
		lm.unplug()
		return nil, errors.Join(err, lm.Discard())
	}
	return lm, nil
}

func (l *localMachines) bootIn(lm *localMachine, m Machine) error {
	for _, dir := range []string{"bin", "home", "tmp"} {
		if err := os.MkdirAll(filepath.Join(lm.dir, dir), 0o700); err != nil {
			return err
		}
	}
	if err := lm.wirePower(m.PowerOff); err != nil {
		return err
	}
	address, err := lm.serveMetadata(m, l.opts.MaxInstances, l.opts.Logger)
	if err != nil {
		return err
	}
	command := m.Command
	if len(command) == 0 {
		if command, err = lm.userScript(m); err != nil {
			return err
		}
	}
	if len(command) == 0 {
		fmt.Fprintln(m.Console, "[dormouse] the user data is no script (it does not begin with \"#!\"): nothing to run")
		return nil
	}
	return lm.start(l.spawner, command, lm.environment(l.opts.PassEnv, address), m.Console)
}

// systemPath is where programs are when nobody says.
const systemPath = "/usr/local/bin:/usr/bin:/bin:/usr/sbin:/sbin"

// environment is what the machine's processes see: nothing of the endpoint's
// own but its program directories and the variables that it was told to pass.
func (lm *localMachine) environment(pass []string, metadata string) []string {
	env := []string{
		"PATH=" + filepath.Join(lm.dir, "bin") + string(os.PathListSeparator) + cmp.Or(os.Getenv("PATH"), systemPath),
		"HOME=" + filepath.Join(lm.dir, "home"),
		"TMPDIR=" + filepath.Join(lm.dir, "tmp"),
		"LANG=C.UTF-8",
		"AWS_EC2_METADATA_SERVICE_ENDPOINT=" + metadata,
		markerVariable + "=" + lm.id,
		"DORMOUSE_INSTANCE_ID=" + lm.id, // the agent's; builds do not get it
	}
	for _, name := range pass {
		if value, ok := os.LookupEnv(name); ok {
			env = append(env, name+"="+value)
		}
	}
	return env
}

// userScript puts user data that is a script on the machine's disk, as
// cloud-init does, and returns how to run it.
func (lm *localMachine) userScript(m Machine) ([]string, error) {
	if !strings.HasPrefix(string(m.UserData), "#!") {
		return nil, nil
	}
	script := filepath.Join(lm.dir, "user-data")
	return []string{script}, writeProgram(script, string(m.UserData))
}

// writeProgram writes a file that can be executed. No process may be forked
// meanwhile: it would hold the file open for writing until its own exec, and
// until then nobody can execute it ("text file busy").
func writeProgram(path, text string) error {
	syscall.ForkLock.RLock()
	defer syscall.ForkLock.RUnlock()
	return os.WriteFile(path, []byte(text), 0o700)
}

// powerScript is the machine's shutdown, poweroff and halt, and keeps what it
// runs from the reboot and systemctl of this machine. It asks through the named
// pipe; whoever ends the machine's processes is outside. A delay is not
// followed: any shutdown is now.
const powerScript = `#!/bin/sh
name=${0##*/}
power=
case $name in
  shutdown|poweroff|halt) power=off ;;
  reboot) power=reboot ;;
esac
for argument; do
  case $name:$argument in
    shutdown:-c) exit 0 ;;
    systemctl:poweroff|systemctl:halt) power=off ;;
    systemctl:reboot|shutdown:-r|*:--reboot) power=reboot ;;
  esac
done
case $power in
  off) echo off >%s ;;
  reboot) echo "$name: this machine cannot reboot" >&2; exit 1 ;;
  *) echo "$name: there is no systemd in this machine" >&2; exit 1 ;;
esac
`

// wirePower makes the machine's ways to power itself off, and listens to them.
func (lm *localMachine) wirePower(powerOff func()) error {
	pipe := filepath.Join(lm.dir, "power")
	// It may be there from before, when the machine was stopped.
	if err := syscall.Mkfifo(pipe, 0o600); err != nil && !errors.Is(err, os.ErrExist) {
		return fmt.Errorf("make the named pipe %s: %w", pipe, err)
	}
	quoted := "'" + strings.ReplaceAll(pipe, "'", `'\''`) + "'"
	for _, name := range []string{"shutdown", "poweroff", "halt", "reboot", "systemctl"} {
		if err := writeProgram(filepath.Join(lm.dir, "bin", name), fmt.Sprintf(powerScript, quoted)); err != nil {
			return err
		}
	}
	// Opened for both, it waits for no writer and does not end with one.
	var err error
	if lm.power, err = os.OpenFile(pipe, os.O_RDWR, 0); err != nil {
		return err
	}
	lm.tasks.Go(func() {
		for word := make([]byte, 256); ; {
			if _, err := lm.power.Read(word); err != nil {
				return // closed by unplug
			}
			powerOff()
		}
	})
	return nil
}

// metadataConnections is how many a machine has to its metadata service at one
// time: its agent, its watchdog and some tools of its builds'.
const metadataConnections = 32

// serveMetadata gives the machine its metadata service, on an address of its
// own; where the launch wants IPv6, too, on the same port of the loopback's other
// address.
func (lm *localMachine) serveMetadata(m Machine, machines int, logger *slog.Logger) (string, error) {
	// All of them together leave the endpoint itself the other half. Its callers
	// prove nothing: a machine can crowd out none but itself.
	most := min(listen.Share(0.5).Connections/max(machines, 1), metadataConnections)
	most = max(most, 4)
	options := listen.Options{Limits: listen.Limits{Connections: most, Strangers: most, PerAddress: most}, Log: logger}
	listener, err := listen.Listen(context.Background(), "127.0.0.1:0", options)
	if err != nil {
		return "", fmt.Errorf("listen for the machine's metadata service: %w", err)
	}
	lm.metadata = listen.NewServer(m.Metadata, logger)
	serve := func(l net.Listener) {
		// It returns when unplug closes it.
		lm.tasks.Go(func() { _ = lm.metadata.Serve(l) })
	}
	serve(listener)
	if m.MetadataIPv6 {
		address := fmt.Sprintf("[::1]:%d", listener.Addr().(*net.TCPAddr).Port)
		if l, err := listen.Listen(context.Background(), address, options); err != nil {
			fmt.Fprintf(m.Console, "[dormouse] no metadata service over IPv6: %v\n", err)
		} else {
			serve(l)
		}
	}
	return "http://" + listener.Addr().String() + "/", nil
}

// start runs the boot command as the leader of a session and group of its own.
func (lm *localMachine) start(sp *spawner, command, env []string, console io.Writer) error {
	program, err := lookPath(command[0], env)
	if err != nil {
		return err
	}
	reader, writer, err := os.Pipe()
	if err != nil {
		return err
	}
	cmd := &exec.Cmd{
		Path: program, Args: command, Env: env, Dir: filepath.Join(lm.dir, "home"),
		Stdout: writer, Stderr: writer, SysProcAttr: processAttributes(),
	}
	if err := sp.start(cmd); err != nil {
		return errors.Join(fmt.Errorf("start the boot command: %w", err), reader.Close(), writer.Close())
	}
	lm.command, lm.output = cmd, reader
	lm.tasks.Go(func() {
		defer close(lm.copied)
		// It ends when the last process that can print is gone, or with unplug.
		_, _ = io.Copy(console, reader)
	})
	lm.tasks.Go(func() {
		defer writer.Close()
		status := awaitExit(cmd)
		if !lm.stopping.Load() {
			// Through the pipe, it stands after what the command printed.
			fmt.Fprintf(writer, "[dormouse] the boot command has ended (%s); the machine stays up\n", status)
		}
	})
	return nil
}

// lookPath finds a program as the machine will.
func lookPath(name string, env []string) (string, error) {
	if strings.Contains(name, "/") {
		return name, nil
	}
	for dir := range strings.SplitSeq(strings.TrimPrefix(env[0], "PATH="), string(os.PathListSeparator)) {
		path := filepath.Join(dir, name)
		if info, err := os.Stat(path); err == nil && !info.IsDir() && info.Mode()&0o111 != 0 {
			return path, nil
		}
	}
	return "", fmt.Errorf("there is no program %q on the machine's PATH", name)
}

const (
	// firstPoll is when the end of processes is first looked for that are not our
	// children, of which nothing tells; then ever more rarely, up to lastPoll,
	// as looking goes through all processes there are.
	firstPoll = 5 * time.Millisecond
	lastPoll  = 100 * time.Millisecond
	// killTimeout is how long after SIGKILL a process may take; longer means
	// that it hangs in the kernel.
	killTimeout = 10 * time.Second
)

// Stop ends the machine's processes, those too that have left its group, and
// then its services.
func (lm *localMachine) Stop(ctx context.Context) error {
	defer lm.unplug()
	lm.stopping.Store(true)
	if lm.command == nil {
		return nil
	}
	if lm.endAll(ctx, syscall.SIGTERM, lm.grace) || lm.endAll(ctx, syscall.SIGKILL, killTimeout) {
		return nil
	}
	return fmt.Errorf("processes that survived SIGKILL: %v", lm.members())
}

// endAll signals the machine's processes, once each or over and over when it is
// SIGKILL, and reports whether all went within the time.
func (lm *localMachine) endAll(ctx context.Context, sig syscall.Signal, within time.Duration) bool {
	ctx, cancel := context.WithTimeout(ctx, within)
	defer cancel()
	poll := time.NewTimer(firstPoll)
	defer poll.Stop()
	signalled := make(map[int]bool)
	for interval := firstPoll; ; interval = min(2*interval, lastPoll) {
		left := lm.members()
		if len(left) == 0 {
			return true
		}
		for _, pid := range left {
			if sig == syscall.SIGKILL || !signalled[pid] {
				signalled[pid] = true
				// It may have gone meanwhile, which is what it should.
				_ = syscall.Kill(pid, sig)
			}
		}
		select {
		case <-poll.C:
			poll.Reset(interval)
		case <-ctx.Done():
			return false
		}
	}
}

// members lists the machine's living processes.
func (lm *localMachine) members() []int {
	return machineProcesses(lm.command.Process.Pid, markerVariable+"="+lm.id)
}

// unplug ends what serves the machine, and reaps its boot process. It leaves no
// goroutine.
func (lm *localMachine) unplug() {
	if lm.metadata != nil {
		lm.metadata.Close()
	}
	if lm.power != nil {
		lm.power.Close()
	}
	if lm.output != nil {
		// What is still in the pipe is read first; that needs no time, as its
		// writers are gone.
		if lm.output.SetReadDeadline(time.Now().Add(firstPoll)) == nil {
			<-lm.copied
		}
		lm.output.Close()
	}
	lm.tasks.Wait()
	if lm.command != nil {
		reap(lm.command)
	}
}

// Discard removes the machine's directory.
func (lm *localMachine) Discard() error {
	if lm.keep {
		return nil
	}
	return removeAll(lm.dir)
}

// removeAll removes a tree also where a build took write permission from its
// own directories, as Go's module cache does.
func removeAll(dir string) error {
	if os.RemoveAll(dir) == nil {
		return nil
	}
	_ = filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if d != nil && d.IsDir() {
			_ = os.Chmod(path, 0o700)
		}
		return nil
	})
	return os.RemoveAll(dir)
}

package main

import (
	"context"
	"errors"
	"flag"
	"fmt"
	"os"
	"os/exec"
	"os/signal"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"syscall"
	"time"
)

type options struct {
	dormouse string
	only     string
	keep     bool
	inside   string // the image, once this runs in its namespaces
}

func main() {
	var o options
	flag.StringVar(&o.dormouse, "dormouse", "bin/dormouse", "the program to test, linked statically")
	flag.StringVar(&o.only, "only", "", "play these alone, by name, with commas between")
	flag.BoolVar(&o.keep, "keep", false, "keep the directories of all scenarios, not only of those that fail")
	flag.StringVar(&o.inside, "inside", "", "for itself: it runs in its namespaces, and the image is there")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), syscall.SIGINT, syscall.SIGTERM)
	var err error
	if o.inside == "" {
		err = enter(ctx, o)
	} else {
		err = play(ctx, o)
	}
	stop()
	var ended *exec.ExitError
	switch {
	case err == nil:
	case errors.As(err, &ended) && o.inside == "":
		os.Exit(ended.ExitCode()) // it has said why
	default:
		fmt.Fprintln(os.Stderr, "boot-test:", err)
		if errors.Is(err, errMissing) {
			os.Exit(2)
		}
		os.Exit(1)
	}
}

var errMissing = errors.New("it cannot run here")

// check says all that is missing to boot machines.
func (o options) check() error {
	var missing []string
	if runtime.GOOS != "linux" {
		missing = append(missing, "Linux: machines are containers of systemd-nspawn")
	}
	if os.Geteuid() != 0 {
		missing = append(missing, "root: it makes namespaces and mounts disks (sudo make boot-test)")
	}
	for _, p := range []struct{ program, from string }{
		{"debootstrap", "debootstrap"},
		{"systemd-nspawn", "systemd-container"},
		{"ip", "iproute2"},
		{"mkfs.ext4", "e2fsprogs"},
		{"unshare", "util-linux"},
		{"nsenter", "util-linux"},
		{"apt-get", "apt, of Debian or what comes from it"},
	} {
		if _, err := exec.LookPath(p.program); err != nil {
			missing = append(missing, p.program+": apt-get install "+p.from)
		}
	}
	if len(missing) > 0 {
		return fmt.Errorf("%w; it needs\n  %s", errMissing, strings.Join(missing, "\n  "))
	}
	if _, err := os.Stat(o.dormouse); err != nil {
		return fmt.Errorf("the program to test: %w (make build)", err)
	}
	return nil
}

// enter makes the image and starts this program again in namespaces of its own,
// with which everything ends that it has started and mounted.
func enter(ctx context.Context, o options) error {
	if err := o.check(); err != nil {
		return err
	}
	image, err := findImage(ctx)
	if err != nil {
		return err
	}
	self, err := os.Executable()
	if err != nil {
		return err
	}
	arguments := append([]string{"--net", "--mount", "--pid", "--fork", "--mount-proc", "--kill-child", self, "-inside", image}, os.Args[1:]...)
	cmd := exec.Command("unshare", arguments...)
	cmd.Stdout, cmd.Stderr = os.Stdout, os.Stderr
	cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true}
	if err := cmd.Start(); err != nil {
		return err
	}
	ended := make(chan struct{})
	defer close(ended)
	go func() {
		select {
		case <-ctx.Done():
			_ = cmd.Process.Kill() // and, by --kill-child, all of it
		case <-ended:
		}
	}()
	defer removeCgroups()
	return cmd.Wait()
}

// play plays the scenarios, one after the other.
func play(ctx context.Context, o options) error {
	program, err := filepath.Abs(o.dormouse)
	if err != nil {
		return err
	}
	dir, err := os.MkdirTemp("/var/tmp", "dormouse-boot-")
	if err != nil {
		return err
	}
	if err := makeNetwork(ctx); err != nil {
		return err
	}
	wanted := strings.FieldsFunc(o.only, func(r rune) bool { return r == ',' })
	for _, name := range wanted {
		if !slices.ContainsFunc(scenarios, func(s scenario) bool { return s.name == name }) {
			return fmt.Errorf("there is no scenario %q", name)
		}
	}
	var failed []string
	began := time.Now()
	for _, s := range scenarios {
		if len(wanted) > 0 && !slices.Contains(wanted, s.name) {
			continue
		}
		if !s.run(ctx, program, o.inside, filepath.Join(dir, s.name), o.keep) {
			failed = append(failed, s.name)
		}
		if err := ctx.Err(); err != nil {
			return err
		}
	}
	fmt.Printf("boot-test: %s\n", time.Since(began).Round(time.Second))
	if len(failed) > 0 {
		return fmt.Errorf("these did not hold: %s; their logs are in %s", strings.Join(failed, ", "), dir)
	}
	if o.keep {
		fmt.Println("the logs are in", dir)
		return nil
	}
	return os.RemoveAll(dir)
}

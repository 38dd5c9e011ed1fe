package main

import (
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse/internal/procs"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/bootstrap"
	"github.com/dormouse-ci/dormouse/wire"
)

// The user data that installs the agent is run on a scratch root, and then what
// its two units start: the worker attaches under its instance's id, and the
// watchdog gets its lease.
func TestBootstrap(t *testing.T) {
	const secret = `l1.a'b"c\d$e`
	programs, err := bootstrap.FindBinaries(t.TempDir()) // this one, which is the command, too
	if err != nil {
		t.Fatal(err)
	}
	defer programs.Close()
	known := func(h wire.Hello) bool {
		return h.Name == "i-1" && h.InstanceID == "i-1" && h.Password == secret
	}
	attached, leased := make(chan *wire.Worker, 1), make(chan struct{}, 1)
	server := wire.NewServer(wire.ServerOptions{
		Authenticate: func(_ context.Context, h wire.Hello) (wire.Identity, error) {
			if !known(h) {
				return wire.Identity{}, dormouse.Errorf(dormouse.Unauthorized, "who is this?")
			}
			return wire.Identity{Name: "bot", Generation: 1}, nil
		},
		Attach:   func(_ context.Context, w *wire.Worker) error { attached <- w; return nil },
		Detached: func(*wire.Worker) {},
	})
	mux := http.NewServeMux()
	mux.Handle("/", server)
	mux.Handle(bootstrap.Prefix, programs)
	mux.HandleFunc("POST /lease", func(rw http.ResponseWriter, r *http.Request) {
		if h, err := wire.ReadHello(r); err != nil || !known(h) {
			http.Error(rw, "who is this?", http.StatusUnauthorized)
			return
		}
		_, _ = rw.Write([]byte(`{"lease_seconds": 600}`))
		leased <- struct{}{}
	})
	port := httptest.NewServer(mux)
	defer port.Close()
	defer func() { _ = server.Shutdown(context.Background()) }()
	script, err := bootstrap.UserData(bootstrap.Options{
		Master: strings.Replace(port.URL, "http://", "ws://", 1) + "/", FetchURL: port.URL + bootstrap.Prefix,
		Secret: secret, Checksums: programs.Checksums(),
	})
	if err != nil {
		t.Fatal(err)
	}

	// A machine whose power and users are stubs.
	dir := t.TempDir()
	root, bin := filepath.Join(dir, "root"), filepath.Join(dir, "bin")
	for _, d := range []string{root, bin} {
		if err := os.Mkdir(d, 0o755); err != nil {
			t.Fatal(err)
		}
	}
	for _, name := range []string{"mkdir", "chmod", "rm", "mv", "cat", "curl", "sha256sum", "sync", "uname"} {
		path, err := exec.LookPath(name)
		if err != nil {
			t.Skip(err)
		}
		if err := os.Symlink(path, filepath.Join(bin, name)); err != nil {
			t.Fatal(err)
		}
	}
	for name, text := range map[string]string{
		"systemctl": "exit 0", "poweroff": "exit 0", "shutdown": "exit 0", "halt": "exit 0", "sleep": "exit 0",
		"id": "exit 1", "useradd": `mkdir "$DORMOUSE_BOOTSTRAP_ROOT/var/lib/dormouse"`,
	} {
		if err := procs.WriteProgram(filepath.Join(bin, name), []byte("#!/bin/sh\n"+text+"\n")); err != nil {
			t.Fatal(err)
		}
	}
	metadataServer(t, string(script))
	environ := []string{"PATH=" + bin, "DORMOUSE_BOOTSTRAP_ROOT=" + root, "AWS_EC2_METADATA_SERVICE_ENDPOINT=" + os.Getenv("AWS_EC2_METADATA_SERVICE_ENDPOINT")}
	boot := exec.Command("/bin/sh", "-s")
	boot.Stdin, boot.Env = strings.NewReader(string(script)), environ
	if out, err := boot.CombinedOutput(); err != nil {
		t.Fatalf("%v on %s\n%s", err, runtime.GOARCH, out)
	}

	// systemd's part: the settings, and what the units start.
	start := func(service string) (*exec.Cmd, *strings.Builder) {
		unit, err := os.ReadFile(filepath.Join(root, "etc/systemd/system", service))
		if err != nil {
			t.Fatal(err)
		}
		_, rest, _ := strings.Cut(string(unit), "\nExecStart=")
		command, _, _ := strings.Cut(rest, "\n")
		// Power is a stub of the PATH; should that fail, too, there is no other.
		cmd := exec.Command("/bin/sh", "-c", `set -a; . "$DORMOUSE_BOOTSTRAP_ROOT/etc/dormouse/worker.env"; exec `+command)
		var log strings.Builder
		cmd.Env, cmd.Stdout, cmd.Stderr = environ, &log, &log
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		return cmd, &log
	}
	end := func(cmd *exec.Cmd, log *strings.Builder) {
		_ = cmd.Process.Signal(syscall.SIGTERM)
		if err := cmd.Wait(); err != nil || t.Failed() {
			t.Errorf("%v: %v\n%s", cmd.Args, err, log)
		}
	}
	limit := time.After(time.Minute)
	watchdog, log := start("dormouse-watchdog.service")
	select {
	case <-leased:
	case <-limit:
		t.Error("the watchdog has no lease")
	}
	end(watchdog, log)
	agent, log := start("dormouse-worker.service")
	select {
	case w := <-attached:
		if got, want := w.Info().BaseDir, filepath.Join(root, "var/lib/dormouse/worker"); got != want {
			t.Errorf("the worker's directory is %s, want %s", got, want)
		}
	case <-limit:
		t.Error("the worker is not attached")
	}
	end(agent, log)
}

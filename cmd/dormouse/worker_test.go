package main

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/wire"
)

// metadataServer starts an instance metadata service that has this user data.
func metadataServer(t *testing.T, userData string) {
	t.Helper()
	server := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		rw.Header().Set("X-Aws-Ec2-Metadata-Token-Ttl-Seconds", "21600")
		switch r.URL.Path {
		case "/latest/api/token":
			_, _ = rw.Write([]byte("token"))
		case "/latest/meta-data/instance-id":
			_, _ = rw.Write([]byte("i-1"))
		case "/latest/user-data":
			_, _ = rw.Write([]byte(userData))
		default:
			rw.WriteHeader(http.StatusNotFound)
		}
	}))
	t.Cleanup(server.Close)
	t.Setenv("AWS_EC2_METADATA_SERVICE_ENDPOINT", server.URL)
}

// The settings come from flags, environment and user data, in that order, and
// the agent attaches with them and ends as the master orders.
func TestWorkerFromUserData(t *testing.T) {
	attached := make(chan *wire.Worker, 1)
	server := wire.NewServer(wire.ServerOptions{
		Authenticate: func(_ context.Context, h wire.Hello) (wire.Identity, error) {
			if h.Name != "by-environment" || h.Password != "by=user data" || h.InstanceID != "i-1" {
				return wire.Identity{}, dormouse.Errorf(dormouse.Unauthorized, "unknown worker or wrong password")
			}
			return wire.Identity{Generation: 1}, nil
		},
		Attach: func(_ context.Context, w *wire.Worker) error {
			attached <- w
			return nil
		},
		Detached: func(*wire.Worker) {},
	})
	listener := httptest.NewServer(server)
	defer listener.Close()
	defer func() { _ = server.Shutdown(context.Background()) }()
	dir := t.TempDir()
	off := filepath.Join(dir, "off")
	metadataServer(t, "# settings\nDORMOUSE_MASTER="+strings.TrimPrefix(listener.URL, "http://")+
		"\nDORMOUSE_WORKER_NAME=by-user-data\nDORMOUSE_WORKER_PASSWORD=by=user data\nDORMOUSE_NUMCPUS=7\n"+
		"DORMOUSE_POWEROFF_COMMAND=touch "+off+"\nDORMOUSE_MAXRETRIES=1\nDORMOUSE_BASEDIR=/nonexistent/by-user-data\n")
	t.Setenv("DORMOUSE_WORKER_NAME", "by-environment")
	var stderr bytes.Buffer
	code := make(chan int, 1)
	go func() {
		code <- run(t.Context(), []string{"worker", "--from-user-data", "--basedir", filepath.Join(dir, "base")}, nil, &stderr, &stderr)
	}()
	select {
	case w := <-attached:
		if info := w.Info(); info.NumCPUs != 7 || info.BaseDir != filepath.Join(dir, "base") {
			t.Errorf("info %+v", info)
		}
		if err := w.Shutdown(t.Context()); err != nil {
			t.Error(err)
		}
	case got := <-code:
		t.Fatalf("ended with %d:\n%s", got, stderr.String())
	}
	if got := <-code; got != exitOK {
		t.Errorf("exit code %d:\n%s", got, stderr.String())
	}
	if _, err := os.Stat(off); err != nil {
		t.Error("the power-off command did not run")
	}
	if strings.Contains(stderr.String(), "by=user") {
		t.Errorf("the log shows the password:\n%s", stderr.String())
	}
}

func TestWorkerRefusals(t *testing.T) {
	for _, tt := range []struct {
		name, userData string
		args           []string
		code           int
		want           string
	}{
		{"nothing given", "", nil, exitUsage, "no master: give --master HOST:PORT; no worker name: give --name; no password"},
		{"unknown key", "DORMOUSE_MASTER=a:1\nDORMOUSE_PASSWORD=hunter2\n", []string{"--from-user-data"}, exitUsage, `line 2: unknown key "DORMOUSE_PASSWORD"`},
		{"not a number", "DORMOUSE_MAXRETRIES=hunter2\n", []string{"--from-user-data"}, exitUsage, "DORMOUSE_MAXRETRIES has a value that does not fit (want: int)"},
		{"no such file", "", []string{"--password-file", "/nonexistent"}, exitUsage, "/nonexistent"},
		{"password as a flag", "", []string{"--password", "hunter2"}, exitUsage, "unknown flag: --password"},
		{"umask", "", []string{"--umask", "rw"}, exitUsage, "umask"},
	} {
		t.Run(tt.name, func(t *testing.T) {
			metadataServer(t, tt.userData)
			var stderr bytes.Buffer
			code := run(t.Context(), append([]string{"worker"}, tt.args...), nil, &stderr, &stderr)
			if code != tt.code || !strings.Contains(stderr.String(), tt.want) {
				t.Errorf("exit code %d, want %d and %q:\n%s", code, tt.code, tt.want, stderr.String())
			}
			if strings.Contains(stderr.String(), "hunter2") {
				t.Errorf("a value that may be secret is shown:\n%s", stderr.String())
			}
		})
	}
}

// An agent that is killed says nothing; the one that is started after it, on the same
// disk, shows the master whose machine it is on; and one that is told to end says so,
// whatever it runs.
func TestWorkerIsStartedAgain(t *testing.T) {
	hellos, detached := make(chan wire.Hello, 2), make(chan *wire.Worker, 2)
	attached := make(chan *wire.Worker, 2)
	server := wire.NewServer(wire.ServerOptions{
		Authenticate: func(_ context.Context, h wire.Hello) (wire.Identity, error) {
			hellos <- h
			return wire.Identity{Generation: 1, Machine: "token-of-a-machine"}, nil
		},
		Attach: func(_ context.Context, w *wire.Worker) error {
			attached <- w
			return nil
		},
		Detached: func(w *wire.Worker) { detached <- w },
	})
	listener := httptest.NewServer(server)
	defer listener.Close()
	defer func() { _ = server.Shutdown(context.Background()) }()
	base := filepath.Join(t.TempDir(), "base")
	start := func(shows string) *exec.Cmd {
		var stderr bytes.Buffer
		cmd := exec.Command(buildDormouse(t), "worker", "--master", strings.TrimPrefix(listener.URL, "http://"), "--name", "w", "--basedir", base)
		cmd.Env = append(os.Environ(), "DORMOUSE_WORKER_PASSWORD=p", "NOTIFY_SOCKET=/nonexistent", "INVOCATION_ID=1")
		cmd.Stderr = &stderr
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			_ = cmd.Process.Kill()
			_ = cmd.Wait()
			if t.Failed() {
				t.Log(stderr.String())
			}
		})
		if h := <-hellos; h.Machine != shows {
			t.Errorf("it shows %q, want %q", h.Machine, shows)
		}
		return cmd
	}
	cmd := start("")
	<-attached
	if err := cmd.Process.Kill(); err != nil {
		t.Fatal(err)
	}
	if w := <-detached; w.ProcessEnds() {
		t.Error("a process that was killed has said that it ends")
	}
	_ = cmd.Wait()
	kept := filepath.Join(base, ".machine")
	if info, err := os.Stat(kept); err != nil || info.Mode().Perm() != 0o600 {
		t.Errorf("%v, %v", info, err)
	}

	cmd = start("token-of-a-machine")
	w := <-attached
	var told bytes.Buffer
	said := make(chan struct{})
	r, err := w.Start(t.Context(), wire.Command{Name: "shell", ID: "1", Args: map[string]any{
		"command": "trap '' TERM; env | grep -c '^DORMOUSE_\\|^NOTIFY_SOCKET\\|^INVOCATION_ID'; while :; do sleep 1; done", "workdir": base, "logEnviron": false,
	}}, func(_ context.Context, u wire.Update) error {
		for _, l := range u.Lines {
			if l.Stream == dormouse.Stdout {
				told.WriteString(l.Text)
				close(said)
			}
		}
		return nil
	})
	if err != nil {
		t.Fatal(err)
	}
	<-said
	if told.String() != "0" {
		t.Errorf("a build has %s variables of the agent's and of systemd's", told.String())
	}
	if err := cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	if w := <-detached; !w.ProcessEnds() {
		t.Errorf("a process that was told to end has not said so: %v", w.Err())
	}
	_ = r.Wait(t.Context())
	if err := cmd.Wait(); err != nil {
		t.Errorf("told to end, it ends with %v", err)
	}
}

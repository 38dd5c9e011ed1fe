package main

import (
	"bytes"
	"context"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
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

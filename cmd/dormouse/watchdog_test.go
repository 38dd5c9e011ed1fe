package main

import (
	"bytes"
	"fmt"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse/wire"
)

// A watchdog that reads its settings from user data, which are a worker's, holds
// its lease while the master is there, and powers the machine off when it is
// gone. It stays until it is told to end: as a machine that stops does it, which
// tells the power-off command, too, and then that has not failed. That systemd reads
// none of its later messages changes nothing.
func TestWatchdogPowersOff(t *testing.T) {
	const enough = 3 // leases, and then the master goes away
	granted := 0
	gone := make(chan struct{})
	master := httptest.NewServer(http.HandlerFunc(func(rw http.ResponseWriter, r *http.Request) {
		h, err := wire.ReadHello(r)
		if err != nil || r.Method != http.MethodPost || r.URL.Path != "/lease" || h.Name != "i-1" || h.InstanceID != "i-1" || h.Password != "by=user data" {
			http.Error(rw, "who is this?", http.StatusUnauthorized)
			return
		}
		if granted++; granted == enough {
			close(gone)
		}
		fmt.Fprint(rw, `{"lease_seconds": 1}`)
	}))
	master.Config.SetKeepAlivesEnabled(false)
	defer master.Close()
	dir := t.TempDir()
	power := filepath.Join(dir, "power")
	if err := syscall.Mkfifo(power, 0o600); err != nil {
		t.Fatal(err)
	}
	off, err := os.OpenFile(power, os.O_RDWR, 0)
	if err != nil {
		t.Fatal(err)
	}
	defer off.Close()
	socket, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify"), Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	defer socket.Close()
	limit := time.Now().Add(time.Minute)
	if err := off.SetReadDeadline(limit); err != nil {
		t.Fatal(err)
	}
	if err := socket.SetReadDeadline(limit); err != nil {
		t.Fatal(err)
	}
	metadataServer(t, "DORMOUSE_MASTER="+strings.TrimPrefix(master.URL, "http://")+
		"\nDORMOUSE_WORKER_PASSWORD=by=user data\nDORMOUSE_NUMCPUS=7\nDORMOUSE_BASEDIR=/nonexistent\n"+
		"DORMOUSE_POWEROFF_COMMAND=echo off >"+power+"; kill -TERM $PPID; kill -TERM $$\n")

	var stderr bytes.Buffer
	cmd := exec.Command(buildDormouse(t), "watchdog", "--from-user-data")
	cmd.Env = append(os.Environ(), "NOTIFY_SOCKET="+socket.LocalAddr().String())
	cmd.Stderr = &stderr
	if err := cmd.Start(); err != nil {
		t.Fatal(err)
	}
	defer cmd.Process.Kill()
	said := make([]byte, 1000)
	if n, err := socket.Read(said); err != nil || !strings.HasPrefix(string(said[:n]), "READY=1\n") {
		t.Fatalf("systemd hears %q, %v", said[:n], err)
	}
	select {
	case <-gone:
	case <-time.After(time.Until(limit)):
		cmd.Process.Kill()
		cmd.Wait()
		t.Fatalf("no leases:\n%s", stderr.String())
	}
	master.Close()
	line := make([]byte, 4)
	if _, err := off.Read(line); err != nil || string(line) != "off\n" {
		t.Fatalf("the machine is told %q, %v", line, err)
	}
	if err := cmd.Wait(); err != nil {
		t.Errorf("told to end, it ends with %v", err)
	}
	for _, want := range []string{"the watchdog is on", "the master wants this machine", "could not be reached for the time of a lease", "told to"} {
		if !strings.Contains(stderr.String(), want) {
			t.Errorf("it does not say %q:\n%s", want, stderr.String())
		}
	}
	if strings.Contains(stderr.String(), "command failed") {
		t.Errorf("its own end is a failure to it:\n%s", stderr.String())
	}
	if strings.Contains(stderr.String(), "by=user") {
		t.Errorf("the log shows the password:\n%s", stderr.String())
	}
}

func TestWatchdogUsage(t *testing.T) {
	for _, tt := range []struct {
		args []string
		want string
	}{
		{nil, "no master"},
		{[]string{"--master", "ci:1", "--name", "w"}, "no password"},
		{[]string{"--from-user-data", "--lease", "0s"}, "--lease 0s"},
		{[]string{"--from-user-data", "--lease", "-1m"}, "--lease -1m"},
		{[]string{"--password-file", "/nonexistent"}, "/nonexistent"},
	} {
		var stderr bytes.Buffer
		if code := run(t.Context(), append([]string{"watchdog"}, tt.args...), nil, &stderr, &stderr); code != exitUsage || !strings.Contains(stderr.String(), tt.want) {
			t.Errorf("%q: exit code %d, want %d and %q:\n%s", tt.args, code, exitUsage, tt.want, stderr.String())
		}
	}
}

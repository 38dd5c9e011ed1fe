package main

import (
	"bytes"
	"context"
	"fmt"
	"io"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/web"
	"github.com/dormouse-ci/dormouse/web/client"
)

// TestPortsUnderAttack: a master that may have 200 descriptors gets 2,000 idle
// connections and 600 headers of a megabyte that do not end, on each of its ports.
// It takes memory for none of it, and it, its store and its worker go on.
func TestPortsUnderAttack(t *testing.T) {
	dir := t.TempDir()
	plainMaster(t, dir, "one")
	configuration := filepath.Join(dir, "master.star")
	text, err := os.ReadFile(configuration)
	if err == nil {
		text = append(text, "c['schedulers'] = [schedulers.ForceScheduler(name='force', builderNames=['one'])]\n"...)
		err = os.WriteFile(configuration, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	log := filepath.Join(dir, "log")
	cmd := exec.Command("sh", "-c", `ulimit -n 200 && exec "$0" "$@"`, buildDormouse(t), "master", dir, "--json")
	p := startCommand(t, log, cmd)
	port := p.said["workers"].(string)
	api := strings.TrimPrefix(p.said["url"].(string), "http://")
	password := filepath.Join(dir, "password")
	if err := os.WriteFile(password, []byte("password\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	worker := exec.Command(buildDormouse(t), "worker", "--master", port, "--name", "plain", "--password-file", password, "--basedir", filepath.Join(dir, "worker"))
	if err := worker.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		worker.Process.Kill()
		worker.Wait()
	})
	c, err := client.New(p.said["url"].(string), "token-of-the-test")
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	forceAndWait(t, c)
	before := resident(t, cmd.Process.Pid)
	for _, address := range []string{port, api} {
		occupy(t, address)
	}
	forceAndWait(t, c)
	// What was there without limits: 2,000 connections, of which 600 have a
	// megabyte each. The agent's and the client's come out of the noise.
	if grown := resident(t, cmd.Process.Pid) - before; grown > 100<<20 {
		t.Errorf("the master has grown by %d MiB", grown>>20)
	}
	text, err = os.ReadFile(log)
	if err != nil {
		t.Fatal(err)
	}
	if n := bytes.Count(text, []byte("\n")); n > 150 {
		t.Errorf("the log has %d lines:\n%.4000s", n, text)
	}
}

// occupy opens connections that say nothing, and some that say a lot without an
// end, and leaves them open for the time of the test.
func occupy(t *testing.T, address string) {
	t.Helper()
	for range 2000 {
		c, err := net.DialTimeout("tcp", address, time.Minute)
		if err != nil {
			t.Logf("the test's own limit: %v", err)
			break
		}
		t.Cleanup(func() { c.Close() })
	}
	var wg sync.WaitGroup
	for range 600 {
		c, err := net.DialTimeout("tcp", address, time.Minute)
		if err != nil {
			t.Logf("the test's own limit: %v", err)
			break
		}
		t.Cleanup(func() { c.Close() })
		wg.Go(func() {
			// It ends when the master cuts it off.
			_, _ = io.WriteString(c, "GET / HTTP/1.1\r\nHost: x\r\nX: "+strings.Repeat("x", 1<<20))
		})
	}
	wg.Wait()
}

func forceAndWait(t *testing.T, c *client.Client) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	made, err := c.Force(ctx, web.ForceRequest{Builder: "one"})
	for ; err == nil && made[0].State != dormouse.RequestComplete; made[0], err = c.Request(ctx, made[0].ID) {
	}
	if err != nil || *made[0].Result != dormouse.Success {
		t.Fatalf("a build ends as %+v, %v", made, err)
	}
}

// resident is how much memory a process has, in bytes.
func resident(t *testing.T, pid int) int {
	t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", pid))
	if err != nil {
		t.Skip("this system has no /proc")
	}
	_, rest, _ := strings.Cut(string(text), "VmRSS:")
	kb, err := strconv.Atoi(strings.Fields(rest)[0])
	if err != nil {
		t.Fatal(err)
	}
	return kb << 10
}

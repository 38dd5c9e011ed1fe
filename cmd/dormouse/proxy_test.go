package main

import (
	"bufio"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse/internal/testca"
)

// proxy is one for CONNECT that takes every name for one address.
type proxy struct {
	net.Listener
	wg    sync.WaitGroup
	mu    sync.Mutex
	asked []string
}

func newProxy(t *testing.T, to string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{Listener: l}
	p.wg.Go(func() {
		for {
			near, err := l.Accept()
			if err != nil {
				return
			}
			p.wg.Go(func() { p.carry(near, to) })
		}
	})
	t.Cleanup(func() {
		l.Close()
		p.wg.Wait()
	})
	return p
}

func (p *proxy) carry(near net.Conn, to string) {
	defer near.Close()
	in := bufio.NewReader(near)
	r, err := http.ReadRequest(in)
	if err != nil {
		return
	}
	p.mu.Lock()
	p.asked = append(p.asked, r.Method+" "+r.Host+" "+r.Header.Get("Proxy-Authorization"))
	p.mu.Unlock()
	far, err := net.Dial("tcp", to)
	if err != nil {
		return
	}
	defer far.Close()
	fmt.Fprint(near, "HTTP/1.1 200 OK\r\n\r\n")
	ended := make(chan struct{}, 2)
	for _, pair := range [][2]io.ReadWriter{{near, far}, {far, struct {
		io.Reader
		io.Writer
	}{in, near}}} {
		go func() {
			_, _ = io.Copy(pair[0], pair[1]) // its end is all that matters
			ended <- struct{}{}
		}()
	}
	<-ended
	near.Close()
	far.Close()
	<-ended
}

// TestAgentsUseTheProxy: worker and watchdog reach a master that only the proxy
// of HTTPS_PROXY reaches, and say nothing of the password in that.
func TestAgentsUseTheProxy(t *testing.T) {
	t.Parallel()
	dir := t.TempDir()
	plainMaster(t, dir, "one")
	ca := testca.New(t)
	ca.Issue(t, filepath.Join(dir, "tls.crt"), filepath.Join(dir, "tls.key"), 1, time.Now().Add(20*time.Hour), "master.example")
	configuration := filepath.Join(dir, "master.star")
	text, err := os.ReadFile(configuration)
	if err != nil {
		t.Fatal(err)
	}
	changed := strings.Replace(string(text), "127.0.0.1'}}", "127.0.0.1', 'tls_certificate': 'tls.crt', 'tls_key': 'tls.key'}}", 1)
	if err := os.WriteFile(configuration, []byte(changed), 0o600); err != nil {
		t.Fatal(err)
	}
	master := startProcess(t, filepath.Join(dir, "log"), "master", dir, "--json")
	address := strings.Trim(strings.TrimPrefix(master.said["workers"].(string), "wss://"), "/")
	p := newProxy(t, address)
	environment := append(os.Environ(), "HTTPS_PROXY=http://me:hidden@"+p.Addr().String(), "NO_PROXY=", "DORMOUSE_WORKER_PASSWORD=password")
	for _, command := range []string{"worker", "watchdog"} {
		args := []string{command, "--master", "wss://master.example:9989", "--name", "plain", "--ca-file", ca.File, "--poweroff-command", "true"}
		if command == "worker" {
			args = append(args, "--basedir", filepath.Join(dir, "worker"))
		}
		cmd := exec.Command(buildDormouse(t), args...)
		cmd.Env = environment
		stderr, err := cmd.StderrPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() {
			cmd.Process.Kill()
			cmd.Wait()
		})
		lines := bufio.NewScanner(stderr)
		for reached := false; !reached; {
			if !lines.Scan() {
				t.Fatalf("the %s has ended", command)
			}
			if strings.Contains(lines.Text(), "hidden") {
				t.Errorf("the proxy's password is in the log: %s", lines.Text())
			}
			reached = strings.Contains(lines.Text(), "attached to the master") || strings.Contains(lines.Text(), "the master wants this machine")
		}
		cmd.Process.Kill()
	}
	p.mu.Lock()
	defer p.mu.Unlock()
	if len(p.asked) < 2 || p.asked[0] != "CONNECT master.example:9989 Basic bWU6aGlkZGVu" {
		t.Errorf("the proxy was asked %q", p.asked)
	}
}

package master_test

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
	"github.com/dormouse-ci/dormouse/internal/testca"
	"github.com/dormouse-ci/dormouse/watchdog"
	"github.com/dormouse-ci/dormouse/web/client"
	"github.com/dormouse-ci/dormouse/worker"
)

// TestTLS: with certificates on both ports our agent, the watchdog, Debian's
// worker and the client are served by them; who does not know the CA, or speaks no
// TLS, is told why not. A machine learns from its user data that it has to.
func TestTLS(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	ca := testca.New(t)
	file, key := filepath.Join(s.dir, "tls.crt"), filepath.Join(s.dir, "tls.key")
	ca.Issue(t, file, key, 1, time.Now().Add(20*time.Hour), "localhost")
	told := make(chan string, 1)
	s.boot = func(m ec2sim.Machine) { told <- string(m.UserData) }
	r := s.start(fmt.Sprintf(`
TLS = {'tls_certificate': %q, 'tls_key': %q}
c['www'] = dict(TLS, port='tcp:0:interface=127.0.0.1')
c['protocols'] = {'msgpack_experimental_v7': dict(TLS, port='tcp:0:interface=127.0.0.1')}
c['workers'] = [worker.Worker('ours', 'password of ours'), worker.Worker('stock', 'password of stock'), ec2('bot')]
forced([builder('b', ['ours'], 'echo it works'), builder('b2', ['stock'], 'echo it works'), builder('b3', ['bot'], 'true')])
`, file, key))
	api, err := client.New(r.WWWURL(), testToken, client.TrustOnly(ca.Pool()))
	if err != nil {
		t.Fatal(err)
	}
	defer api.Close()
	if _, err := api.Builders(t.Context()); err != nil || !strings.HasPrefix(r.WWWURL(), "https://") {
		t.Errorf("the API at %s: %v", r.WWWURL(), err)
	}
	plain, err := client.New("http://"+r.WWWAddr(), testToken)
	if err != nil {
		t.Fatal(err)
	}
	defer plain.Close()
	if _, err := plain.Builders(t.Context()); err == nil || !strings.Contains(err.Error(), "https://") {
		t.Errorf("who calls without TLS is told %v", err)
	}

	agent := func(name, master, caFile string, retries int) (chan error, func()) {
		w, err := worker.New(worker.Config{
			Master: master, CAFile: caFile, Name: name, Password: "password of " + name, BaseDir: filepath.Join(s.dir, "agent"),
			MaxRetries: retries, MaxDelay: time.Millisecond,
		})
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- w.Run(ctx) }()
		return ended, cancel
	}
	for _, tt := range []struct{ address, caFile, want string }{
		{"wss://" + r.WorkerAddr(), "", "--ca-file"},
		{"ws://" + r.WorkerAddr(), "", "HTTPS server"},
	} {
		ended, cancel := agent("ours", tt.address, tt.caFile, 1)
		if err := <-ended; err == nil || !strings.Contains(err.Error(), tt.want) {
			t.Errorf("the agent at %s: %v", tt.address, err)
		}
		cancel()
	}
	ended, cancel := agent("ours", "wss://"+r.WorkerAddr(), ca.File, 0)
	defer func() { cancel(); <-ended }()
	_, port, err := net.SplitHostPort(r.WorkerAddr())
	if err != nil {
		t.Fatal(err)
	}
	startStockWith(t, "localhost:"+port, "stock", "password of stock", ca.File)
	for _, b := range []string{"b", "b2"} {
		if req := r.ended(r.force(b, 1)[0].ID); *req.Result != dormouse.Success {
			t.Errorf("the build of %s: %v", b, *req.Result)
		}
	}
	r.force("b3", 1)
	if got := <-told; !strings.Contains(got, "DORMOUSE_MASTER=wss://"+r.WorkerAddr()+"/") {
		t.Errorf("a machine is told %q", got)
	}
	askWatchdog(t, r, ca)
}

// askWatchdog has a watchdog ask for a lease.
func askWatchdog(t *testing.T, r *run, ca *testca.CA) {
	t.Helper()
	var log syncBuffer
	d, err := watchdog.New(watchdog.Config{
		Master: "wss://" + r.WorkerAddr(), CAFile: ca.File, Name: "ours", Password: "password of ours",
		PowerOffCommand: "true", Log: slog.New(slog.NewTextHandler(&log, nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, stop := context.WithCancel(t.Context())
	done := make(chan struct{})
	go func() { defer close(done); d.Run(ctx) }()
	r.look("the lease", func() bool { return strings.Contains(log.String(), "the master wants this machine") })
	stop()
	<-done
}

// A certificate that is renewed is in force at once for who comes then; attached
// workers and the builds on them go on.
func TestCertificateIsRenewed(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	ca := testca.New(t)
	file, key := filepath.Join(s.dir, "tls.crt"), filepath.Join(s.dir, "tls.key")
	ca.Issue(t, file, key, 1, time.Now().Add(20*time.Hour))
	gate := filepath.Join(s.dir, "gate")
	r := s.start(fmt.Sprintf(`
c['protocols'] = {'msgpack_experimental_v7': {'port': 'tcp:0:interface=127.0.0.1', 'tls_certificate': %q, 'tls_key': %q}}
c['workers'] = [worker.Worker('ours', 'password of ours')]
forced([builder('b', ['ours'], 'until test -e %s; do sleep 0.02; done')])
`, file, key, gate))
	w, err := worker.New(worker.Config{
		Master: "wss://" + r.WorkerAddr(), CAFile: ca.File, Name: "ours", Password: "password of ours", BaseDir: filepath.Join(s.dir, "agent"),
	})
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan error, 1)
	go func() { ended <- w.Run(ctx) }()
	defer func() { cancel(); <-ended }()
	id := r.force("b", 1)[0].ID
	r.until("the build", func() bool { return r.request(id).State == dormouse.RequestClaimed })
	since := r.worker("ours").Since
	ca.Issue(t, file, key, 2, time.Now().Add(20*time.Hour))
	transport := &http.Transport{TLSClientConfig: &tls.Config{RootCAs: ca.Pool()}, DisableKeepAlives: true}
	r.look("the new certificate", func() bool {
		req, err := http.NewRequestWithContext(t.Context(), http.MethodGet, "https://"+r.WorkerAddr()+"/", http.NoBody)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := transport.RoundTrip(req)
		if err != nil {
			t.Fatal(err)
		}
		resp.Body.Close()
		return resp.TLS.PeerCertificates[0].SerialNumber.Int64() == 2
	})
	writeFile(t, gate)
	if req := r.ended(id); *req.Result != dormouse.Success {
		t.Errorf("the build: %v", *req.Result)
	}
	if now := r.worker("ours").Since; !now.Equal(since) {
		t.Error("the worker was disconnected")
	}
}

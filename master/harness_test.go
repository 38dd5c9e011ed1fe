package master_test

import (
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/config"
	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
	"github.com/dormouse-ci/dormouse/machine"
	"github.com/dormouse-ci/dormouse/master"
	"github.com/dormouse-ci/dormouse/web"
	"github.com/dormouse-ci/dormouse/wire"
	"github.com/dormouse-ci/dormouse/worker"
)

// patience bounds how long a test waits for what must come. It is generous: it
// only says how soon a broken test ends.
const patience = 5 * time.Minute

func TestMain(m *testing.M) {
	// These tests wait much more than they compute.
	flag.Parse()
	if flag.Lookup("test.parallel").Value.String() == strconv.Itoa(runtime.GOMAXPROCS(0)) {
		_ = flag.Set("test.parallel", "8")
	}
	os.Exit(m.Run())
}

// site is an EC2 endpoint whose machines are agents in this process, and a
// directory that masters are started in.
type site struct {
	t        *testing.T
	dir      string
	endpoint *ec2sim.Server
	url      string
	// boot, when set, is called instead of starting an agent: for the first
	// deaf machines, or for all where that is 0.
	boot func(ec2sim.Machine)
	deaf int64
	// watch, when set, is where agents hear of EC2's notices.
	watch func(ctx context.Context, log *slog.Logger, tell func(wire.Notice))
	// around, when set, stands around every call of the endpoint.
	around atomic.Pointer[func(w http.ResponseWriter, r *http.Request, call http.Handler)]
	boots  atomic.Int64
	// seen, when set, is told of each machine that boots.
	seen func(ec2sim.Machine)
}

func newSite(t *testing.T) *site {
	s := &site{t: t, dir: t.TempDir()}
	var err error
	s.endpoint, err = ec2sim.New(ec2sim.Options{
		BootDelay: -1, Dir: filepath.Join(s.dir, "instances"), Boot: s.bootMachine, Logger: slog.New(slog.DiscardHandler),
	})
	if err != nil {
		t.Fatal(err)
	}
	server := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		if around := s.around.Load(); around != nil {
			(*around)(w, r, s.endpoint)
			return
		}
		s.endpoint.ServeHTTP(w, r)
	}))
	s.url = server.URL
	t.Cleanup(func() {
		ctx, cancel := context.WithTimeout(context.Background(), patience)
		defer cancel()
		if err := s.endpoint.Close(ctx); err != nil {
			t.Error(err)
		}
		server.Close()
	})
	return s
}

// formOf reads a call's parameters; those that are no form have none.
func formOf(r *http.Request) url.Values {
	body, err := io.ReadAll(r.Body)
	if err != nil {
		return nil
	}
	r.Body = io.NopCloser(bytes.NewReader(body))
	form, err := url.ParseQuery(string(body))
	if err != nil {
		return nil
	}
	return form
}

// agent is a machine: one dormouse worker, configured by its user data.
type agent struct {
	cancel context.CancelFunc
	wg     sync.WaitGroup
}

func (a *agent) Stop(context.Context) error { a.cancel(); a.wg.Wait(); return nil }
func (a *agent) Discard() error             { return nil }

func (s *site) bootMachine(ctx context.Context, m ec2sim.Machine) (ec2sim.Process, error) {
	ctx, cancel := context.WithCancel(ctx)
	a := &agent{cancel: cancel}
	if s.seen != nil {
		s.seen(m)
	}
	if n := s.boots.Add(1); s.boot != nil && (s.deaf == 0 || n <= s.deaf) {
		s.boot(m)
		return a, nil
	}
	settings, err := machine.ParseUserData(string(m.UserData), []string{"DORMOUSE_MASTER", "DORMOUSE_WORKER_NAME", "DORMOUSE_WORKER_PASSWORD"})
	if err != nil {
		return a, err
	}
	w, err := worker.New(worker.Config{
		Master: settings["DORMOUSE_MASTER"], Name: settings["DORMOUSE_WORKER_NAME"], Password: settings["DORMOUSE_WORKER_PASSWORD"],
		InstanceID: m.ID, BaseDir: filepath.Join(s.dir, "agents", m.ID), MaxDelay: 200 * time.Millisecond,
		WatchInterruptions: s.watch,
	})
	if err != nil {
		return a, err
	}
	a.wg.Go(func() {
		if err := w.Run(ctx); err != nil {
			fmt.Fprintf(m.Console, "the agent ended: %v\n", err)
			m.PowerOff()
		}
	})
	return a, nil
}

// prelude is what every configuration of these tests begins with.
func (s *site) prelude(builders string) string {
	return fmt.Sprintf(`
from buildbot.plugins import schedulers, steps, util, worker
import boto3
c = BuildmasterConfig = {}
c['protocols'] = {'msgpack_experimental_v7': {'port': 'tcp:0:interface=127.0.0.1'}}
c['www'] = {'port': 'tcp:0:interface=127.0.0.1'}
USER_DATA = util.Interpolate('''DORMOUSE_MASTER=%%(worker:master)s
DORMOUSE_WORKER_NAME=%%(worker:name)s
DORMOUSE_WORKER_PASSWORD=%%(worker:secret)s
''')
# Of machines that learn who they are when they attach, so that they start in one launch.
ANONYMOUS = util.Interpolate('''DORMOUSE_MASTER=%%(worker:master)s
DORMOUSE_WORKER_PASSWORD=%%(worker:secret)s
''')
def session(url=%q, secret=%q):
    return boto3.session.Session(aws_access_key_id=%q, aws_secret_access_key=secret, region_name='us-east-1', endpoint_url=url)
def ec2(name, ami=%q, session=session(), user_data=USER_DATA, **kw):
    return worker.EC2LatentWorker(name, 'password of ' + name, 't3.small', ami=ami, session=session, user_data=user_data,
                                  missing_timeout=60, check_instance_interval=1, **kw)
def builder(name, workers, command, collapse=False, **kw):
    return util.BuilderConfig(name=name, workernames=workers, collapseRequests=collapse,
        factory=util.BuildFactory([steps.ShellCommand(name='shell', command=command, logEnviron=False)]), **kw)
def forced(builders):
    c['builders'] = builders
    c['schedulers'] = [schedulers.ForceScheduler(name='force', builderNames=[%s])]
`, s.url, ec2sim.DefaultSecretAccessKey, ec2sim.DefaultAccessKeyID, ec2sim.WorkerImageID, builders)
}

// run is a master that runs in a site.
type run struct {
	*master.Master
	t *testing.T
}

// config reads a configuration: the prelude and what is given.
func (s *site) config(text string) *config.Master {
	s.t.Helper()
	base := filepath.Join(s.dir, "master")
	if err := os.MkdirAll(base, 0o700); err != nil {
		s.t.Fatal(err)
	}
	var names []string
	for _, n := range []string{"b", "b2", "b3", "b4"} {
		if strings.Contains(text, "builder('"+n+"'") {
			names = append(names, "'"+n+"'")
		}
	}
	source := s.prelude(strings.Join(names, ", ")) + text
	if err := os.WriteFile(filepath.Join(base, "master.star"), []byte(source), 0o600); err != nil {
		s.t.Fatal(err)
	}
	c, err := config.Parse(filepath.Join(base, "master.star"), []byte(source), config.Options{BaseDir: base})
	if err != nil {
		s.t.Fatal(err)
	}
	return c
}

// start starts a master, which ends with the test.
func (s *site) start(text string) *run {
	s.t.Helper()
	return s.startWith(text, func(*master.Options) {})
}

// startWith starts a master with options that a test sets.
func (s *site) startWith(text string, set func(*master.Options)) *run {
	s.t.Helper()
	var log syncBuffer
	options := master.Options{Config: s.config(text), Token: testToken, Log: slog.New(slog.NewTextHandler(&log, nil))}
	set(&options)
	m, err := master.Start(s.t.Context(), options)
	if err != nil {
		s.t.Fatal(err)
	}
	r := &run{Master: m, t: s.t}
	s.t.Cleanup(func() {
		r.stop()
		if s.t.Failed() {
			s.t.Logf("the master logged:\n%s", log.String())
		}
	})
	return r
}

// tryStart starts a master that is expected not to.
func (s *site) tryStart(text string) error {
	s.t.Helper()
	m, err := master.Start(s.t.Context(), master.Options{Config: s.config(text), Log: slog.New(slog.DiscardHandler)})
	if err == nil {
		m.Stop(s.t.Context())
	}
	return err
}

func writeFile(t *testing.T, path string) {
	t.Helper()
	if err := os.WriteFile(path, nil, 0o600); err != nil {
		t.Fatal(err)
	}
}

type syncBuffer struct {
	mu sync.Mutex
	b  bytes.Buffer
}

func (b *syncBuffer) Write(p []byte) (int, error) {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.Write(p)
}

func (b *syncBuffer) String() string {
	b.mu.Lock()
	defer b.mu.Unlock()
	return b.b.String()
}

func (r *run) stop() {
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	r.Stop(ctx)
}

func (r *run) force(builder string, count int) []dormouse.BuildRequest {
	r.t.Helper()
	made, err := r.Force(r.t.Context(), web.ForceRequest{Builder: builder, Count: count})
	if err != nil {
		r.t.Fatal(err)
	}
	return made
}

// until waits for a condition that events bring about.
func (r *run) until(what string, done func() bool) {
	r.t.Helper()
	events, cancel := r.Subscribe()
	defer func() { cancel() }()
	limit := time.After(patience)
	for !done() {
		select {
		case _, ok := <-events:
			if !ok {
				events, cancel = r.Subscribe()
			}
		case <-limit:
			workers, _ := r.Workers(r.t.Context())
			requests, _ := r.Requests(r.t.Context(), web.RequestQuery{Limit: 10})
			r.t.Fatalf("%s has not come about; workers %+v; requests %+v", what, workers, requests)
		}
	}
}

func (r *run) look(what string, done func() bool) {
	r.t.Helper()
	look(r.t, what, done)
}

// look waits for a condition that no event tells of.
func look(t *testing.T, what string, done func() bool) {
	t.Helper()
	limit := time.After(patience)
	again := time.NewTicker(20 * time.Millisecond)
	defer again.Stop()
	for !done() {
		select {
		case <-again.C:
		case <-limit:
			t.Fatalf("%s has not come about", what)
		}
	}
}

func (r *run) request(id int64) dormouse.BuildRequest {
	r.t.Helper()
	req, err := r.Request(r.t.Context(), id)
	if err != nil {
		r.t.Fatal(err)
	}
	return req
}

func (r *run) worker(name string) dormouse.WorkerStatus {
	r.t.Helper()
	list, err := r.Workers(r.t.Context())
	if err != nil {
		r.t.Fatal(err)
	}
	for _, w := range list {
		if w.Name == name {
			return w
		}
	}
	r.t.Fatalf("no worker %s", name)
	return dormouse.WorkerStatus{}
}

// ended waits for a request's end.
func (r *run) ended(id int64) dormouse.BuildRequest {
	r.t.Helper()
	r.until(fmt.Sprintf("the end of request %d", id), func() bool { return r.request(id).Result != nil })
	return r.request(id)
}

// text returns the log of a build's only step.
func (r *run) text(buildID int64) (lines []dormouse.LogLine) {
	r.t.Helper()
	steps, err := r.Steps(r.t.Context(), buildID)
	if err != nil || len(steps) != 1 || len(steps[0].Logs) != 1 {
		r.t.Fatalf("steps %+v, %v", steps, err)
	}
	l := steps[0].Logs[0]
	for int64(len(lines)) < l.Lines {
		some, err := r.LogLines(r.t.Context(), l.ID, int64(len(lines)), l.Lines)
		if err != nil || len(some) == 0 {
			r.t.Fatalf("line %d of %d: %v", len(lines), l.Lines, err)
		}
		lines = append(lines, some...)
	}
	return lines
}

// dial tries to attach to a master's port and returns the HTTP status.
func (r *run) dial(name, password, instance string) int {
	r.t.Helper()
	return r.dialAs(name, password, instance, nil)
}

// dialAs is dial with further headers.
func (r *run) dialAs(name, password, instance string, headers map[string]string) int {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, "http://"+r.WorkerAddr()+"/", nil)
	if err != nil {
		r.t.Fatal(err)
	}
	req.SetBasicAuth(name, password)
	req.Header.Set("Connection", "Upgrade")
	req.Header.Set("Upgrade", "websocket")
	req.Header.Set("Sec-WebSocket-Version", "13")
	req.Header.Set("Sec-WebSocket-Key", "AAAAAAAAAAAAAAAAAAAAAA==")
	if instance != "" {
		req.Header.Set("Dormouse-Instance", instance)
	}
	for header, value := range headers {
		req.Header.Set(header, value)
	}
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	res.Body.Close()
	return res.StatusCode
}

func (r *run) crash() { r.Crash() }

// metrics returns what /metrics shows.
func (r *run) metrics() string {
	r.t.Helper()
	req, err := http.NewRequestWithContext(r.t.Context(), http.MethodGet, "http://"+r.WWWAddr()+"/metrics", nil)
	if err != nil {
		r.t.Fatal(err)
	}
	req.Header.Set("Authorization", "Bearer "+testToken)
	res, err := http.DefaultClient.Do(req)
	if err != nil {
		r.t.Fatal(err)
	}
	defer res.Body.Close()
	text, err := io.ReadAll(res.Body)
	if err != nil || res.StatusCode != http.StatusOK {
		r.t.Fatalf("%s, %v: %s", res.Status, err, text)
	}
	return string(text)
}

const testToken = "token-of-the-tests"

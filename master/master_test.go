package master_test

import (
	"net/http"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
	"github.com/dormouse-ci/dormouse/web"
)

func TestABuildRunsOnAnInstanceThatWasStartedForIt(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	r := s.start(`
c['workers'] = [ec2('bot', build_wait_timeout=0)]
forced([builder('b', ['bot'], 'echo hello')])
`)
	events, cancel := r.Subscribe()
	defer cancel()
	id := r.force("b", 1)[0].ID
	req := r.ended(id)
	if *req.Result != dormouse.Success {
		t.Fatalf("%+v", req)
	}
	b, err := r.Build(t.Context(), req.BuildID)
	if err != nil || b.Number != 1 || b.Worker != "bot" || b.Generation != 1 || !strings.HasPrefix(b.InstanceID, "i-") {
		t.Fatalf("%+v, %v", b, err)
	}
	var said []string
	for _, l := range r.text(b.ID) {
		if l.Stream == dormouse.Stdout {
			said = append(said, l.Text)
		}
	}
	if strings.Join(said, "|") != "hello" {
		t.Errorf("the log says %q", said)
	}
	r.until("the end of the instance", func() bool {
		live, err := r.Instances(t.Context(), false)
		return err == nil && len(live) == 0
	})
	ledger := s.endpoint.Ledger()
	if ledger.Started != 1 || ledger.Alive() != 0 {
		t.Errorf("%d instances started, %d alive", ledger.Started, ledger.Alive())
	}
	for _, tag := range []string{dormouse.TagDeployment, dormouse.TagWorker, dormouse.TagGeneration} {
		if ledger.Instances[0].Tags[tag] == "" {
			t.Errorf("the launch had no tag %s", tag)
		}
	}
	if text := r.metrics(); !strings.Contains(text, "\ndormouse_substantiations_total 1\n") || strings.Contains(text, "\ndormouse_ec2_calls_per_substantiation 0\n") {
		t.Errorf("the metrics do not count the substantiation:\n%s", text)
	}
	rows, err := r.Instances(t.Context(), true)
	if err != nil || len(rows) != 1 || rows[0].RunningAt.IsZero() || rows[0].AttachedAt.IsZero() || rows[0].EndedAt.IsZero() {
		t.Errorf("the ledger has %+v, %v", rows, err)
	}
	cancel()
	// The order of what was announced is that of the facts. (A quick machine may
	// build before EC2 has answered the launch.)
	order := []dormouse.EventKind{
		dormouse.EventRequestNew, dormouse.EventBuildStarted, dormouse.EventStepStarted,
		dormouse.EventLogNew, dormouse.EventLogAppended, dormouse.EventLogComplete, dormouse.EventStepFinished, dormouse.EventBuildFinished,
	}
	next := 0
	for e := range events {
		if next < len(order) && e.Kind == order[next] {
			next++
		}
	}
	if next != len(order) {
		t.Errorf("%s was not announced in its place", order[next])
	}
}

func TestWhatEC2RefusesIsSaidOnTheRequestAndTheWorker(t *testing.T) {
	t.Parallel()
	for _, tc := range []struct {
		name, worker, says string
		passes             bool // it is tried again soon, and quarantines nobody
	}{
		{"an endpoint that is not there", `ec2('bot', session=session(url='http://127.0.0.1:9'))`, "connection refused", true},
		{"credentials that are wrong", `ec2('bot', session=session(secret='guessed'))`, "secret_identifier", false},
		{"an image that does not exist", `ec2('bot', ami='ami-00000000000000000')`, "ami-00000000000000000 does not exist", false},
	} {
		t.Run(tc.name, func(t *testing.T) {
			t.Parallel()
			s := newSite(t)
			r := s.start(`
c['workers'] = [` + tc.worker + `]
forced([builder('b', ['bot'], 'true')])
`)
			id := r.force("b", 1)[0].ID
			r.until("the reason", func() bool {
				why := r.request(id).Waiting
				return strings.Contains(why, tc.says) && strings.Contains(why, "trying again at") == tc.passes && strings.Contains(why, "quarantined") != tc.passes
			})
			if req := r.request(id); req.State != dormouse.RequestPending {
				t.Errorf("the request is %s", req.State)
			}
			w := r.worker("bot")
			if !strings.Contains(w.Reason, tc.says) || w.QuarantinedUntil.IsZero() != tc.passes {
				t.Errorf("the worker says %q, quarantined until %v", w.Reason, w.QuarantinedUntil)
			}
			if started := s.endpoint.Ledger().Started; started != 0 {
				t.Errorf("%d instances were started", started)
			}
		})
	}
}

func TestBuildsAtOnceGetAnInstanceEach(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	r := s.start(`
c['workers'] = [ec2('bot', instances=3, build_wait_timeout=0)]
forced([builder('b', ['bot'], 'true')])
`)
	instances := map[string]bool{}
	for _, made := range r.force("b", 3) {
		req := r.ended(made.ID)
		b, err := r.Build(t.Context(), req.BuildID)
		if err != nil || *req.Result != dormouse.Success {
			t.Fatalf("%+v, %v", req, err)
		}
		instances[b.InstanceID] = true
	}
	if len(instances) != 3 {
		t.Errorf("on instances %v", instances)
	}
}

func TestRequestsAreCollapsed(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	s.boot = func(ec2sim.Machine) {} // nothing attaches: the requests wait
	r := s.start(`
c['workers'] = [ec2('bot')]
forced([builder('b', ['bot'], 'true', collapse=True)])
`)
	made := r.force("b", 3)
	survivor := made[2].ID
	for _, m := range made[:2] {
		if req := r.ended(m.ID); *req.Result != dormouse.Skipped || req.CollapsedInto != survivor {
			t.Errorf("request %d ended %v and links %d, want %d", m.ID, *req.Result, req.CollapsedInto, survivor)
		}
	}
	if req := r.request(survivor); req.State != dormouse.RequestPending {
		t.Errorf("the survivor is %s", req.State)
	}
}

func TestAttachmentsThatAreRefused(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	var mu sync.Mutex
	var secrets []string // of each generation, from its user data
	s.boot = func(m ec2sim.Machine) {
		_, password, _ := strings.Cut(string(m.UserData), "DORMOUSE_WORKER_PASSWORD=")
		mu.Lock()
		defer mu.Unlock()
		secrets = append(secrets, strings.TrimSpace(password))
	}
	r := s.start(`
c['workers'] = [ec2('bot', build_wait_timeout=3600), ec2('other'), worker.Worker('plain', 'plain password')]
forced([builder('b', ['bot'], 'true')])
`)
	booted := func(n int) (out []string) {
		r.until("the boot", func() bool {
			mu.Lock()
			defer mu.Unlock()
			out = append([]string(nil), secrets...)
			return len(out) == n
		})
		return out
	}
	try := func(what, name, password, instance string, want int) {
		t.Helper()
		if got := r.dial(name, password, instance); got != want {
			t.Errorf("%s: %d, want %d", what, got, want)
		}
	}
	try("not started at all", "bot", "password of bot", "", http.StatusConflict)
	id := r.force("b", 1)[0].ID
	first := booted(1)[0]
	live, err := r.Instances(t.Context(), false)
	if err != nil || len(live) != 1 {
		t.Fatal(live, err)
	}
	try("unknown worker", "nobody", first, "", http.StatusUnauthorized)
	try("wrong password", "bot", "wrong", "", http.StatusUnauthorized)
	try("no password", "bot", "", "", http.StatusUnauthorized)
	try("another's secret", "other", first, "", http.StatusUnauthorized)
	try("a made up secret", "bot", "g1.AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", "", http.StatusUnauthorized)
	try("a later generation", "bot", strings.Replace(first, "g1.", "g2.", 1), "", http.StatusUnauthorized)
	try("another worker's instance", "other", "password of other", live[0].ID, http.StatusConflict)
	try("wrong password of a plain worker", "plain", "password of bot", "", http.StatusUnauthorized)

	// The generation ends, and the next begins.
	if err := r.StopWorker(t.Context(), "bot", true); err != nil {
		t.Fatal(err)
	}
	r.until("the end", func() bool { return r.worker("bot").Phase == "shut down" })
	try("a stale generation", "bot", first, "", http.StatusConflict)
	if err := r.PauseWorker(t.Context(), "bot", false); err != nil {
		t.Fatal(err)
	}
	second := booted(2)[1]
	try("a stale generation by its secret", "bot", first, "", http.StatusConflict)
	try("the live one", "bot", second, "", http.StatusSwitchingProtocols)
	if req := r.request(id); req.State != dormouse.RequestPending {
		t.Errorf("the request is %s", req.State)
	}
}

func TestStopAndCancel(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	r := s.start(`
c['workers'] = [ec2('bot', build_wait_timeout=3600)]
forced([builder('b', ['bot'], 'echo begun; exec sleep 1000')])
`)
	made := r.force("b", 2)
	r.until("the first build", func() bool { return r.request(made[0].ID).BuildID != 0 })
	if err := r.CancelRequest(t.Context(), made[1].ID); err != nil {
		t.Fatal(err)
	}
	if req := r.ended(made[1].ID); *req.Result != dormouse.Cancelled || req.BuildID != 0 {
		t.Errorf("%+v", req)
	}
	build := r.request(made[0].ID).BuildID
	if err := r.StopBuild(t.Context(), build, "enough"); err != nil {
		t.Fatal(err)
	}
	if req := r.ended(made[0].ID); *req.Result != dormouse.Cancelled {
		t.Errorf("%+v", req)
	}
	if err := r.StopBuild(t.Context(), build, "again"); dormouse.CodeOf(err) != dormouse.Conflict {
		t.Errorf("a build that has ended was stopped: %v", err)
	}
	if err := r.CancelRequest(t.Context(), made[0].ID); dormouse.CodeOf(err) != dormouse.Conflict {
		t.Errorf("a request that is complete was cancelled: %v", err)
	}
	// The worker is as good as before.
	if w := r.worker("bot"); !w.Connected || w.Builds != 0 {
		t.Errorf("%+v", w)
	}
}

func TestOutputOfEveryKind(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	r := s.start(`
c['workers'] = [ec2('bot', build_wait_timeout=3600)]
forced([
    builder('b', ['bot'], 'yes 0123456789012345678901234567890123456789012345678901234567890123456789012345678 | head -n 250000'),
    builder('b2', ['bot'], 'head -c 2000000 /dev/urandom'),
    builder('b3', ['bot'], 'head -c 10485760 /dev/zero | tr "\\0" x; echo; echo the end'),
    builder('b4', ['bot'], "printf 'no newline at the end'"),
])
`)
	stdout := func(builder string) (lines []string) {
		req := r.ended(r.force(builder, 1)[0].ID)
		if *req.Result != dormouse.Success {
			t.Fatalf("builder %s: %+v", builder, req)
		}
		for _, l := range r.text(req.BuildID) {
			if l.Stream == dormouse.Stdout {
				lines = append(lines, l.Text)
			}
		}
		return lines
	}
	big := stdout("b")
	if len(big) != 250_000 {
		t.Errorf("20 MB of lines: %d lines arrived", len(big))
	}
	for i, l := range big {
		if len(l) != 79 {
			t.Fatalf("line %d is %q", i, l)
		}
	}
	if binary := stdout("b2"); len(binary) == 0 {
		t.Error("nothing of the binary output arrived")
	}
	long := stdout("b3")
	total := 0
	for _, l := range long[:len(long)-1] {
		total += len(l)
	}
	if total != 10<<20 || long[len(long)-1] != "the end" {
		t.Errorf("of a line of 10 MiB %d bytes arrived, and at the end %q", total, long[len(long)-1])
	}
	if text := stdout("b4"); strings.Join(text, "|") != "no newline at the end" {
		t.Errorf("%q", text)
	}
}

func TestAMasterThatStopsLosesNothing(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	text := `
c['workers'] = [ec2('bot', build_wait_timeout=0)]
forced([builder('b', ['bot'], 'test -e ` + s.dir + `/go && echo done || exec sleep 1000')])
`
	r := s.start(text)
	made := r.force("b", 2)
	r.until("the build", func() bool { return r.request(made[0].ID).BuildID != 0 })
	r.stop()
	if alive := s.endpoint.Ledger().Alive(); alive != 0 {
		t.Errorf("%d instances outlived the master", alive)
	}
	writeFile(t, s.dir+"/go")
	r = s.start(text)
	for _, m := range made {
		if req := r.ended(m.ID); *req.Result != dormouse.Success {
			t.Errorf("request %d: %+v", m.ID, req)
		}
	}
	builds, err := r.Builds(t.Context(), web.BuildQuery{Limit: 10})
	if err != nil || len(builds) != 3 || *builds[2].Result != dormouse.Retry {
		t.Errorf("%+v, %v", builds, err)
	}
}

func TestASecondMasterInTheSameDirectoryIsRefused(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	text := `
c['workers'] = [worker.Worker('plain', 'password')]
forced([builder('b', ['plain'], 'true')])
`
	s.start(text)
	if err := s.tryStart(text); dormouse.CodeOf(err) != dormouse.Conflict || !strings.Contains(err.Error(), "another master runs") {
		t.Errorf("%v", err)
	}
}

func TestMachinesLearnWhoTheyAre(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	var mu sync.Mutex
	secrets := map[string]string{} // by instance
	s.seen = func(m ec2sim.Machine) {
		_, password, _ := strings.Cut(string(m.UserData), "DORMOUSE_WORKER_PASSWORD=")
		mu.Lock()
		defer mu.Unlock()
		secrets[m.ID] = strings.TrimSpace(password)
	}
	gate := filepath.Join(s.dir, "gate")
	r := s.start(`
c['workers'] = [ec2('bot', instances=3, user_data=ANONYMOUS, build_wait_timeout=3600), ec2('other', user_data=ANONYMOUS, build_wait_timeout=3600)]
# Each build waits until all run, so that each has a worker of its own.
forced([builder('b', ['bot'], '` + behind(gate) + `'),
        builder('b2', ['other'], 'true')])
`)
	workers := map[string]string{}
	all := append(r.force("b", 3), r.force("b2", 1)...)
	r.until("the three builds", func() bool {
		builds, err := r.Builds(t.Context(), web.BuildQuery{Builder: "b", Running: new(true), Limit: 10})
		return err == nil && len(builds) == 3
	})
	open(t, gate)
	for _, made := range all {
		req := r.ended(made.ID)
		b, err := r.Build(t.Context(), req.BuildID)
		if err != nil || *req.Result != dormouse.Success {
			t.Fatalf("%+v, %v", req, err)
		}
		workers[b.Worker] = b.InstanceID
	}
	if len(workers) != 4 {
		t.Errorf("builds ran on %v", workers)
	}
	// On a busy machine the three alike do not all come in time for one launch.
	if calls := s.endpoint.Ledger().Calls["RunInstances"]; calls < 2 || calls > 3 {
		t.Errorf("%d launches, want one for the three alike and one for the other", calls)
	}
	mu.Lock()
	defer mu.Unlock()
	bot, other := workers["bot-1"], workers["other"]
	for _, tc := range []struct {
		what, name, password, instance string
		want                           int
	}{
		{"another launch's secret", bot, secrets[other], bot, http.StatusUnauthorized},
		{"a made up secret", bot, "l" + strings.Repeat("a", 26) + ".AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA", bot, http.StatusUnauthorized},
		{"no instance", bot, secrets[bot], "", http.StatusUnauthorized},
		{"a worker's name with a launch's secret", "bot-1", secrets[bot], bot, http.StatusUnauthorized},
		{"an instance that is not in the ledger", "i-0123456789abcdef0", secrets[bot], "i-0123456789abcdef0", http.StatusConflict},
		{"a secret that its agent has used", bot, secrets[bot], bot, http.StatusConflict},
	} {
		if got := r.dial(tc.name, tc.password, tc.instance); got != tc.want {
			t.Errorf("%s: %d, want %d", tc.what, got, tc.want)
		}
	}
}

func TestAWorkerThatLeftTheConfigurationLeavesNothingBehind(t *testing.T) {
	t.Parallel()
	s := newSite(t)
	r := s.start(`
c['workers'] = [ec2('bot', build_wait_timeout=3600), ec2('stays')]
forced([builder('b', ['bot'], 'true')])
`)
	r.ended(r.force("b", 1)[0].ID)
	r.crash()
	if alive := s.endpoint.Ledger().Alive(); alive != 1 {
		t.Fatalf("%d instances alive", alive)
	}
	r = s.start(`
c['workers'] = [ec2('stays')]
forced([builder('b', ['stays'], 'true')])
`)
	r.until("the end of the instance", func() bool { return s.endpoint.Ledger().Alive() == 0 })
}

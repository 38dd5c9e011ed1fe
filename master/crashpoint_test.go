package master_test

import (
	"bufio"
	"bytes"
	"context"
	"flag"
	"fmt"
	"io"
	"log/slog"
	"maps"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"runtime"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	awsec2 "github.com/aws/aws-sdk-go-v2/service/ec2"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/config"
	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
	"github.com/dormouse-ci/dormouse/master"
	"github.com/dormouse-ci/dormouse/web"
	"github.com/dormouse-ci/dormouse/web/client"
)

// A master in a process of its own is killed before and after every write to the
// store, and before and after every call of EC2, of a few builds' lives: one
// master for each such point. Another master then has to bring it all to the end
// that it would have had.

// life is a course of things whose points are gone through.
type life struct {
	name string
	text string // of the configuration
	// prepare, when set, makes what the text needs in the account, and returns
	// what %s and %s in the text stand for.
	prepare  func(s *site) []any
	scenario string // of the endpoint
	stops    bool   // the master is told to stop while the instance idles
	busy     bool   // or while a build runs
	// fails is a kind of write of which the second fails.
	fails string
	// after, if not "", has only what comes after the first of a kind gone
	// through: what is before it is what another life has.
	after string
	// instances and builds are how many there are at the most where nobody is
	// killed; one is the least.
	instances, builds int
	// late is how many more there may be, one after the other, where a busy machine
	// takes longer to attach than an instance is given.
	late int
}

// inBuild reports whether it is about what happens while a build runs.
func (l life) inBuild() bool { return l.busy || l.fails != "" }

// in returns the life as it is led in a site, with a port that all its masters
// await workers at.
func (l life) in(s *site) life {
	if l.prepare != nil {
		l.text = fmt.Sprintf(l.text, l.prepare(s)...)
	}
	l.text = workersPort(s.t) + l.text
	l.builds = max(l.builds, 1)
	return l
}

var lives = []life{
	{
		name: "a build", instances: 1,
		text: "c['workers'] = [ec2('bot', build_wait_timeout=0)]\nforced([builder('b', ['bot'], 'for i in 1 2 3 4 5 6; do echo $i; done')])\n",
	},
	{
		name: "a machine that learns who it is", instances: 1, after: "opening launch",
		text: "c['workers'] = [ec2('bot', build_wait_timeout=0, user_data=ANONYMOUS)]\nforced([builder('b', ['bot'], 'for i in 1 2 3 4 5 6; do echo $i; done')])\n",
	},
	{
		name: "no spot capacity", instances: 1,
		text:     "c['workers'] = [ec2('bot', build_wait_timeout=0, spot_instance=True, fallback_to_on_demand=True)]\nforced([builder('b', ['bot'], 'for i in 1 2 3 4 5 6; do echo $i; done')])\n",
		scenario: `{"rules": [{"name": "no spot", "when": {"market": "spot"}, "do": {"capacity": 0}}]}`,
	},
	{
		name: "a lost answer", instances: 1,
		text:     "c['workers'] = [ec2('bot', build_wait_timeout=0)]\nforced([builder('b', ['bot'], 'for i in 1 2 3 4 5 6; do echo $i; done')])\n",
		scenario: `{"rules": [{"name": "lost", "when": {"action": "RunInstances", "times": 4}, "do": {"lose_answer": true}}]}`,
	},
	{
		name: "an instance that never attaches", instances: 2, late: 2, after: "settling a launch",
		text: "c['workers'] = [worker.EC2LatentWorker('bot', 'password of bot', 't3.small', ami='" + ec2sim.WorkerImageID + "', session=session(), user_data=USER_DATA, build_wait_timeout=0, missing_timeout=10, check_instance_interval=1)]\n" +
			"forced([builder('b', ['bot'], 'for i in 1 2 3 4 5 6; do echo $i; done')])\n",
		scenario: `{"rules": [{"name": "dead", "when": {"times": 1}, "do": {"never_boot": true}}]}`,
	},
	{
		name: "a volume and an address", instances: 1,
		text: "c['workers'] = [ec2('bot', build_wait_timeout=0, elastic_ip='%s', volumes=[('%s', '/dev/sdh')])]\nforced([builder('b', ['bot'], 'for i in 1 2 3 4 5 6; do echo $i; done')])\n",
		prepare: func(s *site) []any {
			address, err := s.client().AllocateAddress(s.t.Context(), &awsec2.AllocateAddressInput{})
			if err != nil {
				s.t.Fatal(err)
			}
			volume, err := s.client().CreateVolume(s.t.Context(), &awsec2.CreateVolumeInput{AvailabilityZone: new("us-east-1b"), Size: new(int32(1))})
			if err != nil {
				s.t.Fatal(err)
			}
			return []any{*address.PublicIp, *volume.VolumeId}
		},
	},
	{
		name: "the master's end", instances: 1, stops: true,
		text: "c['workers'] = [ec2('bot', build_wait_timeout=600)]\nforced([builder('b', ['bot'], 'for i in 1 2 3 4 5 6; do echo $i; done')])\n",
	},
	{
		name: "the master's end in mid-build", instances: 2, builds: 2, stops: true, busy: true, after: "abandoning build",
		text: "c['workers'] = [ec2('bot', build_wait_timeout=600)]\nforced([builder('b', ['bot'], 'for i in 1 2 3 4 5 6; do echo $i; sleep 0.2; done')])\n",
	},
	{
		name: "a write that fails in mid-build", instances: 2, builds: 2, fails: "appending to log", after: "appending to log",
		text: "c['workers'] = [ec2('bot', build_wait_timeout=0)]\nforced([builder('b', ['bot'], 'for i in 1 2 3 4 5 6; do echo $i; sleep 0.05; done')])\n",
	},
}

// point is a moment in a life: right before or after the n-th write or call of a
// kind.
type point struct {
	kind  string
	n     int
	after bool
}

func (p point) String() string {
	when := "before"
	if p.after {
		when = "after"
	}
	return fmt.Sprintf("%s %s %d", when, p.kind, p.n)
}

func parsePoint(text string) (p point) {
	words := strings.Fields(text)
	if len(words) < 3 {
		return p
	}
	_, _ = fmt.Sscan(words[len(words)-1], &p.n)
	p.after, p.kind = words[0] == "after", strings.Join(words[1:len(words)-1], " ")
	return p
}

// names are what differs between two writes of a kind: numbers, and launches.
var names = regexp.MustCompile(` \S*\d\S*| [a-z2-7]{26}\b`)

// looks are the kinds that are gone through so often at most, since how often
// they come depends on how long things take.
var looks = map[string]int{"DescribeInstances": 3, "DescribeVolumes": 2, "renewing the master lease": 1}

// ofBuilds are the kinds that have nothing to do with how an instance is started
// and stopped: they are gone through in the first life only.
var ofBuilds = []string{
	"acquiring the master lease", "submitting build requests", "setting properties of build", "starting a step of build",
	"creating log stdio of step", "appending to log", "keeping how far step has come", "completing log", "compacting log", "finishing step",
	"releasing the master lease",
}

// hurry is the time scale of the masters that are killed.
const hurry = 0.05

const (
	envMaster = "DORMOUSE_TEST_MASTER" // the base directory of the master to be
	envPoint  = "DORMOUSE_TEST_POINT"  // the write at which it kills itself
	envFails  = "DORMOUSE_TEST_FAILS"  // the kind of write of which the second fails
)

func TestMain(m *testing.M) {
	if base := os.Getenv(envMaster); base != "" {
		if err := beMaster(base, parsePoint(os.Getenv(envPoint))); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	// The tests of this package wait much more than they compute.
	flag.Parse()
	if flag.Lookup("test.parallel").Value.String() == strconv.Itoa(runtime.GOMAXPROCS(0)) {
		_ = flag.Set("test.parallel", "8")
	}
	os.Exit(m.Run())
}

// beMaster is a master until its input ends, or until it comes to a point, at
// which it kills itself. It prints its address, and each write.
func beMaster(base string, end point) error {
	c, err := config.Load(filepath.Join(base, "master.star"), config.Options{BaseDir: base})
	if err != nil {
		return err
	}
	o := master.Options{Config: c, Token: testToken, Log: slog.New(slog.NewTextHandler(os.Stderr, nil)), TimeScale: hurry}
	var mu sync.Mutex
	counts := map[string]int{}
	o.AroundWrites(func(what string, write func() error) error {
		kind := names.ReplaceAllString(what, "")
		mu.Lock()
		counts[kind]++
		n := counts[kind]
		fmt.Println("write", kind)
		mu.Unlock()
		dieAt(end, point{kind, n, false})
		var err error = dormouse.Errorf(dormouse.Unanswered, "%s: the connection broke during the commit", what)
		if kind != os.Getenv(envFails) || n != 2 {
			err = write()
		}
		dieAt(end, point{kind, n, true})
		return err
	})
	m, err := master.Start(context.Background(), o)
	if err != nil {
		return err
	}
	mu.Lock()
	fmt.Println("url http://" + m.WWWAddr())
	mu.Unlock()
	_, _ = io.Copy(io.Discard, os.Stdin)
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	m.Stop(ctx)
	return nil
}

func dieAt(end, here point) {
	if end == here {
		_ = syscall.Kill(os.Getpid(), syscall.SIGKILL)
		select {}
	}
}

// child is a master in a process of its own.
type child struct {
	cmd    *exec.Cmd
	stdin  io.Closer
	url    chan string
	gone   chan struct{} // closed when the process has ended
	stderr bytes.Buffer

	mu   sync.Mutex
	done []string // its writes and calls, in about this order
}

// buildMaster builds this package's tests without the race detector, which takes
// most of the time of so short a life. The masters that come after are watched.
func buildMaster(t *testing.T) (binary string) {
	t.Helper()
	binary = filepath.Join(t.TempDir(), "master.test")
	if out, err := exec.CommandContext(t.Context(), "go", "test", "-c", "-o", binary, ".").CombinedOutput(); err != nil {
		t.Fatalf("go test -c: %v\n%s", err, out)
	}
	return binary
}

func (s *site) spawn(binary string, end point, fails string) *child {
	s.t.Helper()
	c := &child{url: make(chan string, 1), gone: make(chan struct{})}
	c.cmd = exec.Command(binary)
	c.cmd.Env = append(os.Environ(), envMaster+"="+filepath.Join(s.dir, "master"), envPoint+"="+end.String(), envFails+"="+fails)
	c.cmd.Stderr = &c.stderr
	var err error
	if c.stdin, err = c.cmd.StdinPipe(); err != nil {
		s.t.Fatal(err)
	}
	out, err := c.cmd.StdoutPipe()
	if err != nil {
		s.t.Fatal(err)
	}
	if err := c.cmd.Start(); err != nil {
		s.t.Fatal(err)
	}
	go func() {
		defer close(c.gone)
		lines := bufio.NewScanner(out)
		for lines.Scan() {
			word, rest, _ := strings.Cut(lines.Text(), " ")
			switch word {
			case "url":
				c.url <- rest
			case "write":
				c.mu.Lock()
				c.done = append(c.done, rest)
				c.mu.Unlock()
			}
		}
		_ = c.cmd.Wait()
	}()
	s.t.Cleanup(c.kill)
	return c
}

func (c *child) kill() {
	_ = c.cmd.Process.Kill()
	<-c.gone
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

// live begins a life under a master of its own, which is killed at a point, and
// returns what was done in which order, the requests that were accepted, and
// whether the point was reached.
func (s *site) live(binary string, l life, end point) (done []string, accepted []int64, reached bool) {
	s.t.Helper()
	if l.scenario != "" {
		scenario, err := ec2sim.ParseScenario([]byte(l.scenario))
		if err != nil {
			s.t.Fatal(err)
		}
		s.endpoint.SetScenario(scenario)
	}
	s.config(l.text)
	var mu sync.Mutex
	counts := map[string]int{}
	var c *child
	spawned := make(chan struct{})
	around := func(w http.ResponseWriter, r *http.Request, call http.Handler) {
		action := formOf(r).Get("Action")
		if action == "" {
			call.ServeHTTP(w, r)
			return
		}
		<-spawned
		mu.Lock()
		counts[action]++
		n := counts[action]
		mu.Unlock()
		c.mu.Lock()
		c.done = append(c.done, action)
		c.mu.Unlock()
		if end == (point{action, n, false}) {
			c.kill()
			panic(http.ErrAbortHandler)
		}
		if end == (point{action, n, true}) {
			func() {
				defer func() { _ = recover() }() // where the endpoint loses the answer anyway
				call.ServeHTTP(httptest.NewRecorder(), r)
			}()
			c.kill()
			panic(http.ErrAbortHandler)
		}
		call.ServeHTTP(w, r)
	}
	s.around.Store(&around)
	c = s.spawn(binary, end, l.fails)
	close(spawned)
	over := func() bool {
		select {
		case <-c.gone:
			return true
		default:
			return false
		}
	}
	defer func() {
		c.kill()
		s.around.Store(nil)
		c.mu.Lock()
		done = c.done
		c.mu.Unlock()
		if s.t.Failed() {
			s.t.Logf("the master that was killed logged:\n%s", c.stderr.String())
		}
	}()
	var api *client.Client
	select {
	case address := <-c.url:
		var err error
		if api, err = client.New(address, testToken); err != nil {
			s.t.Fatal(err)
		}
		defer api.Close()
	case <-c.gone:
		return nil, nil, true
	}
	ctx, cancel := context.WithCancel(s.t.Context())
	defer cancel()
	go func() { <-c.gone; cancel() }()
	made, err := api.Force(ctx, web.ForceRequest{Builder: "b"})
	if err != nil {
		<-c.gone // nothing else may keep a request from being accepted
		return nil, nil, true
	}
	accepted = []int64{made[0].ID}
	ended := func() bool {
		r, err := api.Request(ctx, made[0].ID)
		return err == nil && r.Result != nil
	}
	if l.busy {
		s.look("the middle of the build, or the end of the master", func() bool { return over() || printed(ctx, api, "2") })
	} else {
		s.look("the end of the build, or of the master", func() bool { return over() || ended() })
	}
	if l.stops {
		_ = c.stdin.Close()
	} else {
		s.look("the end of the instance, or of the master", func() bool {
			instances, err := api.Instances(ctx, false)
			return over() || err == nil && len(instances) == 0
		})
		_ = c.stdin.Close()
	}
	select {
	case <-c.gone:
	case <-time.After(patience):
		s.t.Fatal("the master does not stop")
	}
	return nil, accepted, !c.cmd.ProcessState.Exited()
}

// printed reports whether the first step of the first build has printed a line.
func printed(ctx context.Context, api *client.Client, text string) bool {
	steps, err := api.Steps(ctx, 1)
	if err != nil || len(steps) == 0 || len(steps[0].Logs) == 0 {
		return false
	}
	lines, err := api.LogLines(ctx, steps[0].Logs[0].ID, 0, 100)
	return err == nil && slices.ContainsFunc(lines, func(l web.Line) bool { return l.Text == text })
}

// end starts another master, and judges what came of everything.
func (s *site) end(l life, accepted []int64, killed bool) {
	t := s.t
	t.Helper()
	// In less of a hurry: an agent has to come back within the grace, on a busy
	// machine too.
	m := s.startWith(l.text, func(o *master.Options) { o.TimeScale = 4 * hurry })
	all, err := m.Requests(t.Context(), web.RequestQuery{Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	if len(all) == 0 && len(accepted) == 0 { // so whoever asked asks again
		all = m.force("b", 1)
	}
	if len(all) != 1 || len(accepted) > 0 && all[0].ID != accepted[0] {
		t.Fatalf("accepted were %v, and there are %+v", accepted, all)
	}
	r := m.ended(all[0].ID)
	if *r.Result != dormouse.Success {
		t.Errorf("the request: %+v", r)
	}
	builds, err := m.Builds(t.Context(), web.BuildQuery{Limit: 10})
	if err != nil {
		t.Fatal(err)
	}
	for _, b := range builds {
		switch {
		case b.Result == nil:
			t.Errorf("build %d has not ended", b.ID)
		case b.ID == r.BuildID && *b.Result != dormouse.Success, b.ID != r.BuildID && *b.Result != dormouse.Retry:
			t.Errorf("build %d of %d has ended with %v", b.ID, len(builds), *b.Result)
		}
	}
	if got := m.numbers(r.BuildID); got != "1 2 3 4 5 6" {
		t.Errorf("printed %q", got)
	}
	if l.stops {
		m.stop()
	} else {
		m.look("the end of all instances", func() bool {
			instances, err := m.Instances(t.Context(), false)
			return err == nil && len(instances) == 0 && s.endpoint.Ledger().Alive() == 0
		})
	}
	ledger := s.endpoint.Ledger()
	least := l.instances
	if l.builds > 1 {
		least = 1 // where the first is gone on with
	}
	if ledger.Alive() != 0 || ledger.Started < least || ledger.Started > l.instances+l.late {
		t.Errorf("%d instances were started for %d builds, %d live", ledger.Started, len(builds), ledger.Alive())
	}
	// A build that had not begun its first step begins anew, on the same instance.
	if most := l.builds; len(builds) > most+1 || len(builds) > most && !killed {
		t.Errorf("%d builds were made of one request", len(builds))
	}
	inUse := slices.Clone(ledger.Instances)
	for i, a := range inUse {
		for _, b := range inUse[i+1:] {
			if a.StoppingAt.IsZero() || b.LaunchedAt.Before(a.StoppingAt) {
				t.Errorf("the worker had two instances at a time: %+v and %+v", a, b)
			}
		}
	}
}

// TestCrashPoints goes through every point of every life.
func TestCrashPoints(t *testing.T) {
	binary := buildMaster(t) // while no other test waits for anything
	t.Parallel()
	var points, missed atomic.Int64
	kinds, of := map[string]bool{}, map[string]int{}
	t.Run("points", func(t *testing.T) {
		for i, l := range lives {
			s := newSite(t)
			undisturbed := l.in(s)
			done, accepted, killed := s.live(binary, undisturbed, point{})
			if killed {
				t.Fatalf("%s: the master ended by itself", l.name)
			}
			s.end(undisturbed, accepted, false)
			counts := map[string]int{}
			begun := undisturbed.after == ""
			for _, kind := range done {
				counts[kind]++
				begun = begun || kind == undisturbed.after
				most, look := looks[kind]
				if !begun || look && counts[kind] > most || i > 0 && !undisturbed.inBuild() && slices.Contains(ofBuilds, kind) {
					continue
				}
				for _, after := range []bool{false, true} {
					p := point{kind, counts[kind], after}
					kinds[kind] = true
					of[l.name]++
					t.Run(l.name+"/"+p.String(), func(t *testing.T) {
						t.Parallel()
						points.Add(1)
						s := newSite(t)
						l := l.in(s)
						_, accepted, reached := s.live(binary, l, p)
						if !reached {
							missed.Add(1)
							t.Log("it did not come to this point")
						}
						s.end(l, accepted, reached)
					})
				}
			}
		}
	})
	for _, kind := range []string{
		"submitting build requests", "saving worker bot", "opening launch", "RunInstances", "settling a launch", "DescribeInstances",
		"saving instance", "starting a build of build request", "appending to log", "finishing build", "TerminateInstances",
	} {
		if !kinds[kind] {
			t.Errorf("there was no %q to be killed at, but %v", kind, slices.Sorted(maps.Keys(kinds)))
		}
	}
	for _, l := range lives {
		if of[l.name] < 16 {
			t.Errorf("%q has only %d points", l.name, of[l.name])
		}
	}
	// How often something is looked at depends on how long things take.
	if missed.Load() > points.Load()/10 {
		t.Error("too many points were never come to")
	}
	t.Logf("%d points in %d lives (%v), of %d kinds: %s", points.Load(), len(lives), of, len(kinds), strings.Join(slices.Sorted(maps.Keys(kinds)), ", "))
	t.Logf("at %d of them nobody was killed, since things took another course", missed.Load())
}

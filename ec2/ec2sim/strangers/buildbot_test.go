package strangers_test

import (
	"bufio"
	"context"
	"encoding/json"
	"net/url"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/dormouse-ci/dormouse"
	"github.com/dormouse-ci/dormouse/ec2/ec2sim"
	"github.com/dormouse-ci/dormouse/internal/procs"
)

const (
	buildbot       = "/usr/bin/buildbot"
	buildbotWorker = "/usr/bin/buildbot-worker"
)

// buildbotCase is one way to configure an EC2LatentWorker.
type buildbotCase struct {
	name    string
	options map[string]any // EC2LatentWorker's own
	// sent are parameters that its launch must have, among others.
	sent map[string]string
	// judge looks at what is left when the instance has ended.
	judge func(t *testing.T, row ec2sim.LedgerEntry)
}

// buildbotBuild is what the master says of a build.
type buildbotBuild struct {
	Error    string // in the master's configuration
	Case     string
	Result   string
	Text     string
	Instance string // that the master started for it
	RanOn    string `json:"ran_on"` // the instance that the build itself found
}

// TestBuildbot lets a Buildbot master build each case once, on an instance that
// its EC2LatentWorker starts for it.
func TestBuildbot(t *testing.T) {
	t.Parallel()
	need(t, buildbot, "buildbot")
	need(t, buildbotWorker, "buildbot-worker")
	needModule(t, "boto3", "python3-boto3")
	e := serve(t, ec2sim.Options{BootDelay: 200 * time.Millisecond, Images: buildbotImages()})
	cases := buildbotCases(t, e)
	builds := runBuildbot(t, e, cases)
	e.awaitNoneAlive(t)

	launches := launchesOf(t, e)
	if got := e.Ledger().Started; got != len(cases) {
		t.Errorf("%d instances were started for %d cases", got, len(cases))
	}
	for _, action := range []string{"CreateKeyPair", "CreateSecurityGroup"} {
		// The first worker found none, the others found what it had made.
		if got := len(e.asked(action)); got != 1 {
			t.Errorf("%d calls of %s", got, action)
		}
	}
	for _, c := range cases {
		t.Run(c.name, func(t *testing.T) {
			b := builds[c.name]
			if b.Instance == "" || b.RanOn != b.Instance {
				t.Fatalf("the master started %q, and the build ran on %q", b.Instance, b.RanOn)
			}
			row := e.entry(t, b.Instance)
			if row.EndedBy != ec2sim.DefaultAccessKeyID {
				t.Errorf("the master did not terminate it: %+v", row)
			}
			got := make(map[string]string, len(c.sent))
			for name := range c.sent {
				got[name] = launches[b.Instance].Get(name)
			}
			if diff := cmp.Diff(c.sent, got, cmpopts.EquateEmpty()); diff != "" {
				t.Errorf("parameters of its launch (-want +got):\n%s", diff)
			}
			c.judge(t, row)
		})
	}
}

// runBuildbot runs a master until every case has been built, and then until it
// has ended, which it does once its instances have. It returns the last build
// of each case.
func runBuildbot(t *testing.T, e *endpoint, cases []buildbotCase) map[string]buildbotBuild {
	t.Helper()
	dir, env := filepath.Join(t.TempDir(), "master"), environment(t)
	if stdout, stderr, code := output(t, env, python, buildbot, "create-master", "-r", dir); code != 0 {
		t.Fatalf("create-master ended with %d:\n%s%s", code, stdout, stderr)
	}
	configure(t, dir, e, cases)

	ctx, cancel := context.WithTimeout(t.Context(), patience)
	defer cancel()
	report, child, err := os.Pipe()
	if err != nil {
		t.Fatal(err)
	}
	defer report.Close()
	master := program(ctx, env, python, buildbot, "start", "--nodaemon", dir)
	master.ExtraFiles = []*os.File{child}
	ended, err := procs.Start(master)
	child.Close()
	if err != nil {
		t.Fatal(err)
	}
	defer func() {
		cancel()
		<-ended
		if t.Failed() {
			log, _ := os.ReadFile(filepath.Join(dir, "twistd.log"))
			t.Logf("the master's log:\n%s", log[max(0, len(log)-16<<10):])
		}
	}()

	builds := make(map[string]buildbotBuild, len(cases))
	// It ends with the master, which ends with the context.
	for lines := json.NewDecoder(bufio.NewReader(report)); len(builds) < len(cases); {
		var b buildbotBuild
		if err := lines.Decode(&b); err != nil {
			t.Fatalf("the master ended after %d of %d builds: %v", len(builds), len(cases), err)
		}
		if b.Error != "" || b.Result != "success" {
			t.Fatalf("a build of %q: %s %s %s", b.Case, b.Result, b.Text, b.Error)
		}
		builds[b.Case] = b
	}
	// It is the master that must end them, not this test by ending the master.
	e.awaitNoneAlive(t)
	return builds
}

// configure writes what the master reads.
func configure(t *testing.T, dir string, e *endpoint, cases []buildbotCase) {
	t.Helper()
	boot, err := os.ReadFile("testdata/boot.sh")
	if err != nil {
		t.Fatal(err)
	}
	config, err := os.ReadFile("testdata/master.cfg")
	if err != nil {
		t.Fatal(err)
	}
	list := make([]map[string]any, 0, len(cases))
	for _, c := range cases {
		list = append(list, map[string]any{"name": c.name, "options": c.options})
	}
	setup, err := json.Marshal(map[string]any{
		"endpoint": e.url, "region": region, "boot": string(boot), "patience": patience.Seconds(), "cases": list,
	})
	if err != nil {
		t.Fatal(err)
	}
	for name, text := range map[string][]byte{"master.cfg": config, "cases.json": setup} {
		if err := os.WriteFile(filepath.Join(dir, name), text, 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// launchesOf returns the parameters of the call that launched each instance.
func launchesOf(t *testing.T, e *endpoint) map[string]url.Values {
	t.Helper()
	byToken := make(map[string]url.Values)
	for _, form := range e.asked("RunInstances") {
		byToken[form.Get("ClientToken")] = form
	}
	launches := make(map[string]url.Values)
	for _, row := range e.Ledger().Instances {
		if form, ok := byToken[row.ClientToken]; ok && row.ClientToken != "" {
			launches[row.ID] = form
		}
		// There is one case with a spot request.
		if forms := e.asked("RequestSpotInstances"); row.Market == dormouse.Spot && len(forms) == 1 {
			launches[row.ID] = forms[0]
		}
	}
	return launches
}
